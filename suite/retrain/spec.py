"""Settings of a retraining: those of a comparison, and how weights are trained under a method."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, field_validator

from suite.config.run_spec import Budget, RunSpec, positive_or_all

PUBLISHED_RATE = 2e-5  # of R-MeeTo (arXiv 2412.12496), at PUBLISHED_BATCH images a step
PUBLISHED_BATCH = 512


class RetrainSpec(RunSpec):
    """A comparison whose methods run with the weights as they are, and retrained under them."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    kind: Literal["retrain"] = "retrain"
    methods: Annotated[tuple[str, ...], Field(min_length=1)] = ("mtr", "tome", "random")
    """Methods to retrain under, comma-separated: 'mtr,tome[order=appended]', file.py:NAME."""
    source: str | None = None
    """Folder of the full Fashion-MNIST, on which fashion-clutter is trained; empty: search for it,
    and evaluate the images that come with the suite."""
    budgets: Annotated[tuple[Budget, ...], Field(min_length=1)] = (0.4,)
    """Fractions of the backbone's FLOPs to remove, comma-separated: a training each."""
    baselines: bool = False
    """Also evaluate the baselines random, stride, pool and downsample, without retraining."""
    smaller: tuple[str, ...] = ("none",)
    across_schedules: bool = False
    epochs: Annotated[int, Field(ge=1)] = 3
    """Passes over the training images."""
    train_images: int | Literal["all"] = "all"
    """Number of training images, stratified by class, or 'all'."""
    train_batch: Annotated[int, Field(ge=1)] = 128
    """Images a step."""
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Largest learning rate; empty: R-MeeTo's, 2e-5 at a batch of 512, in proportion to it."""
    distill: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Weight of the divergence from the whole model's answers beside the labels; R-MeeTo: 0.5."""
    augment: Literal["none", "light", "strong"] | None = None
    """none, light (crops, mirrored) or strong; empty: light, of fashion-clutter none, since it is
    drawn anew every epoch."""
    test_budgets: tuple[Budget, ...] = ()
    """Further budgets, comma-separated, that all weights are evaluated at, retrained or not."""
    mixed: bool = False
    """One training a method for all budgets, which take turns from step to step."""
    loaders: Annotated[int, Field(ge=0)] = 1
    """Processes that prepare training images ahead of the model."""

    @field_validator("train_images", mode="before")
    @classmethod
    def _counted(cls, value: Any) -> Any:
        return positive_or_all(value)

    @property
    def planned_budgets(self) -> tuple[Budget, ...]:
        """The budgets of its cells, those that weights are trained under before the others."""
        # Of budgets that come to one plan the first stands in its cell.
        return tuple(dict.fromkeys((*self.budgets, *self.test_budgets)))

    @property
    def rate(self) -> float:
        """The largest learning rate."""
        if self.learning_rate is not None:
            return self.learning_rate
        # The linear scaling rule of Goyal et al., arXiv 1706.02677.
        return PUBLISHED_RATE * self.train_batch / PUBLISHED_BATCH

    def default_name(self) -> str:
        """Folder name made from the settings; equal settings always give the same folder."""
        return f"retrain-{super().default_name()}"
