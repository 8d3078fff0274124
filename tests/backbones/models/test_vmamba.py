"""VMamba: published names, shapes and sizes; its numbers against the written equations."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import straight_line_vmamba as straight_line
import torch
from beside_straight_line import close, doubled, images
from published_layouts import staged
from torch import Tensor
from torch.nn import functional

from backbones import create_model, without_weights
from backbones.base import Backbone
from backbones.common.errors import UserError
from backbones.models.vmamba import VMamba
from methods.reducer import Reducer
from methods.spec import parse

SIZES = {  # width, layers of the third stage, channels of the mixer over the width
    "vmamba_tiny": (96, 8, 1),
    "vmamba_small": (96, 15, 2),
    "vmamba_base": (128, 15, 2),
}
PARAMETERS = {
    "vmamba_tiny": 30_249_064,
    "vmamba_small": 50_147_752,
    "vmamba_base": 88_557_800,
}
PRINTED = {"vmamba_tiny": 30, "vmamba_small": 50, "vmamba_base": 89}  # millions, in the README
SMALL: dict[str, Any] = {
    "dim": 8, "early": 1, "third": 2, "last": 1, "image_size": 40, "classes": 5,
}  # fmt: skip
DEPTHS = (1, 1, 2, 1)
PRECISIONS = [
    (torch.float64, "auto", 1e-9),
    (torch.float32, "cpu", 1e-4),
    (torch.float32, "reference", 1e-4),
]
Shaken = Callable[..., Backbone]


@pytest.mark.parametrize("name", SIZES)
def test_names_and_shapes_are_the_published_ones(name: str) -> None:
    model = without_weights(name)
    state = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    assert state == staged(*SIZES[name])
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count == PARAMETERS[name]
    assert round(count / 1e6) == PRINTED[name]
    assert model.special_places == ()


def test_blocks_are_halves_and_sites_are_behind_the_mixers() -> None:
    model = without_weights("vmamba_tiny")
    shape = model.describe()
    assert (model.depth, shape.halvings, shape.widths) == (28, (4, 8, 24), (96, 192, 384, 768))
    assert model.sites == tuple(range(1, 28, 2))
    assert [shape.lengths[block] for block in (3, 4, 8, 24)] == [3136, 784, 196, 49]


def test_the_small_one_stays_small() -> None:
    model = create_model("vmamba_nano")
    assert model.describe().lengths[::6] == (196, 49, 16, 4)
    in_fp16 = 2 * sum(parameter.numel() for parameter in model.parameters())
    assert in_fp16 < 1.47e6


CASES: list[dict[str, Any]] = [
    {},  # maps of 10, 5, 3 and 2
    {"states": 3, "expand": 1},
    {"image_size": 4, "early": 1, "third": 1},  # a single token in every stage
]


@pytest.mark.parametrize("changed", CASES)
@pytest.mark.parametrize(("dtype", "kernel", "error"), PRECISIONS)
def test_logits_are_those_of_the_equations(
    shaken: Shaken,
    one_thread: None,
    changed: dict[str, Any],
    dtype: torch.dtype,
    kernel: str,
    error: float,
) -> None:
    config = SMALL | changed
    model = shaken(create_model("vmamba_small", kernel=kernel, **config).to(dtype))
    inputs = images(config["image_size"], dtype)
    with torch.inference_mode():
        logits = model(inputs)
    depths = (config["early"], config["early"], config["third"], config["last"])
    for image, row in zip(inputs, logits, strict=True):
        expected = straight_line.vmamba(doubled(model), image.double(), depths)
        close(row, expected, error)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SIZES, "vmamba_nano"])
@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_logits_at_full_depth(
    one_thread: None, name: str, dtype: torch.dtype, error: float
) -> None:
    # at a smaller size of image: the equations are written place by place
    model = create_model(name, image_size=56).to(dtype)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            moved = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(moved.to(dtype), alpha=0.02)
    assert isinstance(model, VMamba)
    inputs = images(model.image_size, dtype, count=1)
    with torch.inference_mode():
        logits = model(inputs)
    expected = straight_line.vmamba(doubled(model), inputs[0].double(), model.config.depths)
    close(logits[0], expected, error)


def without_lines(rows: int, columns: int) -> Callable[[Tensor], Tensor]:
    """Means of the pairs that `grid-pool` merges at the places of one row and column less."""

    def narrowed(x: Tensor) -> Tensor:
        for axis, merges in ((1, columns), (0, rows)):
            if not merges:
                continue
            assert merges == 1
            place = x.shape[axis] // 2 // 2  # the middle of the pairs
            lines = list(x.unbind(axis))
            lines[2 * place + 1] = (lines[2 * place] + lines[2 * place + 1]) / 2
            del lines[2 * place]
            x = torch.stack(lines, axis)
        return x

    return narrowed


@pytest.mark.parametrize(("dtype", "kernel", "error"), PRECISIONS)
def test_logits_on_smaller_maps(
    shaken: Shaken, one_thread: None, dtype: torch.dtype, kernel: str, error: float
) -> None:
    model = shaken(create_model("vmamba_small", kernel=kernel, **SMALL).to(dtype))
    inputs = images(40, dtype)
    pool = parse("grid-pool").composition()
    assert pool is not None
    # of 10 x 10 a row and a column in the first stage, of 3 x 3 one column in the third
    plan = {
        1: Reducer(pool, 100 - 81, 1, lines=(1, 1)),
        5: Reducer(pool, 9 - 6, 5, lines=(0, 1)),
    }
    with torch.inference_mode():
        tokens = model.run(model.embed(inputs).tracked(), plan=plan)
        logits = model.readout(tokens)
    assert tokens.lattice == (2, 1)
    assert tokens.size.sum(1).tolist() == [100, 100]
    reductions = {0: without_lines(1, 1), 2: without_lines(0, 1)}
    for image, row in zip(inputs, logits, strict=True):
        expected = straight_line.vmamba(doubled(model), image.double(), DEPTHS, reductions)
        close(row, expected, error)


@pytest.mark.parametrize("method", ["storm", "grid-pool[weights=drop]", "grid-pool", "grid-resize"])
def test_methods_of_the_grid_run_in_every_stage(shaken: Shaken, method: str) -> None:
    model = shaken(create_model("vmamba_tiny", **SMALL))
    composition = parse(method).composition()
    assert composition is not None
    inputs = images(40, torch.float32)
    tokens = model.embed(inputs).tracked()
    before = 0
    with torch.inference_mode():
        for site, lattice in ((1, (9, 8)), (3, (4, 3)), (5, (1, 2)), (9, (1, 1))):
            tokens = model.run(tokens, before, site, needs=composition.needs)
            assert tokens.lattice is not None
            lines = tokens.lattice[0] - lattice[0], tokens.lattice[1] - lattice[1]
            removed = tokens.length - lattice[0] * lattice[1]
            tokens = Reducer(composition, removed, site, lines=lines)(tokens)
            assert tokens.lattice == lattice
            before = site
        tokens = model.run(tokens, before)
    assert model.readout(tokens).isfinite().all()
    assert tokens.owner is not None
    held = torch.zeros_like(tokens.size).scatter_add_(
        1, tokens.owner.clamp_min(0), (tokens.owner >= 0).float()
    )
    assert torch.equal(held, tokens.size)


def test_the_trace_is_in_the_order_of_the_image(shaken: Shaken) -> None:
    model = shaken(create_model("vmamba_small", **SMALL, states=3).double())
    with torch.inference_mode():
        before = model.run(model.embed(images(40, torch.float64)), 0, 2)
        trace = model.run(before, 2, 3, needs=model.provides).trace
    assert trace is not None
    state, at = doubled(model), "layers.1.blocks.0"
    down = straight_line.layer_norm(
        functional.conv2d(
            (before.residual + before.branch).transpose(1, 2).unflatten(2, (10, 10)),
            state["layers.0.downsample.1.weight"],
            state["layers.0.downsample.1.bias"],
            stride=2,
            padding=1,
        ).permute(0, 2, 3, 1),
        state,
        "layers.0.downsample.3",
    )
    u = straight_line.layer_norm(down, state, f"{at}.norm") @ state[f"{at}.op.in_proj.weight"].T
    for b in range(2):
        x = straight_line.silu(straight_line.depthwise(u[b], state[f"{at}.op.conv2d.weight"]))
        x, total = x.flatten(0, 1), torch.zeros_like(x)
        for k in range(4):
            total = total + straight_line.scanned(x.view(5, 5, -1), state, f"{at}.op", k)
            dt, B, C = (x @ state[f"{at}.op.x_proj_weight"][k].T).split([2, 3, 3], dim=1)
            raw = dt @ state[f"{at}.op.dt_projs_weight"][k].T + state[f"{at}.op.dt_projs_bias"][k]
            assert trace.delta is not None
            assert trace.B is not None
            assert trace.C is not None
            torch.testing.assert_close(trace.delta[k, b], straight_line.softplus(raw))
            torch.testing.assert_close(trace.B[k, b], B)
            torch.testing.assert_close(trace.C[k, b], C)
        assert trace.y is not None
        torch.testing.assert_close(trace.y[b], total.flatten(0, 1))
    assert trace.delta is not None
    torch.testing.assert_close(trace.delta_mean, trace.delta.mean(-1))
    assert trace.ungated is trace.y
    assert trace.A is not None
    torch.testing.assert_close(trace.A.flatten(0, 1), -torch.exp(state[f"{at}.op.A_logs"]))


def test_the_mean_counts_places_alike_unless_told_otherwise(shaken: Shaken) -> None:
    config = SMALL | {"image_size": 32}  # a map of 1 x 1 at the end, two after this readout
    plain = shaken(create_model("vmamba_tiny", **config))
    weighted = create_model("vmamba_tiny", weighted=True, **config)
    weighted.load_state_dict(plain.state_dict())
    with torch.inference_mode():
        tokens = plain.run(plain.embed(images(32, torch.float32)), 0, 8)
        sized = replace(tokens, branch=torch.randn(2, 2, 64), residual=torch.randn(2, 2, 64))
        sized = replace(sized, size=torch.tensor([[3.0, 1.0]] * 2))
        norm = plain.get_submodule("classifier.norm")
        final = norm(sized.residual + sized.branch)
        head = plain.get_submodule("classifier.head")
        torch.testing.assert_close(plain.readout(sized), head(final.mean(1)))
        expected = head((3 * final[:, 0] + final[:, 1]) / 4)
        torch.testing.assert_close(weighted.readout(sized), expected)


def test_matrices_that_were_saved_as_convolutions_are_loaded(
    shaken: Shaken, tmp_path: Path
) -> None:
    model = shaken(create_model("vmamba_tiny", **SMALL))
    state = {}
    for name, tensor in model.state_dict().items():
        product = tensor.ndim == 2 and name.endswith("weight") and "classifier" not in name
        state[name] = tensor[:, :, None, None] if product else tensor
    torch.save({"model": state, "epoch": 264}, tmp_path / "tiny.pth")
    loaded = create_model("vmamba_tiny", str(tmp_path / "tiny.pth"), **SMALL)
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name])


def test_resized_is_the_same_model(shaken: Shaken) -> None:
    model = shaken(create_model("vmamba_tiny", **SMALL).double())
    small = model.resized(28)
    inputs = images(28, torch.float64)
    with torch.inference_mode():
        logits = small(inputs)
    close(logits[0], straight_line.vmamba(doubled(model), inputs[0], DEPTHS), 1e-9)
    assert (small.describe().patches, model.describe().patches) == (49, 100)
    assert small.image_size_for(7) == 28


def test_an_image_does_not_depend_on_its_batch(shaken: Shaken) -> None:
    model = shaken(create_model("vmamba_nano", image_size=28))
    inputs = images(28, torch.float32, 19)
    with torch.inference_mode():
        whole = model(inputs)
        for rows in (slice(0, 1), slice(2, 9), slice(18, 19)):
            assert torch.equal(model(inputs[rows]), whole[rows])


def test_a_lower_precision_leaves_the_recurrence_in_fp32() -> None:
    model = create_model("vmamba_tiny", **SMALL)
    exact = model(images(40, torch.float32))
    model.cast(torch.bfloat16)
    for name, parameter in model.named_parameters():
        wide = name.endswith(("A_logs", "Ds", "dt_projs_bias"))
        assert parameter.dtype == (torch.float32 if wide else torch.bfloat16), name
    logits = model(images(40, torch.bfloat16))
    assert logits.dtype == torch.bfloat16
    assert (logits.float() - exact).abs().max() < 0.1 * exact.abs().max()


def test_it_trains() -> None:
    model = create_model("vmamba_tiny", **SMALL).train()
    model(torch.randn(2, 3, 40, 40)).square().sum().backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_gradients_of_the_cpu_kernel_are_those_of_the_reference(shaken: Shaken) -> None:
    gradients = []
    model = shaken(create_model("vmamba_tiny", **SMALL))
    for kernel in ("cpu", "reference"):
        model.set_kernel(kernel)
        model.zero_grad()
        model(images(40, torch.float32)).square().sum().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for ours, expected in zip(*gradients, strict=True):
        assert ours is not None
        assert expected is not None
        assert (ours - expected).abs().max() <= 1e-4 * max(1.0, float(expected.abs().max()))


@pytest.mark.gpu
@pytest.mark.parametrize("changed", [{}, {"states": 3}])
def test_on_a_gpu_logits_and_gradients_are_those_of_the_cpu(
    shaken: Shaken, changed: dict[str, int]
) -> None:
    ours = shaken(create_model("vmamba_tiny", kernel="triton", **SMALL | changed))
    theirs = create_model("vmamba_tiny", kernel="reference", **SMALL | changed).double()
    theirs.load_state_dict(ours.state_dict())
    inputs = images(40, torch.float32)
    allowed, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, False
    try:
        logits = ours.cuda()(inputs.cuda())
        logits.square().sum().backward()
    finally:
        torch.backends.cudnn.allow_tf32 = allowed
    expected = theirs(inputs.double())
    expected.square().sum().backward()
    close(logits.cpu(), expected, 1e-4)
    for ours_, theirs_ in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert ours_.grad is not None
        assert theirs_.grad is not None
        difference = (ours_.grad.cpu().double() - theirs_.grad).abs().max()
        assert difference <= 1e-3 * max(1.0, float(theirs_.grad.abs().max()))


def test_what_cross_scans_cannot_do_is_refused(shaken: Shaken) -> None:
    model = create_model("vmamba_tiny", **SMALL)
    tokens = model.embed(torch.zeros(1, 3, 40, 40))
    with pytest.raises(UserError, match="without alignment"):
        model.run(replace(tokens, carry=torch.zeros(4, 1, 100, 8)))
    with pytest.raises(UserError, match="choose a method of the grid"):
        model.run(replace(tokens, lattice=None))
    with pytest.raises(UserError, match="vmamba_tiny has no y_forward"):
        model.run(tokens, 0, 1, needs=frozenset({"y_forward"}))
    with pytest.raises(UserError, match="behind attention or mixer"):
        model.run(tokens, 0, 2, needs=frozenset({"y"}))


@pytest.mark.parametrize(
    ("changed", "mend"),
    [({"image_size": 30}, "use a multiple of 4"), ({"dim": 7}, "an even number")],
)
def test_sizes_that_cannot_be_are_refused(changed: dict[str, int], mend: str) -> None:
    with pytest.raises(UserError, match=mend):
        create_model("vmamba_tiny", **SMALL | changed)


def test_the_head_of_a_file_is_found(shaken: Shaken, tmp_path: Path) -> None:
    sizes = {key: value for key, value in SMALL.items() if key != "classes"}
    state = shaken(create_model("vmamba_tiny", **sizes, classes=7)).state_dict()
    torch.save({"model": state}, tmp_path / "seven.pth")
    loaded = create_model("vmamba_tiny", str(tmp_path / "seven.pth"), **sizes)
    assert loaded.describe().classes == 7
    with pytest.raises(UserError, match="a head for 7 classes"):
        create_model("vmamba_tiny", str(tmp_path / "seven.pth"), **sizes, classes=4)
    body = {name: tensor for name, tensor in state.items() if "classifier.head" not in name}
    torch.save({"model": body}, tmp_path / "headless.pth")
    headless = create_model("vmamba_tiny", str(tmp_path / "headless.pth"), **sizes, classes=4)
    assert headless.provenance is not None
    assert headless.provenance.made_up == ("classifier (random)",)
