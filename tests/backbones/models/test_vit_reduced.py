"""ToMe and EViT on attention as published, through whole passes, against loops over tokens."""

from typing import Any

import pytest
import torch
from straight_line_vit import by_hand, evit, tome

from backbones import create_model
from methods.reducer import Reducer
from methods.spec import parse

CONFIG: dict[str, Any] = {
    "dim": 24,
    "heads": 3,
    "layers": 4,
    "image_size": 20,
    "patch": 4,
    "classes": 5,
}


@pytest.mark.parametrize(("name", "original"), [("tome", tome), ("evit", evit)])
@pytest.mark.parametrize(
    "counts", [{0: 9, 1: 7, 3: 2}, pytest.param({0: 1}, marks=pytest.mark.slow)]
)
def test_logits_are_those_of_the_original(name: str, original: Any, counts: dict[int, int]) -> None:
    model = create_model("deit_nano", **CONFIG).double()
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(
                torch.randn(parameter.shape, generator=generator, dtype=torch.float64), alpha=0.3
            )
    composition = parse(name).composition(model.provides)
    assert composition is not None
    sites = {2 * layer + 1: count for layer, count in counts.items()}
    assert set(sites) <= set(model.sites)
    plan = {site: Reducer(composition, count, site) for site, count in sites.items()}
    images = torch.randn(2, 3, 20, 20, dtype=torch.float64, generator=generator)
    with torch.inference_mode():
        result = model.readout(model.run(model.embed(images), plan=plan))
    for image, logits in zip(images, result, strict=True):
        reduce = {layer: original(count) for layer, count in counts.items()}
        expected = by_hand(model.state_dict(), image, CONFIG, reduce)
        assert (logits - expected).abs().max() < 1e-9 * float(expected.abs().max())
        assert (expected - by_hand(model.state_dict(), image, CONFIG)).abs().max() > 1e-3
