"""The FLOPs that were printed of a backbone, and the counts by which they come out.

Every family counts in its own way, so that printed figures cannot be compared directly:

    one direction  MACs of all layers, and 9 L E N + 2 L E operations of one of a block's two scans;
                   convolution and projections of the timescale for one direction likewise:
                   R-MeeTo (arXiv 2412.12496), DyVM (arXiv 2504.04787)
    fvcore         what fvcore counts, which does not look inside fused kernels: MACs of products
                   with weights, and 5 operations for each value that is normalised. Of a published
                   VideoMamba that is in_proj, out_proj, patches and head, without convolutions,
                   timescales and scans; of timm's ViT all but attention's two products of tokens
    all scans      MACs of all layers, and 9 L E N + L E operations of each of four scans:
                   PlainMamba's get_flops.py
    macs           MACs of all layers: timm's cards of DeiT
    scans, norms   MACs of all layers, 9 L E N + L E operations of each of four scans, and 5 for
                   each value that is normalised: VMamba's README, by fvcore and a rule for the scan

No figure was found for Mamba-Reg and Adventurer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from backbones.common.naming import bracketed
from backbones.shape import Shape
from suite.flops.closed_form import dense, total

GIGA = 1e9


@dataclass(frozen=True)
class Printed:
    """One printed figure.

    ``backbone``  name, settings in brackets
    ``giga``      G operations for one image or clip, as printed
    ``count``     a key of `COUNTS`
    ``source``    where it is printed
    ``doubt``     why the figure cannot be what was counted; empty if it comes out
    """

    backbone: str
    giga: str
    count: str
    source: str
    doubt: str = ""

    @property
    def digits(self) -> int:
        """Decimals of the figure."""
        return len(self.giga.partition(".")[2])

    def here(self, shape: Shape) -> str:
        """The same count of the backbone's `shape`, with as many decimals."""
        return f"{COUNTS[self.count](shape) / GIGA:.{self.digits}f}"


def as_papers(shape: Shape) -> int:
    """MACs and operations of the published layers, the first direction only."""
    # all walks of PlainMamba count, since they share one direction's layers
    return total(dense(shape), "paper")


def seen_by_fvcore(shape: Shape) -> int:
    """MACs of products with weights outside fused kernels; 5 operations for a normalised value."""
    norms = (shape.depth + 1) * 5 * shape.length * shape.dim
    if shape.heads:
        # attention's products of tokens are a fused kernel; a layer is two blocks
        attention = shape.depth // 2 * 2 * shape.length**2 * shape.inner
        return all_macs(shape) - attention + norms
    frames, rows, columns = shape.patch
    patches = shape.patches * shape.dim * frames * rows * columns * shape.channels
    head = shape.dim * shape.classes
    # in_proj is twice as wide as out_proj; the rest of a mixer is a fused kernel
    projections = shape.depth * shape.length * 3 * shape.dim * shape.inner
    return patches + projections + head + norms


def all_macs(shape: Shape) -> int:
    """Multiply-accumulates of all layers."""
    return total(dense(shape), "macs")


def with_norms(shape: Shape) -> int:
    """MACs of all layers and operations of all scans of VMamba, 5 for each value normalised."""
    # of the stem, which halves the resolution twice, and of what the head reads
    values = shape.patches * shape.dim * 3 + shape.lengths[-1] * shape.widths[-1]
    for block, length in enumerate(shape.lengths):
        here = shape.at(block)
        values += length * here.dim
        if block % 2 == 0:
            values += length * here.inner
        if block in shape.halvings:
            values += length * here.dim
    return total(dense(shape), "macs") + 5 * values


COUNTS: Mapping[str, Callable[[Shape], int]] = MappingProxyType(
    {
        "one direction": as_papers,
        "fvcore": seen_by_fvcore,
        "all scans": as_papers,
        "macs": all_macs,
        "scans, norms": with_norms,
    }
)

# at 224, 448 and 576 pixels
VIDEOMAMBA = {
    "tiny": ("1.1", "4.3", "7.1"),
    "small": ("4.3", "16.9", "28.0"),
    "middle": ("12.7", "50.4", "83.1"),
}
# of 16 and 32 frames, and of 64 at 384 pixels
CLIPS = {
    "tiny": ("17", "34", "202"),
    "small": ("68", "135", "395"),
    "middle": ("202", "403", "2368"),
}
DOUBTS = {
    "videomamba_middle[image_size=576]": "printed 0.3 % below what the same count gives of all "
    "others",
    "videomamba_small_video[frames=64,image_size=384]": "its first digit is wrong: 7",
}


def printed() -> Iterator[Printed]:
    """Every figure, that of each backbone's usual size before those of its other sizes."""
    for name, giga, source in (
        ("vim_tiny", "1.45", "R-MeeTo, arXiv 2412.12496"),
        ("vim_small", "5.08", "R-MeeTo, arXiv 2412.12496"),
        ("vim_base", "18.87", "R-MeeTo, arXiv 2412.12496, from its merged 13.21"),
    ):
        yield Printed(name, giga, "one direction", source)
    zoo, paper = "OpenGVLab/VideoMamba, image_sm/MODEL_ZOO.md", "arXiv 2403.06977"
    sizes = ("", "[image_size=448]", "[image_size=576]")
    for size, figures in VIDEOMAMBA.items():
        for giga, setting in zip(figures, sizes, strict=True):
            yield _doubted(f"videomamba_{size}{setting}", giga, zoo)
    yield Printed("videomamba_base", "16.9", "fvcore", paper)
    clips = ("frames=16", "frames=32", "frames=64,image_size=384")
    for size, figures in CLIPS.items():
        for giga, setting in zip(figures, clips, strict=True):
            yield _doubted(f"videomamba_{size}_video[{setting}]", giga, paper)
    table = "arXiv 2403.17695, table of ImageNet-1K"
    for size, giga in (("l1", "3.0"), ("l2", "8.1"), ("l3", "14.4")):
        yield Printed(f"plainmamba_{size}", giga, "all scans", table)
    for size, giga in (("tiny", "4.9"), ("small", "8.7"), ("base", "15.4")):
        yield Printed(f"vmamba_{size}", giga, "scans, norms", "README of MzeroMiko/VMamba")
    for size, deit, vit in (
        ("tiny", "1.3", "1.1"),
        ("small", "4.6", "4.3"),
        ("base", "17.6", "16.9"),
    ):
        yield Printed(f"deit_{size}", deit, "macs", "timm's card")
        yield Printed(f"vit_{size}", vit, "fvcore", "timm's card")


def _doubted(name: str, giga: str, source: str) -> Printed:
    return Printed(name, giga, "fvcore", source, DOUBTS.get(name, ""))


def figures_of(backbone: str) -> list[Printed]:
    """The figures of `backbone`, a name without settings; that of its usual size first."""
    rows = [row for row in printed() if bracketed(row.backbone)[0] == backbone]
    return sorted(rows, key=lambda row: bool(bracketed(row.backbone)[1]))
