"""Mean IoU and its paired statistics against enumeration, loops and simulation."""

from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from suite.stats.compare import compare_pairs
from suite.stats.overlap import Overlaps, mean_iou
from suite.stats.relative import kept, kept_spread

Masks = NDArray[np.int64]
CLASSES = 4


def pixels_of(truth: Masks, predicted: Masks) -> NDArray[np.int64]:
    """Pixels (n, 2, K) in both and in either, counted class by class."""
    counts = np.zeros((len(truth), 2, CLASSES), np.int64)
    for image, number in product(range(len(truth)), range(CLASSES)):
        one, other = truth[image] == number, predicted[image] == number
        counts[image][0, number] = (one & other).sum()
        counts[image][1, number] = (one | other).sum()
    return counts


def looped(truth: Masks, predicted: Masks) -> float:
    """Mean IoU as its definition reads, over all images laid side by side."""
    ratios = []
    for number in range(CLASSES):
        one, other = truth == number, predicted == number
        if (one | other).any():
            ratios.append((one & other).sum() / (one | other).sum())
    return float(np.mean(ratios))


def masks(seed: int, images: int, wrong: float, side: int = 6) -> tuple[Masks, Masks]:
    """Truth, the same for every seed, and a prediction of which a share is drawn anew."""
    truth = np.random.default_rng(0).integers(0, CLASSES - 1, (images, side, side))
    rng = np.random.default_rng(seed)
    # Some images are harder than others, whatever the method.
    hard = np.random.default_rng(1).random(images)[:, None, None]
    redrawn = rng.random(truth.shape) < 2 * wrong * hard
    return truth, np.where(redrawn, rng.integers(0, CLASSES - 1, truth.shape), truth)


def outcomes(label: str, wrong: float, images: int = 40, seeds: tuple[int, ...] = (2,)) -> Overlaps:
    pixels = np.stack([pixels_of(*masks(seed, images, wrong)) for seed in seeds])
    return Overlaps(label, pixels, np.arange(images), 0.4)


def test_the_mean_is_over_classes_that_occur() -> None:
    truth, predicted = masks(3, 20, 0.4)
    assert mean_iou(pixels_of(truth, predicted).sum(0)) == pytest.approx(looped(truth, predicted))
    assert np.isnan(mean_iou(np.zeros((2, CLASSES))))
    # a class that is named and never there counts as a ratio of zero
    predicted[0] = CLASSES - 1
    assert mean_iou(pixels_of(truth, predicted).sum(0)) == pytest.approx(looped(truth, predicted))


def test_the_test_is_the_enumeration_of_all_exchanges() -> None:
    first, second = masks(3, 9, 0.3), masks(4, 9, 0.5)
    ones, others = pixels_of(*first), pixels_of(*second)
    seen = abs(mean_iou(ones.sum(0)) - mean_iou(others.sum(0)))
    beyond = []
    for exchanged in product((False, True), repeat=9):
        swap = np.array(exchanged)[:, None, None]
        one, other = np.where(swap, others, ones), np.where(swap, ones, others)
        difference = abs(mean_iou(one.sum(0)) - mean_iou(other.sum(0)))
        beyond.append(difference >= seen - 1e-12)
    numbers = np.arange(9)
    pairing = Overlaps("a", ones[None], numbers).paired(Overlaps("b", others[None], numbers))
    assert pairing.p == pytest.approx(np.mean(beyond), abs=0.025)


def test_the_interval_is_that_of_images_drawn_one_by_one() -> None:
    one, other = outcomes("a", 0.3), outcomes("b", 0.4)
    rng = np.random.default_rng(8)
    differences, alone = [], []
    for _ in range(3000):
        chosen = rng.integers(0, 40, 40)
        first = mean_iou(one.pixels[0, chosen].sum(0))
        differences.append(first - mean_iou(other.pixels[0, chosen].sum(0)))
        alone.append(first)
    low, high = np.quantile(differences, [0.025, 0.975])
    spread = one.paired(other).spread()
    assert (spread.low, spread.high) == pytest.approx((low, high), abs=0.1 * (high - low))
    low, high = np.quantile(alone, [0.025, 0.975])
    assert one.interval() == pytest.approx((low, high), abs=0.1 * (high - low))


