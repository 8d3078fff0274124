"""The real command in forked children, which die, meet a full disk or share a folder."""

import errno
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from backbones import BACKBONES
from suite.cli import run as command

SMALL = (
    "--checkpoint random --data blots --batch-size 2 --device cpu --threads 1"
    " --kernel reference --no-report"
)
COMPARE = (
    "compare --backbones vim_few --methods stride --no-baselines --budgets 0.1 --protocol tokens"
    f" --images 9 --shard-size 4 --gallery 0 {SMALL}"
).split()
TUNE = (
    "tune --backbones vim_mini --methods random --budgets 0.3 --images 9 --shard-size 4"
    f" {SMALL.removesuffix(' --no-report')}"
).split()
SENSITIVITY = (
    "sensitivity --backbone vim_few --methods stride --images 3 --zeroed 0 --layers 2"
    f" --positions 5,7 --places 0 {SMALL}"
).split()
PATIENCE = 200  # seconds after which a paused child goes on, so that none is left behind
Setup = Callable[[], None]
Results = dict[str, bytes]


def nothing() -> None:
    """Leave all as it is."""


@dataclass
class Child:
    """A process at the command, and what it wrote so far in its log."""

    pid: int
    log: Path

    def ended(self) -> int:
        """Its exit code, negative for a signal, when it is over."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def over(self) -> bool:
        """Whether it has ended."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def begun(self) -> bool:
        """Whether it has begun to evaluate a shard, or has ended."""
        return f" {self.pid} " in read(self.log) or self.over()

    def until_begun(self) -> None:
        """Wait for that."""
        while not self.begun():
            time.sleep(0.001)


@dataclass
class Scene:
    """Runs of one command line in folders of `root`."""

    root: Path
    line: list[str]
    truth: Results = field(default_factory=dict)

    def start(self, name: str, setup: Setup = nothing) -> Child:
        """A child that runs the command on folder `name` after `setup`."""
        log = self.root / f"{name}.log"
        pid = os.fork()
        if not pid:
            self._child(name, log, setup)
        return Child(pid, log)

    def run(self, name: str, setup: Setup = nothing) -> int:
        """The exit code of such a child."""
        return self.start(name, setup).ended()

    def output(self, name: str) -> str:
        """What all children on folder `name` printed."""
        return read(self.root / f"{name}.out")

    def log(self, name: str) -> list[list[str]]:
        """What they did: ``begin PID IMAGE``, ``kept PID IMAGE``, and ``here PID -`` if paused."""
        return [line.split() for line in read(self.root / f"{name}.log").splitlines()]

    def results(self, name: str) -> Results:
        """The files of folder `name`, but for what tells of time and of damage."""
        folder = self.root / name
        files = {
            str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()
        }
        kept = {
            key for key in files if key != "environment.json" and not key.startswith("set-aside/")
        }
        return {key: files[key].read_bytes() for key in sorted(kept)}

    def check(self, name: str, deaths: int) -> None:
        """Compare the files with an undisturbed run; a death may cost one evaluation at most."""
        results = self.results(name)
        assert results.keys() == self.truth.keys()
        assert [key for key in results if results[key] != self.truth[key]] == []
        kept: set[str] = set()
        open_: Counter[str] = Counter()
        for what, _, image in self.log(name):
            if what == "here":
                continue
            if what == "begin":
                assert image not in kept, f"image {image} was done again"
                open_[image] += 1
            else:
                kept.add(image)
        assert sum(open_.values()) <= len(open_) + deaths

    def _child(self, name: str, log: Path, setup: Setup) -> None:
        code = 1
        try:
            out = os.open(self.root / f"{name}.out", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            sys.stdout = sys.stderr = os.fdopen(out, "w", buffering=1)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            follow(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND))
            setup()
            where = ["--out", str(self.root / name)] if self.line[0] == "sensitivity" else []
            code = command([*self.line, *(where or ["--runs", str(self.root), "--name", name])])
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)


def read(path: Path) -> str:
    """The text of a file, empty if it does not exist."""
    return path.read_text() if path.exists() else ""


