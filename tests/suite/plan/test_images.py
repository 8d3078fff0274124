"""No image of a run is one that its weights were trained on."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from backbones.common.errors import UserError
from suite.data.base import Dataset, Manifest, Pixels, Samples
from suite.data.trained_on import Training, hashes
from suite.plan import images
from suite.plan.images import choose_images, choose_unseen

SEEN = np.arange(0, 60, 3)


class Squares(Dataset):
    """Sixty images of three classes, each of one colour of its own."""

    name, split, classes = "squares", "dev", ("a", "b", "c")
    labels = np.arange(60) % 3

    def image(self, index: int) -> Pixels:
        return np.full((2, 2, 3), index, np.uint8)

    def sample(self, index: int, image_size: int) -> Samples:
        raise AssertionError("no model is asked")

    def identity(self) -> Manifest:
        return {}


DATA = Squares()


@pytest.fixture(autouse=True)
def _records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "training_of", lambda model: model.training)


def model(*seen: int) -> Any:
    record = Training(DATA.classes, frozenset(hashes(DATA, seen)))
    return SimpleNamespace(training=record if seen else None)


def test_a_sample_has_none_of_any_model() -> None:
    chosen, left_out = choose_unseen(DATA, "all", [model(*SEEN.tolist()), model(1), model()])
    assert chosen.tolist() == np.setdiff1d(np.arange(60), [*SEEN, 1]).tolist()
    assert left_out == len(SEEN) + 1
    # Those that picked settings are left out beside them.
    chosen, left_out = choose_unseen(DATA, "all", [model(1)], without=np.array([1, 2]))
    assert chosen.tolist() == [0, *range(3, 60)]
    assert left_out == 0
    with pytest.raises(
        UserError, match=r"59 of the 60 dev images are .* trained on, and no evidence: 1 are"
    ):
        choose_unseen(DATA, 2, [model(*range(59))])


def test_without_one_in_the_sample_it_stays_what_it_was() -> None:
    usual = choose_images(DATA, 30)
    strangers = [number for number in range(20) if number not in usual]
    chosen, left_out = choose_unseen(DATA, 30, [model(*strangers)])
    assert chosen.tolist() == usual.tolist()
    assert left_out == 0
