"""What a run folder contains: the record of a cell, and every table with its columns and units.

Writers, merging, reports and the export take names from here, and docs/export.md is printed from
it. Shares and accuracies are fractions between 0 and 1; losses and divergences are in nats.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from backbones.common.documents import read_json
from backbones.common.errors import UserError
from suite.config.spec_file import check_schema
from suite.stats.compare import other_work
from suite.tries.settings import Setting

__all__ = ["check_schema"]

Role = Literal["asked", "baseline", "blind", "schedule", "tokens", "smaller", "retrained"]
# Roles of the cells of the main tables and figures; the others are read by analyses of their own.
SHOWN = ("asked", "baseline")
NOT_STATIC = "not shape-static"  # of a cell whose images have different counts of tokens
SAME = " = "  # joins the specs in the label of a cell that several methods come to


class Stored(BaseModel):
    """A part of a record: immutable, and read back without conversions, such as of "3" to 3."""

    model_config = ConfigDict(frozen=True, strict=True, use_attribute_docstrings=True)


class Removal(Stored):
    """What a plan removes at one site."""

    tokens: int
    """patch tokens that leave the sequence"""
    rows: int = 0
    """rows that leave the map, of a method that keeps it a rectangle"""
    columns: int = 0
    """columns that leave it"""


class AdaptiveCounts(Stored):
    """The rule by which each image of a cell decides how many tokens leave, and what that removes.

    Such a cell is not shape-static: its images have sequences of different lengths.
    """

    alpha: float
    """an image keeps the tokens whose score is not below its own mean less alpha deviations"""
    images: int
    """images, or videos, that alpha was solved on"""
    split: str
    """split of these"""
    content: str
    """hash of what these hold"""
    removed: dict[str, float] = {}
    """share of FLOPs removed of an image, by percentile over the images that were evaluated; before
    that over those that alpha was solved on"""


class ClassificationMetrics(Stored):
    """Means over the images of one cell."""

    top1: float
    """share of images whose class is named right, in [0, 1]"""
    top5: float
    """share of images whose class is among the five best, in [0, 1]"""
    loss: float
    """cross-entropy, nats, mean over images"""
    margin: float
    """logit of the true class less the best other, mean over images"""
    agreement: float
    """share of images with the dense model's answer, in [0, 1]"""
    kl: float
    """KL(dense || cell), nats, mean over images"""
    tau: float
    """Kendall's tau of the surviving tokens' order, in [-1, 1], mean over images"""
    dense_top1: float
    """top-1 of the dense model on the same images, in [0, 1]"""

    @property
    def accuracy(self) -> float:
        """The figure by which cells are compared."""
        return self.top1


class SegmentationMetrics(Stored):
    """What one cell makes of the pixels of its images.

    A mean IoU is over the classes that occur in truth or prediction of these images, from pixels
    summed over images; pixels without a class count nowhere.
    """

    miou: float
    """mean intersection over union (IoU) of the classes, in [0, 1]"""
    pixel_accuracy: float
    """share of pixels whose class is named right, in [0, 1]"""
    frequency_iou: float
    """IoU of the classes, weighted by their share of the pixels, in [0, 1]"""
    border_miou: float
    """mean IoU over the pixels near one of another class, in [0, 1]"""
    loss: float
    """cross-entropy, nats, mean over the pixels of an image, then over images"""
    agreement: float
    """share of an image's pixels with the dense model's answer, in [0, 1], mean over images"""
    kl: float
    """KL(dense || cell), nats, mean over the pixels of an image, then over images"""
    tau: float
    """Kendall's tau of the surviving tokens' order, in [-1, 1], mean over images"""
    dense_miou: float
    """mean IoU of the dense model on the same images, in [0, 1]"""

    @property
    def accuracy(self) -> float:
        """The figure by which cells are compared."""
        return self.miou


Metrics = ClassificationMetrics | SegmentationMetrics


