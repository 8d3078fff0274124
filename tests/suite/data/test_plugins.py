"""A data set of another package that is none, or whose code fails, is one line; others stay."""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from backbones.common.errors import UserError
from suite.comparison import run_comparison
from suite.config.run_spec import RunSpec
from suite.data import DATASETS, open_dataset
from suite.data.base import Dataset, Request
from suite.data.loading.loader import batches

Specs = Callable[..., RunSpec]


class Grey(Dataset):
    """Ten grey pictures of three classes."""

    name, split, classes = "grey", "all", ("a", "b", "c")
    mean = std = (0.5, 0.5, 0.5)

    def __init__(self) -> None:
        self.labels = np.arange(10) % 3

    def image(self, index: int) -> Any:
        return np.full((32, 32, 3), 128, np.uint8)

    def sample(self, index: int, image_size: int) -> Any:
        return np.zeros((3, image_size, image_size), np.float32)

    def identity(self) -> Any:
        return {}


def changed(**attributes: Any) -> Callable[[Request], Any]:
    """A function that opens the grey pictures with other attributes; None: without them."""

    def opening(request: Request) -> Any:
        made = Grey()
        for name, value in attributes.items():
            if value is None:
                delattr(made, name)
            else:
                setattr(made, name, value)
        return made

    return opening


class Unidentified(Grey):
    """Fails where it says what it is."""

    def identity(self) -> Any:
        raise ZeroDivisionError("no number")


class Late(Grey):
    """Fails on one picture."""

    def sample(self, index: int, image_size: int) -> Any:
        if index == 7:
            raise KeyError("no such picture")
        return super().sample(index, image_size)


class Abstract(Dataset):
    """Has no methods."""


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (3, r"\(added\) is no function but of type int: give a function that takes"),
        (lambda request: [1, 2], "opens as list, not as a suite.data.base.Dataset"),
        (lambda request: {}["x"], r"cannot be opened \(KeyError: 'x' \(test_plugins.py:\d+"),
        (lambda request: sys.exit("bye"), r"cannot be opened \(SystemExit: bye"),
        (lambda: None, r"cannot be opened \(TypeError: "),
        (Abstract, r"cannot be opened \(TypeError: "),
        (lambda request: Unidentified(), r"cannot be opened \(ZeroDivisionError: no number"),
        (changed(labels=None), "has no labels: fix or uninstall it"),
        (changed(labels=["a", "b"] * 5), r"has labels that are not an array \(N,\) of int64"),
        (changed(labels=np.zeros(10, np.int32)), "has labels that are not"),
        (changed(classes=["a", "b"]), "has classes that are not a tuple of names"),
        (changed(classes=(0, 1)), "has classes that are not a tuple of names"),
    ],
)
def test_what_is_no_data_set_is_one_line_and_the_others_stay(
    broken: Any, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DATASETS._added, "broken", broken)
    monkeypatch.setitem(DATASETS._added, "grey", lambda request: Grey())
    with pytest.raises(UserError, match=f"data set 'broken' .*{words}") as error:
        open_dataset("broken")
    assert "\n" not in str(error.value)
    assert len(open_dataset("grey")) == 10
    assert {"broken", "grey", "fashion-clutter"} <= set(DATASETS)


def test_code_that_fails_on_a_picture_ends_the_run_in_one_line(
    small: Specs, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DATASETS._added, "late", lambda request: Late())
    spec = small(data="late", images=10, batch_size=5, methods=("norm",), budgets=(0.3,))
    words = r"data set 'grey' fails between images 5 and 9 \(KeyError: 'no such picture' \(test_pl"
    with pytest.raises(UserError, match=words):
        run_comparison(spec, tmp_path / "run", quiet=True, skip_damaged=True)


class Refusing(Grey):
    """Says of one picture that it cannot be read."""

    def sample(self, index: int, image_size: int) -> Any:
        if index == 7:
            raise UserError("picture 7 is damaged: fetch it again")
        return super().sample(index, image_size)


@pytest.mark.parametrize("skip", [False, True])
def test_a_picture_that_a_data_set_refuses_is_named_without_advice_that_does_not_help(
    skip: bool, small: Specs, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DATASETS._added, "refusing", lambda request: Refusing())
    spec = small(data="refusing", images=10, batch_size=5, methods=("norm",), budgets=(0.3,))
    with pytest.raises(UserError, match=r"^picture 7 is damaged: fetch it again$"):
        run_comparison(spec, tmp_path / "run", quiet=True, skip_damaged=skip)


@pytest.mark.parametrize(
    ("truth", "fault"),
    [
        (np.zeros((32, 32), np.int64), r"is not an array \(2, 32, 32\) of uint8"),
        (np.zeros((30, 32), np.uint8), r"is not an array \(2, 32, 32\) of uint8"),
        (np.full((32, 32), 3, np.uint8), "has the value 3, which is neither a class nor 255"),
        ([[0]], r"is not an array \(2, 32, 32\) of uint8"),
    ],
)
def test_a_truth_that_is_none_is_one_line(truth: Any, fault: str) -> None:
    data = Grey()
    data.task = "segmentation"
    data.truth = lambda index, image_size: truth  # type: ignore[method-assign]
    with pytest.raises(UserError, match=f"that data set 'grey' gives of pixels {fault}: correct"):
        list(batches(data, np.arange(2), 2, 32))
