"""Models of other packages as backbones: timm's ViT and DeiT, and the classes of Mamba's authors.

An instance is known by the names and shapes of its state dict, which are those of the published
checkpoints, and by the attributes of its class that no name shows. The backbone that is made of it
holds the very same parameters: training one trains the other. Its answer to a random image has to
be that of the instance; what a class does beyond its layout is found by that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isqrt
from typing import Any

import torch
from torch import Tensor, nn

from backbones.base import Backbone
from backbones.checkpoints.branch import some
from backbones.common.errors import UserError, describe_error
from backbones.common.shapes_alone import shapes_alone
from backbones.models.mambareg import MambaReg
from backbones.models.sizes import ClipConfig, MambaConfig, RegisterConfig, ViTConfig
from backbones.models.videomamba import VideoMamba
from backbones.models.videomamba_video import VideoMambaVideo
from backbones.models.vim import Vim
from backbones.models.vit import ViT
from backbones.preprocessing import Preprocessing

State = Mapping[str, Tensor]
PATCHES = "patch_embed.proj.weight"
# Largest difference from the instance's answer, as a share of the largest logit.
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-3}
LOW_PRECISION = 5e-2
# What names in a state dict say that no backbone here has.
TRAITS = {
    "dist_token": "a distillation token",
    "reg_token": "registers",
    "norm_pre": "a norm before its blocks",
    "fc_norm": "a norm behind its pooling",
    "attn_pool": "attention pooling",
    ".ls1": "layer scale",
    ".q_norm": "normed queries and keys",
    ".gate": "gated attention",
    "relative_position": "relative positions",
    "rope": "rotary positions",
    "parametrizations": "parametrised weights",
    "cls_token_head": "two class tokens",
    "mixer.gamma": "layer scale",
    "norm_f.bias": "LayerNorm",
    "mixer.in_proj.bias": "biases of its projections",
}
KNOWN = (
    "plain ViT and DeiT of timm and the authors' Vim, VideoMamba and Mamba-Reg can be reduced; "
    "write others as a backbone (docs/write-a-backbone.md)"
)


def adopt(model: nn.Module) -> Backbone:
    """Make a backbone of `model`, whose parameters it shares.

    `model` is a Backbone, which is returned, or an instance of a class whose layout is known.
    UserError says in one line why another cannot be taken over.
    """
    if isinstance(model, Backbone):
        return model
    # kept as parameters, to be shared
    state: dict[str, Tensor] = model.state_dict(keep_vars=True)
    build = _family(model, state)
    _refuse_hidden(model)
    try:
        with shapes_alone():
            backbone = build(model, state)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise _cannot(
            model, f"its layout is not the published one ({describe_error(error)})"
        ) from None
    _take_over(backbone, model, state)
    _check_answer(backbone, model)
    return backbone


def _cannot(model: object, why: str, mend: str = KNOWN) -> UserError:
    return UserError(f"cannot reduce this {type(model).__name__}: {why}: {mend}")


def _family(model: nn.Module, state: State) -> Callable[[Any, State], Backbone]:
    """The function that builds the backbone for such a state dict."""
    if "blocks.0.attn.qkv.weight" in state and PATCHES in state:
        return _vit
    if "layers.0.mixer.A_b_log" in state and PATCHES in state:
        return _mamba
    if any(name.endswith("mamba.direction_Bs") for name in state):
        mend = "create_model('plainmamba_l1', checkpoint=PATH) and its like take its weights"
        raise _cannot(model, "PlainMamba is read from its checkpoint", mend)
    raise _cannot(model, "its layout is not known")


def _refuse_hidden(model: nn.Module) -> None:
    """UserError for what runs in `model` and would not run in the backbone."""
    for name, module in model.named_modules():
        if module._forward_hooks or module._forward_pre_hooks or module._backward_hooks:
            raise _cannot(model, f"'{name or 'it'}' has hooks, which would not run", "remove them")
        drops = getattr(module, "p", 0) or getattr(module, "drop_prob", 0)
        random = isinstance(module, nn.Dropout) or type(module).__name__ == "DropPath"
        if module.training and random and drops:
            raise _cannot(model, f"'{name}' drops at random in training", "call its eval()")


def _vit(model: Any, state: State) -> ViT:
    """The backbone of timm's VisionTransformer, and of classes of its layout."""
    if (pool := getattr(model, "global_pool", "token")) != "token":
        raise _cannot(model, f"it pools by '{pool}' and has no class token to read")
    for index, layer in enumerate(model.blocks):
        activation = layer.mlp.act
        if type(activation) is not nn.GELU or activation.approximate != "none":
            raise _cannot(model, f"the MLP of layer {index} has {activation}, not the exact GELU")
        if layer.attn.num_heads != model.blocks[0].attn.num_heads:
            raise _cannot(model, f"layer {index} has {layer.attn.num_heads} heads")
    dim, _, patch, _ = state[PATCHES].shape
    config = ViTConfig(
        dim=dim,
        heads=model.blocks[0].attn.num_heads,
        layers=len(model.blocks),
        image_size=_image_size(model, state, patch, patch, specials=1),
        patch=patch,
        classes=_classes(model, state),
    )
    about: Mapping[str, Any] = getattr(model, "pretrained_cfg", None) or {}
    backbone = ViT(str(about.get("architecture") or "vit"), config)
    if {"crop_pct", "interpolation", "mean", "std"} <= about.keys():
        backbone.preprocessing = Preprocessing(
            about["crop_pct"], about["interpolation"], tuple(about["mean"]), tuple(about["std"])
        )
    return backbone


