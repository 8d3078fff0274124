"""Every test begins on one thread, and threads that wait give up their core, as in the command itself.

Where cores are shared, OpenMP's barriers would else stall small work a tenfold, and burn what they
wait.

Hypothesis draws 25 examples a test, and times none, which would say how busy the machine is. Under
tox they are the same every time (profile `repeatable`); elsewhere it goes on looking for more.
"""

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from suite.system.openmp import limit_spinning

limit_spinning(os.environ)  # read where PyTorch is first imported
if not Path(
    "/dev/nvidiactl"
).exists():  # asked without PyTorch, which the process that hands out tests needs not
    os.environ.setdefault(
        "TRITON_INTERPRET", "1"
    )  # read where Triton is first imported: its kernels run in NumPy

# a torch without CUDA may come without Triton
collect_ignore_glob = (
    [] if find_spec("triton") else ["*triton*", "*test_cuda_*", "*test_fused_gpu*"]
)

# Looking for garbage among the objects of all imports took a tenth of the time: seldom, and without them.
gc.set_threshold(50_000, 20, 50)

# No test cuts the power, so none waits for a disk. When the product asks for it is tested all the same.
os.fsync = lambda _: None

REPORTS = "tests/reports"
FIRST = (
    REPORTS,
    "tests/suite/execution/test_ray_executor.py",
    "tests/suite/merge/test_schedules.py",
    "tests/test_wheel.py",
)
# The kernel of gradients is compiled by the first of these; at a time, each would compile it.
TOGETHER = ("tests/methods/test_gradients.py", "tests/suite/api/test_reduce.py")
hypothesis.settings.register_profile("looking", deadline=None, max_examples=25)
hypothesis.settings.register_profile(
    "repeatable", hypothesis.settings.get_profile("looking"), derandomize=True
)
hypothesis.settings.load_profile("looking")


@cache
def _marked_gpu(path: Path) -> bool:
    """Whether the file, or any in the folder, has tests that need a CUDA device."""
    files = path.rglob("test_*.py") if path.is_dir() else [path]
    return any("mark.gpu" in file.read_text(encoding="utf-8") for file in files)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With ``-m gpu`` no other file is imported: where kernels run, nothing draws a page."""
    of_gpu = config.option.markexpr == "gpu"
    return True if of_gpu and not _marked_gpu(collection_path) else None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With ``--dist loadscope`` a module in one process, as ever, and all of tests/reports, which share drawn runs.

    These take longest and begin first: meanwhile another process compiles the kernels, which they
    need not. The last are those of the fewest tests, which are short; the others of `FIRST` are few
    and long, and would keep one process busy when the other has nothing left to do.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            if nodeid.startswith(f"{REPORTS}/"):
                return REPORTS
            scope = str(super()._split_scope(nodeid))
            return TOGETHER[0] if scope in TOGETHER else scope

        def _assign_work_unit(self, node: Any) -> None:
            for scope in reversed(FIRST):
                if scope in self.workqueue:
                    self.workqueue.move_to_end(scope, last=False)
            super()._assign_work_unit(node)

    return Scheduling(config, log) if config.getvalue("dist") == "loadscope" else None


def pytest_collection_finish() -> None:
    """Let the garbage collector pass over what was imported, for good."""
    gc.freeze()


@contextmanager
def without_ink() -> Iterator[None]:
    """Pages whose figures are made but not drawn, which takes most of a page's time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reports.page.render", lambda figure: {"png": b"not drawn", "svg": b"<svg/>"})
        yield


@pytest.fixture
def undrawn() -> Iterator[None]:
    """`without_ink`, for tests that look at no figure."""
    with without_ink():
        yield


@pytest.fixture
def unmade(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages without figures of their own, those of sections blank, for tests of other words alone.

    That each figure can be made of what a run stores is tested in tests/reports and where pages are `undrawn`.
    """

    def blank(report: Any, sections: Any, folder: Path) -> dict[str, bytes]:
        return {drawing.name: b"<svg/>" for one in sections for drawing in one.figures}

    monkeypatch.setattr("reports.page._figures", blank)


@pytest.fixture(scope="session")
def inkless() -> Callable[[], AbstractContextManager[None]]:
    """`without_ink`, for fixtures that are made once."""
    return without_ink


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
