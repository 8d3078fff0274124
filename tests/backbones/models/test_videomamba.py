"""VideoMamba: published names, shapes and sizes; its numbers against the written equations."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import straight_line
import torch
from published_layouts import class_token

from backbones import create_model, without_weights
from backbones.base import Backbone
from backbones.layers.positions import interpolate_pos_embed
from suite.training.recipes import RECIPES

Shaken = Callable[..., Backbone]
SIZES = {  # width, blocks, parameters
    "videomamba_tiny": (192, 24, 7_148_008),
    "videomamba_small": (384, 24, 25_796_584),
    "videomamba_middle": (576, 32, 74_217_448),
    "videomamba_base": (768, 24, 97_598_440),
}


@pytest.mark.parametrize("name", SIZES)
def test_names_shapes_and_number_of_parameters_are_the_published_ones(name: str) -> None:
    dim, depth, parameters = SIZES[name]
    model = without_weights(name)
    assert {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()} == class_token(
        dim, depth
    )
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    assert model.special_places == (0,)


CASES: list[dict[str, Any]] = [
    {"image_size": 16, "patch": 4, "stride": 4, "depth": 3},
    {"image_size": 12, "patch": 4, "stride": 2, "depth": 2},  # overlapping patches
    {
        "image_size": 4,
        "patch": 4,
        "stride": 4,
        "depth": 1,
    },  # a single patch, behind the class token
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
    model = shaken(
        create_model("videomamba_nano", dim=24, states=5, kernel=kernel, **config).to(dtype)
    )
    size = config["image_size"]
    images = torch.randn(
        2, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    state = {name: tensor.double() for name, tensor in model.state_dict().items()}
    with torch.inference_mode():
        result = model(images.to(dtype))
    for image, logits in zip(images, result, strict=True):
        expected = straight_line.videomamba(
            state, image.to(dtype).double(), config["stride"], config["depth"]
        )
        assert (logits.double() - expected).abs().max() < error * max(
            1.0, float(expected.abs().max())
        )


def test_the_class_token_stands_first_at_every_size(shaken: Shaken) -> None:
    model = shaken(create_model("videomamba_nano", depth=2).double())
    small = model.resized(28)
    state = dict(model.state_dict())
    state["pos_embed"] = interpolate_pos_embed(state["pos_embed"], 0, (14, 14), 0, (7, 7))
    image = torch.randn(3, 28, 28, dtype=torch.float64)
    with torch.inference_mode():
        logits = small(image[None])[0]
    assert (logits - straight_line.videomamba(state, image, 4, 2)).abs().max() < 1e-9
    assert model.embed(torch.zeros(2, 3, 56, 56)).special.tolist() == [[0], [0]]
    assert small.special_places == (0,)


def test_the_nano_is_of_vim_nanos_size_and_trained_by_its_recipe() -> None:
    one, other = (create_model(name) for name in ("videomamba_nano", "vim_nano"))
    assert {k: t.shape for k, t in one.state_dict().items()} == {
        k: t.shape for k, t in other.state_dict().items()
    }
    recipe = RECIPES["videomamba_nano"]
    assert recipe.backbone == "videomamba_nano"
    shorter = replace(RECIPES["vim_nano"], backbone="videomamba_nano", phases=recipe.phases)
    assert recipe == shorter