def test_images_are_paired_by_number() -> None:
    one, other = outcomes("a", 0.3), outcomes("b", 0.4)
    shuffled = np.random.default_rng(5).permutation(40)
    moved = Overlaps("b", other.pixels[:, shuffled], other.images[shuffled], 0.4)
    for of_pair in ("p", "ahead", "smallest"):
        assert getattr(one.paired(moved), of_pair) == getattr(one.paired(other), of_pair)
    assert one.paired(moved).spread() == one.paired(other).spread()
    elsewhere = Overlaps("b", other.pixels, other.images + 1, 0.4)
    with pytest.raises(ValueError, match="same images"):
        one.paired(elsewhere)


def test_a_method_beside_itself() -> None:
    one = outcomes("a", 0.3)
    pairing = one.paired(one)
    assert (pairing.p, pairing.ahead, pairing.smallest) == (1.0, (0, 0), 0.0)
    assert (pairing.spread().low, pairing.spread().high) == (0, 0)
    assert kept((one, one)) == 1


def test_seeds_are_averaged_and_their_range_told() -> None:
    one, other = outcomes("a", 0.3, seeds=(2, 3, 4)), outcomes("b", 0.4)
    single = [seed.paired(other) for seed in one.each_seed()]
    spread = one.paired(other).spread()
    assert spread.kind == "range"
    assert spread.low == min(pairing.spread().low for pairing in single)
    assert spread.high == max(pairing.spread().high for pairing in single)
    assert one.accuracy == pytest.approx(np.mean([seed.accuracy for seed in one.each_seed()]))
    # many seeds of one method, one of the other: whichever comes first
    many = outcomes("a", 0.3, seeds=tuple(range(2, 8)))
    assert many.paired(other).spread().kind == "interval"
    assert many.paired(other).p == other.paired(many).p
    assert kept_spread((other, one)).kind == "range"


def test_interval_and_test_agree_whatever_the_level() -> None:
    one = outcomes("a", 0.30)
    for wrong in (0.30, 0.31, 0.33, 0.36, 0.45):
        other = outcomes("b", wrong, seeds=(9,))
        for row in compare_pairs([(one, other), (other, one)]):
            assert row.significant == (row.p_holm is not None and row.p_holm < 0.05)


@pytest.mark.parametrize("seeds", [(9,), (9, 10, 11)])
def test_a_corrected_interval_contains_the_uncorrected_one(seeds: tuple[int, ...]) -> None:
    one = outcomes("a", 0.30)
    for wrong in (0.31, 0.33, 0.35, 0.37):
        pairing = outcomes("b", wrong, seeds=seeds).paired(one)
        # also a test that contradicts the interval
        for p in (pairing.p, 0.04, 0.004):
            inner = pairing.corrected(p, 0.05)
            for level in (0.05, 0.03, 0.01, 0.002):
                spread = pairing.corrected(p, level)
                assert spread.low <= inner.low <= inner.high <= spread.high
                holds = spread.low <= 0 <= spread.high
                assert holds == (p >= level) or (spread.kind == "range" and holds)
                inner = spread


def test_the_smallest_difference_is_found_four_times_in_five() -> None:
    """Of methods apart by it in the mean, the normal test at 5 % finds about four in five."""
    pairing = outcomes("a", 0.3).paired(outcomes("b", 0.4))
    error = (pairing.drawn - pairing.against).std()
    drawn = np.random.default_rng(0).normal(pairing.smallest, error, 100_000)
    assert (np.abs(drawn) > 1.96 * error).mean() == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("shape", [(40, 2, 4), (1, 40, 3, 4), (1, 39, 2, 4)])
def test_what_fits_no_images_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="pixels"):
        Overlaps("a", np.ones(shape, np.int64), np.arange(40))
