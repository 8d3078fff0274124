"""The published checkpoints: where each file is, how it is laid out, what it scored, on what and prepared how.

Sources: the READMEs of hustvl/Vim, wangf3014/Mamba-Reg and ChenhongyiYang/PlainMamba; MODEL_ZOO.md
of OpenGVLab/VideoMamba (image_sm, video_sm); timm's results-imagenet.csv. The weights that come
with the suite are read from their cards.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from backbones.common.errors import UserError
from backbones.common.naming import bracketed, with_settings
from backbones.preprocessing import CLIPS, WHOLE, Preprocessing

WEIGHTS = Path(__file__).parents[1] / "weights"
USUAL = Preprocessing()
CARD_DATA = re.compile(r"^Trained on `(?P<data>[\w-]+)`", re.MULTILINE)
# classes and preparation of the data sets that bundled weights are of
TRAINED_ON = {
    "fashion-clutter": (10, USUAL),
    "tiny-imagenet": (200, WHOLE),
    "tiny-imagenet-50": (50, WHOLE),
}
CARD_SCORE = re.compile(r"^\| (?P<split>\w+) \| [\d,]+ \| (?P<top1>[\d.]+) % \|$", re.MULTILINE)


@dataclass(frozen=True)
class Official:
    """One published file.

    ``backbone``  what to build for it, settings in brackets: ``videomamba_tiny[image_size=448]``
    ``place``     what ``--checkpoint`` takes: ``hf://owner/repo/file`` or ``bundled``
    ``layout``    where in the file the weights lie: ``model``, ``model_ema`` (averaged), ``state_dict``, or ``bare``
    ``data``      the data set it was measured on, ``split`` which part of it, ``classes`` how many it has
    ``top1``      published top-1 in percent
    ``views``     for videos: frames x crops x clips
    """

    backbone: str
    place: str
    layout: str
    top1: float
    data: str = "imagenet"
    split: str = "val"
    classes: int = 1000
    preprocessing: Preprocessing = USUAL
    views: str = ""

    @property
    def file(self) -> str:
        """The file's own name."""
        return self.place.rpartition("/")[2]


def _vim() -> Iterator[Official]:
    for name, repo, file, layout, top1 in (
        ("vim_tiny", "Vim-tiny-midclstok", "vim_t_midclstok_76p1acc", "model", 76.1),
        ("vim_tiny_stride8", "Vim-tiny-midclstok", "vim_t_midclstok_ft_78p3acc", "model", 78.3),
        ("vim_small", "Vim-small-midclstok", "vim_s_midclstok_80p5acc", "model", 80.5),
        ("vim_small_stride8", "Vim-small-midclstok", "vim_s_midclstok_ft_81p6acc", "model", 81.6),
        # published are the averaged weights
        ("vim_base", "Vim-base-midclstok", "vim_b_midclstok_81p9acc", "model_ema", 81.9),
    ):
        yield Official(name, f"hf://hustvl/{repo}/{file}.pth", layout, top1)


SIZES = {"t": "tiny", "s": "small", "m": "middle", "b": "base"}
VIDEOMAMBA = "hf://OpenGVLab/VideoMamba/videomamba_"


def _videomamba() -> Iterator[Official]:
    for letter, top1 in {"t": 76.9, "s": 81.2, "m": 82.8, "b": 82.7}.items():
        yield Official(
            f"videomamba_{SIZES[letter]}", f"{VIDEOMAMBA}{letter}16_in1k_res224.pth", "model", top1
        )
    for resolutions, scores in (
        ("224to448", {"t": 79.3, "s": 83.2, "m": 83.8}),
        ("224to448to576", {"t": 79.6, "s": 83.5, "m": 84.0}),
    ):
        for letter, top1 in scores.items():
            name = f"videomamba_{SIZES[letter]}[image_size={resolutions[-3:]}]"
            yield Official(name, f"{VIDEOMAMBA}{letter}16_in1k_res{resolutions}.pth", "model", top1)


# (data, classes, clips): (file's name after the size, frames, image size, top-1 of each size)
VIDEOS = {
    ("kinetics-400", 400, 4): (
        ("k400_f8_res224", 8, 224, {"t": 76.9, "s": 79.3, "m": 80.6}),
        ("k400_f16_res224", 16, 224, {"t": 78.1, "s": 80.8, "m": 81.9}),
        ("k400_f32_res224", 32, 224, {"t": 78.8, "s": 81.5, "m": 82.4}),
        ("k400_f64_res224", 64, 224, {"t": 79.6, "s": 81.8, "m": 82.8}),
        ("k400_f64_res224to384", 64, 384, {"t": 80.3, "s": 82.7, "m": 83.3}),
        ("k400_mask_ft_f8_res224", 8, 224, {"m": 82.0}),
        ("k400_mask_ft_f32_res224", 32, 224, {"m": 83.9}),
        ("k400_mask_ft_f64_res224", 64, 224, {"m": 84.3}),
        ("k400_mask_ft_f64_res224to384", 64, 384, {"m": 85.0}),
    ),
    ("something-something-v2", 174, 4): (
        ("ssv2_f8_res224", 8, 224, {"t": 65.1, "s": 66.6, "m": 67.3}),
        ("ssv2_f16_res224", 16, 224, {"t": 66.0, "s": 67.7, "m": 68.3}),
        ("ssv2_f16_res224to288", 16, 288, {"t": 66.2, "s": 68.1, "m": 68.4}),
        ("ssv2_mask_ft_f8_res224", 8, 224, {"m": 70.2}),
        ("ssv2_mask_ft_f16_res224to288", 16, 288, {"m": 71.4}),
    ),
    ("breakfast", 10, 4): (
        ("breakfast_f32_res224", 32, 224, {"t": 94.3, "s": 95.3, "m": 94.8}),
        ("breakfast_f64_res224", 64, 224, {"t": 94.3, "s": 97.4, "m": 95.8}),
        ("breakfast_mask_ft_f32_res224", 32, 224, {"m": 97.9}),
        ("breakfast_mask_ft_f64_res224", 64, 224, {"m": 96.9}),
    ),
    ("coin", 180, 10): (
        ("coin_f32_res224", 32, 224, {"t": 86.2, "s": 88.4, "m": 88.3}),
        ("coin_f64_res224", 64, 224, {"t": 87.0, "s": 88.7, "m": 89.5}),
        ("coin_mask_ft_f32_res224", 32, 224, {"m": 89.6}),
        ("coin_mask_ft_f64_res224", 64, 224, {"m": 90.4}),
    ),
}


