"""Files appear whole or not at all."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from suite.store.run_folder import write_frame
from suite.system.atomic_files import replacing, write_json, write_text


def test_a_crash_before_the_last_step_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "deep" / "cell.json"
    write_text(path, "old")

    def crash(source: Any, target: Any) -> None:
        assert Path(source).read_text() == "new"
        assert Path(target) == path
        raise OSError("power")

    monkeypatch.setattr("suite.system.atomic_files.os.replace", crash)
    with pytest.raises(OSError, match="power"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


KILLED = """
import os, signal, sys
from pathlib import Path
from suite.system import atomic_files as files
files.os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
files.write_text(Path(sys.argv[1]), "new")
"""


def test_a_process_killed_between_writing_and_replacing_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "cell.json"
    write_text(path, "old")
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(path)], env=os.environ | {"PYTHONPATH": os.getcwd()}
    )
    assert done.returncode == -9
    assert path.read_text() == "old"
    assert [file.read_text() for file in tmp_path.glob(".cell.json.*.tmp")] == ["new"]


def test_data_are_on_disk_before_the_name_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        steps.append("fsync " + Path(os.readlink(f"/proc/self/fd/{descriptor}")).suffix)
        fsync(descriptor)

    def replaced(source: Any, target: Any) -> None:
        steps.append("replace")
        replace(source, target)

    monkeypatch.setattr("suite.system.atomic_files.os.fsync", synced)
    monkeypatch.setattr("suite.system.atomic_files.os.replace", replaced)
    write_text(tmp_path / "a", "x")
    assert steps == ["fsync .tmp", "replace", "fsync "]


def test_an_error_while_writing_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UnicodeEncodeError), replacing(tmp_path / "x") as temporary:
        temporary.write_text("half \udcff", encoding="utf-8")
    assert not list(tmp_path.iterdir())


def test_an_error_names_the_path_that_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="directory") as told:
        write_text(tmp_path / "taken", "x")
    assert told.value.filename == str(tmp_path / "taken")
    long = tmp_path / ("n" * 300)
    with pytest.raises(OSError, match="too long") as told, replacing(long) as temporary:
        temporary.write_text("x")
    assert told.value.filename == str(long)
    with pytest.raises(FileNotFoundError) as told, replacing(tmp_path / "x"):
        (tmp_path / "other").read_text()
    assert told.value.filename == str(tmp_path / "other")


def test_equal_values_are_equal_bytes_and_nan_is_refused(tmp_path: Path) -> None:
    write_json(tmp_path / "a", {"b": 1, "a": [0.1, "é"]})
    write_json(tmp_path / "b", {"a": [0.1, "é"], "b": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert json.loads((tmp_path / "a").read_text("utf-8")) == {"a": [0.1, "é"], "b": 1}
    with pytest.raises(ValueError, match="nan"):
        write_json(tmp_path / "a", {"a": math.nan})
    assert json.loads((tmp_path / "a").read_text("utf-8"))["b"] == 1


def test_equal_frames_are_equal_bytes(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": [1, 2, 3], "y": [0.5, None, 2.0]})
    write_frame(tmp_path / "a", frame)
    write_frame(tmp_path / "b", frame.iloc[[2, 0, 1]].sort_index())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "a"), frame)