def follow(log: int) -> None:
    """Have every evaluation written down, and that its results are kept."""
    from suite.execution import shards
    from suite.sensitivity import image_probes as sensitivity

    def noted(what: str, real: Any, image: Callable[..., int], before: bool) -> Any:
        def call(*arguments: Any) -> Any:
            line = f"{what} {os.getpid()} {image(*arguments)}\n".encode()
            if before:
                os.write(log, line)
            result = real(*arguments)
            if not before:
                os.write(log, line)
            return result

        return call

    shards.evaluate_shard = noted(  # type: ignore[attr-defined]
        "begin", shards.evaluate_shard, lambda prepared, backbone, images, *_: images[0], True
    )
    shards.save = noted(
        "kept", shards.save, lambda prepared, store, shard, result: shard.images[0], False
    )
    sensitivity.probe = noted(
        "begin", sensitivity.probe, lambda model, batch, settings: 100 + int(batch.indices), True
    )  # type: ignore[attr-defined]
    write = sensitivity.ProbeStore.write
    sensitivity.ProbeStore.write = noted(  # type: ignore[method-assign]
        "kept", write, lambda probes, index, tables: 100 + index, False
    )


def paused(scene: Scene, name: str, go: Callable[[], bool]) -> Setup:
    """A setup: a child begins with no shard, and no image that it probes, before `go`."""

    def setup() -> None:
        from suite.execution import shards
        from suite.sensitivity import image_probes as sensitivity

        if scene.line[0] == "sensitivity":
            sensitivity.probe = partial(after, sensitivity.probe)  # type: ignore[attr-defined]
        else:
            real = shards.evaluate_shard
            shards.evaluate_shard = partial(after, real)  # type: ignore[attr-defined]

    def after(real: Any, *arguments: Any) -> Any:
        with (scene.root / f"{name}.log").open("a") as log:
            log.write(f"here {os.getpid()} -\n")
        latest = time.monotonic() + PATIENCE
        while not go() and time.monotonic() < latest:
            time.sleep(0.001)
        return real(*arguments)

    return setup


def die(*_: Any) -> None:
    """End as by SIGKILL: nothing is cleaned up, nothing flushed."""
    os._exit(137)


def no_space(*_: Any) -> None:
    """Fail as on a full disk."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def fault_at(number: int, strike: Callable[..., None], kinds: tuple[str, ...]) -> Setup:
    """A setup: the `number`-th call of these kinds (write, fsync, replace) does `strike`.

    Of a write half is on disk.
    """

    def setup() -> None:
        left, lock = [number], threading.Lock()

        def counted(real: Any, half: Any) -> Any:
            def call(*arguments: Any) -> Any:
                with lock:
                    left[0] -= 1
                    mine = left[0] == 0
                if mine:
                    half(*arguments)
                    strike()
                return real(*arguments)

            return call

        write = Path.write_bytes
        if "write" in kinds:
            Path.write_bytes = counted(
                write, lambda path, data: write(path, data[: len(data) // 2])
            )  # type: ignore[method-assign]
        for kind in {"fsync", "replace"} & set(kinds):
            setattr(os, kind, counted(getattr(os, kind), lambda *_: None))

    return setup


@pytest.fixture(scope="session")
def faults() -> Any:
    """`fault_at`, `die`, `no_space` and `paused`, by name."""
    return {"fault_at": fault_at, "die": die, "no_space": no_space, "paused": paused}


@pytest.fixture(scope="session")
def truths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Where the undisturbed run of each command lies, once there was one."""
    return {"": tmp_path_factory.mktemp("truths")}


@pytest.fixture
def scene(
    request: pytest.FixtureRequest,
    small: object,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    truths: dict[str, Path],
) -> Scene:
    """A command, `compare` or that of the parameter, and its undisturbed run, the truth."""
    vim_mini = BACKBONES._added["vim_mini"]
    monkeypatch.setitem(BACKBONES._added, "vim_few", partial(vim_mini, patch=10, stride=10))
    lines = {line[0]: line for line in (COMPARE, TUNE, SENSITIVITY)}
    line = lines[getattr(request, "param", "compare")]
    if line[0] not in truths:
        folder = truths[""] / line[0]
        where = (
            ["--out", str(folder / "warm")]
            if line is SENSITIVITY
            else ["--runs", str(folder), "--name", "warm"]
        )
        assert (
            command([*line, *where]) == 0
        )  # in this process: imports and compiles what every child needs
        once = Scene(folder, line)
        assert once.run("truth") == 0, once.output("truth")
        truths[line[0]] = folder
    scene = Scene(tmp_path, line)
    shutil.copytree(truths[line[0]] / "truth", tmp_path / "truth")
    scene.truth = scene.results("truth")
    return scene