class Retrained(Stored):
    """How weights were retrained under a method, or as a whole model: the control."""

    backbone: str
    """backbone that the training began with, with its settings in brackets"""
    name: str
    """name of the training and of its files in ``weights/``"""
    budgets: list[float]
    """budgets that were at work, step by step in turn; none of the control"""
    epochs: int
    """passes over the training images"""
    steps: int
    """steps of the optimizer"""
    images: int
    """images seen, each epoch's counted anew"""
    batch: int
    """images a step"""
    learning_rate: float
    """largest learning rate; of several the one that held-out training images chose"""
    distill: float
    """weight of the divergence from the whole model's answers"""
    augment: str
    """`none`, `light` or `strong`"""


class CellRecord(Stored):
    """One backbone under one method at one budget and seed: ``cells/KEY.json``.

    The fields of the plan, from `removals` on, are empty for a cell that was skipped.
    """

    run: str | None = None
    """name of the run that a merged report has the cell from"""
    key: Annotated[str, Field(pattern="^[0-9a-f]{8,64}$")]
    """name of the cell on disk: a hash of all that its result depends on"""
    status: Literal["planned", "ok", "skipped", "failed"]
    """`ok`, `skipped` or `failed`"""
    reason: str | None = None
    """why it was skipped or failed"""
    task: Literal["classification", "segmentation"] = "classification"
    """what the backbone does, which decides on outcomes and metrics"""
    backbone: str
    """backbone, with its settings in brackets"""
    checkpoint: str
    """weights as they were asked for"""
    weights: str | None
    """SHA-256 of the weights, empty for untrained ones"""
    made_up: list[str] = []
    """parts of the backbone that the weights do not have, and what they are instead"""
    dataset: str
    """data set as it was asked for"""
    split: str
    """split of the data"""
    kind: Literal["images", "videos"] = "images"
    """`images` or `videos`: what is counted and classified"""
    images: int
    """number of images (or videos)"""
    method: str
    """name of the method; `none` is the dense model"""
    source: str | None = None
    """hash of the file of a third party's method"""
    label: str
    """specs of the methods that come to this cell, joined by ` = `"""
    spec: str
    """canonical text of the method with its options; the first of the label"""
    title: str
    """what figures call the method: the user's name for it, else its own title"""
    family: str
    """what kind of method it is; `baseline` for the trivial ones"""
    stochastic: bool
    """whether the result depends on the seed"""
    options: dict[str, Any]
    """options that differ from the method's defaults, and a `cls_window` that was spelled out"""
    composition: dict[str, Any] | None
    """the parts that the method is made of, defaults filled in"""
    blind: bool = False
    """whether what is removed is settled before the image is seen"""
    chooses: bool = False
    """whether the image decides what is removed"""
    role: Role = "asked"
    """why it was evaluated: `asked` for; a `baseline` beside the methods; further settings of the
    `blind` baselines; a method under each `schedule`; by equal counts of `tokens`; the dense
    model of a `smaller` backbone; or weights that were `retrained`"""
    beside: dict[str, float] = {}
    """of a smaller model, the backbones that it stands beside, and the share of the FLOPs of each
    that it saves"""
    retrained: Retrained | None = None
    """how its weights were retrained; empty for weights as they came"""
    schedule: str | None = None
    """how the removal is spread over the sites; empty under protocol `paper` and where no token
    leaves"""
    cls_window: int | None = None
    """patch tokens on each side of the class token that take no part; likewise"""
    tuned: bool = False
    """whether schedule and window are those picked for the method on other images"""
    protocol: str
    """`matched`, `tokens` or `paper`; beside published cells MTR and the baselines are `matched`"""
    flops_convention: str
    """FLOPs convention of the budget"""
    precision: str
    """number format of weights and activations"""
    image_size: int
    """side of the square image, pixels"""
    budget: float | None
    """share of the backbone's FLOPs to remove, in [0, 1); empty for the dense model"""
    seed: int
    """seed of a stochastic method, else 0"""
    # JSON has no keys but texts, which a strict model would refuse as numbers of blocks.
    removals: dict[Annotated[int, Field(strict=False)], Removal] = {}
    """`tokens` removed before each block, by block number (0-based)"""
    lengths: list[int] = []
    """tokens that enter each block, special ones included"""
    flops: dict[str, int] = {}
    """work of one image by kind"""
    total: dict[str, int] = {}
    """work of one image by convention"""
    removed: dict[str, float] = {}
    """share of the dense total removed, by convention"""
    token_ratio: float | None = None
    """share of tokens removed, over all blocks, in [0, 1]"""
    adaptive: AdaptiveCounts | None = None
    """of adaptive counts, which are not shape-static and whose plan is the mean of the images:
    `alpha`, the `images` it was solved on, and by percentile what is `removed` of an image"""
    metrics: Metrics | None = None
    """means over the images; empty unless `ok`"""

    @property
    def shown(self) -> bool:
        """Whether it is in the main tables and figures, beside being evidence."""
        return self.role in SHOWN

    @property
    def setting(self) -> Setting | None:
        """Its schedule and window; None where it has none."""
        if self.schedule is None:
            return None
        return Setting(self.schedule, self.cls_window or 0)

    @property
    def coarse(self) -> bool:
        """Whether a budget is met only roughly: by whole rows and columns, or adaptive counts."""
        lines = any(removal.rows or removal.columns for removal in self.removals.values())
        return lines or self.adaptive is not None

    @property
    def removed_share(self) -> float:
        """Share of the dense model's FLOPs removed, in the convention of the run."""
        return self.removed[self.flops_convention]

    @property
    def off_budget(self) -> bool:
        """Whether a finished cell removes another share of FLOPs than its budget."""
        if self.status != "ok" or not self.budget:
            return False
        return other_work(self.removed_share, self.budget, self.coarse)

    def as_json(self) -> dict[str, Any]:
        """The record as plain values; without a run unless it was merged."""
        return self.model_dump(mode="json", exclude={"run"} if self.run is None else None)


