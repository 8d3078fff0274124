"""The settings of a measurement of speed; the form of its ``spec.yaml``."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from suite.config.run_spec import SCHEMA, Budget, RunSpec
from suite.config.spec_file import build_spec

Count = Annotated[int, Field(ge=1)]
Precision = Literal["fp32", "fp64", "bf16"]


class BenchSpec(BaseModel):
    """Which models, methods and budgets are timed, at which sizes: all that repeats a measurement.

    The descriptions are the help of the command-line options, which are made from the fields.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)

    version: Literal[2] = Field(default=SCHEMA, alias="schema")
    kind: Literal["bench"] = "bench"
    backbones: tuple[str, ...] = Field(
        default=("vim_tiny",),
        min_length=1,
        description="Backbones, comma-separated: 'vim_tiny,vim_tiny[image_size=448]'.",
    )
    methods: tuple[str, ...] = Field(
        default=("mtr", "tome"), min_length=1, description="Methods to time, or 'all'."
    )
    budgets: tuple[Budget, ...] = Field(
        default=(0.2, 0.4, 0.6),
        min_length=1,
        description="Fractions of FLOPs to remove, comma-separated.",
    )
    batches: tuple[Count, ...] = Field(
        default=(1, 32),
        min_length=1,
        description="Images a batch, comma-separated; `reduction` and `models` take the last.",
    )
    lengths: tuple[Count, ...] = Field(
        default=(196, 784, 1764, 4096),
        description="Numbers of patch tokens, squares, over which to follow the cost of one image; "
        "empty: none.",
    )
    precisions: tuple[Precision, ...] = Field(
        default=("fp32",),
        min_length=1,
        description="Precision of the weights, comma-separated: fp32, fp64 or bf16.",
    )
    rounds: Count = Field(default=7, description="Interleaved rounds, of which medians are shown.")
    device: Literal["auto", "cpu", "cuda"] = "auto"
    kernel: Literal["auto", "reference", "cpu", "mamba_ssm", "triton"] = "auto"
    threads: Annotated[int, Field(ge=0)] = 0

    def run_spec(self, *budgets: float) -> RunSpec:
        """The comparison whose cells are timed, at `budgets` or else at all of its own."""
        return build_spec(
            backbones=self.backbones,
            checkpoint="random",
            methods=self.methods,
            budgets=budgets or self.budgets,
            baselines=False,
            device=self.device,
            kernel=self.kernel,
            threads=self.threads,
        )

    def default_name(self) -> str:
        """Folder name with the backbones; the same settings always have the same folder."""
        digest = hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:8]
        backbones = re.sub(r"[^A-Za-z0-9_+]+", "_", "+".join(self.backbones))
        return f"bench-{backbones}-{digest}"
