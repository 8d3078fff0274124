"""The attention control: timm's own model, and numbers against the equations written out."""

from typing import Any

import pytest
import timm
import torch
from straight_line_vit import attended, by_hand, normed

from backbones import create_model, without_weights
from backbones.base import Backbone
from backbones.common.errors import UserError
from backbones.layers.attention import TRACED
from backbones.layers.positions import interpolate_pos_embed
from backbones.models.sizes import VIT
from backbones.sequence import TokenSequence

TIMM = {
    f"{name}_{size}": f"{name}_{size}_patch16_224"
    for name in ("deit", "vit")
    for size in ("tiny", "small", "base")
}
PARAMETERS = {"tiny": 5_717_416, "small": 22_050_664, "base": 86_567_656}
SMALL: dict[str, Any] = {
    "dim": 24,
    "heads": 3,
    "layers": 3,
    "image_size": 12,
    "patch": 4,
    "classes": 5,
}


def on_meta(name: str) -> Backbone:
    return without_weights(name)


def shaken(model: Backbone, by: float = 0.3) -> Backbone:
    """The model with every parameter moved, so that mistakes show."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(
                torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype), alpha=by
            )
    return model


@pytest.mark.parametrize("name", TIMM)
def test_names_shapes_and_number_of_parameters_are_timms(name: str) -> None:
    model = on_meta(name)
    with torch.device("meta"):
        theirs = timm.create_model(TIMM[name])
    assert {key: value.shape for key, value in model.state_dict().items()} == {
        key: value.shape for key, value in theirs.state_dict().items()
    }
    assert (
        sum(parameter.numel() for parameter in model.parameters()) == PARAMETERS[name.split("_")[1]]
    )
    assert model.special_places == (0,)
    assert (model.depth, model.sites) == (24, tuple(range(1, 24, 2)))


@pytest.mark.parametrize(("name", "gradients"), [("deit_tiny", False), ("vit_tiny", True)])
def test_dense_logits_are_timms_own(name: str, gradients: bool) -> None:
    theirs = timm.create_model(TIMM[name]).eval()
    model = create_model(name)
    model.load_state_dict(shaken(theirs, by=0.02).state_dict())
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.set_grad_enabled(gradients):
        expected, result = theirs(images), model(images)
    assert float((result - expected).detach().norm()) < 2e-6 * float(expected.detach().norm())
    with torch.inference_mode():
        double = theirs.double()(images.double())
        assert (model.double()(images.double()) - double).abs().max() <= 1e-12 * float(
            double.abs().max()
        )


@pytest.mark.parametrize(
    "changed", [{}, {"image_size": 4}, {"heads": 1, "layers": 1}, {"patch": 2, "image_size": 8}]
)
@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_logits_are_those_of_the_equations(
    changed: dict[str, Any], dtype: torch.dtype, error: float
) -> None:
    config = SMALL | changed
    model = shaken(create_model("deit_nano", **config).to(dtype))
    side = config["image_size"]
    images = torch.randn(
        2, 3, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    state = {name: tensor.double() for name, tensor in model.state_dict().items()}
    for gradients in (False, True):
        with torch.set_grad_enabled(gradients):
            result = model(images.to(dtype)).detach()
        for image, logits in zip(images, result, strict=True):
            expected = by_hand(state, image.to(dtype).double(), config)
            assert (logits.double() - expected).abs().max() < error * max(
                1.0, float(expected.abs().max())
            )


def tokens_of(model: Backbone, count: int = 2) -> TokenSequence:
    side = model.image_size
    dtype = next(model.parameters()).dtype
    return model.embed(
        torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(3)).to(dtype)
    )


@pytest.mark.parametrize("gradients", [False, True])
def test_traces_and_proportional_attention_are_those_of_the_equations(gradients: bool) -> None:
    model = shaken(create_model("deit_nano", **SMALL).double())
    state = model.state_dict()
    tokens = tokens_of(model)
    sizes = torch.tensor(
        [[1, 3, 1, 2, 5, 1, 1, 4, 1, 1], [1, 1, 1, 1, 9, 1, 2, 2, 1, 3]], dtype=torch.float32
    )
    weighted = type(tokens)(**{**tokens.__dict__, "size": sizes, "weighted": True})
    for inputs, counted in ((tokens, torch.ones(2, 10)), (weighted, sizes)):
        with torch.set_grad_enabled(gradients):
            after = model.run(inputs, 0, 1, needs=TRACED)
        assert after.trace is not None
        assert after.trace.keys is not None
        assert after.trace.cls_attention is not None
        for row in range(2):
            u = normed(tokens.branch[row], state, "blocks.0.norm1")
            expected = attended(u, state, "blocks.0.attn", 3, counted[row].tolist())
            for result, right in zip(
                (after.branch, after.trace.keys, after.trace.cls_attention), expected, strict=True
            ):
                torch.testing.assert_close(result[row].detach(), right.detach(), rtol=0, atol=1e-11)


@pytest.mark.parametrize("gradients", [False, True])
def test_attention_weighted_by_sizes_of_one_is_plain_attention_to_the_bit(gradients: bool) -> None:
    model = shaken(create_model("deit_nano", layers=2, image_size=28))
    tokens = tokens_of(model, 3)
    weighted = type(tokens)(**{**tokens.__dict__, "weighted": True})
    with torch.set_grad_enabled(gradients):
        plain, other = (model.run(inputs, 0, 3, needs=frozenset()) for inputs in (tokens, weighted))
        assert torch.equal(plain.branch, other.branch)
        one, two = (
            model.run(inputs, 2, 3, needs=frozenset({"cls_attention"})).trace
            for inputs in (plain, other)
        )
    assert one is not None
    assert two is not None
    assert torch.equal(one.cls_attention, two.cls_attention)  # type: ignore[arg-type]


def test_traces_are_empty_unless_asked_for_and_an_mlp_has_none() -> None:
    model = create_model("deit_nano", **SMALL)
    trace = model.run(tokens_of(model), 0, 1).trace
    assert trace is not None
    assert trace.keys is trace.cls_attention is None
    with pytest.raises(UserError, match=r"deit_nano has no delta: .* cls_attention, keys"):
        model.run(tokens_of(model), 0, 1, needs=frozenset({"delta"}))
    with pytest.raises(UserError, match="an MLP has no keys: reduce behind attention"):
        model.run(tokens_of(model), 0, 2, needs=frozenset({"keys"}))
    assert model.missing(frozenset({"delta_mean", "keys"})) == {"delta_mean"}


def test_the_class_token_is_read_wherever_it_stands() -> None:
    model = shaken(create_model("deit_nano", **SMALL))
    tokens = model.run(tokens_of(model))
    moved = torch.roll(torch.arange(10), 4)
    elsewhere = {
        "branch": tokens.branch[:, moved],
        "residual": tokens.residual[:, moved],
        "special": torch.full((2, 1), 4),
    }
    assert torch.equal(
        model.readout(type(tokens)(**{**tokens.__dict__, **elsewhere})), model.readout(tokens)
    )


def test_resized_is_the_same_model_with_resampled_positions() -> None:
    model = shaken(create_model("deit_nano", layers=2).double())
    small = model.resized(28)
    state = dict(model.state_dict())
    state["pos_embed"] = interpolate_pos_embed(state["pos_embed"], 0, (14, 14), 0, (7, 7))
    image = torch.randn(3, 28, 28, dtype=torch.float64)
    with torch.inference_mode():
        logits = small(image[None])[0]
    expected = by_hand(state, image, {"patch": 4, "layers": 2, "heads": VIT["deit_nano"].heads})
    assert (logits - expected).abs().max() < 1e-9
    assert small.describe().patches == 49
    assert (model.image_size, model.describe().patches) == (56, 196)
    assert small.image_size_for(7) == 28


def test_training_at_a_smaller_size_teaches_the_one_position_embedding() -> None:
    model = create_model("deit_nano", layers=1).train()
    model.resized(28)(torch.randn(2, 3, 28, 28)).square().sum().backward()
    gradient = model.get_parameter("pos_embed").grad
    assert gradient is not None
    assert bool((gradient[0, 0].abs() > 0).any())
    assert float((gradient[0].abs().sum(1) > 0).float().mean()) > 0.9
    assert all(
        parameter.grad is not None
        for name, parameter in model.named_parameters()
        if name != "pos_embed"
    )


def test_a_lower_precision_keeps_the_residual_in_fp32() -> None:
    model = shaken(create_model("deit_nano", **SMALL)).cast(torch.bfloat16)
    with torch.inference_mode():
        tokens = model.run(tokens_of(model), needs=frozenset())
        logits = model.readout(tokens)
    assert (tokens.branch.dtype, tokens.residual.dtype) == (torch.bfloat16, torch.float32)
    assert bool(torch.isfinite(logits).all())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"depth": 3}, "no setting 'depth': did you mean"),
        ({"image_size": 58}, "use a multiple of 4, its patch"),
        ({"heads": 5}, "48 channels in 5 heads"),
    ],
)
def test_settings_that_cannot_be_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        create_model("deit_nano", **changed)


def test_the_control_on_the_bundled_data_has_as_many_parameters_as_vim_nano() -> None:
    control, mamba = (
        sum(p.numel() for p in on_meta(name).parameters()) for name in ("deit_nano", "vim_nano")
    )
    assert abs(control / mamba - 1) < 0.01
