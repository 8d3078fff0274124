"""What a run says of the machine it ran on."""

import json
import subprocess
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import psutil
import pytest
import torch

from suite.system import environment as subject
from suite.system.environment import package_version


def test_everything_is_json_and_names_what_numbers_depend_on() -> None:
    found = json.loads(json.dumps(subject.environment(), allow_nan=False))
    assert found["torch"] == version("torch")
    assert found["threads"] == torch.get_num_threads()
    assert found["cores"] >= 1
    assert found["cpu"]
    assert found["memory_mb"] == psutil.virtual_memory().total // 2**20
    assert (found["gpu"] is None) == (not torch.cuda.is_available())


def test_only_variables_that_are_set_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    found = subject.environment()["variables"]
    assert found["OMP_NUM_THREADS"] == "3"
    assert "NUMBA_NUM_THREADS" not in found


def test_consumption_counts_from_the_start() -> None:
    started = datetime.now(UTC) - timedelta(seconds=90)
    found = subject.resource_usage(started)
    assert 90 <= found["seconds"] < 100
    assert datetime.fromisoformat(found["finished"]) > datetime.fromisoformat(found["started"])
    now = psutil.Process().memory_info().rss / 2**20
    assert 0.5 * now < found["peak_memory_mb"] < psutil.virtual_memory().total / 2**20


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_the_commit_is_the_checkouts_own(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "file").write_text("1")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-q", "-m", "first")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert subject.commit(tmp_path) == head
    (tmp_path / "file").write_text("2")
    assert subject.commit(tmp_path) == f"{head}-dirty"
    (tmp_path / "site-packages").mkdir()
    assert subject.commit(tmp_path / "site-packages") is None


def test_a_damaged_checkout_has_no_commit(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    assert subject.commit(tmp_path) is None


def test_a_package_that_is_not_there_has_no_version() -> None:
    assert package_version("no-such-distribution") is None
    assert package_version("torch") == version("torch")
