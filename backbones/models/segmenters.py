"""Segmenters: a head on a body that is another backbone of the suite.

The body has its own names behind ``backbone.``, without the classifier; the head's begin with
``decode_head.``, as in OpenMMLab's files.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from backbones.base import Backbone
from backbones.config import with_overrides
from backbones.dense.heads import HEADS
from backbones.dense.segmenter import Segmenter, spaced_levels
from backbones.models.sizes import FAMILIES, SEGMENTERS


def create(name: str, **overrides: Any) -> Segmenter:
    """Build the segmenter called `name`; overrides but ``classes`` are settings of its body."""
    own = {key: value for key, value in overrides.items() if key == "classes"}
    config = with_overrides(SEGMENTERS[name], name, own)
    settings = {key: value for key, value in overrides.items() if key not in own}
    body = body_of(config.body, settings)
    levels = spaced_levels(body.depth, config.levels)
    head = HEADS[config.head]([body.describe().dim] * len(levels), config.classes)
    return Segmenter(name, body, levels, head)


def body_of(name: str, settings: dict[str, Any]) -> Backbone:
    """The backbone called `name`, without the classifier that a segmenter does not read."""
    (family,) = (family for family, names in FAMILIES.items() if name in names)
    body: Backbone = import_module(f"backbones.models.{family}").create(name, **settings)
    del body.head
    return body
