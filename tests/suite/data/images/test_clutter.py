import hashlib
import pickle
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import Philox
from scipy.ndimage import map_coordinates

from backbones.common.errors import UserError
from suite.data import open_dataset
from suite.data.images import noise
from suite.data.images.clutter import (
    DICE,
    FOREGROUND_SHARE,
    MEAN,
    STD,
    WORDS,
    FashionClutter,
    random_words,
    render,
    token_coverage,
)
from suite.data.images.sources import Garments, bundled


@pytest.fixture(scope="module")
def garments() -> Garments:
    return bundled("test")


@pytest.fixture(scope="module")
def drawn(garments: Garments) -> tuple[np.ndarray, np.ndarray]:
    return render(garments, np.arange(400))


def test_pixels_of_generator_version_1_never_change(garments: Garments) -> None:
    """Weights were trained and results made on these bytes: a change needs a new version."""
    images, alpha = render(garments, np.arange(0, 2000, 40), variant=3)
    assert hashlib.sha256(images.tobytes() + alpha.tobytes()).hexdigest() == GOLDEN


GOLDEN = "b378f693dde9dcdd2d8f747dbc859c0bf7b3d33a3b393caa2e3add596a2dc742"


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 1999), min_size=1, max_size=9), st.sampled_from([0, 1, 2**32 - 1]))
def test_an_image_does_not_depend_on_its_batch(rows: list[int], variant: int) -> None:
    garments = bundled("test")
    images, alpha = render(garments, np.array(rows), variant)
    for place, row in enumerate(rows):
        alone, alone_alpha = render(garments, np.array([row]), variant)
        assert np.array_equal(alone[0], images[place])
        assert np.array_equal(alone_alpha[0], alpha[place])


def test_threads_and_pickled_sources_draw_the_same(
    garments: Garments, drawn: tuple[np.ndarray, np.ndarray]
) -> None:
    copies = [pickle.loads(pickle.dumps(garments)) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda copy: render(copy, np.arange(400))[0], copies)
    assert np.array_equal(first, drawn[0])
    assert np.array_equal(second, drawn[0])


def test_variant_split_and_source_each_make_another_image(
    garments: Garments, drawn: tuple[np.ndarray, np.ndarray]
) -> None:
    row = np.array([5])
    assert not np.array_equal(render(garments, row, 1)[0][0], drawn[0][5])
    for split, source in (("dev", 5), ("test", 6)):
        assert not np.array_equal(
            random_words(split, np.array([source]), 0), random_words("test", np.array([5]), 0)
        )
    with pytest.raises(ValueError, match="variant"):
        render(garments, row, -1)


def test_words_are_the_philox_stream_of_their_key() -> None:
    words = random_words("dev", np.array([77]), 9)[0]
    key = np.array([(1 << 32) + 1, (9 << 32) + 77], np.uint64)
    assert np.array_equal(words, Philox(key=key).random_raw(WORDS))


def test_rows_outside_are_refused(garments: Garments) -> None:
    for rows in ([-1], [2000]):
        with pytest.raises(IndexError):
            render(garments, np.array(rows))
    assert render(garments, np.array([], np.int64))[0].shape == (0, 56, 56, 3)