def _mamba(model: Any, state: State) -> Backbone:
    """The backbone of the authors' class of Vim, VideoMamba or Mamba-Reg, all `VisionMamba`."""
    mixer = model.layers[0].mixer
    stride = model.patch_embed.proj.stride[-1]
    patch = state[PATCHES].shape[-1]
    specials = 0 if "pos_embed_cls" in state else 1
    sizes: dict[str, Any] = {
        "dim": state[PATCHES].shape[0],
        "depth": len(model.layers),
        "states": state["layers.0.mixer.A_log"].shape[1],
        "image_size": _image_size(model, state, patch, stride, specials),
        "patch": patch,
        "stride": stride,
        "classes": _classes(model, state),
    }
    if "pos_embed_cls" in state:
        registers = state["cls_token"].shape[1]
        reduce = sizes["dim"] // state["neck.weight"].shape[0] if "neck.weight" in state else 1
        return MambaReg("mambareg", RegisterConfig(**sizes, registers=registers, reduce=reduce))
    if hasattr(model, "use_middle_cls_token"):
        return _vim(model, mixer, sizes)
    if not getattr(mixer, "bimamba", False):
        raise _cannot(model, "it is neither Vim's class nor VideoMamba's, whose weights look alike")
    if "temporal_pos_embedding" in state:
        frames = state["temporal_pos_embedding"].shape[1]
        return VideoMambaVideo("videomamba_video", ClipConfig(**sizes, frames=frames))
    return VideoMamba("videomamba", MambaConfig(**sizes, divide=False))


def _vim(model: Any, mixer: Any, sizes: Mapping[str, Any]) -> Backbone:
    """The backbone of Vim's class, which has many variants."""
    variants = {
        "no class token": not model.if_cls_token,
        "two class tokens": model.use_double_cls_token,
        "no absolute positions": not model.if_abs_pos_embed,
        "rotary positions": model.if_rope,
        "layers in pairs (if_bidirectional)": model.if_bidirectional,
        "sequences flipped at random": model.flip_img_sequences_ratio > 0,
        f"mixers of type {mixer.bimamba_type}": mixer.bimamba_type != "v2",
    }
    for variant, present in variants.items():
        if present:
            raise _cannot(model, f"it has {variant}")
    # The published code spells it in both ways.
    divide = getattr(mixer, "if_divide_out", None) or getattr(mixer, "if_devide_out", False)
    kind = Vim if model.use_middle_cls_token else VideoMamba
    return kind("vim", MambaConfig(**sizes, divide=bool(divide)))


def _image_size(model: Any, state: State, patch: int, stride: int, specials: int) -> int:
    """Side of the images in pixels; UserError if they are no squares."""
    count = state["pos_embed"].shape[1] - specials
    grid = isqrt(max(count, 0))
    size = getattr(model.patch_embed, "img_size", None) or (grid - 1) * stride + patch
    sides = tuple(size) if isinstance(size, tuple | list) else (size, size)
    if len(set(sides)) > 1 or state[PATCHES].shape[-1] != state[PATCHES].shape[-2]:
        raise _cannot(model, f"its images or patches are not square ({sides[0]} x {sides[1]})")
    return int(sides[0])


def _classes(model: Any, state: State) -> int:
    if "head.weight" not in state:
        raise _cannot(model, "it has no linear head that gives logits", "give it one")
    return state["head.weight"].shape[0]


def _take_over(backbone: Backbone, model: nn.Module, state: State) -> None:
    """Give the parameters of `model` to the backbone; UserError if names or shapes differ."""
    own = backbone.state_dict()
    surplus, missing = sorted(state.keys() - own.keys()), sorted(own.keys() - state.keys())
    for sign, trait in TRAITS.items():
        if any(sign in name for name in surplus):
            raise _cannot(model, f"it has {trait}")
    if surplus or missing:
        sides = {"it lacks": missing, "it also has": surplus}
        raise _cannot(
            model, "; ".join(f"{said} {some(names)}" for said, names in sides.items() if names)
        )
    for name, tensor in own.items():
        if state[name].shape != tensor.shape:
            theirs = tuple(state[name].shape)
            raise _cannot(model, f"its {name} is {theirs}, where {tuple(tensor.shape)} is usual")
    for name, parameter in backbone.named_parameters():
        parameter.requires_grad_(state[name].requires_grad)
    backbone.load_state_dict(state, assign=True)
    for name, module in backbone.named_modules():
        if hasattr(module, "eps"):
            module.eps = model.get_submodule(name).eps
    backbone.train(model.training)


def _check_answer(backbone: Backbone, model: nn.Module) -> None:
    """UserError unless both answer alike to a random image, where `model` can be run here."""
    some_weight = next(backbone.parameters())
    side, frames = backbone.image_size, backbone.frames
    shape = (1, 3, side, side) if frames == 1 else (1, 3, frames, side, side)
    image = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    image = image.to(some_weight.device, some_weight.dtype)
    with torch.no_grad():
        try:
            theirs = model(image)
        except Exception as error:
            # Kernels of the authors' run on a GPU alone; a transformer runs anywhere.
            if isinstance(backbone, ViT):
                raise _cannot(model, f"it cannot be run ({describe_error(error)})") from None
            return
        ours = backbone(image)
    tolerance = TOLERANCE.get(ours.dtype, LOW_PRECISION)
    same = isinstance(theirs, Tensor) and theirs.shape == ours.shape
    # written so that NaN fails the comparison
    if not same or not (theirs - ours).abs().max() <= tolerance * theirs.abs().max():
        raise _cannot(model, f"its answers are not those of {backbone.name}, whose weights it has")
