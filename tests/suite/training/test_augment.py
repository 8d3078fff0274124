"""Augmentation by its definitions: crops, mixes and dropped branches seen in the output."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from backbones.sequence import new_sequence
from suite.training.augment import Augmentation
from suite.training.drop_path import DropPath, drop_paths


@pytest.fixture(autouse=True)
def _seeded(_torch_as_it_was: None) -> None:
    torch.manual_seed(0)


def batch(seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(6, 3, 8, 8, generator=generator), torch.randint(5, (6,), generator=generator)


def altered(how: Augmentation, image: Tensor) -> Tensor:
    alter = how.of_image(image.shape[-1])
    assert alter is not None
    return alter(image)


def test_the_defaults_leave_images_alone() -> None:
    assert Augmentation().of_image(16) is None
    images, labels = batch(0)
    unchanged = Augmentation().of_batch(5)(images, labels)
    assert unchanged[0] is images
    assert unchanged[1] is labels


def test_a_crop_is_a_part_of_the_picture_at_the_size_of_the_whole() -> None:
    ramp = torch.arange(64, dtype=torch.uint8).repeat(3, 64, 1) * 4
    seen = set()
    for _ in range(40):
        crop = altered(Augmentation(smallest_crop=0.5), ramp)
        row = crop[0, 30].double()
        assert crop.shape == (3, 64, 64)
        assert bool((row.diff() >= 0).all())
        width = float(row[-1] - row[0]) / 252
        assert (
            0.5 * 3 / 4 < width**2 < 4 / 3 + 0.01
        )  # between half of the area and all of it, at 3:4 to 4:3
        seen.add(float(row[0]))
    assert len(seen) > 10


def test_erasing_greys_a_rectangle_and_nothing_else() -> None:
    image = torch.zeros(3, 32, 32, dtype=torch.uint8)
    grey = altered(Augmentation(erasing=1.0), image) == 128
    assert torch.equal(grey[0], grey[1])
    rows, columns = grey[0].any(1), grey[0].any(0)
    assert torch.equal(grey[0], rows[:, None] & columns[None, :])
    assert 0.01 < float(grey[0].double().mean()) < 0.4


def test_operations_stay_pictures() -> None:
    image = torch.randint(0, 256, (3, 16, 16), dtype=torch.uint8)
    made = [altered(Augmentation(operations=2), image) for _ in range(10)]
    assert all(one.shape == image.shape and one.dtype == torch.uint8 for one in made)
    assert any(not torch.equal(one, image) for one in made)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_mixup_is_the_mix_that_its_labels_say(seed: int) -> None:
    images, labels = batch(seed)
    torch.manual_seed(seed)
    mixed, shares = Augmentation(mixup=1.0).of_batch(5)(images.clone(), labels)
    share = 1 - mixing_weight(labels, shares)
    torch.testing.assert_close(
        mixed, share * images + (1 - share) * images.roll(1, 0), rtol=1e-4, atol=1e-4
    )


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_cutmix_pastes_as_much_as_its_labels_say(seed: int) -> None:
    images, labels = batch(seed)
    torch.manual_seed(seed)
    mixed, shares = Augmentation(cutmix=1.0).of_batch(5)(images.clone(), labels)
    pasted = (mixed == images.roll(1, 0)).all(1)
    assert bool(((mixed == images).all(1) | pasted).all())
    assert float(pasted[0].double().mean()) == pytest.approx(
        mixing_weight(labels, shares), abs=1e-6
    )


def mixing_weight(labels: Tensor, shares: Tensor) -> float:
    """The other image's share, from a row of two classes."""
    torch.testing.assert_close(shares.sum(1), torch.ones(len(labels)))
    other = labels.roll(1)
    rows = torch.nonzero(labels != other)[:, 0]
    weights = shares[rows, other[rows]]
    assert bool((weights - weights[0]).abs().max() < 1e-6)
    return float(weights[0])


def test_the_asked_share_of_batches_is_mixed_by_both_ways() -> None:
    images, labels = batch(0)
    mix = Augmentation(mixup=1.0, cutmix=1.0, mixed=0.5).of_batch(5)
    made = [mix(images, labels) for _ in range(400)]
    plain = sum(shares is labels for _, shares in made)
    assert 150 < plain < 250
    pasted = (
        sum(bool(((one == images) | (one == images.roll(1, 0))).all()) for one, _ in made) - plain
    )
    assert 60 < pasted < 140


def test_a_dropped_branch_is_nothing_and_the_others_make_up_for_it() -> None:
    tokens = new_sequence(torch.randn(2000, 3, 2), [1], (1, 1, 2))
    dropped = DropPath(0.25)(tokens)
    assert torch.equal(dropped.residual, tokens.residual)
    kept = dropped.branch.flatten(1).any(1)
    torch.testing.assert_close(dropped.branch[kept], tokens.branch[kept] / 0.75)
    assert 0.2 < 1 - float(kept.double().mean()) < 0.3


def test_later_blocks_are_dropped_more_often() -> None:
    plan = drop_paths(0.4, 5)
    assert {site: reducer.rate for site, reducer in plan.items()} == pytest.approx(
        {2: 0.1, 3: 0.2, 4: 0.3}
    )  # type: ignore[attr-defined]
    assert drop_paths(0.0, 5) == {}
