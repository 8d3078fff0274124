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
from backbones.dense.pyramid_head import PyramidHead, rescaling
from backbones.dense.segmenter import Segmenter, spaced_levels
from backbones.dense.uper_head import UPerHead
from backbones.models.plainmamba import PlainMamba
from backbones.models.sizes import (
    FAMILIES,
    SEGMENTERS,
    UPERNETS,
    VIM_UPERNETS,
    SegmenterConfig,
)
from backbones.models.vim import create_body
from backbones.models.vmamba import VMamba

OWN = ("classes", "channels")  # settings of the head


def create(name: str, **overrides: Any) -> Segmenter:
    """Build the segmenter called `name`; overrides but those of the head are of its body."""
    own = {key: value for key, value in overrides.items() if key in OWN}
    config = with_overrides((SEGMENTERS | UPERNETS | VIM_UPERNETS)[name], name, own)
    own_sizes = {"image_size": config.image_size, "table": config.table}
    settings = {key: value for key, value in own_sizes.items() if value}
    settings |= {key: value for key, value in overrides.items() if key not in own}
    body = body_of(config, settings)
    halvings = body.describe().halvings
    # in stages the last block before each halving
    levels = (*halvings, body.depth) if halvings else spaced_levels(body.depth, config.levels)
    head = head_of(config, body, levels)
    model = Segmenter(name, body, levels, head, branch=config.head == "pyramid")
    model.inference, model.multiple = config.inference, config.multiple
    return model


def body_of(config: SegmenterConfig, settings: dict[str, Any]) -> Backbone:
    """The body of a configuration, without the classifier that a segmenter does not read."""
    body: Backbone
    if config.head == "pyramid":
        body = create_body(config.body, **settings)
    else:
        (family,) = (family for family, names in FAMILIES.items() if config.body in names)
        body = import_module(f"backbones.models.{family}").create(config.body, **settings)
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
    if config.head == "pyramid":
        rescalers = rescaling(widths[0])
        for number, module in enumerate(rescalers, start=1):
            body.add_module(f"fpn{number}", module)
        return PyramidHead(widths[0], config.classes, config.channels, rescalers)
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