def described(kind: type[Stored]) -> dict[str, str]:
    """The fields of a stored record and their meaning."""
    texts = {name: field.description or "" for name, field in kind.model_fields.items()}
    # A text of several lines would break the table of the documentation.
    return {name: " ".join(text.split()) for name, text in texts.items()}


def read_object(path: Path) -> dict[str, Any]:
    """Read the JSON object at `path`; UserError if it is none."""
    try:
        value = read_json(path)
    except ValueError as error:
        raise UserError(f"'{path}' cannot be read ({error}): run its command again") from None
    if not isinstance(value, dict):
        raise UserError(f"'{path}' does not hold a JSON object: run its command again")
    return value


def read_record(path: Path) -> CellRecord:
    """Read ``cells/KEY.json``; UserError if it is damaged, or the record of another cell."""
    # Strictly: a merged run may be somebody else's.
    value = read_object(path)
    try:
        record = CellRecord.model_validate(value)
    except ValidationError as error:
        # The first of them is enough to find the file. Metrics may be those of several tasks, and
        # what they lack as those of another is no error.
        own = TASKS.get(str(value.get("task")), CLASSIFICATION).metrics.__name__
        others = {task.metrics.__name__ for task in TASKS.values()} - {own}
        first = next(each for each in error.errors() if others.isdisjoint(each["loc"]))
        field = ".".join(str(part) for part in first["loc"] if part != own)
        raise UserError(
            f"'{path}' is not the record of a cell ({field}: {first['msg'].lower()}): run its "
            "command again"
        ) from None
    # A copied file would stand for a cell that never ran.
    if record.key != path.stem:
        raise UserError(
            f"'{path}' is the record of cell {record.key!r}: restore the file, or run its command "
            "again"
        )
    if record.status == "ok" and not (record.metrics and record.flops_convention in record.removed):
        raise UserError(f"'{path}' says ok and has no figures: delete it and run its command again")
    return record


@dataclass(frozen=True)
class Task:
    """What the backbones of a run do, and so what is stored of an image and of a cell.

    ``outcomes``  columns of ``shards/KEY/NNNNN.parquet``, one row an image
    ``answer``    those of them that say what was answered
    ``metrics``   means over the images, in ``cells/KEY.json``
    """

    name: str
    outcomes: Mapping[str, str]
    answer: tuple[str, ...]
    metrics: type[Metrics]


