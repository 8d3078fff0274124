"""PlainMamba: published names, shapes and sizes; its numbers against the written equations."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import straight_line_plain as straight_line
import torch
from published_layouts import plain
from torch import Tensor

from backbones import create_model, without_weights
from backbones.base import Backbone
from backbones.common.errors import UserError
from backbones.layers.positions import resample_positions
from backbones.layers.zigzag import WALKS, paths, walks
from backbones.layers.zigzag_mixer import ZigzagMixer
from backbones.sequence import TokenSequence, new_sequence
from methods.parts.assemble import Arranged, Merge, arrange, assembled
from methods.parts.match import Matching
from methods.parts.order import Chance

SIZES = {
    "plainmamba_l1": (192, 24, 1),
    "plainmamba_l2": (384, 24, 2),
    "plainmamba_l3": (448, 36, 2),
}
PARAMETERS = {"plainmamba_l1": 7_551_656, "plainmamba_l2": 26_145_832, "plainmamba_l3": 50_956_456}
PUBLISHED = {
    "plainmamba_l1": 7.3,
    "plainmamba_l2": 25.7,
    "plainmamba_l3": 50.5,
}  # millions, without the head
SMALL: dict[str, Any] = {
    "dim": 24,
    "depth": 3,
    "states": 5,
    "image_size": 12,
    "patch": 4,
    "classes": 5,
}


def official(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of ours under the published names."""
    return {
        name.replace("head.", "head.fc.")
        if name.startswith("head.")
        else f"backbone.{name}": tensor
        for name, tensor in state.items()
    }


