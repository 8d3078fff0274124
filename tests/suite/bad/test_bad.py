"""Bad input of any kind: one line that names the fix, exit code 2, and no file touched.

The answers are in the report of a run with ``--junitxml``, to be read whole by a person.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import bad_checkpoints
import bad_configs
import bad_data
import bad_lines
import bad_plugins
import bad_runs
import bad_states
import pytest
from bad import Bad

from suite.cli import run
from suite.data.images import fashion_mnist_files
from suite.data.loading import decode
from suite.training.images import TrainingImages, training_images

ROWS = [
    *bad_lines.ROWS, *bad_configs.ROWS, *bad_checkpoints.ROWS, *bad_data.ROWS, *bad_plugins.ROWS,
    *bad_runs.ROWS,
    *bad_states.ROWS,
]  # fmt: skip
CODE = "owned"  # the name of the file that code in an input would make
ROOT = Path(__file__).parents[3]


def bundled(dataset: str, *_: object) -> TrainingImages:
    """Images in the box, which are there on every machine."""
    return training_images(dataset, "dev", "bundled")


def held(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Kind and content of everything below `folder`."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if (
            path.suffix == ".lock" or "__pycache__" in path.parts
        ):  # a process is at work; Python's own
            continue
        status = path.lstat()
        content = (
            path.read_bytes()
            if path.is_file() and status.st_size < 1 << 22 and not path.is_symlink()
            else b""
        )
        found[str(path.relative_to(folder))] = (status.st_mode, content)
    return found


def answer(error: str) -> str:
    """The one line of an answer, without the lines that name what was loaded."""
    lines = [line for line in error.splitlines() if not line.startswith("loading ")]
    assert len(lines) == 1, error
    return lines[0]


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("row", ROWS, ids=[row.what for row in ROWS])
def test_bad_input_is_one_line_that_names_the_mend(
    row: Bad,
    tmp_path: Path,
    small: Callable[..., object],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    monkeypatch.setattr(decode, "MAX_BYTES", 1 << 20)
    monkeypatch.setattr(fashion_mnist_files, "MAX_BYTES", 1 << 20)
    monkeypatch.setattr("suite.training.images.training_images", bundled)
    given, work = tmp_path / "given", tmp_path / "work"
    given.mkdir()
    work.mkdir()
    line = row.put(given)
    monkeypatch.chdir(work)
    before = held(tmp_path)
    code = run(line)
    out, err = capsys.readouterr()
    told = answer(err)
    record_property("answer", told)
    assert (code, out) == (2, "")
    assert re.search(row.says, told), told
    assert told.startswith("error: ")
    assert ": " in told.removeprefix("error: "), "the mend follows a colon"
    assert told.isprintable()
    assert len(told) < 1000
    assert held(tmp_path) == before


def test_there_are_many() -> None:
    print(f"{len(ROWS)} bad inputs")
    assert len(ROWS) >= 200
    assert len({row.what for row in ROWS}) == len(ROWS)
    assert not [row.what for row in ROWS if not row.says]


@pytest.mark.parametrize(
    "what",
    [
        pytest.param("train", marks=pytest.mark.slow),
        "config: a billion laughs",
        pytest.param("checkpoint: code in a pickle", marks=pytest.mark.slow),
    ],
)
def test_a_process_says_the_same(what: str, tmp_path: Path) -> None:
    row = next(row for row in ROWS if row.what == what)
    line = [sys.executable, "-m", "suite", *row.put(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        line, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=120
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert re.search(row.says, answer(done.stderr))
    assert not (tmp_path / CODE).exists()
