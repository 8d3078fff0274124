"""The settings of a measurement of speed; the form of its ``spec.yaml``."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from suite.config.run_spec import Budget, Precision, RunSpec, Specification
from suite.config.spec_file import build_spec

Count = Annotated[int, Field(ge=1)]


class BenchSpec(Specification):
    """Settings of a measurement: models, methods, budgets and sizes; enough to repeat it."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    kind: Literal["bench"] = "bench"
    backbones: Annotated[tuple[str, ...], Field(min_length=1)] = ("vim_tiny",)
    """Backbones, comma-separated: 'vim_tiny,vim_tiny[image_size=448]'."""
    methods: Annotated[tuple[str, ...], Field(min_length=1)] = ("mtr", "tome")
    """Methods to time, or 'all'."""
    budgets: Annotated[tuple[Budget, ...], Field(min_length=1)] = (0.2, 0.4, 0.6)
    """Fractions of FLOPs to remove, comma-separated."""
    batches: Annotated[tuple[Count, ...], Field(min_length=1)] = (1, 32)
    """Images per batch, comma-separated; `reduction` and `models` take the last."""
    # the grids of 224, 448, 672 and 1024 pixels in patches of 16
    lengths: tuple[Count, ...] = (196, 784, 1764, 4096)
    """Numbers of patch tokens, squares, over which to follow the cost of one image; empty: none."""
    precisions: Annotated[tuple[Precision, ...], Field(min_length=1)] = ("fp32",)
    """Precisions, comma-separated: fp32, tf32 (fp32, products rounded to TF32), fp64 or bf16."""
    rounds: Count = 7
    """Interleaved rounds, of which medians are shown."""
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
            baselines=False,  # to time them, name them among the methods
            device=self.device,
            kernel=self.kernel,
            threads=self.threads,
        )

    @property
    def named(self) -> dict[str, str]:
        """The backbones as they were written, by what tables call them."""
        return self.run_spec().named

    def default_name(self) -> str:
        """Folder name with the backbones; the same settings always have the same folder."""
        # brackets and commas of settings are awkward in names of folders
        backbones = re.sub(r"[^A-Za-z0-9_+]+", "_", "+".join(self.named))
        return f"bench-{backbones}-{self.digest()}"
