"""Settings of a sensitivity analysis; the form of its ``spec.yaml``."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from backbones.common.labels import data_name
from suite.config.run_spec import (
    CLASSIFIER,
    RunSpec,
    Specification,
    with_segmenter,
)
from suite.config.spec_file import build_spec
from suite.stats.metric import TaskName


class SensitivitySpec(Specification):
    """One backbone on one data set, and what is removed from it: enough to repeat the analysis."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    kind: Literal["sensitivity"] = "sensitivity"
    task: TaskName = "classification"
    backbone: str = CLASSIFIER
    """Backbone (python -m suite list backbones), or file.py:NAME."""
    checkpoint: str = "bundled"
    data: str = "fashion-clutter"
    split: str = "dev"
    source: str | None = None
    images: int | Literal["all"] = 64
    # Zeroing doubles the passes of an image and serves to check the estimates only.
    zeroed: Annotated[int, Field(ge=0)] = 16
    """Number of the images on which tokens are also zeroed, to test the estimate."""
    layers: str = "all"
    """Blocks before which tokens are changed: all, every-K, or numbers separated by commas."""
    positions: str = "all"
    """Patches removed one at a time: all, every-K rows and columns, or numbers with commas."""
    methods: tuple[str, ...] = ("mtr", "delta", "tome", "utr", "evit", "random", "stride", "pool")
    """Methods that reduce before one block alone, comma-separated."""
    share: Annotated[float, Field(gt=0, lt=1)] = 0.4
    """Share of the patch tokens removed where several are removed at once."""
    places: Annotated[int, Field(ge=0)] = 15
    """Number of places of the class token to try, spread over the sequence; 0: none."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of random scores and methods."""
    batch_size: Annotated[int, Field(ge=1)] = 32
    device: str = "auto"
    precision: str = "fp32"
    kernel: str = "auto"
    threads: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="before")
    @classmethod
    def _backbone_of_task(cls, values: Any) -> Any:
        return with_segmenter(values, "backbone")

    def run_spec(self) -> RunSpec:
        """Return the settings shared with a comparison; UserError if a comparison refuses them."""
        # Settings of one name mean the same in both.
        shared = self.model_dump(include=set(RunSpec.model_fields))
        if self.task == "segmentation":
            # A probe is of one sequence of tokens, not of the windows of a picture.
            shared["inference"] = "centre"
        return build_spec(backbones=(self.backbone,), baselines=False, **shared)

    @property
    def called(self) -> str:
        """What tables call the backbone."""
        return next(iter(self.run_spec().named))

    def default_name(self) -> str:
        """Name the run folder after the settings, so that the same command resumes its run."""
        # What follows a colon is a path, which a folder's name cannot have.
        data, backbone = data_name(self.data), re.sub(r"[^\w.+=,\[\]-]+", "_", self.called)
        return f"sensitivity-{backbone}-{data}-{self.split}-{self.images}-{self.digest()}"
