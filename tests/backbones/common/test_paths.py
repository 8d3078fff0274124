"""Paths are made absolute once, and refused in a line where no library could use them."""

import os
import pwd
from pathlib import Path

import pytest

from backbones.common.errors import UserError
from backbones.common.paths import cache_home, local_path


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """No home in the environment, no entry in the list of users."""

    def nobody(user: object) -> None:
        raise KeyError(user)

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("runs", "HERE/runs"),
        ("exp:1", "HERE/exp:1"),
        ("s3:x", "HERE/s3:x"),
        ("s3://bucket", "HERE/s3:/bucket"),
        ("gs:x/y", "HERE/gs:x/y"),
        ("file:x", "HERE/file:x"),
        ("~/x", "HOME/x"),
        ("~", "HOME"),
        ("./~", "HERE/~"),
        ("a~b", "HERE/a~b"),
        ("ä/猫", "HERE/ä/猫"),
        ("/tmp", "/tmp"),
    ],
)
def test_every_path_is_absolute(
    text: str, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    wanted = where.replace("HERE", str(tmp_path)).replace("HOME", str(tmp_path / "home"))
    assert local_path(text) == Path(wanted)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("~no-such-user/x", "write ./~no-such-user/x"),
        ("caf\udce9", "PYTHONUTF8=1"),
        ("a\0b", "zero byte"),
    ],
)
def test_what_cannot_be_used_is_one_line(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        local_path(text)
    assert str(caught.value).isprintable()


def test_a_name_that_the_system_writes_otherwise_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "fsencode", lambda path: str(path).encode("iso-8859-1"))
    assert local_path("/plain")
    with pytest.raises(UserError, match="UTF-8"):
        local_path("/caf\xe9")


def test_a_working_folder_that_is_gone_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(UserError, match="No such file"):
        local_path("runs")


@pytest.mark.usefixtures("homeless")
def test_without_a_home_there_is_no_cache_unless_it_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert cache_home() is None
    with pytest.raises(UserError, match="home folder"):
        local_path("~/x")
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/kept")
    assert cache_home("NUMBA_CACHE_DIR") == Path("/kept")
    assert cache_home() is None
