"""Files of users: run once, found again by whatever object of theirs arrives, told apart by words."""

import pickle
import sys
from pathlib import Path

import pytest

from backbones.common import user_files
from backbones.common.errors import UserError
from backbones.common.user_files import InFile, digest, in_file, lend, load, told_apart

CODE = """
from __future__ import annotations
from dataclasses import dataclass

@dataclass(frozen=True)
class Size:
    width: int = 3

RUNS = []
RUNS.append(1)
SIZE = Size(7)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A user's file; its name has dots, and its folder a letter that is no ASCII."""
    path = tmp_path / "größe v1.2" / "my.sizes.py"
    path.parent.mkdir()
    path.write_text(CODE)
    return path


def named(file: Path, variable: str) -> InFile:
    found = in_file(f"{file}:{variable}")
    assert found is not None
    return found


def test_names_of_files_are_told_from_others() -> None:
    assert in_file("vim_nano") is None
    assert in_file("imagefolder:photos") is None
    assert in_file("a/b.py:NET") == ("a/b.py", "NET")
    for text in ("a/b.py", "a/b.py:"):
        with pytest.raises(UserError, match=r"'a/b.py' is a file: write a/b.py:NAME"):
            in_file(text)


def test_a_file_is_run_once_and_its_objects_travel(file: Path) -> None:
    size = load(named(file, "SIZE"))
    assert size == load(named(file, "Size"))(7)
    assert load(named(file, "RUNS")) == [1]
    # As in another process, which has not run the file.
    sent = pickle.dumps(size)
    sys.modules.pop(type(size).__module__)
    arrived = pickle.loads(sent)
    assert arrived.width == 7
    assert type(arrived) is load(named(file, "Size"))


def test_what_is_missing_is_one_line(file: Path) -> None:
    with pytest.raises(UserError, match=r"has no 'SIZES': did you mean SIZE\?"):
        load(named(file, "SIZES"))
    with pytest.raises(UserError, match="has no 'other': name a variable that it has"):
        load(named(file, "other"))
    with pytest.raises(UserError, match=r"there is no file .*nowhere.py: give the path"):
        load(named(file.with_name("nowhere.py"), "SIZE"))


def test_a_file_that_was_changed_after_it_ran_is_refused(file: Path) -> None:
    load(named(file, "SIZE"))
    before = digest(named(file, "SIZE"))
    file.write_text(CODE.replace("7", "8"))
    assert digest(named(file, "SIZE")) == before
    with pytest.raises(UserError, match=r"was changed after it was run: start again"):
        load(named(file, "SIZE"))


def test_a_copy_stands_for_a_file_of_another_machine(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user_files, "_LENT", {})
    monkeypatch.setattr(user_files, "_ORIGINAL", {})
    there = Path("/no/such/folder/sizes.py")
    written = InFile(str(tmp_path / "sizes.py"), "SIZE")
    lend(written, there, file)
    assert written.path == there
    assert load(written).width == 7
    assert type(load(written)).__module__ == user_files.module_name(there)


def test_words_tell_files_apart() -> None:
    assert told_apart("vim_nano", []) == ""
    assert told_apart("/a/x.py:N", ["/b/y.py:N"]) == "x"
    assert told_apart("/a/x.py:N", ["/b/x.py:M"]) == "x:N"
    assert told_apart("/a/x.py:N", ["/b/x.py:N"]) == "a/x:N"