def shaken(model: Backbone) -> Backbone:
    """The model with every parameter and statistic moved, so that mistakes show."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in (*model.parameters(), *(b for b in model.buffers() if b.is_floating_point())):
            tensor.add_(
                torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype).abs(), alpha=0.2
            )
    return model


@pytest.mark.parametrize("name", SIZES)
def test_names_shapes_and_number_of_parameters_are_the_published_ones(name: str) -> None:
    model = without_weights(name)
    shapes = {key: tuple(tensor.shape) for key, tensor in official(model.state_dict()).items()}
    assert shapes == plain(*SIZES[name])
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count == PARAMETERS[name]
    headless = count - sum(
        parameter.numel() for key, parameter in model.named_parameters() if key.startswith("head.")
    )
    assert int(headless / 1e5) / 10 == PUBLISHED[name]
    assert model.special_places == ()
    assert model.sites == tuple(range(1, SIZES[name][1]))


def test_a_published_file_is_loaded_and_raw_weights_beside_the_averaged_are_left(
    tmp_path: Path,
) -> None:
    model = shaken(create_model("plainmamba_l1", depth=2))
    state = official(model.state_dict()) | {"ema_backbone_pos_embed": torch.zeros(1, 196, 192)}
    torch.save({"meta": {"epoch": 300}, "state_dict": state, "optimizer": {}}, tmp_path / "l1.pth")
    loaded = create_model("plainmamba_l1", str(tmp_path / "l1.pth"), depth=2)
    assert all(
        torch.equal(one, other)
        for one, other in zip(
            loaded.state_dict().values(), model.state_dict().values(), strict=True
        )
    )
    assert loaded.provenance is not None
    assert loaded.provenance.branch == "state_dict"
    larger = create_model("plainmamba_l1", str(tmp_path / "l1.pth"), depth=2, image_size=256)
    expected = resample_positions(model.get_parameter("pos_embed"), (14, 14), (16, 16))
    assert torch.equal(larger.get_parameter("pos_embed"), expected)


@pytest.mark.parametrize(("height", "width"), [(3, 4), (4, 3), (1, 5), (5, 1), (1, 1), (14, 14)])
def test_walks_are_those_of_a_walker(height: int, width: int) -> None:
    step, arrival = walks(height, width, torch.device("cpu"))
    for kind in range(WALKS):
        for index, ((row, column), reached) in enumerate(straight_line.walk(height, width, kind)):
            place = row * width + column
            assert (int(step[kind, place]), int(arrival[kind, place])) == (index, reached)


def test_paths_leave_out_what_is_gone() -> None:
    # Of the grid 0 1 / 2 3 the place 1 is gone: by rows 0, 3, 2, and 3 is still reached from above.
    result = paths(torch.tensor([[0, 2, 3], [3, 0, 2]]), 2, 2)
    assert result.order[0].tolist() == [[0, 2, 1], [1, 0, 2]]
    assert result.step[0].tolist() == [[0, 2, 1], [1, 0, 2]]
    assert result.arrival[0].tolist() == [[0, 4, 2], [0, 4, 2]]
    assert result.order[1].tolist() == [[1, 2, 0], [2, 0, 1]]


CASES: list[dict[str, Any]] = [
    {},
    {"local": True, "convolutions": 1},
    {"image_size": 16, "depth": 2, "convolutions": 2},
    {"image_size": 4, "depth": 1},
]


@pytest.mark.parametrize("changed", CASES)
@pytest.mark.parametrize(
    ("dtype", "kernel", "error"),
    [
        (torch.float64, "auto", 1e-9),
        (torch.float32, "cpu", 1e-4),
        (torch.float32, "reference", 1e-4),
    ],
)
def test_logits_are_those_of_the_equations(
    changed: dict[str, Any], dtype: torch.dtype, kernel: str, error: float
) -> None:
    config = SMALL | changed
    model = shaken(create_model("plainmamba_l2", kernel=kernel, **config).to(dtype))
    side = config["image_size"]
    images = torch.randn(
        2, 3, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    state = official({name: tensor.double() for name, tensor in model.state_dict().items()})
    with torch.inference_mode():
        result = model(images.to(dtype))
    for image, logits in zip(images, result, strict=True):
        expected = straight_line.plainmamba(
            state, image.to(dtype).double(), config["patch"], config["depth"]
        )
        assert (logits.double() - expected).abs().max() < error * max(
            1.0, float(expected.abs().max())
        )


def dropped(tokens: TokenSequence, gone: list[list[int]], order: str = "restored") -> TokenSequence:
    """The sequence without the tokens of these ranks, one list an image."""
    source = torch.tensor(gone)
    matching = Matching(source, source, source[:, :0])
    requested = Arranged(order, 1.0, "exact", Chance(0, tokens.image, 0))
    arrangement = arrange(tokens, tokens.patches(), matching, None, requested)
    merge = Merge.of(tokens.patches(), matching, None)
    return assembled(tokens, arrangement, merge, merge)


@pytest.mark.parametrize("order", ["restored", "reversed"])
@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_missing_tokens_are_empty_places_of_the_grid_and_left_out_of_the_walks(
    order: str, dtype: torch.dtype, error: float
) -> None:
    model = shaken(create_model("plainmamba_l1", **SMALL | {"convolutions": 1}).to(dtype))
    images = torch.randn(
        2, 3, 12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    ).to(dtype)
    gone = [[0, 4, 5], [2, 7, 8]]
    with torch.inference_mode():
        tokens = dropped(model.run(model.embed(images), 0, 2), gone, order)
        result = model.readout(model.run(tokens, 2))
    state = official({name: tensor.double() for name, tensor in model.state_dict().items()})
    for image, logits, missing in zip(images, result, gone, strict=True):
        kept = [place for place in range(9) if place not in missing]
        kept = kept[::-1] if order == "reversed" else kept
        expected = straight_line.plainmamba(state, image.double(), 4, 3, {2: kept})
        assert (logits.double() - expected).abs().max() < error * max(
            1.0, float(expected.abs().max())
        )


def test_tokens_that_fill_a_smaller_rectangle_are_a_grid_of_their_own() -> None:
    model = shaken(create_model("plainmamba_l1", **SMALL).double())
    given = torch.randn(2, 4, 24, dtype=torch.float64)
    whole = torch.randn(2, 9, 24, dtype=torch.float64)
    corners = replace(
        new_sequence(whole, (), (1, 3, 3)),
        branch=given,
        residual=torch.zeros_like(given),
        position=torch.tensor([[0, 2, 6, 8]]).expand(2, -1),
        size=torch.ones(2, 4),
    )
    with torch.inference_mode():
        small = model.run(new_sequence(given, (), (1, 2, 2)))
        kept = model.run(replace(corners, lattice=(2, 2)))
        # a rectangle of other sides than the tokens' number is none
        stale, apart = model.run(corners), model.run(replace(corners, lattice=None))
    torch.testing.assert_close(kept.branch, small.branch, rtol=0, atol=0)
    assert kept.lattice == (2, 2)
    assert torch.equal(stale.branch, apart.branch)
    assert not torch.allclose(stale.branch, small.branch)


def test_the_trace_shows_what_the_input_of_each_token_met() -> None:
    model = shaken(create_model("plainmamba_l2", **SMALL | {"image_size": 8}).double())
    with torch.inference_mode():
        trace = model.run(
            model.embed(torch.randn(1, 3, 8, 8).double()), 0, 1, needs=model.provides
        ).trace
    assert trace is not None
    assert trace.delta is not None
    assert trace.delta_mean is not None
    assert trace.B is not None
    assert trace.A is not None
    torch.testing.assert_close(trace.delta_mean, trace.delta.mean(-1))
    assert trace.A.shape == (4, 48, 5)
    # By rows a 2 x 2 grid is walked 0, 1, 3, 2: the input of token 3 meets Delta of the third step,
    # which is token 2's; walked the other way it is met second, and meets that of token 1. By
    # columns: 0, 2, 3, 1, and back.
    own = trace.delta[0, 0][[0, 1, 3, 2]]  # Delta by step, the same in every walk
    for kind, walked in enumerate(([0, 1, 3, 2], [2, 3, 1, 0], [0, 2, 3, 1], [1, 3, 2, 0])):
        torch.testing.assert_close(trace.delta[kind, 0][walked], own)
    arrivals = model.get_parameter("layers.0.mamba.direction_Bs").detach()
    plain = trace.B[0, 0][[0, 1, 3, 2]] - arrivals[[0, 1, 4, 2]]
    torch.testing.assert_close(trace.B[2, 0][[0, 2, 3, 1]] - arrivals[[0, 4, 1, 3]], plain)


def test_the_gate_multiplies_the_ungated_output() -> None:
    mixer = ZigzagMixer(8, d_state=3).double()
    u, position = torch.randn(2, 6, 8).double(), torch.arange(6).expand(2, -1)
    with torch.no_grad():
        _, trace = mixer(u, position, (1, 2, 3), frozenset({"y", "ungated"}))
        z = (u @ mixer.in_proj.weight.t() + mixer.in_proj.bias)[..., 16:]
    assert trace.ungated is not None
    torch.testing.assert_close(trace.y, trace.ungated * z / (1 + torch.exp(-z)))


def test_the_mean_counts_a_token_by_its_size_unless_told_otherwise() -> None:
    models = {
        weighted: shaken(create_model("plainmamba_l2", **SMALL, weighted=weighted))
        for weighted in (True, False)
    }
    models[False].load_state_dict(models[True].state_dict())
    tokens = models[True].embed(torch.randn(1, 3, 12, 12))
    sized = replace(tokens, size=torch.tensor([[3.0, 1, 1, 1, 1, 1, 1, 1, 1]]))
    final = models[True].ln1(tokens.branch)  # type: ignore[operator]
    for weighted, rows in ((True, [0, 0, *range(9)]), (False, list(range(9)))):
        expected = models[weighted].head(final[0, rows].mean(0))  # type: ignore[operator]
        torch.testing.assert_close(models[weighted].readout(sized)[0], expected)
        torch.testing.assert_close(models[weighted].readout(tokens), models[True].readout(tokens))


def test_resized_is_the_same_model_with_resampled_positions() -> None:
    model = shaken(create_model("plainmamba_l2", **SMALL).double())
    small = model.resized(8)
    state = dict(model.state_dict())
    state["pos_embed"] = resample_positions(state["pos_embed"], (3, 3), (2, 2))
    image = torch.randn(3, 8, 8, dtype=torch.float64)
    with torch.inference_mode():
        logits = small(image[None])[0]
    assert (logits - straight_line.plainmamba(official(state), image, 4, 3)).abs().max() < 1e-9
    assert (small.describe().patches, model.describe().patches) == (4, 9)
    assert small.image_size_for(2) == 8


def test_it_trains() -> None:
    model = create_model("plainmamba_l1", **SMALL | {"convolutions": 2}).train()
    model(torch.randn(2, 3, 12, 12)).square().sum().backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_decay_of_dropped_tokens_has_no_walk_to_go_on_in() -> None:
    model = create_model("plainmamba_l2", **SMALL)
    tokens = model.embed(torch.zeros(1, 3, 12, 12))
    with pytest.raises(UserError, match="without alignment"):
        model.run(replace(tokens, carry=torch.zeros(2, 1, 9, 48)))
    with pytest.raises(UserError, match="plainmamba_l2 has no y_forward"):
        model.run(tokens, 0, 1, needs=frozenset({"y_forward"}))


@pytest.mark.parametrize("changed", [{"image_size": 14}, {"patch": 3}])
def test_sizes_that_make_no_patches_are_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="its patch"):
        create_model("plainmamba_l2", **SMALL | changed)
