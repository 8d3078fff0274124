"""Settings of `reproduce`: what a published table leaves to the one who runs it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from suite.config.run_spec import Precision, Specification


class ReproduceSpec(Specification):
    """How a table is run; what is run is in the table."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    data: str = ""
    """The table's data with their place, such as imagenet:PATH."""
    checkpoint: str = ""
    """Weights, as for compare; empty: those that the table names."""
    images: int | Literal["all"] = "all"
    """Number of images, stratified by class, or 'all'."""
    seeds: Annotated[int, Field(ge=1, le=100)] = 3
    batch_size: Annotated[int, Field(ge=1)] = 32
    shard_size: Annotated[int, Field(ge=1)] = 256
    gallery: int = 0
    """Images whose tokens the report shows: how many."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Precision = "fp32"
    kernel: Literal["auto", "reference", "chunked", "cpu", "mamba_ssm", "triton"] = "auto"
    threads: Annotated[int, Field(ge=0)] = 0
