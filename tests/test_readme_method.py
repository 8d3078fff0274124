"""The method in the README is complete, conforms, and runs in a comparison, as printed."""

import json
import re
import shlex
from pathlib import Path

import pytest

from suite.cli import run

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")


@pytest.fixture
def printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    blocks: list[str] = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    text = next(block for block in blocks if "Method(" in block)
    assert len(text.splitlines()) < 40
    file = tmp_path / "examples" / "own_method.py"
    file.parent.mkdir()
    file.write_text(text)
    monkeypatch.chdir(tmp_path)
    return "examples/own_method.py:SPREAD"


def test_it_conforms(printed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", "--method", printed]) == 0
    assert "0 fail" in capsys.readouterr().out


def test_it_runs_beside_ours(printed: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = (
        "compare --images 20 --budgets 0.3 --no-baselines --no-report --gallery 0 "
        "--no-across-schedules --json --methods"
    )
    assert run([*words.split(), f"mtr,{printed}"]) == 0
    cells = json.loads(capsys.readouterr().out)["cells"]
    assert {cell["label"]: cell["status"] for cell in cells} == {
        "none": "ok",
        "mtr": "ok",
        "spread": "ok",
    }


def test_it_is_tuned_as_ours_and_compared_so_by_the_commands_below_it(
    printed: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two of the 18 settings, so that it is quick.
    monkeypatch.setattr("suite.tries.settings.SCHEDULES", ("constant-ratio",))
    monkeypatch.setattr("suite.tries.settings.WINDOWS", (0, 4))
    (block,) = re.findall(rf"```bash\n([^`]*{printed}[^`]*)```", README)
    verify, tune, compare = (shlex.split(line, comments=True)[3:] for line in block.splitlines())
    assert verify == ["verify", "--method", printed]
    quick = ["--images", "8", "--budgets", "0.3"]
    assert run([*tune, *quick, "--name", "t"]) == 0
    said = capsys.readouterr()
    assert "tries at each budget" not in said.err  # as many for it as for ours
    use = shlex.split(said.out.splitlines()[-1].partition(": ")[2])[3:]
    # What it prints is the next command, with the path in it.
    folder = compare.index("PATH")
    compare[folder] = use[-1]
    assert use == [*compare[: folder - 1], "--budgets", "0.3", *compare[folder - 1 :]]
    # A plan says all that is asked here, without evaluating anything.
    assert run(["plan", *compare[1:], *quick, "--smaller", "none", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    tuned = {cell["label"]: cell["tuned"] for cell in document["cells"] if cell["schedule"]}
    assert tuned == dict.fromkeys(("mtr", "spread", "random", "stride", "pool"), True)


def test_what_is_missing_is_one_line(printed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", "--method", "examples/own_method.py:SPRAED"]) == 2
    assert run(["verify", "--method", "nowhere.py:SPREAD"]) == 2
    lines = [
        line for line in capsys.readouterr().err.splitlines() if not line.startswith("loading ")
    ]
    assert len(lines) == 2
    assert "SPRAED" in lines[0]
    assert "nowhere.py" in lines[1]
