"""The released code and weights of the built-in backbones, by the prefixes of their names.

Licences of code are those of the licence file, else of the README, at the commit named. Licences of
weights are those on the pages of their repositories on the Hugging Face Hub; VMamba's lie beside
its code.
"""

from __future__ import annotations

from backbones.common.release import NONE_STATED, UNREAD, Code, Release, Weights

APACHE = "Apache-2.0"
MIT = "MIT"
# Of the weights that come with the suite, as of the suite itself.
BUNDLED = APACHE

# What a built-in name begins with, up to its first underscore.
BY_PREFIX = {
    "vim": Release(
        family="Vim",
        code=Code("hustvl/Vim", APACHE, "dd0358a"),
        weights=Weights(
            (
                "hustvl/Vim-tiny-midclstok",
                "hustvl/Vim-small-midclstok",
                "hustvl/Vim-base-midclstok",
            ),
            APACHE,
        ),
    ),
    "videomamba": Release(
        family="VideoMamba",
        code=Code("OpenGVLab/VideoMamba", APACHE, "f3427e4"),
        weights=Weights(("OpenGVLab/VideoMamba",), APACHE),
    ),
    "mambareg": Release(
        family="Mamba-Reg",
        code=Code("wangf3014/Mamba-Reg", NONE_STATED, "0f7c2da"),
        weights=Weights(("Wangf3014/Mamba-Reg",), UNREAD, "the code's README states none"),
    ),
    "plainmamba": Release(
        family="PlainMamba",
        code=Code("ChenhongyiYang/PlainMamba", APACHE, "0975a1d"),
        weights=Weights(("ChenhongyiYang/PlainMamba",), APACHE),
    ),
    "adventurer": Release(
        family="Adventurer",
        code=Code("wangf3014/Adventurer", NONE_STATED, "a895f9e"),
        weights=Weights(("Wangf3014/Adventurer",), NONE_STATED),
    ),
    "vmamba": Release(
        family="VMamba",
        code=Code("MzeroMiko/VMamba", MIT, "2ed52ea"),
        weights=Weights(("MzeroMiko/VMamba",), MIT, "on GitHub, with the code"),
    ),
    "deit": Release(
        family="DeiT",
        code=Code("facebookresearch/deit", APACHE, "7e160fe"),
        weights=Weights(
            (
                "timm/deit_tiny_patch16_224.fb_in1k",
                "timm/deit_small_patch16_224.fb_in1k",
                "timm/deit_base_patch16_224.fb_in1k",
            ),
            APACHE,
        ),
    ),
    "vit": Release(
        family="ViT",
        code=Code("huggingface/pytorch-image-models", APACHE, "aa4b585"),
        weights=Weights(
            (
                "timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k",
                "timm/vit_small_patch16_224.augreg_in21k_ft_in1k",
                "timm/vit_base_patch16_224.augreg_in21k_ft_in1k",
            ),
            APACHE,
        ),
    ),
}


def release_of(name: str) -> Release | None:
    """What was released of the built-in backbone called `name`; None if nothing is known."""
    return BY_PREFIX.get(name.partition("_")[0])


def licence_of_weights(name: str, source: str) -> str:
    """The licence of a published file of a built-in backbone, `source` as in its row; or empty."""
    if source == "bundled":
        return BUNDLED
    release = release_of(name)
    return release.weights.licence if release else ""
