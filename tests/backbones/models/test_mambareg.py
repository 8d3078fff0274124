"""Mamba-Reg: published names, shapes and sizes; its numbers against the written equations."""

from collections.abc import Callable
from typing import Any

import pytest
import straight_line
import torch
from hypothesis import given
from hypothesis import strategies as st
from published_layouts import registers

from backbones import create_model, without_weights
from backbones.base import Backbone
from backbones.common.errors import UserError
from backbones.layers.positions import resample_positions

Shaken = Callable[..., Backbone]
# width, blocks, registers, how much the neck narrows, parameters (the paper gives 341 M for large)
SIZES = {
    "mambareg_tiny": (192, 24, 12, 1, 9_264_232),
    "mambareg_small": (384, 24, 12, 2, 27_801_064),
    "mambareg_base": (768, 24, 12, 4, 99_301_096),
    "mambareg_large": (1024, 48, 16, 8, 341_222_376),
}


@pytest.mark.parametrize("name", SIZES)
def test_names_shapes_and_number_of_parameters_are_the_published_ones(name: str) -> None:
    *sizes, parameters = SIZES[name]
    model = without_weights(name)
    assert {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()} == registers(
        *sizes
    )
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    assert model.describe().length == 196 + sizes[2]


def test_registers_stand_where_the_released_code_puts_them() -> None:
    with torch.device("meta"):
        base, large = create_model("mambareg_base"), create_model("mambareg_large", depth=1)
    assert base.special_places == (15, 31, 47, 63, 79, 95, 111, 127, 143, 159, 175, 191)
    assert large.special_places == (
        11,
        23,
        35,
        47,
        59,
        71,
        83,
        95,
        107,
        119,
        131,
        143,
        155,
        167,
        179,
        191,
    )


@given(st.integers(1, 6), st.integers(1, 9))
def test_registers_are_spread_evenly_at_any_size(side: int, count: int) -> None:
    with torch.device("meta"):
        model = create_model(
            "mambareg_tiny", dim=16, depth=1, image_size=16 * side, registers=count
        )
    places = model.special_places
    gaps = [
        after - before - 1
        for before, after in zip((-1, *places), (*places, model.describe().length), strict=True)
    ]
    assert set(gaps[:-1]) == {side * side // (count + 1)}
    assert sum(gaps) == side * side
    assert gaps[0] <= gaps[-1] <= gaps[0] + count


CASES: list[dict[str, Any]] = [
    {"image_size": 16, "patch": 4, "stride": 4, "depth": 2, "registers": 3, "reduce": 2},
    {"image_size": 16, "patch": 4, "stride": 4, "depth": 1, "registers": 5, "reduce": 1},
    {
        "image_size": 12,
        "patch": 4,
        "stride": 4,
        "depth": 1,
        "registers": 12,
        "reduce": 4,
    },  # more registers than patches
]


@pytest.mark.parametrize("config", CASES)
@pytest.mark.parametrize(
    ("dtype", "kernel", "error"),
    [
        (torch.float64, "auto", 1e-9),
        (torch.float32, "cpu", 1e-4),
        (torch.float32, "reference", 1e-4),
    ],
)
def test_logits_are_those_of_the_equations(
    config: dict[str, Any], dtype: torch.dtype, kernel: str, error: float, shaken: Shaken
) -> None:
    sizes = {"dim": 24, "states": 5, "classes": 7}
    model = shaken(create_model("mambareg_small", kernel=kernel, **sizes, **config).to(dtype))
    side = config["image_size"]
    images = torch.randn(
        2, 3, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    state = {name: tensor.double() for name, tensor in model.state_dict().items()}
    with torch.inference_mode():
        result = model(images.to(dtype))
    for image, logits in zip(images, result, strict=True):
        expected = straight_line.mambareg(
            state, image.to(dtype).double(), config["stride"], config["depth"]
        )
        assert (logits.double() - expected).abs().max() < error * max(
            1.0, float(expected.abs().max())
        )


def test_resized_respreads_the_registers(shaken: Shaken) -> None:
    sizes = {
        "dim": 16,
        "depth": 1,
        "states": 4,
        "patch": 4,
        "stride": 4,
        "classes": 3,
        "registers": 2,
    }
    model = shaken(create_model("mambareg_tiny", image_size=16, **sizes).double())
    small = model.resized(8)
    state = dict(model.state_dict())
    state["pos_embed"] = resample_positions(state["pos_embed"], (4, 4), (2, 2))
    image = torch.randn(3, 8, 8, dtype=torch.float64)
    with torch.inference_mode():
        logits = small(image[None])[0]
    assert (logits - straight_line.mambareg(state, image, 4, 1)).abs().max() < 1e-9
    assert (model.special_places, small.special_places) == ((5, 11), (1, 3))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"reduce": 5}, "reduce"),
        ({"registers": 0}, "registers 0"),
        ({"divide": 3}, "true or false"),
    ],
)
def test_sizes_that_cannot_be_are_refused(settings: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        create_model("mambareg_small", **settings)
