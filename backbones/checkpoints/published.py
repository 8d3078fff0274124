"""The published checkpoints: file, layout, accuracy, data set and preprocessing of each.

Sources: the READMEs of hustvl/Vim, wangf3014/Mamba-Reg, wangf3014/Adventurer,
ChenhongyiYang/PlainMamba and MzeroMiko/VMamba; MODEL_ZOO.md
of OpenGVLab/VideoMamba (image_sm, video_sm); timm's results-imagenet.csv. Bundled weights are read
from their cards.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from backbones.common.errors import UserError
from backbones.common.naming import Value, bracketed, with_settings
from backbones.preprocessing import CLIPS, WHOLE, Preprocessing

WEIGHTS = Path(__file__).parents[1] / "weights"
USUAL = Preprocessing()
CARD_DATA = re.compile(r"^Trained on `(?P<data>[\w-]+)`", re.MULTILINE)
# of a segmenter the mean IoU, with the pixel accuracy in a column of its own
CARD_SCORE = re.compile(
    r"^\| (?P<split>\w+) \| [\d,]+ \| (?P<figure>[\d.]+) % \|( [\d.]+ % \|)?$", re.MULTILINE
)
# classes and preprocessing of the data sets that bundled weights were trained on
TRAINED_ON = {
    "fashion-clutter": (10, USUAL),
    "tiny-imagenet": (200, WHOLE),
    "tiny-imagenet-50": (50, WHOLE),
}


@dataclass(frozen=True)
class PublishedFile:
    """One published file, with the accuracy its authors report for it.

    ``backbone``  the model to build, settings in brackets: ``videomamba_tiny[image_size=448]``
    ``source``    as for ``--checkpoint``: ``hf://owner/repo/file``, the address of a file of a
                  release on GitHub, or ``bundled``
    ``layout``    entry of the file with the weights: ``model``, ``model_ema`` (averaged),
                  ``state_dict``, or ``bare`` (the file is the state dict itself)
    ``top1``      published top-1 in percent, of a segmenter its mean IoU
    ``task``      classification or segmentation
    ``data``      data set of that accuracy, ``split`` its part, ``classes`` its number of classes
    ``views``     for videos: frames x crops x clips
    """

    backbone: str
    source: str
    layout: str
    top1: float
    data: str = "imagenet"
    split: str = "val"
    classes: int = 1000
    preprocessing: Preprocessing = USUAL
    views: str = ""
    task: str = "classification"

    @property
    def name(self) -> str:
        """The backbone without settings."""
        return self.backbone.partition("[")[0]

    @property
    def file(self) -> str:
        """The file's name, without its repository."""
        return self.source.rpartition("/")[2]


def _vim() -> Iterator[PublishedFile]:
    for name, repo, file, layout, top1 in (
        ("vim_tiny", "Vim-tiny-midclstok", "vim_t_midclstok_76p1acc", "model", 76.1),
        ("vim_tiny_stride8", "Vim-tiny-midclstok", "vim_t_midclstok_ft_78p3acc", "model", 78.3),
        ("vim_small", "Vim-small-midclstok", "vim_s_midclstok_80p5acc", "model", 80.5),
        ("vim_small_stride8", "Vim-small-midclstok", "vim_s_midclstok_ft_81p6acc", "model", 81.6),
        # the only one whose published accuracy is that of the averaged weights
        ("vim_base", "Vim-base-midclstok", "vim_b_midclstok_81p9acc", "model_ema", 81.9),
    ):
        yield PublishedFile(name, f"hf://hustvl/{repo}/{file}.pth", layout, top1)


SIZES = {"t": "tiny", "s": "small", "m": "middle", "b": "base"}
VIDEOMAMBA = "hf://OpenGVLab/VideoMamba/videomamba_"
# file name after the size -> image size, top-1 of each size
IMAGES = {
    "res224": (224, {"t": 76.9, "s": 81.2, "m": 82.8, "b": 82.7}),
    "res224to448": (448, {"t": 79.3, "s": 83.2, "m": 83.8}),
    "res224to448to576": (576, {"t": 79.6, "s": 83.5, "m": 84.0}),
}


