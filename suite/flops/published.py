"""The FLOPs that were printed of a backbone, and the counts by which they come out.

Every family counts in its own way, so that printed figures cannot be set side by side:

    one direction  MACs of all layers and 9 L E N + 2 L E operations of one of a block's two scans, conv and projections
                   of the timescale for one direction likewise: R-MeeTo (arXiv 2412.12496), DyVM (arXiv 2504.04787)
    fvcore         what fvcore sees, which looks into no fused kernel: MACs of products with weights, and 5 operations a
                   value normalised. Of a published VideoMamba that is in_proj, out_proj, patches and head, without
                   convolutions, timescales and scans; of timm's ViT all but attention's two products of tokens
    all scans      MACs of all layers and 9 L E N + L E operations of each of four scans: PlainMamba's get_flops.py
    macs           MACs of all layers: timm's cards of DeiT

No figure was found for Mamba-Reg.
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
    ``source``    where it stands
    ``doubt``     why the figure cannot be what was counted; empty where it comes out
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
        """The same count of `shape`, the backbone's, in as many decimals."""
        return f"{COUNTS[self.count](shape) / GIGA:.{self.digits}f}"


def as_papers(shape: Shape) -> int:
    """The papers' layers with the first direction alone; all walks of PlainMamba, which share theirs."""
    return total(dense(shape), "paper")


def seen_by_fvcore(shape: Shape) -> int:
    """Products with the weights that stand outside fused kernels; 5 operations for each value of each norm."""
    if shape.heads:
        within = all_macs(shape) - shape.depth // 2 * 2 * shape.length**2 * shape.inner
    else:
        pixels = shape.patch[0] * shape.patch[1] * shape.patch[2] * shape.channels
        outside = shape.patches * shape.dim * pixels + shape.dim * shape.classes
        within = shape.depth * shape.length * 3 * shape.dim * shape.inner + outside
    return within + (shape.depth + 1) * 5 * shape.length * shape.dim


def all_macs(shape: Shape) -> int:
    """Multiply-accumulates of all layers."""
    return total(dense(shape), "macs")


COUNTS: Mapping[str, Callable[[Shape], int]] = MappingProxyType(
    {
        "one direction": as_papers,
        "fvcore": seen_by_fvcore,
        "all scans": as_papers,
        "macs": all_macs,
    }
)

VIDEOMAMBA = {
    "tiny": ("1.1", "4.3", "7.1"),
    "small": ("4.3", "16.9", "28.0"),
    "middle": ("12.7", "50.4", "83.1"),
}
CLIPS = {
    "tiny": ("17", "34", "202"),
    "small": ("68", "135", "395"),
    "middle": ("202", "403", "2368"),
}
DOUBTS = {
    "videomamba_middle[image_size=576]": "printed 0.3 % below what the same count gives of all others",
    "videomamba_small_video[frames=64,image_size=384]": "its first digit is wrong: 7",
}


def printed() -> Iterator[Printed]:
    """Every figure, the usual one of each backbone before those of its other sizes of image."""
    for name, giga, source in (
        ("vim_tiny", "1.45", "R-MeeTo, arXiv 2412.12496"),
        ("vim_small", "5.08", "R-MeeTo, arXiv 2412.12496"),
        ("vim_base", "18.87", "R-MeeTo, arXiv 2412.12496, from its merged 13.21"),
    ):
        yield Printed(name, giga, "one direction", source)
    zoo, paper = "OpenGVLab/VideoMamba, image_sm/MODEL_ZOO.md", "arXiv 2403.06977"
    for size, figures in VIDEOMAMBA.items():
        for giga, setting in zip(
            figures, ("", "[image_size=448]", "[image_size=576]"), strict=True
        ):
            yield _doubted(f"videomamba_{size}{setting}", giga, zoo)
    yield Printed("videomamba_base", "16.9", "fvcore", paper)
    for size, figures in CLIPS.items():
        for giga, setting in zip(
            figures, ("frames=16", "frames=32", "frames=64,image_size=384"), strict=True
        ):
            yield _doubted(f"videomamba_{size}_video[{setting}]", giga, paper)
    for size, giga in (("l1", "3.0"), ("l2", "8.1"), ("l3", "14.4")):
        yield Printed(
            f"plainmamba_{size}", giga, "all scans", "arXiv 2403.17695, table of ImageNet-1K"
        )
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
    """The figures printed of `backbone`, a name without settings: at its usual size first."""
    rows = [row for row in printed() if bracketed(row.backbone)[0] == backbone]
    return sorted(rows, key=lambda row: bool(bracketed(row.backbone)[1]))
