"""Settings of a sensitivity analysis; the form of its ``spec.yaml``."""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from suite.config.run_spec import SCHEMA, RunSpec, build_spec

# Settings that mean the same as in a comparison.
SHARED = {
    "checkpoint",
    "data",
    "split",
    "source",
    "images",
    "methods",
    "batch",
    "device",
    "precision",
    "kernel",
    "threads",
}


class SensitivitySpec(BaseModel):
    """One backbone on one data set, and what is removed from it: enough to repeat the analysis."""

    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)

    version: Literal[2] = Field(default=SCHEMA, alias="schema")
    kind: Literal["sensitivity"] = "sensitivity"
    backbone: str = "vim_nano"
    checkpoint: str = "bundled"
    data: str = "fashion-clutter"
    split: str = "dev"
    source: str | None = None
    images: int | Literal["all"] = 64
    # Zeroing doubles the passes of an image and serves to check the estimates only.
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
        """Return the settings shared with a comparison; UserError if a comparison refuses them."""
        shared = self.model_dump(include=SHARED)
        return build_spec(backbones=(self.backbone,), baselines=False, **shared)

    def default_name(self) -> str:
        """Name the run folder after the settings, so that the same command resumes its run."""
        digest = hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:8]
        # What follows a colon is a path, which a folder's name cannot have.
        data = self.data.partition(":")[0]
        return f"sensitivity-{self.backbone}-{data}-{self.split}-{self.images}-{digest}"
