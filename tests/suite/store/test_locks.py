"""Claims hold between processes and end with their holder."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from suite.store.locks import RunLock, file_lock

HOLDER = """
import sys, time
from pathlib import Path
from suite.store.locks import file_lock
with file_lock(Path(sys.argv[1]), wait=True):
    print("held", flush=True)
    time.sleep(100)
"""


def test_a_claim_is_free_again_when_its_holder_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "one"
    command = [sys.executable, "-c", HOLDER, str(path)]
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with file_lock(path, wait=False) as mine:
            assert not mine
        with file_lock(path.with_name("other"), wait=False) as mine:
            assert mine
        holder.send_signal(signal.SIGKILL)
        with file_lock(path, wait=True) as mine:
            assert mine


def test_one_is_alone_until_another_joins(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    with RunLock(path) as one:
        assert one.try_exclusive()
        one.shared()
        with RunLock(path) as other:
            assert not other.try_exclusive()
            other.shared()
            assert not one.try_exclusive()
            assert other.try_exclusive()  # the first gave up its place by asking
        assert one.try_exclusive()


def test_a_file_system_without_locks_lets_everybody_work_and_nobody_tidy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(descriptor: int, how: int) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refused)
    with file_lock(tmp_path / "one", wait=False) as mine, RunLock(tmp_path / "run.lock") as members:
        assert mine
        assert not members.try_exclusive()
        members.shared()
