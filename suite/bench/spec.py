"""What a measurement of speed is asked to do; the form of its ``spec.yaml``."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from suite.config.run_spec import SCHEMA, Budget, RunSpec
from suite.config.spec_file import build_spec

Count = Annotated[int, Field(ge=1)]


class BenchSpec(BaseModel):
    """Which models, methods and budgets are timed, and in what sizes. Enough to repeat the measurement.

    ``batches``     images a batch
    ``lengths``     patch tokens of the square images that the cost is followed over, at one image a batch
    ``precisions``  of the weights
    ``rounds``      in which all that is compared takes turns
    """

    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)

    version: Literal[2] = Field(default=SCHEMA, alias="schema")
    kind: Literal["bench"] = "bench"
    backbones: Annotated[tuple[str, ...], Field(min_length=1)] = ("vim_tiny",)
    methods: Annotated[tuple[str, ...], Field(min_length=1)] = ("mtr", "tome")
    budgets: Annotated[tuple[Budget, ...], Field(min_length=1)] = (0.2, 0.4, 0.6)
    batches: Annotated[tuple[Count, ...], Field(min_length=1)] = (1, 32)
    lengths: tuple[Count, ...] = (196, 784, 1764, 4096)
    precisions: Annotated[tuple[Literal["fp32", "fp64", "bf16"], ...], Field(min_length=1)] = (
        "fp32",
    )
    rounds: Count = 7
    device: Literal["auto", "cpu", "cuda"] = "auto"
    kernel: Literal["auto", "reference", "cpu", "mamba_ssm", "triton"] = "auto"
    threads: Annotated[int, Field(ge=0)] = 0

    def run_spec(self, *budgets: float) -> RunSpec:
        """The comparison whose cells are timed; without `budgets` at all of its own."""
        return build_spec(
            backbones=self.backbones, checkpoint="random", methods=self.methods, budgets=budgets or self.budgets,
            baselines=False, device=self.device, kernel=self.kernel, threads=self.threads,
        )  # fmt: skip

    def default_name(self) -> str:
        """Folder name that says what was timed; the same question always goes to the same folder."""
        digest = hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:8]
        return f"bench-{re.sub(r'[^A-Za-z0-9_+]+', '_', '+'.join(self.backbones))}-{digest}"
