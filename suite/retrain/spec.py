"""Settings of a retraining: those of a comparison, and how weights are trained under a method."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, field_validator

from suite.config.run_spec import NOT_TRAINED, Budget, RunSpec, positive_or_all

PUBLISHED_RATE = 2e-5  # of R-MeeTo (arXiv 2412.12496), at PUBLISHED_BATCH images a step
PUBLISHED_BATCH = 512

Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]


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
    learning_rate: tuple[Rate, ...] = ()
    """Largest learning rate; of several, comma-separated, held-out training images choose one for
    each training; empty: R-MeeTo's, 2e-5 at a batch of 512, in proportion to it."""
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

    @field_validator("task")
    @classmethod
    def _of_images(cls, value: Any) -> Any:
        if value != "classification":
            raise ValueError(f"{NOT_TRAINED}: leave it out")
        return value

    @field_validator("train_images", mode="before")
    @classmethod
    def _counted(cls, value: Any) -> Any:
        return positive_or_all(value)

    @field_validator("learning_rate", mode="before")
    @classmethod
    def _as_several(cls, value: Any) -> Any:
        # A single rate is a number in a file.
        if value is None or isinstance(value, int | float):
            return () if value is None else (value,)
        return value

    @field_validator("learning_rate")
    @classmethod
    def _each_once(cls, rates: tuple[float, ...]) -> tuple[float, ...]:
        for rate in rates:
            if rates.count(rate) > 1:
                raise ValueError(f"{rate:g} stands there twice: give each rate once")
        return tuple(sorted(rates))

    @property
    def planned_budgets(self) -> tuple[Budget, ...]:
        """The budgets of its cells, those that weights are trained under before the others."""
        # Of budgets that come to one plan the first stands in its cell.
        return tuple(dict.fromkeys((*self.budgets, *self.test_budgets)))

    @property
    def rates(self) -> tuple[float, ...]:
        """The learning rates that each training is tried at, ascending; of several one is kept."""
        # The linear scaling rule of Goyal et al., arXiv 1706.02677.
        return self.learning_rate or (PUBLISHED_RATE * self.train_batch / PUBLISHED_BATCH,)

    def default_name(self) -> str:
        """Folder name made from the settings; equal settings always give the same folder."""
        return f"retrain-{super().default_name()}"
