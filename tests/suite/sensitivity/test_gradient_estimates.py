"""The estimates against differences of the loss, and against what theory says of them."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from backbones.models.sizes import MambaConfig
from backbones.models.vim import Vim
from suite.sensitivity.gradient_estimates import gradient_estimates

LAYERS, LABELS = (0, 2), torch.tensor([1, 0])
Estimates = dict[str, Tensor]


@pytest.fixture(scope="module")
def model() -> Vim:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        made = Vim(
            "m", MambaConfig(dim=16, depth=3, states=4, image_size=12, patch=4, stride=4, classes=3)
        ).double()
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.add_(torch.randn(parameter.shape), alpha=0.2)
    made.set_kernel("reference")
    return made.requires_grad_(False)


def images() -> Tensor:
    return torch.randn(
        2, 3, 12, 12, generator=torch.Generator().manual_seed(4), dtype=torch.float64
    )


def outputs(model: Vim, layer: int, image: int, place: int, factor: float) -> tuple[float, float]:
    """Loss and margin of one image, its token at `place` scaled by `factor` before `layer`."""
    tokens = model.run(model.embed(images()), 0, layer)
    scale = torch.ones(tokens.length, 1, dtype=torch.float64)
    scale[place] = factor
    scaled = replace(tokens, branch=tokens.branch * scale, residual=tokens.residual * scale)
    logits = model.readout(model.run(scaled, layer))[image]
    label = int(LABELS[image])
    others = [value for index, value in enumerate(logits.tolist()) if index != label]
    return float(torch.logsumexp(logits, 0) - logits[label]), float(logits[label]) - max(others)


def loss_and_margin_of(logits: Tensor) -> dict[str, Tensor]:
    others = logits.clone()
    others[torch.arange(2), LABELS] = -torch.inf
    true = logits[torch.arange(2), LABELS]
    return {"loss": logits.logsumexp(1) - true, "margin": true - others.amax(1)}


@pytest.fixture(scope="module")
def estimates(model: Vim) -> Estimates:
    with torch.no_grad():
        return gradient_estimates(model, model.embed(images()), loss_and_margin_of, LAYERS)


@pytest.mark.parametrize("place", [0, 4, 9])
def test_they_are_the_slope_towards_zero(model: Vim, estimates: Estimates, place: int) -> None:
    step = 1e-5
    with torch.no_grad():
        for row, layer in enumerate(LAYERS):
            for image in (0, 1):
                less, more = (
                    outputs(model, layer, image, place, 1 + sign * step) for sign in (-1, 1)
                )
                slopes = [(low - high) / (2 * step) for low, high in zip(less, more, strict=True)]
                assert float(estimates["estimate_loss"][row, image, place]) == pytest.approx(
                    slopes[0], abs=1e-7
                )
                assert float(estimates["estimate_margin"][row, image, place]) == pytest.approx(
                    slopes[1], abs=1e-7
                )


def test_the_bound_is_never_exceeded(estimates: Estimates) -> None:
    assert estimates["bound_loss"].shape == estimates["estimate_loss"].shape == (2, 2, 10)
    assert (estimates["estimate_loss"].abs() <= estimates["bound_loss"] + 1e-12).all()
    assert (estimates["bound_loss"] > 0).all()


def test_before_the_last_block_a_patch_can_be_rescaled_for_free(
    model: Vim, estimates: Estimates
) -> None:
    """Gradient times activation is blind before a norm whose class token alone is read out.

    The bound is not.
    """
    patches = [place for place in range(10) if place not in model.special_places]
    assert (
        estimates["estimate_loss"][1, :, patches].abs().max()
        < 1e-5 * estimates["bound_loss"][1, :, patches].max()
    )
