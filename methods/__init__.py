"""Token reduction: scores, matching, combination and order, and the named methods made of them.

Importing this package does not import torch; a method's module is imported when the method is asked
for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from backbones.common.registry import Registry

if TYPE_CHECKING:
    from methods.base import Method

METHODS: Registry[Method] = Registry(
    "method",
    {
        "none": "methods.named.none:NONE",
        "random": "methods.named.random:RANDOM",
        "stride": "methods.named.stride:STRIDE",
        "pool": "methods.named.pool:POOL",
        "grid-pool": "methods.named.grid_pool:GRID_POOL",
        "grid-resize": "methods.named.grid_resize:GRID_RESIZE",
        "downsample": "methods.named.downsample:DOWNSAMPLE",
        "crop-shrink": "methods.named.crop_shrink:CROP_SHRINK",
        "permute": "methods.named.permute:PERMUTE",
        "oracle": "methods.named.oracle:ORACLE",
        "norm": "methods.named.norm:NORM",
        "activation": "methods.named.activation:ACTIVATION",
        "delta": "methods.named.delta:DELTA",
        "mtr": "methods.named.mtr:MTR",
        "tome": "methods.named.tome:TOME",
        "evit": "methods.named.evit:EVIT",
        "hsa": "methods.named.hsa:HSA",
        "utr": "methods.named.utr:UTR",
        "rmeeto": "methods.named.rmeeto:RMEETO",
        "pumer": "methods.named.pumer:PUMER",
        "stm": "methods.named.stm:STM",
        "mame": "methods.named.mame:MAME",
        "fambav": "methods.named.fambav:FAMBAV",
        "storm": "methods.named.storm:STORM",
    },
    "suite.methods",
    base="methods.base:Method",
)
