"""The Ray tasks: open a run in a worker process, and evaluate cells of a shard there.

Ray may start a worker where a user's own folders come first on the path. So this module imports
nothing of the suite but `suite.system.installation` before `prefer_own_packages` has run, and the
tasks take no arguments whose types are the suite's.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from contextlib import redirect_stderr
from functools import lru_cache
from threading import Timer
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from suite.system.installation import prefer_own_packages

if TYPE_CHECKING:
    from suite.evaluation.runner import ShardResult
    from suite.execution.ray_payload import Files, Versions
    from suite.plan.prepare import Prepared

EXIT_DELAY = 0.5  # seconds in which a process that lost its device still returns its error


class RunHandle(NamedTuple):
    """What a worker opens a run by.

    ``versions``  that it must have
    ``folder``    the driver's working folder, to which paths are relative
    ``files``     users' files, which it runs first
    ``payload``   the reference of a `RunPayload`
    """

    versions: Versions
    folder: str
    files: Files
    payload: Any


def open_run(handle: RunHandle) -> tuple[None, str]:
    """Open the run, so that what a worker lacks is known before it receives a shard."""
    _opened(handle, _assigned_gpu())
    return None, ""


def evaluate_cells(
    handle: RunHandle,
    backbone: str,
    index: int,
    images: NDArray[np.int64],
    keys: Sequence[str],
) -> tuple[ShardResult, str]:
    """Evaluate the cells `keys` of `backbone` on shard `index`; returns the results, and stderr."""
    prepared = _opened(handle, _assigned_gpu())
    from suite.execution.shards import Shard, evaluate
    from suite.system.out_of_memory import DeviceLostError

    cells = [cell for cell in prepared.cells if cell.key in keys]
    # The driver prints it, since Ray would mix in lines of its own about processes and ports.
    with redirect_stderr(io.StringIO()) as stderr:
        try:
            result = evaluate(prepared, Shard(backbone, index, images), cells, lambda _: None)
        except DeviceLostError:
            # A new process may use the device again, this one, which Ray would keep, may not.
            Timer(EXIT_DELAY, os._exit, (1,)).start()
            raise
    return result, stderr.getvalue()


@lru_cache(maxsize=1)
def _opened(handle: RunHandle, gpu: int | None) -> Prepared:
    """Load the run into this process, once for all shards that Ray sends it.

    UserError if this machine has other versions of packages, or other data.
    """
    if problem := prefer_own_packages():
        raise ImportError(problem)
    import ray

    from suite.execution.ray_payload import check_versions, opened, run_files

    # Versions first: another one may not even be able to read the payload.
    check_versions(handle.versions)
    run_files(handle.folder, handle.files)
    return opened(ray.get(handle.payload), gpu)


def _assigned_gpu() -> int | None:
    """Index of the GPU that Ray assigned to the running task, None without one."""
    import ray

    ids = ray.get_gpu_ids()
    if not ids:
        return None
    # Ray names a GPU as the node does; CUDA counts those that the environment leaves visible.
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",").index(str(ids[0])) if visible else int(ids[0])
