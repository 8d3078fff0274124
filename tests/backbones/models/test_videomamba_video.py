"""VideoMamba for clips: published names and shapes; its numbers against the equations."""

from collections.abc import Callable
from typing import Any

import pytest
import straight_line
import torch
from published_layouts import video

from backbones import create_model
from backbones.base import Backbone
from backbones.common.errors import UserError
from backbones.layers.positions import interpolate_pos_embed

Shaken = Callable[..., Backbone]
# width, blocks, parameters at 8 frames: the image model's, a head of 400, and 8 more embeddings
SIZES = {
    "videomamba_tiny_video": (192, 24, 7_148_008 - 600 * 193 + 8 * 192),
    "videomamba_small_video": (384, 24, 25_796_584 - 600 * 385 + 8 * 384),
    "videomamba_middle_video": (576, 32, 74_217_448 - 600 * 577 + 8 * 576),
}


@pytest.mark.parametrize("frames", [8, 16, 32, 64])
@pytest.mark.parametrize("name", SIZES)
def test_names_shapes_and_number_of_parameters_are_the_published_ones(
    name: str, frames: int
) -> None:
    dim, depth, parameters = SIZES[name]
    with torch.device("meta"):
        model = create_model(name, frames=frames)
    assert {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()} == video(
        dim, depth, frames
    )
    assert (
        sum(parameter.numel() for parameter in model.parameters())
        == parameters + (frames - 8) * dim
    )
    assert (model.frames, model.special_places, model.describe().length) == (
        frames,
        (0,),
        1 + frames * 196,
    )


CASES: list[dict[str, Any]] = [
    {"image_size": 8, "patch": 4, "stride": 4, "depth": 2, "frames": 3},
    {"image_size": 12, "patch": 4, "stride": 2, "depth": 1, "frames": 2},
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
    model = shaken(
        create_model("videomamba_tiny_video", kernel=kernel, **sizes, **config).to(dtype)
    )
    side, frames = config["image_size"], config["frames"]
    clips = torch.randn(
        2, 3, frames, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    state = {name: tensor.double() for name, tensor in model.state_dict().items()}
    with torch.inference_mode():
        result = model(clips.to(dtype))
    for clip, logits in zip(clips, result, strict=True):
        expected = straight_line.videomamba_video(
            state, clip.to(dtype).double(), config["stride"], config["depth"]
        )
        assert (logits.double() - expected).abs().max() < error * max(
            1.0, float(expected.abs().max())
        )


def test_smaller_frames_are_the_same_model_with_resampled_positions(shaken: Shaken) -> None:
    config = {
        "dim": 16,
        "depth": 1,
        "states": 4,
        "patch": 4,
        "stride": 4,
        "classes": 3,
        "frames": 2,
    }
    model = shaken(create_model("videomamba_tiny_video", image_size=16, **config).double())
    small = model.resized(8)
    state = dict(model.state_dict())
    state["pos_embed"] = interpolate_pos_embed(state["pos_embed"], 0, (4, 4), 0, (2, 2))
    clip = torch.randn(3, 2, 8, 8, dtype=torch.float64)
    with torch.inference_mode():
        logits = small(clip[None])[0]
    assert (logits - straight_line.videomamba_video(state, clip, 4, 1)).abs().max() < 1e-9
    assert small.embed(clip[None]).grid == (2, 2, 2)


@pytest.mark.parametrize("shape", [(2, 3, 224, 224), (2, 3, 4, 224, 224), (2, 8, 3, 224, 224)])
def test_anything_but_clips_is_refused_with_the_fix(shape: tuple[int, ...]) -> None:
    with torch.device("meta"):
        model = create_model("videomamba_tiny_video", depth=1)
        with pytest.raises(UserError, match="sample 8 frames"):
            model(torch.zeros(shape))


def test_a_clip_of_one_frame_is_an_image() -> None:
    with pytest.raises(UserError, match=r"use videomamba_tiny$"):
        create_model("videomamba_tiny_video", frames=1)
