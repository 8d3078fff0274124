"""Settings of a tuning; the form of its ``spec.yaml``."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from backbones.common.labels import data_name
from suite.config.run_spec import (
    CLASSIFIER,
    Budget,
    Precision,
    RunSpec,
    Specification,
    with_segmenter,
)
from suite.config.spec_file import build_spec
from suite.stats.metric import TaskName


class TuneSpec(Specification):
    """Methods x settings x budgets on some backbones and one data set: all that repeats it."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    kind: Literal["tune"] = "tune"
    methods: Annotated[tuple[str, ...], Field(min_length=1)] = ("all",)
    """Methods to tune, comma-separated; 'all': every one that removes tokens from a sequence."""
    task: TaskName = "classification"
    backbones: Annotated[tuple[str, ...], Field(min_length=1)] = (CLASSIFIER,)
    checkpoint: str = "bundled"
    data: str = "fashion-clutter"
    split: str = "dev"
    """Split of the data whose images pick the settings: not the one of the findings."""
    source: str | None = None
    images: int | Literal["all"] = 1000
    """Number of images, stratified by class, or 'all'; the default is at most 1,000."""
    budgets: Annotated[tuple[Budget, ...], Field(min_length=1)] = (0.2, 0.4, 0.6)
    """Fractions of the backbone's FLOPs to remove; a setting is picked by its mean over them."""
    sites: tuple[int, ...] | None = None
    """Blocks before which tokens are removed, comma-separated; empty: before every (depth/12)-th
    block."""
    flops_convention: Literal["flops", "macs", "paper"] = "flops"
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of stochastic methods."""
    batch_size: Annotated[int, Field(ge=1)] = 32
    shard_size: Annotated[int, Field(ge=1)] = 256
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Precision = "fp32"
    kernel: Literal["auto", "reference", "cpu", "mamba_ssm", "triton"] = "auto"
    threads: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="before")
    @classmethod
    def _backbone_of_task(cls, values: Any) -> Any:
        return with_segmenter(values)

    def run_spec(self) -> RunSpec:
        """Return the settings shared with a comparison; UserError if a comparison refuses them."""
        # Settings of one name mean the same in both.
        shared = self.model_dump(include=set(RunSpec.model_fields) - {"version"})
        return build_spec(**shared, schedule="constant-ratio", baselines=False, seeds=1, gallery=0)

    def default_name(self) -> str:
        """Name the run folder after the settings, so that the same command resumes its run."""
        backbones = re.sub(r"[^A-Za-z0-9_+]+", "_", "+".join(self.run_spec().named)).strip("_")
        data = data_name(self.data)
        return f"tune-{backbones}-{data}-{self.split}-{self.images}-{self.digest()}"
