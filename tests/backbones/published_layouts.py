"""Names and shapes of the published checkpoints, written out (224 pixels, 16 states)."""

Table = dict[str, tuple[int, ...]]


def blocks(dim: int, depth: int) -> Table:
    """Blocks, last norm and bias of the patch embedding, which every vision Mamba has."""
    inner, rank = 2 * dim, -(-dim // 16)
    table: Table = {"norm_f.weight": (dim,), "patch_embed.proj.bias": (dim,)}
    for layer in range(depth):
        at = f"layers.{layer}."
        table |= {
            f"{at}norm.weight": (dim,),
            f"{at}mixer.in_proj.weight": (2 * inner, dim),
            f"{at}mixer.out_proj.weight": (dim, inner),
            f"{at}mixer.A_log": (inner, 16),
            f"{at}mixer.A_b_log": (inner, 16),
            f"{at}mixer.D": (inner,),
            f"{at}mixer.D_b": (inner,),
        }
        for suffix in ("", "_b"):
            table |= {
                f"{at}mixer.conv1d{suffix}.weight": (inner, 1, 4),
                f"{at}mixer.conv1d{suffix}.bias": (inner,),
                f"{at}mixer.x_proj{suffix}.weight": (rank + 32, inner),
                f"{at}mixer.dt_proj{suffix}.weight": (inner, rank),
                f"{at}mixer.dt_proj{suffix}.bias": (inner,),
            }
    return table


def class_token(dim: int, depth: int, tokens: int = 197) -> Table:
    """Vim (hustvl/Vim) and VideoMamba for images (OpenGVLab/VideoMamba)."""
    return blocks(dim, depth) | {
        "cls_token": (1, 1, dim),
        "pos_embed": (1, tokens, dim),
        "patch_embed.proj.weight": (dim, 3, 16, 16),
        "head.weight": (1000, dim),
        "head.bias": (1000,),
    }


def video(dim: int, depth: int, frames: int) -> Table:
    """VideoMamba for clips of Kinetics-400 (OpenGVLab/VideoMamba)."""
    return class_token(dim, depth) | {
        "patch_embed.proj.weight": (dim, 3, 1, 16, 16),
        "temporal_pos_embedding": (1, frames, dim),
        "head.weight": (400, dim),
        "head.bias": (400,),
    }


def registers(dim: int, depth: int, count: int, reduce: int) -> Table:
    """Mamba-Reg (wangf3014/Mamba-Reg)."""
    width = dim * (count // reduce)
    table = blocks(dim, depth) | {
        "cls_token": (1, count, dim),
        "pos_embed": (1, 196, dim),
        "pos_embed_cls": (1, count, dim),
        "patch_embed.proj.weight": (dim, 3, 16, 16),
        "head.weight": (1000, width),
        "head.bias": (1000,),
    }
    if reduce > 1:
        table |= {"neck.weight": (dim // reduce, dim), "norm_neck.weight": (width,)}
    return table


def transformer(dim: int, layers: int) -> Table:
    """DeiT and ViT in timm's names."""
    table: Table = {
        "cls_token": (1, 1, dim),
        "pos_embed": (1, 197, dim),
        "patch_embed.proj.weight": (dim, 3, 16, 16),
        "patch_embed.proj.bias": (dim,),
        "norm.weight": (dim,),
        "norm.bias": (dim,),
        "head.weight": (1000, dim),
        "head.bias": (1000,),
    }
    for layer in range(layers):
        at = f"blocks.{layer}."
        for name, width, out in (
            ("attn.qkv", dim, 3 * dim),
            ("attn.proj", dim, dim),
            ("mlp.fc1", dim, 4 * dim),
        ):
            table |= {f"{at}{name}.weight": (out, width), f"{at}{name}.bias": (out,)}
        table |= {f"{at}mlp.fc2.weight": (dim, 4 * dim), f"{at}mlp.fc2.bias": (dim,)}
        table |= {
            f"{at}{norm}.{part}": (dim,)
            for norm in ("norm1", "norm2")
            for part in ("weight", "bias")
        }
    return table


def norm2d(at: str, width: int) -> Table:
    """A batch norm over `width` channels."""
    four = {f"{at}.{name}": (width,) for name in ("weight", "bias", "running_mean", "running_var")}
    return four | {f"{at}.num_batches_tracked": ()}


def plain(dim: int, depth: int, convs: int) -> Table:
    """PlainMamba (ChenhongyiYang/PlainMamba) in OpenMMLab's names."""
    # L1 (`convs` 1) has a local convolution
    inner, rank, at = 2 * dim, -(-dim // 16), "backbone.patch_embed."
    table: Table = {
        "backbone.pos_embed": (1, 196, dim),
        f"{at}stem.0.weight": (64, 3, 7, 7),
        **norm2d(f"{at}stem.1", 64),
        f"{at}projection.weight": (dim, 64, 8, 8),
        f"{at}projection.bias": (dim,),
        "backbone.ln1.weight": (dim,),
        "backbone.ln1.bias": (dim,),
        "head.fc.weight": (1000, dim),
        "head.fc.bias": (1000,),
    }
    for conv in range(convs):
        table |= {
            f"{at}convs.{3 * conv}.weight": (64, 64, 3, 3),
            **norm2d(f"{at}convs.{3 * conv + 1}", 64),
        }
    for layer in range(depth):
        at = f"backbone.layers.{layer}."
        table |= {f"{at}norm.weight": (dim,), f"{at}norm.bias": (dim,)}
        at += "mamba."
        table |= {
            f"{at}A_log": (inner, 16),
            f"{at}D": (inner,),
            f"{at}direction_Bs": (5, 16),
            f"{at}in_proj.weight": (2 * inner, dim),
            f"{at}in_proj.bias": (2 * inner,),
            f"{at}conv2d.weight": (inner, 1, 7, 7),
            f"{at}conv2d.bias": (inner,),
            f"{at}x_proj.weight": (rank + 32, inner),
            f"{at}dt_proj.weight": (inner, rank),
            f"{at}dt_proj.bias": (inner,),
            f"{at}out_proj.weight": (dim, inner),
            f"{at}out_proj.bias": (dim,),
        }
    if convs == 1:
        table |= {
            "backbone.layers.0.dw.0.weight": (dim, 1, 3, 3),
            **norm2d("backbone.layers.0.dw.1", dim),
        }
    return table


def upernet(dim: int, depth: int, convs: int, channels: int = 512, classes: int = 150) -> Table:
    """PlainMamba with UPerNet (ChenhongyiYang/PlainMamba, segmentation) in OpenMMLab's names."""
    body = {
        name: shape for name, shape in plain(dim, depth, convs).items() if "head.fc" not in name
    }
    table: Table = dict(body)
    for level in (1, 2, 3):
        at = f"backbone.norm_layer{depth * level // 4 - 1}"
        table |= {f"{at}.weight": (dim,), f"{at}.bias": (dim,)}
    return table | uper_head((dim,) * 4, channels, classes)


def staged_upernet(
    dim: int, third: int, expand: int, channels: int = 512, classes: int = 150
) -> Table:
    """VMamba with UPerNet (MzeroMiko/VMamba, #v2seg) in OpenMMLab's names."""
    table: Table = {}
    for name, shape in staged(dim, third, expand).items():
        if not name.startswith("classifier."):
            table[f"backbone.{name}"] = shape
    for stage in range(4):
        at = f"backbone.outnorm{stage}"
        table |= {f"{at}.weight": (dim * 2**stage,), f"{at}.bias": (dim * 2**stage,)}
    return table | uper_head(tuple(dim * 2**stage for stage in range(4)), channels, classes)


def uper_head(widths: tuple[int, ...], channels: int, classes: int) -> Table:
    """UPerNet's head of OpenMMLab."""
    last = widths[-1]
    layers = {"bottleneck": (last + 4 * channels, 3), "fpn_bottleneck": (4 * channels, 3)}
    layers |= {f"psp_modules.{number}.1": (last, 1) for number in range(4)}
    for level, width in enumerate(widths[:-1]):
        layers |= {f"lateral_convs.{level}": (width, 1), f"fpn_convs.{level}": (channels, 3)}
    table: Table = {}
    for name, (before, side) in layers.items():
        at = f"decode_head.{name}."
        table |= {
            f"{at}conv.weight": (channels, before, side, side),
            **norm2d(f"{at}bn", channels),
        }
    return table | {
        "decode_head.conv_seg.weight": (classes, channels, 1, 1),
        "decode_head.conv_seg.bias": (classes,),
    }


def pyramid_upernet(dim: int, depth: int, grid: int = 32, classes: int = 150) -> Table:
    """Vim with UPerNet (seg of hustvl/Vim and of NUS-HPC-AI-Lab/DyVM) in OpenMMLab's names."""
    table: Table = {f"backbone.{name}": shape for name, shape in blocks(dim, depth).items()}
    table |= {
        "backbone.pos_embed": (1, grid**2, dim),
        "backbone.patch_embed.proj.weight": (dim, 3, 16, 16),
        **norm2d("backbone.fpn1.1", dim),
    }
    for layer in ("fpn1.0", "fpn1.3", "fpn2.0"):
        table |= {
            f"backbone.{layer}.weight": (dim, dim, 2, 2),
            f"backbone.{layer}.bias": (dim,),
        }
    return table | uper_head((dim,) * 4, dim, classes)


def auxiliary(dim: int, channels: int = 256, classes: int = 150) -> Table:
    """The head that serves training alone, in the same files."""
    at = "auxiliary_head."
    return {
        f"{at}convs.0.conv.weight": (channels, dim, 3, 3),
        **norm2d(f"{at}convs.0.bn", channels),
        f"{at}conv_seg.weight": (classes, channels, 1, 1),
        f"{at}conv_seg.bias": (classes,),
    }


def headed(dim: int, depth: int) -> Table:
    """Adventurer (wangf3014/Adventurer), 64 states, heads of 64 channels."""
    inner, hidden = 2 * dim, 5 * dim // 2
    heads, convolved = inner // 64, inner + 128
    table: Table = {
        "cls_token": (1, 1, dim),
        "pos_embed": (1, 197, dim),
        "patch_embed.proj.weight": (dim, 3, 16, 16),
        "patch_embed.proj.bias": (dim,),
        "norm_f.weight": (dim,),
        "head.weight": (1000, dim),
        "head.bias": (1000,),
    }
    for layer in range(depth):
        at = f"layers.{layer}."
        table |= {
            f"{at}mixer.dt_bias": (heads,),
            f"{at}mixer.A_log": (heads,),
            f"{at}mixer.D": (heads,),
            f"{at}mixer.in_proj.weight": (2 * inner + 128 + heads, dim),
            f"{at}mixer.conv1d.weight": (convolved, 1, 4),
            f"{at}mixer.conv1d.bias": (convolved,),
            f"{at}mixer.norm.weight": (inner,),
            f"{at}mixer.out_proj.weight": (dim, inner),
            f"{at}norm.weight": (dim,),
            f"{at}norm_mlp.weight": (dim,),
            f"{at}mlp.w1.weight": (hidden, dim),
            f"{at}mlp.w1.bias": (hidden,),
            f"{at}mlp.w2.weight": (hidden, dim),
            f"{at}mlp.w2.bias": (hidden,),
            f"{at}mlp.w3.weight": (dim, hidden),
            f"{at}mlp.w3.bias": (dim,),
        }
    return table


def staged(dim: int, third: int, expand: int) -> Table:
    """VMamba (MzeroMiko/VMamba), 2 layers in each stage but the third, one state."""
    table: Table = {
        "patch_embed.0.weight": (dim // 2, 3, 3, 3),
        "patch_embed.0.bias": (dim // 2,),
        "patch_embed.2.weight": (dim // 2,),
        "patch_embed.2.bias": (dim // 2,),
        "patch_embed.5.weight": (dim, dim // 2, 3, 3),
        "patch_embed.5.bias": (dim,),
        "patch_embed.7.weight": (dim,),
        "patch_embed.7.bias": (dim,),
        "classifier.norm.weight": (8 * dim,),
        "classifier.norm.bias": (8 * dim,),
        "classifier.head.weight": (1000, 8 * dim),
        "classifier.head.bias": (1000,),
    }
    for stage, layers in enumerate((2, 2, third, 2)):
        width = dim * 2**stage
        inner, rank = expand * width, -(-width // 16)
        for layer in range(layers):
            at = f"layers.{stage}.blocks.{layer}."
            table |= {
                f"{at}norm.weight": (width,),
                f"{at}norm.bias": (width,),
                f"{at}op.in_proj.weight": (inner, width),
                f"{at}op.conv2d.weight": (inner, 1, 3, 3),
                f"{at}op.x_proj_weight": (4, rank + 2, inner),
                f"{at}op.dt_projs_weight": (4, inner, rank),
                f"{at}op.dt_projs_bias": (4, inner),
                f"{at}op.A_logs": (4 * inner, 1),
                f"{at}op.Ds": (4 * inner,),
                f"{at}op.out_norm.weight": (inner,),
                f"{at}op.out_norm.bias": (inner,),
                f"{at}op.out_proj.weight": (width, inner),
                f"{at}norm2.weight": (width,),
                f"{at}norm2.bias": (width,),
                f"{at}mlp.fc1.weight": (4 * width, width),
                f"{at}mlp.fc1.bias": (4 * width,),
                f"{at}mlp.fc2.weight": (width, 4 * width),
                f"{at}mlp.fc2.bias": (width,),
            }
        if stage < 3:
            at = f"layers.{stage}.downsample."
            table |= {
                f"{at}1.weight": (2 * width, width, 3, 3),
                f"{at}1.bias": (2 * width,),
                f"{at}3.weight": (2 * width,),
                f"{at}3.bias": (2 * width,),
            }
    return table


WIDTHS = {  # width and depth
    "vim_tiny": (192, 24),
    "vim_small": (384, 24),
    "vim_base": (768, 24),
    "videomamba_tiny": (192, 24),
    "videomamba_small": (384, 24),
    "videomamba_middle": (576, 32),
    "videomamba_base": (768, 24),
}
REGISTERS = {  # width, depth, registers, and by how much the neck narrows each
    "mambareg_tiny": (192, 24, 12, 1),
    "mambareg_small": (384, 24, 12, 2),
    "mambareg_base": (768, 24, 12, 4),
    "mambareg_large": (1024, 48, 16, 8),
}
HEADED = {  # width and depth
    "adventurer_tiny": (256, 12),
    "adventurer_small": (512, 12),
    "adventurer_base": (768, 12),
    "adventurer_large": (1024, 24),
}
STAGED = {  # width, layers of the third stage, channels of the mixer over the width
    "vmamba_tiny": (96, 8, 1),
    "vmamba_small": (96, 15, 2),
    "vmamba_base": (128, 15, 2),
}
PLAIN = {  # width, depth, and convolutions of the stem after the first
    "plainmamba_l1": (192, 24, 1),
    "plainmamba_l2": (384, 24, 2),
    "plainmamba_l3": (448, 36, 2),
}


def published(name: str) -> Table | None:
    """Names and shapes in the backbone `name` at its usual size; None if none were published."""
    if name in REGISTERS:
        return registers(*REGISTERS[name])
    if name in HEADED:
        return headed(*HEADED[name])
    if name in STAGED:
        return staged(*STAGED[name])
    if name.endswith("_upernet"):
        body = name.removesuffix("_upernet")
        if body in STAGED:
            return staged_upernet(*STAGED[body])
        return upernet(*PLAIN[body])
    if name in PLAIN:
        table = plain(*PLAIN[name])
        return {
            key.removeprefix("backbone.").replace("head.fc.", "head."): shape
            for key, shape in table.items()
        }
    if name.startswith(("deit_", "vit_")) and "_nano" not in name:
        return transformer({"tiny": 192, "small": 384, "base": 768}[name.partition("_")[2]], 12)
    if name.endswith("_stride8"):
        return class_token(*WIDTHS[name.removesuffix("_stride8")], tokens=730)
    if name.endswith("_video"):
        return video(*WIDTHS[name.removesuffix("_video")], frames=8)
    return class_token(*WIDTHS[name]) if name in WIDTHS else None