def _videomamba() -> Iterator[PublishedFile]:
    for stem, (size, scores) in IMAGES.items():
        for letter, top1 in scores.items():
            changed: dict[str, Value] = {} if size == 224 else {"image_size": size}
            name = with_settings(f"videomamba_{SIZES[letter]}", **changed)
            yield PublishedFile(name, f"{VIDEOMAMBA}{letter}16_in1k_{stem}.pth", "model", top1)


# (data, classes, clips): (file name after the size, frames, image size, top-1 of each size)
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


def _videomamba_video() -> Iterator[PublishedFile]:
    for (data, classes, clips), files in VIDEOS.items():
        for stem, frames, size, scores in files:
            changed: dict[str, Value] = {}
            # only settings that differ from the model's own are part of its name
            if frames != 8:
                changed["frames"] = frames
            if size != 224:
                changed["image_size"] = size
            for letter, top1 in scores.items():
                yield PublishedFile(
                    with_settings(f"videomamba_{SIZES[letter]}_video", **changed),
                    f"{VIDEOMAMBA}{letter}16_{stem}.pth",
                    "bare",
                    top1,
                    data=data,
                    classes=classes,
                    preprocessing=CLIPS,
                    views=f"{frames}x3x{clips}",
                )


# mambareg_tiny was not published.
def _mambareg() -> Iterator[PublishedFile]:
    for size, top1 in {"small": 81.4, "base": 83.0, "large": 83.6}.items():
        source = f"hf://Wangf3014/Mamba-Reg/mambar_{size}_patch16_224.pth"
        prepared = Preprocessing(crop=1.0)
        yield PublishedFile(f"mambareg_{size}", source, "model", top1, preprocessing=prepared)


def _plainmamba() -> Iterator[PublishedFile]:
    for size, top1 in {"l1": 77.9, "l2": 81.6, "l3": 82.3}.items():
        source = f"hf://ChenhongyiYang/PlainMamba/{size}.pth"
        yield PublishedFile(f"plainmamba_{size}", source, "state_dict", top1)


def _plainmamba_upernet() -> Iterator[PublishedFile]:
    # whole images of 512 pixels, one scale
    for size, miou in {"l1": 44.1, "l2": 46.8, "l3": 49.1}.items():
        source = f"hf://ChenhongyiYang/PlainMamba/segmentation/{size}_upernet.pth"
        yield _upernet(f"plainmamba_{size}", source, miou)


def _upernet(body: str, source: str, miou: float) -> PublishedFile:
    """A file of `body` with an UPerNet head, and its mean IoU on ADE20K in percent."""
    return PublishedFile(
        f"{body}_upernet",
        source,
        "state_dict",
        miou,
        data="ade20k",
        split="validation",
        classes=150,
        preprocessing=WHOLE,
        task="segmentation",
    )


def _adventurer() -> Iterator[PublishedFile]:
    scores = {"tiny": 78.2, "small": 81.8, "base": 82.6, "large": 83.4}
    files = [(f"adventurer_{size}", f"{size}_patch16_224", top1) for size, top1 in scores.items()]
    small = {"patch": 8, "stride": 8}
    for changed, file, top1 in (
        ({"image_size": 384}, "patch16_384", 84.2),
        ({"image_size": 448}, "patch16_448", 84.3),
        (small, "patch8_224", 83.9),
        (small | {"image_size": 448}, "patch8_448", 84.8),
    ):
        files.append((with_settings("adventurer_base", **changed), f"base_{file}", top1))
    for name, file, top1 in files:
        # the README's commands crop only at the usual size
        prepared = USUAL if file.endswith("patch16_224") else Preprocessing(crop=1.0)
        source = f"hf://Wangf3014/Adventurer/adventurer_{file}.pth"
        yield PublishedFile(name, source, "model", top1, preprocessing=prepared)


RELEASE = "https://github.com/MzeroMiko/VMamba/releases/download/%23v2cls/"


def _vmamba() -> Iterator[PublishedFile]:
    for size, file, top1 in (
        ("tiny", "vssm1_tiny_0230s_ckpt_epoch_264", 82.6),
        ("small", "vssm_small_0229_ckpt_epoch_222", 83.6),
        ("base", "vssm_base_0229_ckpt_epoch_237", 83.9),
    ):
        yield PublishedFile(f"vmamba_{size}", f"{RELEASE}{file}.pth", "model", top1)