def _videomamba_video() -> Iterator[Official]:
    for (data, classes, clips), files in VIDEOS.items():
        for stem, frames, size, scores in files:
            for letter, top1 in scores.items():
                changed = {"frames": frames} if frames != 8 else {}
                changed |= {"image_size": size} if size != 224 else {}
                yield Official(
                    with_settings(f"videomamba_{SIZES[letter]}_video", **changed),
                    f"{VIDEOMAMBA}{letter}16_{stem}.pth",
                    "bare",
                    top1,
                    data=data,
                    classes=classes,
                    preprocessing=CLIPS,
                    views=f"{frames}x3x{clips}",
                )


def _mambareg() -> Iterator[Official]:
    for size, top1 in {"small": 81.4, "base": 83.0, "large": 83.6}.items():
        place = f"hf://Wangf3014/Mamba-Reg/mambar_{size}_patch16_224.pth"
        yield Official(
            f"mambareg_{size}", place, "model", top1, preprocessing=Preprocessing(crop=1.0)
        )


def _plainmamba() -> Iterator[Official]:
    for size, top1 in {"l1": 77.9, "l2": 81.6, "l3": 82.3}.items():
        yield Official(
            f"plainmamba_{size}", f"hf://ChenhongyiYang/PlainMamba/{size}.pth", "state_dict", top1
        )


def _vit() -> Iterator[Official]:
    halves = (0.5, 0.5, 0.5)
    augreg = Preprocessing(crop=0.9, mean=halves, std=halves)
    for size, deit, vit in (("tiny", 72.2, 75.5), ("small", 79.8, 81.4), ("base", 82.0, 84.5)):
        for name, tag, top1, prepared in (
            (f"deit_{size}", "fb_in1k", deit, Preprocessing(crop=0.9)),
            (f"vit_{size}", "augreg_in21k_ft_in1k", vit, augreg),
        ):
            place = f"hf://timm/{name}_patch16_224.{tag}/model.safetensors"
            yield Official(name, place, "bare", top1, preprocessing=prepared)


def _bundled() -> Iterator[Official]:
    for card in sorted(WEIGHTS.glob("*.md")):
        yield from card_scores(card.stem, card.read_text("utf-8"))


def card_scores(backbone: str, card: str) -> Iterator[Official]:
    """What the card of bundled weights says of their accuracy, split by split."""
    named = CARD_DATA.search(card)
    if named is None or named["data"] not in TRAINED_ON:
        return
    classes, prepared = TRAINED_ON[named["data"]]
    for score in CARD_SCORE.finditer(card):
        top1, split = float(score["top1"]), score["split"]
        yield Official(
            backbone, "bundled", "bare", top1,
            data=named["data"], split=split, classes=classes, preprocessing=prepared,
        )  # fmt: skip


FAMILIES = (_vim, _videomamba, _videomamba_video, _mambareg, _plainmamba, _vit, _bundled)


@cache
def officials() -> tuple[Official, ...]:
    """Every published file, the usual one of each backbone before its others."""
    return tuple(row for rows in FAMILIES for row in rows())


def files_of(backbone: str) -> list[Official]:
    """The published files for `backbone`, a name with or without settings; those settings decide."""
    wanted = bracketed(backbone)
    return [row for row in officials() if bracketed(row.backbone) == wanted]


def official_of(backbone: str, data: str | None = None) -> Official:
    """The published file for `backbone`, trained on `data` if there is one; UserError if none is known."""
    rows = files_of(backbone)
    if not rows:
        name = bracketed(backbone)[0]
        others = [row.backbone for row in officials() if bracketed(row.backbone)[0] == name]
        known = f"published is {', '.join(dict.fromkeys(others))}" if others else "give a file"
        raise UserError(f"no checkpoint of {backbone} is published: {known}")
    return next((row for row in rows if row.data == data), rows[0])


def usual_preprocessing(backbone: str) -> Preprocessing | None:
    """How images are prepared for `backbone` (a name, settings or not) where it was published; None if it was not."""
    name = bracketed(backbone)[0]
    return next(
        (row.preprocessing for row in officials() if bracketed(row.backbone)[0] == name), None
    )
