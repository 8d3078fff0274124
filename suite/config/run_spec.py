"""The settings of a comparison: the one place of their defaults and their descriptions."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from backbones import BACKBONES
from backbones.common.labels import data_name, labelled
from suite.stats.metric import TaskName

# Version of what a run folder contains; readers refuse any other, so raise it with every change of
# a stored name. Specifications of `EARLIER` versions are still read as settings (`with_file`).
SCHEMA: Literal[4] = 4
EARLIER = (1, 2, 3)
MAX_GALLERY = 64
SITE_RULES = ("delta-spread", "delta-spread-2", "delta-spread-3", "delta-spread-4")
CLASSIFIER = "vim_nano"  # the default backbone
SEGMENTER = "vim_nano_conv"  # the one of segmentation
# What to say where a segmenter, or masks, are to be trained on.
NOT_TRAINED = (
    "segmenters are not trained on your data here; a recipe trains the heads of the bundled ones "
    "(python -m suite list recipes)"
)
TRIES_FILES = "tries-*.parquet"  # tables of tries in the folder of a run
Precision = Literal["fp32", "tf32", "fp64", "bf16"]
Budget = Annotated[float, Field(gt=0, lt=1)]


def positive_or_all(value: Any) -> Any:
    """A number of images, or the word for all of them; ValueError for anything else."""
    # Before pydantic's own check, which would complain about each member of the union.
    if value != "all" and not (isinstance(value, int) and value >= 1):
        raise ValueError("must be a whole number from 1 on, or 'all'")
    return value


def with_segmenter(values: Any, field: str = "backbones") -> Any:
    """Settings of segmentation with a backbone that has such a head, where none was named.

    They name backbones in this `field`: several, or one.
    """
    # One that was named is never replaced, not even by the name of the usual one.
    if not isinstance(values, dict) or values.get("task") != "segmentation" or field in values:
        return values
    return {**values, field: (SEGMENTER,) if field == "backbones" else SEGMENTER}


class Specification(BaseModel):
    """Settings of a command, as ``spec.yaml`` in its run folder stores them.

    The text below a field is its help on the command line and in the JSON schema; the order of the
    fields is that of ``--help`` and of the file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)

    version: Literal[4] = Field(default=SCHEMA, alias="schema")

    @field_validator("*", mode="before")
    @classmethod
    def _in_utf8(cls, value: Any) -> Any:
        # As a file's name may be that was typed; the specification could not be written.
        for text in value if isinstance(value, list | tuple) else [value]:
            if isinstance(text, str) and text != text.encode("utf-8", "replace").decode():
                raise ValueError("must be written in UTF-8: rename the file")
        return value

    # Of those that have images.
    @field_validator("images", mode="before", check_fields=False)
    @classmethod
    def _positive_or_all(cls, value: Any) -> Any:
        return positive_or_all(value)

    def digest(self) -> str:
        """Short hash of all settings, for the default name of the run."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:8]


class RunSpec(Specification):
    """A comparison: backbones x methods x budgets x seeds on one data set.

    It is all that repeats the run. With `axes`, every method is varied along them, one setting at
    a time (see `suite.plan.ablation_axes`).
    """

    # Not in the base class: reading the texts costs 10 ms a class, at every start.
    model_config = ConfigDict(use_attribute_docstrings=True)

    methods: tuple[str, ...] = ("mtr", "tome")
    """Methods, comma-separated: 'mtr,tome[order=appended]', 'mtr@falling', 'all', file.py:NAME.
    Differences are taken to the first."""
    # The names are those of suite.plan.ablation_axes.AXES, which this room may not import.
    axes: tuple[str, ...] = ()
    """What to vary around each method, comma-separated: order, score, combine, match, schedule,
    class-token, direction, similarity, size, undo, or all. Undo is of segmentation."""
    task: TaskName = "classification"
    """classification (of images) or segmentation (of pixels), by a backbone with such a head."""
    backbones: tuple[str, ...] = (CLASSIFIER,)
    """Backbones, comma-separated, settings in brackets, or of a file:
    'vim_nano,vim_tiny[image_size=448],file.py:NAME'."""
    checkpoint: str = "bundled"
    """Weights: 'bundled', 'official', a path, hf://owner/repo/file, or 'random'."""
    data: str = "fashion-clutter"
    """Data set: a name, KIND:PATH (python -m suite list datasets), or file.py:NAME."""
    split: str = "test"
    """Split of the data: make choices on dev, read test once."""
    source: str | None = None
    """Folder of the full Fashion-MNIST, 'full' to search for it, or the folder of the clips in a
    list; empty: the images that come with the suite."""
    views: str | None = None
    """Views of each video, CLIPSxCROPS, whose predictions are averaged; empty: 4x3."""
    inference: Literal["published", "centre", "slide", "whole"] = "published"
    """How pictures with masks are segmented: centre (its square alone), slide (windows over the
    whole picture, each reduced by itself), whole (all of it at once), or published (as the authors
    of the backbone do; centre where none have). Of slide and whole, pixels count at the picture's
    own size."""
    images: int | Literal["all"] = 500
    """Number of images, stratified by class, or 'all'; the default is at most 500."""
    budgets: tuple[Budget, ...] = (0.2, 0.4, 0.6)
    """Fractions of the backbone's FLOPs to remove, comma-separated."""
    protocol: Literal["matched", "tokens", "paper"] = "matched"
    """matched: same FLOPs for all; tokens: same token counts; paper: each method as published."""
    sites: tuple[int, ...] | str | None = None
    """Blocks before which tokens are removed, comma-separated; empty: before every (depth/12)-th
    block; delta-spread: where the Delta score tells tokens least apart, in the first quarter of the
    blocks, chosen on images that are not evaluated; delta-spread-N: in each of the first N (2 to
    4)."""
    schedule: str = "tuned"
    """Distribution of the removal over the sites: tuned (each method's own, where it was tuned on
    the backbone and its data, else constant-ratio), or one for all: constant-ratio, constant-count,
    one-shot, staged, rising, falling, every-K, counts-N-N (in these proportions, one for each
    site), adaptive (each image loses the tokens whose score is far below its own mean)."""
    tries: str | None = None
    """Folder of a `tune` run, or a table of tries, that picks settings and answers for schedules;
    empty: the bundled one."""
    across_schedules: bool = True
    """Where no table of tries answers, also evaluate the methods and the blind baselines under each
    schedule at the headline's budget."""
    flops_convention: Literal["flops", "macs", "paper"] = "flops"
    """How FLOPs are counted for the budget: flops, macs or paper."""
    baselines: bool = True
    """Also run the baselines random, stride, pool and downsample."""
    smaller: tuple[str, ...] = ("auto",)
    """Smaller models whose dense accuracy stands beside the methods, comma-separated; auto:
    vim_pico beside the bundled vim_nano on its data, with the baselines; none: no model."""
    seeds: Annotated[int, Field(ge=1, le=100)] = 3
    """Seeds of every stochastic method."""
    batch_size: Annotated[int, Field(ge=1)] = 32
    """Images per batch."""
    shard_size: Annotated[int, Field(ge=1)] = 256
    """Images per shard; an interruption loses at most the work on one shard."""
    gallery: int | tuple[int, ...] = 8
    """Images whose tokens the report shows: how many, or their indices, comma-separated."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto, cpu or cuda."""
    precision: Precision = "fp32"
    """fp32, tf32 (fp32 on CUDA, products rounded to TF32), fp64 or bf16."""
    kernel: Literal["auto", "reference", "chunked", "cpu", "mamba_ssm", "triton"] = "auto"
    """Selective scan: auto, reference, chunked (Mamba-2), cpu, mamba_ssm or triton (Mamba-1)."""
    threads: Annotated[int, Field(ge=0)] = 0
    """CPU threads; 0: all cores."""

    @model_validator(mode="before")
    @classmethod
    def _backbone_of_task(cls, values: Any) -> Any:
        return with_segmenter(values)

    @field_validator("sites", mode="before")
    @classmethod
    def _blocks_or_rule(cls, value: Any) -> Any:
        if isinstance(value, str) and value not in SITE_RULES:
            raise ValueError(f"must be numbers of blocks, or one of {', '.join(SITE_RULES)}")
        return value

    @field_validator("tries")
    @classmethod
    def _one_table(cls, value: str | None) -> str | None:
        # A folder with one table means that table: both spellings are one run.
        if not value:
            return value
        tables = list(Path(os.path.expanduser(value)).glob(TRIES_FILES))
        return os.path.join(value, tables[0].name) if len(tables) == 1 else value

    @field_validator("gallery")
    @classmethod
    def _limited(cls, value: int | tuple[int, ...]) -> int | tuple[int, ...]:
        # The gallery stores a row for every image, cell and site.
        if not 0 <= (value if isinstance(value, int) else len(value)) <= MAX_GALLERY:
            raise ValueError(f"at most {MAX_GALLERY} images, by their count or by their numbers")
        return value

    @field_validator("backbones", "methods", "budgets")
    @classmethod
    def _not_empty(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        if not value:
            raise ValueError("name at least one")
        return value

    @field_validator("backbones", "methods", "budgets", "axes")
    @classmethod
    def _distinct(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        # A cell that is named twice would be paired with itself.
        return tuple(dict.fromkeys(value))

    @property
    def planned_budgets(self) -> tuple[Budget, ...]:
        """The budgets of its cells."""
        return self.budgets

    @property
    def headline_budget(self) -> float:
        """The budget that the headline is about: the middle one."""
        return sorted(self.budgets)[len(self.budgets) // 2]

    @property
    def named(self) -> dict[str, str]:
        """The backbones as they were written, by what tables call them."""
        return self._labelled(self.backbones)

    @property
    def smaller_named(self) -> dict[str, str]:
        """The smaller models likewise, and the words `auto` and `none`."""
        return self._labelled(self.smaller)

    def _labelled(self, texts: tuple[str, ...]) -> dict[str, str]:
        # together, so that a name means one backbone in the run
        labels = labelled((*self.backbones, *self.smaller), BACKBONES)
        return {label: text for label, text in labels.items() if text in texts}

    def default_name(self) -> str:
        """Folder name made from the settings; equal settings always give the same folder."""
        ablation = f"ablate-{'+'.join(self.axes)}-" if self.axes else ""
        # Brackets and commas of settings would have to be quoted in every shell.
        backbones = re.sub(r"[^\w.+-]+", "_", "+".join(self.named))
        backbones = backbones.replace("_+", "+").rstrip("_")
        data = data_name(self.data)
        return f"{ablation}{backbones}-{data}-{self.split}-{self.images}-{self.digest()}"
