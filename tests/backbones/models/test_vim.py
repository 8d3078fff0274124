"""Vim: published names, shapes and sizes; its numbers against the written equations."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import straight_line
import torch
from published_layouts import class_token

from backbones import create_model, without_weights
from backbones.base import Backbone
from backbones.layers.positions import interpolate_pos_embed

Shaken = Callable[..., Backbone]
WIDTHS = {"vim_tiny": 192, "vim_small": 384, "vim_base": 768}
PARAMETERS = {"vim_tiny": 7_148_008, "vim_small": 25_796_584, "vim_base": 97_598_440}


def on_meta(name: str) -> Backbone:
    return without_weights(name)


@pytest.mark.parametrize("name", WIDTHS)
def test_names_shapes_and_number_of_parameters_are_the_published_ones(name: str) -> None:
    model = on_meta(name)
    assert {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()} == class_token(
        WIDTHS[name], 24
    )
    assert sum(parameter.numel() for parameter in model.parameters()) == PARAMETERS[name]
    assert model.special_places == (98,)
    assert model.depth == 24


@pytest.mark.parametrize("name", ["vim_tiny", "vim_small"])
def test_stride_eight_overlaps_patches_to_730_tokens(name: str) -> None:
    model = on_meta(f"{name}_stride8")
    assert {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()} == class_token(
        WIDTHS[name], 24, 730
    )
    assert model.describe().length == 730
    assert model.special_places == (364,)
    assert model.image_size_for(27) == 224


CASES: list[dict[str, Any]] = [
    {"image_size": 12, "patch": 4, "stride": 4, "depth": 3},  # 9 patches: the class token is fifth
    {"image_size": 16, "patch": 4, "stride": 4, "depth": 2},
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
    model = shaken(create_model("vim_nano", dim=24, states=5, kernel=kernel, **config).to(dtype))
    size = config["image_size"]
    images = torch.randn(
        2, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    state = {name: tensor.double() for name, tensor in model.state_dict().items()}
    with torch.inference_mode():
        result = model(images.to(dtype))
    for image, logits in zip(images, result, strict=True):
        expected = straight_line.vim(
            state, image.to(dtype).double(), config["stride"], config["depth"]
        )
        assert (logits.double() - expected).abs().max() < error * max(
            1.0, float(expected.abs().max())
        )


def test_the_class_token_stands_between_the_halves_and_is_read_wherever_it_stands(
    shaken: Shaken,
) -> None:
    model = shaken(create_model("vim_nano", image_size=16, depth=1))
    tokens = model.embed(torch.randn(2, 3, 16, 16), torch.tensor([5, 9]))
    assert tokens.special.tolist() == [[8], [8]]
    assert tokens.image.tolist() == [5, 9]
    assert tokens.grid == (1, 4, 4)
    embedded = tokens.branch - model.get_parameter("pos_embed")
    torch.testing.assert_close(embedded[:, 8], model.get_parameter("cls_token")[0].expand(2, -1))
    whole = model.readout(tokens)
    moved = torch.roll(torch.arange(17), 3)
    elsewhere = type(tokens)(
        **{
            **tokens.__dict__,
            "branch": tokens.branch[:, moved],
            "residual": tokens.residual[:, moved],
            "special": torch.full((2, 1), 11),
        }
    )
    assert torch.equal(model.readout(elsewhere), whole)


def test_resized_is_the_same_model_with_resampled_positions(shaken: Shaken) -> None:
    model = shaken(create_model("vim_nano", depth=2).double())
    small = model.resized(28)
    state = dict(model.state_dict())
    state["pos_embed"] = interpolate_pos_embed(state["pos_embed"], 98, (14, 14), 24, (7, 7))
    image = torch.randn(3, 28, 28, dtype=torch.float64)
    with torch.inference_mode():
        logits = small(image[None])[0]
    assert (logits - straight_line.vim(state, image, 4, 2)).abs().max() < 1e-9
    assert small.describe().patches == 49
    assert small.special_places == (24,)
    assert (model.image_size, model.describe().patches, model.special_places) == (56, 196, (98,))
    assert small.image_size_for(7) == 28


def test_training_at_a_smaller_size_teaches_the_one_position_embedding() -> None:
    model = create_model("vim_nano", depth=1).train()
    model.resized(28)(torch.randn(2, 3, 28, 28)).square().sum().backward()
    gradient = model.get_parameter("pos_embed").grad
    assert gradient is not None
    assert bool((gradient[0, 98].abs() > 0).any())
    assert float((gradient[0].abs().sum(1) > 0).float().mean()) > 0.9


def test_initial_weights_follow_the_published_training() -> None:
    model = create_model("vim_tiny", depth=4)
    state = model.state_dict()
    assert torch.equal(state["layers.0.mixer.A_log"][3], torch.log(torch.arange(1.0, 17)))
    assert bool((state["layers.3.mixer.D_b"] == 1).all())
    step = torch.nn.functional.softplus(state["layers.1.mixer.dt_proj.bias"])
    assert 1e-3 * 0.99 <= float(step.min()) <= float(step.max()) <= 1e-1 * 1.01
    bound = math.sqrt(2 / (1 + 5)) * math.sqrt(3 / 384) / math.sqrt(4)
    assert 0.98 * bound < float(state["layers.2.mixer.out_proj.weight"].abs().max()) <= bound
    assert float(state["head.weight"].std()) == pytest.approx(0.02, rel=0.05)
    assert not bool(state["head.bias"].any())
