"""The examples of docs/python.md and of README's section run as they are printed."""

import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent


def examples(page: str, section: str = "") -> list[str]:
    text = (ROOT / page).read_text("utf-8")
    if section:
        text = text.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


def test_readmes_lines_reduce_a_model_and_draw_its_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = examples("README.md", "From Python")
    assert len([line for line in code.splitlines() if line]) == 5
    names: dict[str, Any] = {}
    exec(code, names)
    assert "Reduced(vim_nano, mtr at one-shot, window 8: -40.0 % FLOPs)" in capsys.readouterr().out
    with Image.open(tmp_path / "kept.png") as picture:
        # eight images with their answers, their tokens below, and a legend
        assert 3 * picture.height < picture.width < 4 * picture.height
        assert picture.height > 400


@pytest.mark.slow
def test_the_page_runs_from_its_first_line_to_its_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for code in examples("docs/python.md"):
        exec(code, names)
        # what a comment promises is what is printed
        for line in code.splitlines():
            promised = re.search(r"^print\(\w+\)  # (Reduced|TokenTrace|Run)(.*)$", line)
            if promised:
                assert f"{promised[1]}{promised[2]}" in (said := capsys.readouterr().out), said