CLASSIFICATION = Task(
    "classification",
    {
        "image": "number of the image in its data set",
        "label_true": "number of its class",
        "prediction": "number of the class that was named; -1 in segmentation",
        "top5": "whether its class is among the five best",
        "loss": "cross-entropy, nats",
        "margin": "logit of the true class less the best other",
        "agree": "whether the answer is the dense model's",
        "kl": "KL(dense || cell), nats",
        "tau": "Kendall's tau of the surviving tokens' order",
    },
    ("prediction",),
    ClassificationMetrics,
)
SEGMENTATION = Task(
    "segmentation",
    {
        "image": "number of the image in its data set",
        "confusion": "list of the pairs of classes that its pixels have, true * K + predicted, K "
        "the number of classes; ascending",
        "pixels": "list of how many pixels have each pair",
        "border_confusion": "the same pairs of the pixels near one of another class",
        "border_pixels": "how many of these pixels have each",
        "loss": "cross-entropy, nats, mean over its pixels",
        "agree": "share of its pixels whose answer is the dense model's",
        "kl": "KL(dense || cell), nats, mean over its pixels",
        "tau": "Kendall's tau of the surviving tokens' order",
    },
    ("confusion", "pixels"),
    SegmentationMetrics,
)
TASKS = {task.name: task for task in (CLASSIFICATION, SEGMENTATION)}

