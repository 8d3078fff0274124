"""Token reduction: scores, matching, combination and order as pure functions, and the named methods made of them.

Importing this package does not import torch; a method's module is imported when the method is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from backbones.registry import Registry

if TYPE_CHECKING:
    from methods.base import Method

METHODS: Registry[Method] = Registry(
    "method",
    {
        "none": "methods.none:NONE",
        "random": "methods.random:RANDOM",
        "stride": "methods.stride:STRIDE",
        "pool": "methods.pool:POOL",
        "downsample": "methods.downsample:DOWNSAMPLE",
        "permute": "methods.permute:PERMUTE",
        "oracle": "methods.oracle:ORACLE",
        "norm": "methods.norm:NORM",
        "activation": "methods.activation:ACTIVATION",
        "delta": "methods.delta:DELTA",
        "mtr": "methods.mtr:MTR",
        "tome": "methods.tome:TOME",
        "evit": "methods.evit:EVIT",
        "hsa": "methods.hsa:HSA",
        "utr": "methods.utr:UTR",
        "rmeeto": "methods.rmeeto:RMEETO",
        "pumer": "methods.pumer:PUMER",
        "stm": "methods.stm:STM",
        "mame": "methods.mame:MAME",
        "fambav": "methods.fambav:FAMBAV",
    },
    "suite.methods",
)
