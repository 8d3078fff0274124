"""Images a second of dense backbones beside timm's ViT of nearest FLOPs, timed in the same rounds.

The ViT is timm's own class, which runs PyTorch's fused attention: a yardstick that shares no code
with the suite. FLOPs of both sides are counted by one counter, two a multiply-accumulate of matrix
products and convolutions, and the scans by formula.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from math import isqrt, log
from typing import Any, NamedTuple

import timm
import torch
from rich.table import Table
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from backbones import create_model
from backbones.base import Backbone
from backbones.common.errors import UserError, describe_error
from backbones.common.shapes_alone import shapes_alone
from suite.bench.cells import Notify, random_model
from suite.bench.cuda_graphs import captured
from suite.bench.passes import random_images
from suite.bench.spec import BenchSpec
from suite.bench.tables import figures_table
from suite.bench.timing import in_rounds, seconds
from suite.flops.counters import UnknownOperatorError, count_with_torch
from suite.stats.correctness import counted
from suite.stats.single import median_interval
from suite.system.hardware import DTYPES

HEAD = 64  # width of a head, in DeiT of every size
WIDEST = 20  # heads of the widest ViT that is tried
USUAL, MOST = 12, 16  # layers of DeiT, and of the deepest ViT that is tried
NEAR = 0.05  # log of a ratio of FLOPs that counts as equal, so that the usual depth decides
CLASSES = 1000
PATCH = 16  # pixels, of DeiT
SMALL_IMAGE = 112  # pixels; of smaller images patches of DeiT's size would be a handful
GRAPH, LAUNCHED = "graph", "launched"
NOTE = (
    "ViT-WxL/P: timm's, of width W, with L layers, heads 64 wide, patches of P pixels and weights "
    "drawn at random; ratio: of the images a second."
)
# Settings that stand in the title, unless rows differ in them.
SETTINGS = {"precision": "{row.precision}", "batch": "batch {row.batch}"}
COLUMNS = {
    "model": "{row.model}",
    "GFLOPs": "{row.gflops:.2f}",
    "ms a batch": "{row.ms:.2f}",
    "images/s": "{row.images_per_second:.1f}",
    "launched one by one": "{row.launched:.1f}",
    "ratio": "{row.gain}",
}


class SpeedRow(NamedTuple):
    """One model of a pair: the backbone, or what stands beside it.

    ``backbone``  of the pair
    ``gflops``    of an image
    ``ms``, ``images_per_second``  medians over rounds, on a GPU of passes replayed as CUDA graphs
    ``launched``  images a second if the host launches each kernel
    ``ratio``     of the backbone's images a second to those of the other model, the median over
                  rounds with its interval; 1 of the other model
    """

    backbone: str
    model: str
    precision: str
    batch: int
    device: str
    gflops: float
    ms: float
    images_per_second: float
    launched: float
    ratio: float
    ratio_low: float
    ratio_high: float
    rounds: int

    @property
    def is_backbone(self) -> bool:
        """Whether this is the backbone, not the model beside it."""
        return self.model == self.backbone

    @property
    def gain(self) -> str:
        """The ratio with its interval, for a table."""
        if not self.is_backbone:
            return ""
        if self.rounds == 1:  # which has no interval
            return f"{self.ratio:.2f}"
        return f"{self.ratio:.2f} [{self.ratio_low:.2f}, {self.ratio_high:.2f}]"


class Yardstick(NamedTuple):
    """A timm model: its `name` in tables, and what `build` makes, for images of `size` pixels."""

    name: str
    size: int
    build: Callable[[], nn.Module]


def measure_beside_vit(
    spec: BenchSpec, device: str, beside: str, notify: Notify
) -> Iterator[SpeedRow]:
    """Time every backbone and timm's model `beside`, or the ViT of nearest FLOPs if it is empty.

    Weights and images are random: time does not depend on their values. Two rows a backbone,
    precision and batch, the backbone's first.
    """
    for name, written in spec.named.items():
        # a counter sees inside the plain scan alone
        plain = create_model(written, kernel="reference").eval()
        if plain.frames > 1:
            raise UserError(f"{name} takes clips, and timm's models take images: leave it out")
        own_flops = flops(plain, plain.image_size, name)
        other = named_yardstick(beside) if beside else nearest_vit(plain, own_flops)
        other_flops = flops(without_fused(other.build().eval()), other.size, other.name)
        for precision in spec.precisions:
            model = random_model(written, spec, precision, device).eval()
            yardstick = other.build().eval().to(device, DTYPES[precision])
            for batch in spec.batches:
                notify(f"{name} beside {other.name}, {precision}, batch {batch}")
                own = random_images(model, batch, device)
                # drawn for the backbone; the other model may take another size
                foreign = torch.randn(batch, 3, other.size, other.size).to(own)
                passes = {name: (model, own), other.name: (yardstick, foreign)}
                times = timed(passes, spec.rounds, device, notify)
                counted = {name: own_flops, other.name: other_flops}
                yield from rows(times, counted, precision, batch, device)


def flops(model: nn.Module, size: int, name: str) -> int:
    """FLOPs of one image (3, size, size) by torch's counter; UserError if it cannot count them."""
    device = next(model.parameters()).device
    image = torch.zeros(1, 3, size, size, device=device)
    try:
        counted = count_with_torch(partial(model, image))
    except UnknownOperatorError as error:
        raise UserError(f"the FLOPs of {name} cannot be compared: {error}") from error
    return 2 * (counted.gemm + counted.conv) + counted.scan


