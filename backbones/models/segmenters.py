"""Segmenters: a head on a body that is another backbone of the suite.

The body has its own names behind ``backbone.``, without the classifier; the head's begin with
``decode_head.``, as in OpenMMLab's files.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from torch import nn

from backbones.base import Backbone
from backbones.config import with_overrides
from backbones.dense.heads import ConvHead, Head, LinearHead
from backbones.dense.segmenter import Segmenter, spaced_levels
from backbones.dense.uper_head import UPerHead
from backbones.models.plainmamba import PlainMamba
from backbones.models.sizes import FAMILIES, SEGMENTERS, UPERNETS, SegmenterConfig
from backbones.models.vmamba import VMamba

OWN = ("classes", "channels")  # settings of the head


def create(name: str, **overrides: Any) -> Segmenter:
    """Build the segmenter called `name`; overrides but those of the head are of its body."""
    own = {key: value for key, value in overrides.items() if key in OWN}
    config = with_overrides((SEGMENTERS | UPERNETS)[name], name, own)
    settings = {"image_size": config.image_size} if config.image_size else {}
    settings |= {key: value for key, value in overrides.items() if key not in own}
    body = body_of(config.body, settings)
    halvings = body.describe().halvings
    # in stages the last block before each halving
    levels = (*halvings, body.depth) if halvings else spaced_levels(body.depth, config.levels)
    model = Segmenter(name, body, levels, head_of(config, body, levels))
    if config.slides:
        model.inference = "slide"
    return model


def body_of(name: str, settings: dict[str, Any]) -> Backbone:
    """The backbone called `name`, without the classifier that a segmenter does not read."""
    (family,) = (family for family, names in FAMILIES.items() if name in names)
    body: Backbone = import_module(f"backbones.models.{family}").create(name, **settings)
    if isinstance(body, VMamba):
        del body.classifier
    else:
        del body.head
    return body


def head_of(config: SegmenterConfig, body: Backbone, levels: Sequence[int]) -> Head:
    """The head of a configuration, on a body that is read at `levels`."""
    widths = [body.describe().width(level - 1) for level in levels]
    if config.head == "linear":
        return LinearHead(widths, config.classes)
    if config.head == "conv":
        return ConvHead(widths, config.classes)
    return UPerHead(widths, config.classes, config.channels, norms_of(body, levels))


def norms_of(body: Backbone, levels: Sequence[int]) -> list[nn.Module]:
    """Norms of each level, under their published names; PlainMamba's last is its final one."""
    norms: list[nn.Module] = []
    if isinstance(body, VMamba):
        for stage, width in enumerate(body.config.widths):
            norms.append(nn.LayerNorm(width))
            body.add_module(f"outnorm{stage}", norms[-1])
        return norms
    assert isinstance(body, PlainMamba)
    for level in levels[:-1]:
        norm = nn.LayerNorm(body.config.dim, eps=body.ln1.eps)
        body.add_module(f"norm_layer{level - 1}", norm)
        norms.append(norm)
    return [*norms, body.ln1]
