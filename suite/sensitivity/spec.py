"""What a sensitivity analysis is asked to do; the form of its ``spec.yaml``."""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from suite.config.run_spec import RunSpec, build_spec

SHARED = ("checkpoint", "data", "split", "source", "images", "methods", "batch", "device", "precision", "kernel",
          "threads")  # fmt: skip


class SensitivitySpec(BaseModel):
    """One backbone on one data set: which tokens are tried, before which blocks. Enough to repeat the analysis."""

    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)

    version: Literal[1] = Field(default=1, alias="schema")
    kind: Literal["sensitivity"] = "sensitivity"
    backbone: str = "vim_nano"
    checkpoint: str = "bundled"
    data: str = "fashion-clutter"
    split: str = "dev"
    source: str | None = None
    images: int | Literal["all"] = 64
    zeroed: Annotated[int, Field(ge=0)] = 16
    layers: str = "all"
    positions: str = "all"
    methods: tuple[str, ...] = ("mtr", "delta", "tome", "utr", "evit", "random", "stride", "pool")
    share: Annotated[float, Field(gt=0, lt=1)] = 0.4
    places: Annotated[int, Field(ge=0)] = 15
    seed: Annotated[int, Field(ge=0)] = 0
    batch: Annotated[int, Field(ge=1)] = 32
    device: str = "auto"
    precision: str = "fp32"
    kernel: str = "auto"
    threads: Annotated[int, Field(ge=0)] = 0

    def run_spec(self) -> RunSpec:
        """The settings it has in common with a comparison, checked as those are."""
        return build_spec(
            backbones=(self.backbone,),
            baselines=False,
            **{name: getattr(self, name) for name in SHARED},
        )

    def default_name(self) -> str:
        """Folder name that says what was run; the same question always goes to the same folder."""
        digest = hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:8]
        return f"sensitivity-{self.backbone}-{self.data.partition(':')[0]}-{self.split}-{self.images}-{digest}"