def _vmamba_upernet() -> Iterator[PublishedFile]:
    release = RELEASE.replace("v2cls", "v2seg")
    for size, file, miou in (
        ("tiny", "tiny_s_iter_160000", 47.9),
        ("small", "small_iter_144000", 50.6),
        ("base", "base_iter_160000", 51.0),
    ):
        source = f"{release}upernet_vssm_4xb4-160k_ade20k-512x512_{file}.pth"
        yield _upernet(f"vmamba_{size}", source, miou)


def _vit() -> Iterator[PublishedFile]:
    halves = (0.5, 0.5, 0.5)
    augreg = Preprocessing(crop=0.9, mean=halves, std=halves)
    for size, deit, vit in (("tiny", 72.2, 75.5), ("small", 79.8, 81.4), ("base", 82.0, 84.5)):
        for name, tag, top1, prepared in (
            (f"deit_{size}", "fb_in1k", deit, Preprocessing(crop=0.9)),
            (f"vit_{size}", "augreg_in21k_ft_in1k", vit, augreg),
        ):
            source = f"hf://timm/{name}_patch16_224.{tag}/model.safetensors"
            yield PublishedFile(name, source, "bare", top1, preprocessing=prepared)


def _bundled() -> Iterator[PublishedFile]:
    for card in sorted(WEIGHTS.glob("*.md")):
        yield from card_scores(card.stem, card.read_text("utf-8"))


def card_scores(backbone: str, card: str) -> Iterator[PublishedFile]:
    """Read the accuracy of bundled weights, split by split, from the text of their card."""
    trained = CARD_DATA.search(card)
    # a card of other data has no known classes and preprocessing
    if trained is None or trained["data"] not in TRAINED_ON:
        return
    classes, prepared = TRAINED_ON[trained["data"]]
    task = "segmentation" if "| mIoU |" in card else "classification"
    # the background is a class of pixels, not of images
    classes += task == "segmentation"
    for score in CARD_SCORE.finditer(card):
        yield PublishedFile(
            backbone,
            "bundled",
            "bare",
            float(score["figure"]),
            data=trained["data"],
            split=score["split"],
            classes=classes,
            preprocessing=prepared,
            task=task,
        )


FAMILIES = (
    _vim,
    _videomamba,
    _videomamba_video,
    _mambareg,
    _plainmamba,
    _plainmamba_upernet,
    _adventurer,
    _vmamba,
    _vmamba_upernet,
    _vit,
    _bundled,
)


@cache
def published_files() -> tuple[PublishedFile, ...]:
    """Every published file, the usual one of each backbone before its others."""
    return tuple(row for rows in FAMILIES for row in rows())


def files_of(backbone: str) -> list[PublishedFile]:
    """The published files for exactly `backbone`, a name with or without settings."""
    # compared parsed: the order of settings and spaces do not matter
    name, settings = bracketed(backbone)
    # `ema` chooses among the weights of one file
    settings.pop("ema", None)
    return [row for row in published_files() if bracketed(row.backbone) == (name, settings)]


def published_file(backbone: str, data: str | None = None) -> PublishedFile:
    """The published file for `backbone`, preferably trained on `data`; UserError without one."""
    rows = files_of(backbone)
    if not rows:
        # the nearest thing to suggest: the same backbone with other settings
        name = bracketed(backbone)[0]
        others = [row.backbone for row in published_files() if row.name == name]
        hint = f"published is {', '.join(dict.fromkeys(others))}" if others else "give a file"
        raise UserError(f"no checkpoint of {backbone} is published: {hint}")
    return next((row for row in rows if row.data == data), rows[0])


def resolve(checkpoint: str, backbone: str, data: str | None = None) -> str:
    """Replace ``official`` by the source of the file published for `backbone` (and `data`)."""
    return published_file(backbone, data).source if checkpoint == "official" else checkpoint


def usual_preprocessing(backbone: str) -> Preprocessing | None:
    """The published preprocessing for `backbone`, a name with or without settings.

    Of the published files whose settings are all among them, it is that of the one with the most;
    None if nothing is published.
    """
    name, settings = bracketed(backbone)
    found, most = None, -1
    for row in published_files():
        plain, its = bracketed(row.backbone)
        if plain == name and its.items() <= settings.items() and len(its) > most:
            found, most = row.preprocessing, len(its)
    return found
