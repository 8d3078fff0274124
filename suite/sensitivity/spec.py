"""Settings of a sensitivity analysis; the form of its ``spec.yaml``."""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from suite.config.run_spec import SCHEMA, RunSpec
from suite.config.spec_file import build_spec

# Settings that mean the same as in a comparison.
SHARED = {
    "checkpoint",
    "data",
    "split",
    "source",
    "images",
    "methods",
    "batch_size",
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
    backbone: str = Field(
        default="vim_nano", description="Backbone (python -m suite list backbones)."
    )
    checkpoint: str = "bundled"
    data: str = "fashion-clutter"
    split: str = "dev"
    source: str | None = None
    images: int | Literal["all"] = 64
    # Zeroing doubles the passes of an image and serves to check the estimates only.
    zeroed: int = Field(
        default=16,
        ge=0,
        description="Number of the images on which tokens are also zeroed, to test the estimate.",
    )
    layers: str = Field(
        default="all",
        description="Blocks before which tokens are changed: all, every-K, or numbers separated by "
        "commas.",
    )
    positions: str = Field(
        default="all",
        description="Patches removed one at a time: all, every-K rows and columns, or numbers with "
        "commas.",
    )
    methods: tuple[str, ...] = Field(
        default=("mtr", "delta", "tome", "utr", "evit", "random", "stride", "pool"),
        description="Methods that reduce before one block alone, comma-separated.",
    )
    share: float = Field(
        default=0.4,
        gt=0,
        lt=1,
        description="Share of the patch tokens removed where several are removed at once.",
    )
    places: int = Field(
        default=15,
        ge=0,
        description="Number of places of the class token to try, spread over the sequence; 0: "
        "none.",
    )
    seed: int = Field(default=0, ge=0, description="Seed of random scores and methods.")
    batch_size: Annotated[int, Field(ge=1)] = 32
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
        settings = self.model_dump_json().encode()
        digest = hashlib.sha256(settings).hexdigest()[:8]
        # What follows a colon is a path, which a folder's name cannot have.
        data = self.data.partition(":")[0]
        return f"sensitivity-{self.backbone}-{data}-{self.split}-{self.images}-{digest}"
