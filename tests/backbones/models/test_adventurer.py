"""Adventurer: published names, shapes and sizes; its numbers against the written equations."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import straight_line_adventurer as straight_line
import torch
from beside_straight_line import close, doubled, images
from published_layouts import headed

from backbones import create_model, without_weights
from backbones.base import Backbone
from backbones.common.errors import UserError
from backbones.layers.headed_mixer import HeadedMixer
from backbones.layers.positions import resample_positions
from backbones.models.adventurer import is_flipped
from backbones.sequence import turned
from methods.composition import Composition
from methods.parts.hidden_attention import hidden_attention
from methods.reducer import Reducer

SIZES = {  # width and depth
    "adventurer_tiny": (256, 12),
    "adventurer_small": (512, 12),
    "adventurer_base": (768, 12),
    "adventurer_large": (1024, 24),
}
PARAMETERS = {
    "adventurer_tiny": 11_608_840,
    "adventurer_small": 44_491_816,
    "adventurer_base": 98_657_608,
    "adventurer_large": 346_196_200,
}
IN_PAPER = {"adventurer_tiny": 12, "adventurer_small": 44, "adventurer_base": 99, "adventurer_large": 346}  # fmt: skip
SMALL: dict[str, Any] = {
    "dim": 16, "depth": 5, "states": 6, "head": 8, "image_size": 12, "patch": 4, "stride": 4,
    "classes": 7,
}  # fmt: skip
LAST = 9  # place of the class token of 3 x 3 patches
Shaken = Callable[..., Backbone]


@pytest.mark.parametrize("name", SIZES)
def test_names_and_shapes_are_the_published_ones(name: str) -> None:
    model = without_weights(name)
    state = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    assert state == headed(*SIZES[name])
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count == PARAMETERS[name]
    assert round(count / 1e6) == IN_PAPER[name]


def test_the_small_one_has_as_many_parameters_as_vim_nano() -> None:
    with torch.device("meta"):
        ours, vim = (
            sum(parameter.numel() for parameter in create_model(name).parameters())
            for name in ("adventurer_nano", "vim_nano")
        )
    assert 0.95 * vim < ours < vim
    assert 4 * ours < 1.5e6


def test_only_blocks_two_and_three_are_flipped() -> None:
    model = without_weights("adventurer_tiny")
    flipped = [index for index, block in enumerate(model.blocks) if block.flipped]
    assert flipped == [2, 3] == [index for index in range(24) if is_flipped(index)]


def test_turned_leaves_the_last_where_it_is() -> None:
    rows = torch.arange(5)[None]
    assert turned(rows, 1).tolist() == [[3, 2, 1, 0, 4]]
    assert torch.equal(turned(turned(rows, 1), 1), rows)
    assert turned(rows[:, :1], 1).tolist() == [[0]]


@pytest.mark.parametrize(
    ("changed", "dtype", "kernel", "error"),
    [
        ({}, torch.float64, "auto", 1e-9),
        ({}, torch.float64, "reference", 1e-9),
        ({}, torch.float32, "auto", 1e-4),
        # more tokens than a chunk has, and two chunks of which the last is not full
        ({"image_size": 36, "depth": 3}, torch.float64, "chunked", 1e-9),
        ({"image_size": 36, "depth": 3}, torch.float32, "auto", 1e-4),
        # one token beside the class token; patches that overlap
        ({"image_size": 4}, torch.float64, "chunked", 1e-9),
        ({"stride": 2, "image_size": 8}, torch.float32, "auto", 1e-4),
    ],
)
def test_logits_are_those_of_the_equations(
    shaken: Shaken, changed: dict[str, Any], dtype: torch.dtype, kernel: str, error: float
) -> None:
    config = SMALL | changed
    model = shaken(create_model("adventurer_tiny", kernel=kernel, **config).to(dtype))
    inputs = images(config["image_size"], dtype)
    with torch.inference_mode():
        logits = model(inputs)
    for image, row in zip(inputs, logits, strict=True):
        expected = straight_line.adventurer(
            doubled(model), image.double(), config["depth"], config["stride"]
        )
        close(row, expected, error)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SIZES, "adventurer_nano"])
@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_logits_at_full_size(
    shaken: Shaken, one_thread: None, name: str, dtype: torch.dtype, error: float
) -> None:
    # moved less than narrow models: with 1024 channels logits would grow with the depth
    model = create_model(name).to(dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, dtype=dtype), alpha=0.02)
    inputs = images(model.image_size, dtype, count=1)
    with torch.inference_mode():
        logits = model(inputs)
    expected = straight_line.adventurer(doubled(model), inputs[0].double(), model.depth)
    close(logits[0], expected, error)


@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_logits_of_fewer_tokens(shaken: Shaken, dtype: torch.dtype, error: float) -> None:
    model = shaken(create_model("adventurer_tiny", **SMALL).to(dtype))
    inputs = images(12, dtype)
    drop = Composition("lowest", score="random")
    with torch.inference_mode():
        tokens = model.run(model.embed(inputs), 0, 2)
        tokens = Reducer(drop, 4, site=2)(tokens)
        logits = model.readout(model.run(tokens, 2))
    for image, row, places in zip(inputs, logits, tokens.position.tolist(), strict=True):
        kept = {2: places}
        close(row, straight_line.adventurer(doubled(model), image.double(), 5, kept=kept), error)


@pytest.mark.parametrize("site", [1, 2, 3, 4])
def test_decay_of_dropped_tokens_passes_in_the_gaps_whichever_way_a_block_reads(
    shaken: Shaken, site: int
) -> None:
    model = shaken(create_model("adventurer_tiny", **SMALL).double())
    inputs = images(12, torch.float64)
    drop = Composition("lowest", score="random", aligned=True)
    with torch.inference_mode():
        whole = model.run(model.embed(inputs), 0, site, needs=drop.needs)
        tokens = Reducer(drop, 5, site)(whole)
        logits = model.readout(model.run(tokens, site))
    assert whole.trace is not None
    assert whole.trace.delta is not None
    for b, (image, row) in enumerate(zip(inputs, logits, strict=True)):
        kept, delta = tokens.position[b].tolist(), whole.trace.delta[0, b]
        gaps, before = [], -1
        for place in kept:
            gaps.append(delta[before + 1 : place].sum(0))
            before = place
        expected = straight_line.adventurer(
            doubled(model), image, 5, kept={site: kept}, gaps={site: torch.stack(gaps)}
        )
        close(row, expected, 1e-9)


def test_the_mean_counts_a_token_by_its_size_unless_told_otherwise(shaken: Shaken) -> None:
    # What a mean of copies is, a weighted mean of one is: before block 0 all tokens but three are
    # dropped, and one stands for two.
    model = shaken(create_model("adventurer_tiny", **SMALL | {"depth": 1}).double())
    other = create_model("adventurer_tiny", weighted=False, **SMALL | {"depth": 1}).double()
    other.load_state_dict(model.state_dict())
    tokens = model.embed(images(12, torch.float64))
    same = model.readout(model.run(tokens))
    assert (same - other.readout(other.run(tokens))).abs().max() < 1e-12
    sized = replace(tokens, size=torch.tensor([[3.0] + [1] * 9] * 2))
    assert torch.equal(other.readout(other.run(sized)), other.readout(other.run(tokens)))
    block = model.blocks[0]
    u = block.norm(tokens.residual + tokens.branch)  # type: ignore[operator]
    expected = u[:, [0, 0, *range(10)]].mean(1, keepdim=True)
    torch.testing.assert_close(block._mean(u, sized.size), expected)  # type: ignore[operator]


@pytest.mark.parametrize("block", [1, 2])
def test_the_trace_is_in_image_order_and_without_the_mean_token(shaken: Shaken, block: int) -> None:
    model = shaken(create_model("adventurer_tiny", **SMALL).double())
    with torch.inference_mode():
        before = model.run(model.embed(images(12, torch.float64)), 0, block)
        trace = model.run(before, block, block + 1, needs=model.provides).trace
        residual = before.residual + before.branch
    assert trace is not None
    assert trace.flipped == (block == 2)
    state = doubled(model)
    at = f"layers.{block}."
    u = straight_line.rms(residual, state[f"{at}norm.weight"])
    projected = u @ state[f"{at}mixer.in_proj.weight"].T
    raw = projected[..., -4:] + state[f"{at}mixer.dt_bias"]
    assert trace.delta is not None
    torch.testing.assert_close(trace.delta[0], torch.log1p(torch.exp(raw)))
    torch.testing.assert_close(trace.delta_mean, trace.delta.mean(-1))
    assert trace.A is not None
    torch.testing.assert_close(trace.A[0, :, 0], -torch.exp(state[f"{at}mixer.A_log"]))
    # the last but two tokens in the order of the scan, convolved with the three before
    order = [*range(8, -1, -1), 9] if block == 2 else list(range(10))
    kernel = state[f"{at}mixer.conv1d.weight"][:, 0]
    read = projected[:, order, 32:-4]
    seen = (read[:, 4:8].transpose(1, 2) * kernel).sum(-1) + state[f"{at}mixer.conv1d.bias"]
    _, B, C = straight_line.silu(seen).split([32, 6, 6], dim=1)
    assert trace.B is not None
    assert trace.C is not None
    torch.testing.assert_close(trace.B[0, :, order[7]], B)
    torch.testing.assert_close(trace.C[0, :, order[7]], C)
    assert trace.ungated is not None
    torch.testing.assert_close(trace.y, trace.ungated * straight_line.silu(projected[..., :32]))


@pytest.mark.parametrize("decay", [True, False])
@pytest.mark.parametrize("block", [1, 2])
def test_hidden_attention_follows_the_scan(shaken: Shaken, block: int, decay: bool) -> None:
    model = shaken(create_model("adventurer_tiny", **SMALL).double())
    hidden = Composition("lowest", score="hidden-attention", decay=decay)
    with torch.inference_mode():
        needs = hidden.needs | {"delta", "A"}
        tokens = model.run(model.embed(images(12, torch.float64)), 0, block + 1, needs=needs)
        kept = Reducer(hidden, 8, site=block + 1)(tokens)
    trace = tokens.trace
    assert trace is not None
    assert trace.delta is not None
    assert trace.A is not None
    assert trace.B is not None
    assert trace.C is not None
    order = [*range(8, -1, -1), 9] if block == 2 else list(range(10))
    for b in range(2):
        delta, B, C = trace.delta[0, b, order], trace.B[0, b, order], trace.C[0, b, order]
        paid = {}
        for j, token in enumerate(order[:-1]):
            passed = delta[j + 1 :].sum(0) * decay
            alpha = (C[-1] @ B[j]) * torch.exp(passed * trace.A[0, :, 0]) * delta[j]
            paid[token] = float(alpha.abs().mean())
        best = max(paid, key=lambda token: paid[token])
        assert kept.position[b].tolist() == [best, LAST]


def test_resized_is_the_same_model_with_resampled_positions(shaken: Shaken) -> None:
    model = shaken(create_model("adventurer_tiny", **SMALL).double())
    small = model.resized(8)
    state = doubled(model)
    rows = resample_positions(state["pos_embed"][:, :LAST], (3, 3), (2, 2))
    state["pos_embed"] = torch.cat([rows, state["pos_embed"][:, LAST:]], dim=1)
    inputs = images(8, torch.float64)
    with torch.inference_mode():
        logits = small(inputs)
    close(logits[0], straight_line.adventurer(state, inputs[0], 5), 1e-9)


def test_it_trains() -> None:
    model = create_model("adventurer_tiny", **SMALL).train()
    model(torch.randn(2, 3, 12, 12)).square().sum().backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_gradients_through_the_chunks_are_those_of_the_recurrence(shaken: Shaken) -> None:
    gradients = []
    config = SMALL | {"image_size": 36, "depth": 3}
    model = shaken(create_model("adventurer_tiny", **config).double())
    for kernel in ("chunked", "reference"):
        model.set_kernel(kernel)
        model.zero_grad()
        model(images(36, torch.float64)).square().sum().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for ours, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-7, atol=1e-9)


def test_what_a_mixer_lacks_and_heads_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    mixer = HeadedMixer(8, d_state=4, head=4)
    with pytest.raises(UserError, match="a Mamba-2 mixer has no y_forward"):
        mixer(torch.zeros(1, 3, 8), frozenset({"y_forward"}))
    with pytest.raises(UserError, match="use a divisor as head"):
        create_model("adventurer_tiny", head=60)
    model = create_model("adventurer_tiny", kernel="triton", **SMALL)
    with pytest.raises(UserError, match="Mamba-2 has no scan kernel 'triton'"):
        model(torch.zeros(1, 3, 12, 12))


def test_one_direction_has_no_other(shaken: Shaken) -> None:
    # K = 1: the tokens behind the reader are not carried to it
    delta, A = torch.rand(1, 1, 4, 2), -torch.ones(1, 2, 1)
    B = C = torch.ones(1, 1, 4, 3)
    row = hidden_attention(delta, A, B, C, torch.tensor([[2]]), "both")[0]
    assert (row > 0).tolist() == [True, True, False, False]