def background(words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The dice of one image, and its canvas before anything is pasted."""
    dice = (words[:DICE] >> np.uint64(33)).astype(np.int64)
    canvas = np.empty((1, 56, 56, 3), np.uint8)
    noise.draw_noise(words[None, DICE:].view(np.uint8), dice[None, -12:], canvas)
    return dice, canvas[0]


def paste_by_hand(
    canvas: np.ndarray, source: np.ndarray, corner: Sequence[int], side: int, dice: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The pasting rule in floats, pixel by pixel, without premultiplied shortcuts."""
    scale = (256 + (int(dice[0]) * 129 >> 31)) / 256
    size = int(np.ceil(side * scale))
    top, left = (int(die) * (56 - size + 1) >> 31 for die in dice[1:3])
    tint = np.array([77 + (int(die) * 179 >> 31) for die in dice[3:6]]) / 255
    window = source[corner[0] : corner[0] + side, corner[1] : corner[1] + side].astype(float)
    padded = np.pad(window, 1)
    mask = (padded >= 8).astype(float)
    alpha = np.zeros((56, 56))
    result = canvas.astype(float)
    for y in range(size):
        for x in range(size):
            at = (np.array([y, x]) + 0.5) / scale - 0.5 + 1
            low = np.floor(at).astype(int)
            low = np.clip(low, 0, side)
            part = at - low
            weights = np.outer([1 - part[0], part[0]], [1 - part[1], part[1]])
            patch = np.s_[low[0] : low[0] + 2, low[1] : low[1] + 2]
            cover = (weights * mask[patch]).sum()
            value = (weights * mask[patch] * padded[patch]).sum()
            alpha[top + y, left + x] = cover
            result[top + y, left + x] = result[top + y, left + x] * (1 - cover) + value * tint
    return result, alpha


def test_composition_agrees_with_floating_point_by_hand(garments: Garments) -> None:
    words = random_words("test", garments.source[:6], 0)
    for row in range(6):
        image, alpha = render(garments, np.array([row]))
        dice, canvas = background(words[row])
        expected = canvas.astype(float)
        for fragment in range(4):
            die = dice[6 + 9 * fragment : 15 + 9 * fragment]
            choice = int(die[0]) * 2000 >> 31
            choice += choice == row
            corner = [4 + (int(d) * 11 >> 31) for d in die[1:3]]
            expected = paste_by_hand(expected, garments.images[choice], corner, 10, die[3:])[0]
        expected, cover = paste_by_hand(expected, garments.images[row], (0, 0), 28, dice[:6])
        # Five layers each round down once, and weights carry 8 bits.
        assert np.abs(image[0] - expected).max() < 6
        assert np.abs(image[0] - expected).mean() < 1
        assert np.abs(alpha[0] / 255 - cover).max() < 0.02


def test_a_garment_is_never_its_own_distractor() -> None:
    """With a pool of two, every fragment comes from the other garment, here a blank one."""
    images = np.stack([np.full((28, 28), 200, np.uint8), np.zeros((28, 28), np.uint8)])
    pair = Garments("dev", images, np.array([0, 1]), np.array([0, 1]), np.array([0, 1]))
    for variant in range(20):
        canvas = background(random_words("dev", np.array([0]), variant)[0])[1]
        image, alpha = render(pair, np.array([0]), variant)
        assert np.array_equal(image[0][alpha[0] == 0], canvas[alpha[0] == 0])


def test_noise_agrees_with_linear_interpolation_in_floats() -> None:
    rng = np.random.default_rng(1)
    knots = rng.integers(0, 256, (3, noise.LATTICE_BYTES), dtype=np.uint8)
    shifts = rng.integers(0, 1 << 31, (3, 12))
    canvas = np.empty((3, 56, 56, 3), np.uint8)
    noise.draw_noise(knots, shifts, canvas)
    for image in range(3):
        total, start = np.zeros((3, 56, 56)), 0
        for octave, spacing in enumerate((32, 16, 8, 4, 2, 1)):
            side = noise.KNOTS[octave]
            at = [
                (np.arange(56) + shifts[image, 2 * octave + axis] % spacing) / spacing
                for axis in (0, 1)
            ]
            for channel in range(3):
                lattice = 2.0 * knots[image, start : start + side * side].reshape(side, side) - 255
                field = map_coordinates(lattice, np.meshgrid(*at, indexing="ij"), order=1)
                total[channel] += field * noise.WEIGHTS[octave] / 256
                start += side * side
        expected = np.clip(115 + 0.6 * total.mean(axis=0) + 0.4 * total, 0, 255)
        assert np.abs(canvas[image] - expected.transpose(1, 2, 0)).max() < 1.1


def test_noise_spectrum_falls_as_designed() -> None:
    rng = np.random.default_rng(0)
    canvas = np.empty((200, 56, 56, 3), np.uint8)
    knots = rng.integers(0, 256, (200, noise.LATTICE_BYTES), dtype=np.uint8)
    noise.draw_noise(knots, rng.integers(0, 1 << 31, (200, 12)), canvas)
    field = canvas.mean(axis=3)
    power = (np.abs(np.fft.fft2(field - field.mean(axis=(1, 2), keepdims=True))) ** 2).mean(axis=0)
    frequency = np.hypot(np.fft.fftfreq(56)[:, None], np.fft.fftfreq(56)[None])
    inner = (frequency > 0.03) & (frequency < 0.5)
    slope = np.polyfit(np.log(frequency[inner]), np.log(power[inner]) / 2, 1)[0]
    assert -1.3 < slope < -1.1
    assert 112 < canvas.mean() < 118


def test_noise_has_no_fixed_place(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    """Knots are shifted at random: the rim's pixels do not depend on their place in a token."""
    rim = drawn[0][:, :4].astype(float).mean(axis=(0, 3))
    assert rim.std() < 5


def test_a_quarter_of_the_tokens_is_foreground(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    foreground = token_coverage(drawn[1], (14, 14)) >= FOREGROUND_SHARE
    assert 0.23 < foreground.mean() < 0.30
    assert foreground.any(axis=(1, 2)).all()
    assert (~foreground).any(axis=(1, 2)).all()


def test_background_does_not_reveal_the_class(
    garments: Garments, drawn: tuple[np.ndarray, np.ndarray]
) -> None:
    """Nearest class centroid on the canvas with the garment's pixels greyed out is at chance."""
    images, alpha = drawn
    hidden = np.where((alpha > 0)[..., None], 115, images).astype(float).reshape(len(images), -1)
    # The hole itself tells the class by its shape, so each image is judged on its rim only.
    rim = hidden.reshape(-1, 56, 56, 3)[:, [0, 1, -2, -1]].reshape(len(images), -1)
    labels, half = garments.labels[:400], 200
    centroids = np.stack([rim[:half][labels[:half] == label].mean(axis=0) for label in range(10)])
    guess = ((rim[half:, None] - centroids) ** 2).sum(axis=2).argmin(axis=1)
    assert (guess == labels[half:]).mean() < 0.2


def test_coverage_counts_pixels_on_any_grid() -> None:
    alpha = np.zeros((1, 56, 56), np.uint8)
    alpha[0, :4, :2] = 255
    alpha[0, 55, 55] = 255
    coverage = token_coverage(alpha, (14, 14))[0]
    assert coverage[0, 0] == 0.5
    assert coverage[13, 13] == 1 / 16
    assert coverage.sum() == 0.5625
    assert np.isclose((token_coverage(alpha, (5, 9))[0] > 0).sum(), 2)
    with pytest.raises(ValueError, match="grid"):
        token_coverage(alpha, (57, 14))


def test_data_set_gives_what_was_drawn(
    garments: Garments, drawn: tuple[np.ndarray, np.ndarray]
) -> None:
    data = FashionClutter(garments)
    assert len(data) == 2000
    assert np.bincount(data.labels).tolist() == [200] * 10
    assert np.array_equal(data.image(3), drawn[0][3])
    expected = ((drawn[0][3] / 255.0 - MEAN) / STD).transpose(2, 0, 1)
    assert data.sample(3, 56).dtype == np.float32
    assert np.allclose(data.sample(3, 56), expected, atol=1e-5)
    assert np.array_equal(data.samples(np.array([9, 3]), 56)[1], data.sample(3, 56))
    assert data.sample(3, 28).shape == (3, 28, 28)
    assert np.array_equal(
        data.foreground(3, (14, 14)), token_coverage(drawn[1], (14, 14))[3] >= FOREGROUND_SHARE
    )
    with pytest.raises(IndexError):
        data.image(-1)


def test_manifest_tells_data_sets_apart(garments: Garments) -> None:
    manifest = FashionClutter(garments).manifest()
    assert manifest == open_dataset("fashion-clutter").manifest()
    hashes = {
        manifest["hash"],
        FashionClutter(garments, variant=1).manifest()["hash"],
        open_dataset("fashion-clutter", "dev").manifest()["hash"],
        open_dataset("fashion-mnist").manifest()["hash"],
    }
    assert len(hashes) == 4


def test_truth_is_where_a_garment_covers_half_a_pixel(garments: Garments) -> None:
    """By the pasting rule in floats: neither noise nor distractors are of a class."""
    data = open_dataset("fashion-clutter", task="segmentation")
    assert data.task == "segmentation"
    assert data.classes[:2] == ("background", "t-shirt")
    assert np.bincount(data.labels).tolist() == [0] + [200] * 10
    for row in (0, 7, 321):
        words = random_words("test", garments.source[row : row + 1], 0)[0]
        dice, canvas = background(words)
        _, alpha = paste_by_hand(canvas, garments.images[row], (0, 0), 28, dice[:6])
        truth = data.truth(row, 56)
        assert (truth.shape, truth.dtype) == ((56, 56), np.uint8)
        # Weights are whole 1/256: a pixel at the very edge of a half may fall on either side.
        sure = abs(alpha - 0.5) > 0.02
        expected = np.where(alpha >= 0.5, garments.labels[row] + 1, 0)
        assert np.array_equal(truth[sure], expected[sure])
        assert sure.mean() > 0.98
    assert np.array_equal(data.truths(np.array([321, 0]), 56)[0], data.truth(321, 56))


def test_truth_of_another_size_is_that_of_the_nearest_pixel() -> None:
    data = open_dataset("fashion-clutter", task="segmentation")
    drawn = data.truth(3, 56)
    assert np.array_equal(data.truth(3, 112), np.kron(drawn, np.ones((2, 2))))
    # The centre of every second pixel of 28 lies on the edge of two: the later one is taken.
    assert np.array_equal(data.truth(3, 28), drawn[1::2, 1::2])
    assert set(np.unique(data.truth(3, 61))) == {0, data.labels[3]}


def test_pixels_do_not_depend_on_the_task_and_hashes_of_classification_stay() -> None:
    classified = open_dataset("fashion-clutter", "dev")
    segmented = open_dataset("fashion-clutter", "dev", task="segmentation")
    rows = np.arange(5)
    assert np.array_equal(classified.samples(rows, 56), segmented.samples(rows, 56))
    assert segmented.manifest()["task"] == "segmentation"
    assert "task" not in classified.manifest()
    hashes = [classified.manifest()["hash"], classified.content(rows)]
    # Those of runs from before there was a task.
    assert [text[:8] for text in hashes] == ["deb124c2", "1cd882e4"]
    assert segmented.manifest()["hash"] != hashes[0]
    assert segmented.content(rows) != hashes[1]


def test_openers_name_what_they_cannot_do() -> None:
    with pytest.raises(UserError, match="takes no path"):
        open_dataset("fashion-clutter:/somewhere")
    with pytest.raises(UserError, match="did you mean test"):
        open_dataset("fashion-clutter", "tset")
    with pytest.raises(UserError, match="did you mean fashion-clutter"):
        open_dataset("fashion-cluter")
    with pytest.raises(UserError, match="not bundled"):
        open_dataset("fashion-clutter", "train", source="bundled")
    with pytest.raises(UserError, match="no path after the colon"):
        open_dataset("imagefolder:")