def nearest_vit(model: Backbone, wanted: int) -> Yardstick:
    """A ViT of DeiT's kind whose number of heads and layers brings it near the FLOPs `wanted`.

    Of those that are near, the one whose depth is nearest to DeiT's. Patches have 16 pixels, of
    small images those of `model`. UserError if they do not fit.
    """
    size = model.image_size
    patch = PATCH
    if size < SMALL_IMAGE or size % PATCH:
        patch = size // isqrt(model.describe().patches)
    if size % patch:
        raise UserError(
            f"no ViT has patches of {patch} on the {size} pixels of {model.name}: name a model "
            "with --timm"
        )
    found = []
    for heads in range(1, WIDEST + 1):
        ends, layer = deit_flops(size // patch, patch, HEAD * heads)
        layers = min(max(round((wanted - ends) / layer), 1), MOST)
        off = max(abs(log((ends + layers * layer) / wanted)), NEAR)
        found.append((off, abs(layers - USUAL), heads, layers))
    *_, heads, layers = min(found)
    name = f"ViT-{HEAD * heads}x{layers}/{patch}"
    return Yardstick(name, size, partial(deit, size, patch, heads, layers))


def deit_flops(grid: int, patch: int, width: int) -> tuple[int, int]:
    """FLOPs of a ViT's patch embedding and head together, and those of one of its layers."""
    tokens = grid**2 + 1
    ends = grid**2 * 3 * patch**2 * width + width * CLASSES
    # queries, keys, values and output; both products of attention; an MLP four times as wide
    layer = 12 * tokens * width**2 + 2 * tokens**2 * width
    return 2 * ends, 2 * layer


def deit(size: int, patch: int, heads: int, layers: int) -> nn.Module:
    """Build timm's ViT of so many heads and layers, with a class token, for 1,000 classes."""
    return VisionTransformer(
        img_size=size,
        patch_size=patch,
        embed_dim=HEAD * heads,
        depth=layers,
        num_heads=heads,
        num_classes=CLASSES,
    )


def named_yardstick(name: str) -> Yardstick:
    """A model of timm at its own image size; UserError if timm has none of this name."""
    build = partial(timm.create_model, name)
    try:
        made = on_meta(build)
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"--timm {name}: timm makes no such model ({describe_error(error)}): choose one of "
            "timm.list_models(), such as deit_small_patch16_224"
        ) from None
    about: Any = made.pretrained_cfg
    return Yardstick(name, about["input_size"][-1], build)


def on_meta(build: Callable[[], nn.Module]) -> nn.Module:
    """The model that `build` makes for its sizes alone, without memory for weights."""
    with shapes_alone():
        return without_fused(build().eval())


def without_fused(model: nn.Module) -> nn.Module:
    """`model` with attention in plain products, which a counter sees; its FLOPs are the same."""
    for module in model.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = False  # type: ignore[assignment]
    return model


def timed(
    passes: dict[str, tuple[nn.Module, Tensor]], rounds: int, device: str, notify: Notify
) -> dict[tuple[str, str], list[float]]:
    """Seconds of each pass by round, by model and by how it is launched; all take turns.

    A pass that cannot be a CUDA graph is launched by the host alone, and `notify` gets the reason.
    """
    runs: dict[tuple[str, str], Callable[[], float]] = {}
    with torch.inference_mode():
        for name, (model, images) in passes.items():
            runs[name, LAUNCHED] = partial(seconds, partial(model, images), device)
            if device != "cuda":
                continue
            try:
                runs[name, GRAPH] = partial(seconds, captured(model, images), device)
            except RuntimeError as error:
                notify(f"{name}: no CUDA graph ({describe_error(error)})")
        return in_rounds(runs, rounds)


def rows(
    times: dict[tuple[str, str], list[float]],
    counted: dict[str, int],
    precision: str,
    batch: int,
    device: str,
) -> list[SpeedRow]:
    """The row of the backbone and that of the other model; `counted` has FLOPs in this order."""
    name, other = counted
    how = GRAPH if (name, GRAPH) in times and (other, GRAPH) in times else LAUNCHED
    # of the passes of one round, which met the machine in the same state
    ratios = []
    for own, foreign in zip(times[name, how], times[other, how], strict=True):
        ratios.append(foreign / own)
    ratio, spread = median_interval(ratios)
    found = []
    for model, count in counted.items():
        median, _ = median_interval(times[model, how])
        launched, _ = median_interval(times[model, LAUNCHED])
        interval = (ratio, spread.low, spread.high) if model == name else (1.0, 1.0, 1.0)
        found.append(
            SpeedRow(
                name,
                model,
                precision,
                batch,
                device,
                count / 1e9,
                1e3 * median,
                batch / median,
                batch / launched,
                *interval,
                len(ratios),
            )
        )
    return found


def answers(found: Sequence[SpeedRow]) -> list[str]:
    """How many times the images a second of the other model each backbone does, a line each."""
    lines = []
    for own, other in zip(found[::2], found[1::2], strict=True):
        lines.append(
            f"{own.backbone} does {own.gain} times the images a second of {other.model} "
            f"({other.gflops / own.gflops:.2f} times its FLOPs; {own.precision}, batch "
            f"{own.batch})."
        )
    return lines


def table(found: Sequence[SpeedRow], machine: Mapping[str, Any]) -> Table:
    """The rows for a terminal; `machine` is its state before the measurement."""
    first = found[0]
    parts, columns = [str(machine["machine"])], dict(COLUMNS)
    if first.device == "cpu":
        parts.append(f"{machine['threads']} threads")
        del columns["launched one by one"]  # the only way there
    for head, template in SETTINGS.items():
        texts = {template.format(row=row) for row in found}
        if len(texts) == 1:
            parts.append(texts.pop())
        else:
            columns = {"model": columns.pop("model"), head: template, **columns}
    parts.append(counted(first.rounds, "rounds"))
    return figures_table(", ".join(parts), found, columns, names=1)
