"""Views against loops in plain Python, hand-made images, and properties of windows."""

from math import ceil, sqrt

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from backbones import create_model
from methods.parts.view import STEPS, View, corners, cropped, detail, gathered, leading
from methods.spec import parse

SIDE = 56
WHOLE = 14


def view_of(patches: int, zoom: float = 0.67, where: str = "detail", seed: int = 0) -> View:
    return View(zoom, where, patches, WHOLE, seed)


def images(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


def lost_by_halving(image: np.ndarray, top: int, left: int) -> float:
    """Energy about their means of the 2 x 2 pixels at (top, left), mean over them and colours."""
    total = 0.0
    for channel in range(3):
        block = [float(image[channel, top + y, left + x]) for y in (0, 1) for x in (0, 1)]
        mean = sum(block) / 4
        total += sum((value - mean) ** 2 for value in block) / 4
    return total / 3


def place_by_loops(image: np.ndarray, view: View) -> tuple[int, int]:
    """Top and left of the window of most detail, by trying every place of cells in fp64."""
    grid = ceil(sqrt(view.patches))
    shrunk = (view.patches / WHOLE**2) ** (view.zoom / 2)
    patch = SIDE / WHOLE / shrunk
    height, width = min(SIDE, view.patches / grid * patch), min(SIDE, grid * patch)
    cells, cell = STEPS * WHOLE, SIDE / WHOLE / STEPS
    tall, wide = (min(cells, max(1, round(length / cell))) for length in (height, width))
    energy = np.zeros((cells, cells))
    for row in range(cells):
        for column in range(cells):
            energy[row, column] = lost_by_halving(image, int(row * cell), int(column * cell))
    best, most = (0, 0), -1.0
    for row in range(cells - tall + 1):
        for column in range(cells - wide + 1):
            inside = energy[row : row + tall, column : column + wide].mean()
            if inside > most * (1 + 1e-9):
                best, most = (row, column), inside
    top = round((best[0] + tall / 2) * cell - height / 2)
    left = round((best[1] + wide / 2) * cell - width / 2)
    return (
        min(max(0, top), SIDE - round(height)),
        min(max(0, left), SIDE - round(width)),
    )


@pytest.mark.parametrize("patches", [40, 78, 117, 156, 169, 190])
def test_the_window_is_where_loops_find_most_detail(patches: int) -> None:
    batch = images(3, seed=patches)
    # rougher in one corner than elsewhere, as photographs are
    batch[1, :, 30:, 20:] *= 3
    found = corners(batch, torch.arange(3), view_of(patches))
    for image, corner in zip(batch.double().numpy(), found.tolist(), strict=True):
        assert tuple(corner) == place_by_loops(image, view_of(patches))


def test_detail_of_a_hand_made_image() -> None:
    """A chequered square of 8 pixels on a flat ground: variance 1 in its cells, 0 elsewhere."""
    image = torch.zeros(1, 3, 16, 16)
    signs = torch.ones(8, 8)
    signs[::2, ::2] = signs[1::2, 1::2] = -1
    image[0, :, 8:, 4:12] = signs
    expected = torch.zeros(4, 4)
    expected[2:, 1:3] = 1
    assert torch.allclose(detail(image, 4)[0], expected, atol=1e-6)
    # a slope has as much detail everywhere
    slope = torch.arange(16.0).expand(1, 3, 16, 16)
    assert torch.allclose(detail(slope, 4), torch.full((1, 4, 4), 0.25), atol=1e-4)
    # of an odd side the last row and column are in no pair
    assert torch.equal(detail(slope[..., :-1, :-1], 4), detail(slope[..., :-2, :-2], 4))


def test_the_window_holds_the_one_object_of_a_flat_image() -> None:
    image = torch.zeros(1, 3, SIDE, SIDE)
    image[:, :, 36:52, 8:20] = images(1)[:, :, :16, :12]
    view = view_of(60, zoom=0)
    (corner,) = corners(image, torch.arange(1), view).tolist()
    height, width = view.window(SIDE)
    assert corner[0] <= 36
    assert corner[0] + height >= 52
    assert corner[1] <= 8
    assert corner[1] + width >= 20


@given(patches=st.integers(1, WHOLE**2 - 1), zoom=st.floats(0, 1))
def test_windows_are_of_the_area_that_zoom_says(patches: int, zoom: float) -> None:
    view = view_of(patches, zoom)
    height, width = view.window(SIDE)
    assert view.grid == ceil(sqrt(patches))
    assert 0 < height <= SIDE
    assert 0 < width <= SIDE
    # The share of the image seen, to the power 1 / (1 - zoom), is the share of patches made.
    if width < SIDE:
        seen = height * width / SIDE**2
        assert seen == pytest.approx((patches / WHOLE**2) ** (1 - zoom), rel=1e-6)


def test_a_window_is_cut_out_of_its_image() -> None:
    batch = images(4)
    view = view_of(117)
    squares = cropped(batch, torch.arange(4), view)
    width = round(view.window(SIDE)[1])
    assert squares.shape == (4, 3, width, width)
    assert torch.equal(squares, gathered(batch, corners(batch, torch.arange(4), view), width))
    for image, square, (top, left) in zip(
        batch, squares, corners(batch, torch.arange(4), view).tolist(), strict=True
    ):
        rows = [min(top + step, SIDE - 1) for step in range(width)]
        assert torch.equal(square, image[:, rows][:, :, left : left + width])


def test_of_a_clip_all_frames_have_the_same_window() -> None:
    clips = torch.stack([images(3, seed=1), images(3, seed=2)], 2)
    view = view_of(100)
    squares = cropped(clips, torch.arange(3), view)
    corner = corners(clips, torch.arange(3), view)
    for frame in range(2):
        for image in range(3):
            top, left = corner[image].tolist()
            part = clips[image, :, frame, top : top + 8, left : left + 8]
            assert torch.equal(squares[image, :, frame, :8, :8], part)
    assert torch.allclose(
        detail(clips, 28), (detail(clips[:, :, 0], 28) + detail(clips[:, :, 1], 28)) / 2
    )


@pytest.mark.parametrize("where", ["detail", "centre", "random"])
def test_a_view_does_not_depend_on_the_batch(where: str) -> None:
    batch, numbers = images(5), torch.tensor([7, 3, 12, 0, 5])
    view = view_of(117, where=where)
    whole = cropped(batch, numbers, view)
    alone = [cropped(batch[i : i + 1], numbers[i : i + 1], view) for i in range(5)]
    assert torch.equal(whole, torch.cat(alone))


def test_random_windows_follow_the_seed_and_reach_every_place() -> None:
    batch = torch.zeros(500, 3, SIDE, SIDE)
    one, other = (
        corners(batch, torch.arange(500), view_of(80, where="random", seed=seed)) for seed in (0, 1)
    )
    assert not torch.equal(one, other)
    room = SIDE - round(view_of(80).window(SIDE)[0])
    assert set(one[:, 0].tolist()) == set(range(room + 1))


def test_the_centre_is_the_centre() -> None:
    view = view_of(81, where="centre")
    (corner,) = corners(images(1), torch.arange(1), view).tolist()
    height, width = (round(length) for length in view.window(SIDE))
    assert corner == [(SIDE - height) // 2, (SIDE - width) // 2]


@pytest.mark.parametrize("name", ["vim_nano", "videomamba_nano", "adventurer_nano", "deit_nano"])
def test_the_first_patches_and_the_special_tokens_stay(name: str) -> None:
    model = create_model(name)
    tokens = model.embed(images(2))
    cut = leading(tokens, 100)
    patches = tokens.patches()
    specials = len(model.special_places)
    assert cut.length == 100 + specials
    assert torch.equal(
        cut.branch.gather(1, cut.patches()[..., None].expand(-1, -1, cut.branch.shape[2])),
        tokens.branch.gather(1, patches[:, :100, None].expand(-1, -1, cut.branch.shape[2])),
    )
    special = cut.branch.gather(1, cut.special[..., None].expand(-1, -1, cut.branch.shape[2]))
    assert torch.equal(special, tokens.branch[:, list(model.special_places)])
    assert bool((cut.position.diff(dim=1) > 0).all())


def test_of_clips_each_frame_keeps_its_first_patches() -> None:
    model = create_model("videomamba_tiny_video", dim=16, depth=2, image_size=64, frames=3)
    clips = torch.randn(2, 3, 3, 64, 64)
    tokens = model.embed(clips)
    cut = leading(tokens, 5)
    special = tokens.position.gather(1, tokens.special)[0].tolist()
    kept = [place for place in cut.position[0].tolist() if place not in special]
    numbers = [place - sum(place > one for one in special) for place in kept]
    assert numbers == [frame * 16 + patch for frame in range(3) for patch in range(5)]


def test_options_make_views() -> None:
    method = parse("crop-shrink[zoom=0.5,where=centre]")
    assert method.method.view_of(**method.options) == View(0.5, "centre")
    assert method.composition() is None
    assert parse("downsample").method.view_of() is None
    assert View(0.5, "detail", seed=3).canonical() == View(0.5, "detail").canonical()
    assert View(0.5, "random", seed=3).canonical() != View(0.5, "random").canonical()