# Columns of all tables by the kind of their values: a name means the same wherever it occurs.
TEXTS = {
    "backbone": "backbone, with its settings in brackets",
    "label": "label of the cell",
    "method": "label of the method",
    "spec": "spec of the method as it is set",
    "reference": "label of the method that differences are taken to",
    "baseline": "label of the best blind baseline; in `schedules` which of the two is blind",
    "one": "label of one method",
    "other": "label of the method that it is compared with",
    "first": "one measure of a token's worth",
    "second": "measure that it is compared with",
    "axis": "axis of the ablation; in `sensitivity_profile` `row`, `col`, `centre` or `sequence`",
    "setting": "what is set on the axis, in words",
    "status": "`ok`, `skipped` or `failed`",
    "reason": "why there is no result",
    "sentence": "finding in words",
    "interval": "`interval`, or `range` where seeds are too few for one",
    "mixer": "what mixes the backbone's tokens: `Mamba` or `attention`",
    "against": "backbone that it is compared with",
    "why": "why the picture was chosen",
    "quantity": "what is measured, such as the change of the loss",
    "ranking": "by what tokens are ordered before the group is removed",
    "target": "what is predicted",
    "score": "what predicts it",
    "given": "what is held constant in the partial correlation; empty: nothing",
    "nearness": "what the distance of a token is measured from",
    "precision": "number format of weights and activations",
    "verdict": "`faster`, `slower`, no gain shown, or one round, which shows none; in `schedules` "
    "whether the order of the two "
    "methods `holds`, `depends` on the schedule, or is `open`",
    "schedule": "how the removal is spread over the sites",
    "state": "whether the method is `ahead` of the other or `behind` it by the corrected test, or "
    "`open`; `left out` where not both meet the budget",
    "source": "`table` where a table of tries answered, `run` where the run evaluated it",
    "split": "split of the images",
    "keys": "names of its cells on disk, one a seed, with commas; empty where a table answered",
    "machine": "processor, or GPU",
    "device": "`cpu` or `cuda`",
    "kind": "`images` or `videos`: what was measured",
    "kernel": "selective-scan kernel that ran",
    "key": "name of the cell on disk: a hash of all that its result depends on",
    "name": "name of the published table",
    "paper": "source of the published values",
    "place": "where in the source the value stands, or why none does",
    "trained_budgets": "budgets that the weights were trained under, comma-separated; empty of the "
    "control",
    "training": "name of the training, and of its files in `weights/`",
    "incomparable": "why it is not what is measured here; empty if nothing is known against it",
}
WHOLE = {
    "image": "number of the image in its data set",
    "label_true": "number of its class",
    "class_number": "number of a class",
    "prediction": "number of the class that was named; -1 in segmentation",
    "dense_prediction": "number of the class that the dense model named",
}
# Indices of a grid, of blocks and of seeds: small, so that a report can make room for all of them.
INDICES = {
    "block": "block that the tokens enter; 0: before any removal, -1: all blocks together",
    "row": "row in the grid of patches",
    "col": "column in the grid of patches",
    "frame": "frame of the clip; 0 for images",
    "seed": "seed of a stochastic method, else 0",
    "group": "1 for the best method and those not told apart from it, 2 for the next, and so on",
}
NUMBERS = {
    "budget": "share of the backbone's FLOPs to remove, in [0, 1); empty for the dense model",
    "removed": "share of the backbone's FLOPs removed, in [0, 1]",
    "other_top1": "`top1` of the other method",
    "picked_window": "class-token window of the method's tuned setting, beside its schedule",
    "top1": "top-1, or the mean IoU of segmentation, seeds averaged, in [0, 1]; in "
    "`blind_comparison` of the baseline",
    "top1_low": "lower end of its 95 % interval (Wilson; of a mean IoU bootstrap over images)",
    "top1_high": "upper end of it",
    "dense_top1": "`top1` of the dense model on the same images, in [0, 1]",
    "agreement": "share of images, or pixels, with the dense model's answer, in [0, 1]",
    "kl": "KL(dense || cell), nats",
    "tau": "Kendall's tau of the surviving tokens' order, in [-1, 1]",
    "seeds": "seeds evaluated",
    "images": "images evaluated; in tables of tokens those whose tokens are tracked",
    "difference": "`top1`, or share kept, less that of the reference, paired by image",
    "difference_low": "lower end of its 95 % interval, or of the range over two to four seeds; "
    "corrected as `p_holm` where that is given",
    "difference_high": "upper end of it",
    "top1_tokens": "`top1` by equal counts of tokens",
    "removed_tokens": "share of the backbone's FLOPs that these remove, in [0, 1]",
    "difference_tokens": "`top1` by equal counts of tokens, less that of the reference",
    "difference_tokens_low": "lower end of its 95 % interval, uncorrected, or of the range",
    "difference_tokens_high": "upper end of it",
    "p": "two-sided p of the difference, exact (of a mean IoU by random exchanges), uncorrected; "
    "in `mantel_test` of `rho`; in `retrained_ranking` of `concordance`, one-sided, over all "
    "orders of the methods",
    "p_holm": "p after Holm's correction; empty where FLOPs differ too much for a test; in "
    "`ahead_of_each` over backbones and budgets",
    "comparisons": "comparisons at one budget, for which interval and `p_holm` are corrected; in "
    "`ahead_of_each` rows of the table, for which `p_holm` is",
    "only_method_correct": "images on which the method is right more often than the "
    "reference, or has the larger mean IoU",
    "only_reference_correct": "images on which it is right less often, or has the smaller one",
    "smallest": "smallest difference that the images find in four runs of five",
    "kept": "share of images that keep the token, of tokens kept, or of dense top-1 kept",
    "kept_low": "lower end of its 95 % interval, or of the envelope over seeds",
    "kept_high": "upper end of it",
    "foreground_kept": "share of the tokens on the object that are left, in [0, 1]",
    "image_miou": "mean IoU of one image, over the classes that occur in it, in [0, 1]",
    "class_iou": "intersection over union of the pixels of a class, in [0, 1]; empty of one "
    "that is neither there nor named",
    "confidence": "softmax of the class that was named; empty in segmentation",
    "dense_confidence": "softmax of the class that the dense model named",
    "iou": "intersection over union of the tokens kept, mean over images",
    "chance": "the same of random sets of their sizes",
    "correlation": "correlation (phi) of the sets kept, mean over images",
    "survival": "rank correlation of how many blocks each token survives, mean over images",
    "kappa": "Cohen's kappa of who is right on which image; of segmentation Lin's concordance of "
    "the mean IoU of the images, which of right and wrong is kappa",
    "agree": "share of images on which both are right or both wrong; of segmentation 1 less the "
    "mean difference of the images' mean IoU, in size",
    "methods": "methods compared",
    "rho": "Spearman's correlation of `survival` and `kappa` over pairs",
    "mean": "mean over images",
    "low": "lower end of its 95 % interval (bootstrap)",
    "high": "upper end of it",
    "window": "tokens on each side of the class token that are never removed",
    "cls_window": "patch tokens on each side of the class token that take no part",
    "top1_before": "top-1 of the same method with the weights as they came",
    "won_back": "share of the loss, `dense_top1` less `top1_before`, that retraining wins back; "
    "empty where the images show no loss",
    "won_back_low": "lower end of its 95 % interval (Fieller)",
    "won_back_high": "upper end of it",
    "difference_before": "top-1 less that of the reference, with the weights as they came",
    "before_low": "lower end of its 95 % interval, or of the range over two to four seeds",
    "before_high": "upper end of it",
    "change": "`difference` less `difference_before`",
    "change_low": "lower end of its 95 % interval (bootstrap over images)",
    "change_high": "upper end of it",
    "concordance": "Kendall's tau-b of the methods' top-1 before retraining and after it",
    "concordance_low": "lower end of its 95 % interval (bootstrap over images)",
    "concordance_high": "upper end of it",
    "whole_top1": "top-1 of the retrained weights without reduction",
    "control_top1": "top-1 of the whole model that was trained alike",
    "behind": "`control_top1` less `top1`, paired by image",
    "behind_low": "lower end of its 95 % interval, or of the range over two to four seeds",
    "behind_high": "upper end of it",
    "trained_images": "images seen in the training, each epoch's counted anew",
    "trained_top1": "share of the training images whose class was named right in the epoch",
    "epoch": "epoch of a training, from 1",
    "loss": "loss of a training, nats, mean over the epoch",
    "learning_rate": "largest learning rate of a training",
    "held_out_loss": "cross-entropy on the held-out training images, nats, mean over these and the "
    "budgets trained under; empty where the training diverged",
    "held_out_top1": "share of them whose class is named right, likewise",
    "held_out_images": "training images that no training saw and that choose its learning rate",
    "published": "value as the source states it, as a share; empty if nobody has read one",
    "measured": "the same quantity here, as a share",
    "measured_low": "lower end of its 95 % interval (top-1: Wilson; a drop: paired bootstrap)",
    "measured_high": "upper end of it",
    "deviation": "measured less published, as a share",
    "deviation_low": "lower end of its 95 % interval",
    "deviation_high": "upper end of it",
    "printed_gflops": "FLOPs of one image, in billions, as the source prints them",
    "down": "rows of patches below the removed token; negative: above it",
    "right": "columns of patches to the right of it; negative: to its left",
    "changed": "share of the pixels there whose class changes, mean over tokens and images",
    "position": "index in the unreduced sequence",
    "at": "place on the axis: row, column, or distance from the centre or the class token",
    "tokens_removed": "tokens removed before the block",
    "batch": "images, or clips of videos, a batch",
    "image_size": "side of the square image, pixels",
    "tokens": "patch tokens of the unreduced sequence",
    "gflops": "FLOPs of one image, or clip, in billions",
    "ms": "milliseconds a batch, median over rounds",
    "ms_low": "lower end of its 95 % interval; empty after one round",
    "ms_high": "upper end of it",
    "images_per_second": "images, or clips of videos, a second",
    "speedup": "dense time over reduced time, median over rounds",
    "speedup_low": "lower end of its 95 % interval; empty after one round",
    "speedup_high": "upper end of it",
    "rounds": "rounds timed",
    "reduction_flops": "share of the FLOPs that is the method's own work",
    "peak_mib": "most memory that a pass allocates beyond weights and input, MiB",
    "share_scan": "share of the time in selective scans",
    "share_gemm": "share of the time in matrix products",
    "share_elementwise": "share of the time in elementwise operations",
    "share_reduction": "share of the time in the method's own work",
    "share_rest": "rest of the time",
    "cores": "cores of the machine",
    "threads": "CPU threads used",
    "load": "load of the machine before the timing",
    "mhz": "clock of the processor, or of the GPU",
}
TRUTHS = {
    "significant": "whether `p_holm` is below 0.05 and the interval without zero; empty untested",
    "shown": "whether it was shown to beat every blind baseline of the same FLOPs, under its own "
    "setting and under the baseline's best",
    "unsettled": "whether another schedule turns the order of the two round; empty without a "
    "reference",
    "within": "whether the published value, rounded to 0.1 point, lies in the interval measured",
    "picked": "whether the training at this learning rate is the one that is kept",
    "is_reference": "whether it is the method as it is, which the others are compared with",
}
LISTS = {"owner": "by patch the patch whose token it lives in; -1: dropped, -2: a special token"}
BYTES = {
    "png": "the pixels under the tokens, as PNG; in `segmented` the number of the class of each"
}
MEANINGS = {**TEXTS, **WHOLE, **INDICES, **NUMBERS, **TRUTHS, **LISTS, **BYTES}


