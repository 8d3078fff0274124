"""Images by which a plan is made: others than those evaluated, in batches as a model takes them."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from backbones import create_model
from backbones.common.errors import UserError
from suite.config.run_spec import RunSpec
from suite.data import open_dataset
from suite.plan.calibration import calibrated_on, calibration, calibration_batches
from suite.plan.loading import Opened

Specs = Callable[..., RunSpec]


def test_images_are_of_another_split_or_beside_those_evaluated(small: Specs) -> None:
    spec = small(data="fashion-clutter", split="test")
    opened = Opened()
    data, images = calibration(
        "It chooses", "wait", spec, opened, opened.dataset(spec), np.arange(9)
    )
    assert (data.split, len(images)) == ("dev", 256)
    own, blots = small(), open_dataset("blots")
    data, images = calibration("It chooses", "wait", own, opened, blots, np.arange(12))
    assert data is blots
    assert images.tolist() == list(range(12, 30))
    with pytest.raises(
        UserError, match=r"^It chooses on images that are not evaluated, and 15 are left"
    ):
        calibration("It chooses", "wait", own, opened, blots, np.arange(15))


@pytest.mark.usefixtures("small")
def test_batches_are_the_samples_in_order() -> None:
    model, data = create_model("vim_mini"), open_dataset("blots")
    images = np.array([2, 3, 5, 7, 11])
    parts = list(calibration_batches(model, data, images, 2))
    assert [len(part) for part in parts] == [2, 2, 1]
    assert torch.equal(torch.cat(parts), torch.from_numpy(data.samples(images, 40)))


def test_the_images_in_words() -> None:
    words = calibrated_on(256, "images", "dev", "0123456789abcdef")
    assert words == "256 dev images, none of them evaluated (hash 01234567)"
