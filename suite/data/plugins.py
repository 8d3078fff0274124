"""What a data set of another package must be; whatever it is not, or raises, is one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from backbones.common.errors import UserError, describe_error
from suite.data.base import IGNORED, Dataset, Request

FIX = "fix or uninstall it"


class BrokenDatasetError(UserError):
    """The code of a data set failed: unlike a damaged image, nothing that a run can leave out."""


def opened(
    called: str, factory: Callable[[Request], Any], request: Request, mend: str = FIX
) -> Dataset:
    """The data set that a third party's `factory` opens, checked; UserError if it opens none.

    `called` are the words for it, `mend` what its user can do.
    """
    if not callable(factory):
        raise UserError(
            f"{called} is no function but of type {type(factory).__name__}: give a function "
            "that takes a suite.data.base.Request and returns a Dataset"
        )
    try:
        made = factory(request)
        problem = _problem(made)
    except UserError:
        raise
    # A third party's code may raise anything, and may end its process.
    except (Exception, SystemExit) as error:
        raise UserError(f"{called} cannot be opened ({describe_error(error)}): {mend}") from error
    if problem:
        raise UserError(f"{called} {problem}: {mend}")
    assert isinstance(made, Dataset)
    return made


def _problem(made: Any) -> str:
    """What keeps an object from being a data set; empty if nothing does."""
    if not isinstance(made, Dataset):
        return f"opens as {type(made).__name__}, not as a suite.data.base.Dataset"
    names = ("name", "split", "classes", "labels", "mean", "std")
    missing = [name for name in names if not hasattr(made, name)]
    if missing:
        return f"has no {' and no '.join(missing)}"
    labels = made.labels
    if not isinstance(labels, np.ndarray) or labels.ndim != 1 or labels.dtype != np.int64:
        return "has labels that are not an array (N,) of int64"
    if not isinstance(made.classes, tuple) or not all(isinstance(n, str) for n in made.classes):
        return "has classes that are not a tuple of names"
    made.manifest()  # which every run asks for
    return ""


def is_foreign(dataset: Dataset) -> bool:
    """Whether a data set is of another package."""
    return type(dataset).__module__.partition(".")[0] != "suite"


def check_truth(truth: Any, shape: tuple[int, int, int], dataset: Dataset) -> None:
    """BrokenDatasetError unless `truth` has this `shape` (B, S, S), in uint8, and known classes."""
    fault = ""
    if not isinstance(truth, np.ndarray) or truth.dtype != np.uint8 or truth.shape != shape:
        fault = f"is not an array {shape} of uint8"
    elif strange := set(np.unique(truth).tolist()) - {*range(len(dataset.classes)), IGNORED}:
        fault = f"has the value {min(strange)}, which is neither a class nor {IGNORED}"
    if fault:
        raise BrokenDatasetError(
            f"the truth that data set '{dataset.name}' gives of pixels {fault}: correct its code"
        )