class Table(NamedTuple):
    """A table in ``analyses/``: what a row is, and its columns."""

    row: str
    columns: tuple[str, ...]


def _table(row: str, columns: str) -> Table:
    return Table(row, tuple(columns.split()))


CELL = "backbone label budget seed"
DIFFERENCE = "difference difference_low difference_high"
BY_TOKENS = "difference_tokens difference_tokens_low difference_tokens_high"
# What a method is found to be beside the reference, over the same images.
PAIRED = f"{DIFFERENCE} p p_holm comparisons significant only_method_correct only_reference_correct"
INTERVAL = "block mean low high images"
TABLES = {
    "statistics": _table(
        "a method at one budget, against the reference",
        f"backbone budget label reference top1 top1_low top1_high seeds images {PAIRED}",
    ),
    "blind_comparison": _table(
        "a method against the best blind baseline at one budget",
        f"backbone budget baseline schedule cls_window top1 label {DIFFERENCE} p shown",
    ),
    "ranking": _table(
        "a method in the order of top-1 at one budget, against the best of its group; the first of "
        "a group against the best of the group above",
        f"backbone budget group label reference top1 top1_low top1_high {DIFFERENCE} p p_holm "
        "comparisons significant unsettled seeds images",
    ),
    "ahead": _table(
        "the first method that was named, less another one, or less a smaller image, at one budget",
        f"backbone budget label reference top1 other_top1 {DIFFERENCE} interval p images",
    ),
    "ahead_of_each": _table(
        "the first method that was named, less the best of the others at one budget; `p` is the "
        "largest of all others, each of which it has to be ahead of, and 1 where one keeps as "
        "much or more",
        f"backbone budget label reference {DIFFERENCE} p p_holm comparisons significant methods "
        "images",
    ),
    "token_matched": _table(
        "a method by equal counts of tokens beside equal FLOPs, at the budget of the headline",
        "backbone budget label schedule cls_window reference images seeds reduction_flops top1 "
        f"removed {DIFFERENCE} top1_tokens removed_tokens {BY_TOKENS}",
    ),
    "schedules": _table(
        "two methods under one schedule, at the budget of the headline; the first is ahead where "
        "the order holds",
        "backbone budget method other baseline verdict schedule state top1 other_top1 "
        f"{DIFFERENCE} p p_holm source images split",
    ),
    "schedule_accuracy": _table(
        "a method under one schedule, at the same budget and images",
        "backbone budget label schedule top1 top1_low top1_high seeds removed reason window "
        "picked_window source images split keys",
    ),
    "reproduced": _table(
        "a value of a published table beside the one measured here",
        "name paper backbone method budget quantity published measured measured_low measured_high "
        "interval deviation deviation_low deviation_high within removed gflops printed_gflops "
        "images seeds status reason place incomparable",
    ),
    "retrained": _table(
        "a method at one budget, its weights as they came and retrained under it; without a budget "
        "the whole model, the control",
        "backbone budget label removed dense_top1 top1_before top1 top1_low top1_high "
        f"{DIFFERENCE} interval won_back won_back_low won_back_high whole_top1 control_top1 "
        "behind behind_low behind_high images seeds trained_images trained_budgets training",
    ),
    "retrained_contrasts": _table(
        "two settings of a method that differ in one choice, at one budget: before retraining and "
        "after it",
        "backbone budget label reference setting difference_before before_low before_high "
        f"{DIFFERENCE} p p_holm comparisons significant change change_low change_high images",
    ),
    "retrained_ranking": _table(
        "the methods retrained at one budget: whether their order before it predicts that after it",
        "backbone budget methods concordance concordance_low concordance_high p images",
    ),
    "retraining_curve": _table("an epoch of a training", "training epoch loss trained_top1"),
    "retraining_rates": _table(
        "a training at one of several learning rates, among which held-out training images choose",
        "training learning_rate held_out_loss held_out_top1 held_out_images picked",
    ),
    "ablation": _table(
        "a setting of one axis, against the method as it is",
        "axis backbone method budget setting label spec is_reference status reason seeds images "
        f"top1 agreement kl tau removed top1_low top1_high {DIFFERENCE} interval p p_holm "
        "only_method_correct only_reference_correct smallest significant comparisons",
    ),
    "ablation_sentences": _table(
        "an axis around one method", "axis backbone method budget sentence"
    ),
    "mamba_vs_attention": _table(
        "a method at one budget on one backbone",
        "backbone mixer method budget removed images seeds dense_top1 kept kept_low kept_high",
    ),
    "mamba_minus_attention": _table(
        "a method at one budget on a Mamba and on an attention backbone",
        f"method budget backbone against {DIFFERENCE}",
    ),
    "kept_tokens": _table("a patch before one block", f"{CELL} block row col kept"),
    "foreground": _table("a block of one cell", f"{CELL} block foreground_kept kept images"),
    "token_overlap": _table(
        "two methods before one block", "backbone budget one other block iou chance correlation"
    ),
    "method_similarity": _table(
        "two methods at one budget", "backbone budget one other survival kappa agree images"
    ),
    "mantel_test": _table("a budget", "backbone budget methods rho p"),
    "first_errors": _table(
        "an image that a method is wrong on first, at the smallest budget and largest `kl`; of "
        "segmentation one whose mean IoU falls most below the dense model's at the smallest budget",
        "backbone label image budget kl",
    ),
    "gallery": _table(
        "a picture after one site of one cell",
        f"{CELL} image block owner label_true prediction dense_prediction confidence "
        "dense_confidence",
    ),
    "images": _table("a picture", "image png label_true why"),
    "class_ious": _table(
        "a class under a method, its pixels added up over all images",
        "backbone label budget class_number class_iou",
    ),
    "segmented": _table(
        "the classes of a picture's pixels under one cell, or, labelled `truth`, as they are",
        f"{CELL} image image_miou png",
    ),
    "sensitivity_map": _table("a patch before one block", "backbone block frame row col"),
    "sensitivity_agreement": _table(
        "two measures of a token's worth", f"backbone quantity first second {INTERVAL}"
    ),
    "sensitivity_scores": _table(
        "a score and what it predicts", f"backbone target score {INTERVAL}"
    ),
    "sensitivity_profile": _table("a place in the grid", f"backbone axis at quantity {INTERVAL}"),
    "sensitivity_distance": _table(
        "a quantity by distance", f"backbone quantity nearness given {INTERVAL}"
    ),
    "sensitivity_groups": _table(
        "a group of tokens removed at once", f"backbone ranking window quantity {INTERVAL}"
    ),
    "sensitivity_placements": _table(
        "a position of the class token", f"backbone position quantity {INTERVAL}"
    ),
    "sensitivity_methods": _table(
        "a method before one block", f"backbone label quantity {INTERVAL} tokens_removed"
    ),
    "sensitivity_pixels": _table(
        "an offset from a token that was removed alone before one block; of segmentation",
        "backbone block down right changed",
    ),
    "sensitivity_reach": _table(
        "how many pixels the removal of one token changes, and where they lie; of segmentation",
        f"backbone quantity {INTERVAL}",
    ),
    "sensitivity_kept": _table("a patch before one block", "backbone label block row col kept"),
    "sensitivity_skipped": _table("a method without result", "backbone label reason"),
    "bench": _table(
        "a cell at one batch",
        "key backbone kind label budget batch image_size removed gflops ms ms_low ms_high "
        "images_per_second speedup speedup_low speedup_high verdict interval rounds "
        "reduction_flops tokens device peak_mib share_scan share_gemm share_elementwise "
        "share_reduction share_rest machine cores threads load mhz precision kernel",
    ),
    "bench_words": _table("a backbone", "backbone sentence"),
}
