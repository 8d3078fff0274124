"""Layers whose result for a row or an image does not depend on what else is in the batch.

The suite shares work between methods and splits images over workers; results are equal to the bit
only if every layer is invariant to its batch. Libraries break that on a CPU: they take another code
path for few rows or one image, which sums in another order.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import skip_init

# Other paths were seen below 12 rows in MKL and at 1 in oneDNN; from 16 rows on, every row's bits
# were the same for any count.
FEWEST_ROWS = 16


def linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    fast: bool = False,
    gelu: bool = False,
) -> Tensor:
    """Compute x @ weight.T + bias; each row's bits are independent of the others.

    Shapes: x (..., K), weight (M, K), bias (M,). `gelu` applies the exact GELU to the result.
    `fast`, for fp32 inference on a CPU, multiplies by oneDNN where torch has it (twice MKL's speed
    on AMD with AVX-512); its bits differ from those of the plain product.
    """
    if x.device.type != "cpu":
        return _plain(x, weight, bias, gelu)
    rows = x.reshape(-1, x.shape[-1])
    count = rows.shape[0]
    if count < FEWEST_ROWS:
        rows = functional.pad(rows, (0, 0, 0, FEWEST_ROWS - count))
    # torch.compile takes no product by oneDNN that it has not chosen itself.
    fast = fast and not torch.compiler.is_compiling() and _has_onednn()
    multiply = _onednn if fast else _plain
    product = multiply(rows, weight, bias, gelu)[:count]
    return product.view(*x.shape[:-1], weight.shape[0])


def per_image_linear(rows: Tensor, layer: nn.Linear) -> Tensor:
    """Apply `layer` to (B, C) or (B, S, C), image by image in CPU inference."""
    # A product whose row count is the batch takes another path through the BLAS for another batch.
    if rows.device.type != "cpu" or torch.is_grad_enabled():
        return layer(rows)
    products: list[Tensor] = []
    for image in rows:
        products.append(torch.matmul(layer.weight, image.t()).t())
    product = torch.stack(products)
    return product if layer.bias is None else product + layer.bias


def convolve(layer: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Apply the convolution `layer` to images (B, C, H, W), invariantly in CPU inference."""
    if images.device.type != "cpu" or torch.is_grad_enabled():
        return layer(images)
    # oneDNN takes the strides of a lone image for another memory layout, and convolves one image on
    # another path than several: hence plain rows, and a lone image twice.
    plain = images.contiguous()
    if len(images) > 1:
        return layer(plain)
    return layer(torch.cat([plain, plain]))[:1]


def convolve_silu(layer: nn.Conv2d, images: Tensor) -> Tensor:
    """SiLU of `layer`'s convolution of images (B, C, H, W), invariantly in CPU inference."""
    if _is_masked(images):
        return convolve(partial(_onednn_convolution, layer, "swish"), images)
    return functional.silu(convolve(layer, images))


def gelu(images: Tensor) -> Tensor:
    """The exact GELU of images (B, C, H, W), invariantly in CPU inference."""
    if not _is_masked(images):
        return functional.gelu(images)
    channels = images.shape[1]
    # A convolution that changes nothing, for the activation behind it. No weight of it is drawn: a
    # forward pass must not move the user's random numbers on.
    same = skip_init(nn.Conv2d, channels, channels, 1, groups=channels, bias=False, device="cpu")
    nn.init.ones_(same.weight)
    return convolve(partial(_onednn_convolution, same, "gelu"), images)


class Gelu(nn.Module):
    """The exact GELU of maps, which does not depend on the batch."""

    def forward(self, images: Tensor) -> Tensor:
        """Activate (B, C, H, W)."""
        return gelu(images)


def _is_masked(images: Tensor) -> bool:
    """Whether oneDNN activates `images`: in fp32 inference on a CPU."""
    # torch computes the last numbers of a tensor, which are not a whole vector, by another
    # exponential, and where a tensor ends depends on the batch. oneDNN masks them.
    fits = images.device.type == "cpu" and images.dtype == torch.float32
    traced = torch.is_grad_enabled() or torch.compiler.is_compiling()
    return fits and not traced and _has_onednn_activations()


def _onednn_convolution(layer: nn.Conv2d, after: str, images: Tensor) -> Tensor:
    convolved: Tensor = torch.ops.mkldnn._convolution_pointwise(
        images,
        layer.weight,
        layer.bias,
        list(layer.padding),
        list(layer.stride),
        list(layer.dilation),
        layer.groups,
        after,
        [],
        "none" if after == "gelu" else None,
    )
    return convolved


@cache
def _has_onednn_activations() -> bool:
    try:
        # On the CPU by name: a caller may have made another device torch's default.
        with torch.device("cpu"), torch.no_grad(), torch.random.fork_rng(devices=[]):
            layer = nn.Conv2d(4, 4, 3, padding=1, groups=4)
            images = torch.randn(2, 4, 5, 5)
            plain = layer(images)
            pairs = [
                (_onednn_convolution(layer, "swish", images), functional.silu(plain)),
                (_onednn_convolution(layer, "gelu", images), functional.gelu(plain)),
            ]
    except (AttributeError, RuntimeError):
        return False
    return all(torch.allclose(ours, theirs, atol=1e-5) for ours, theirs in pairs)


def _plain(rows: Tensor, weight: Tensor, bias: Tensor | None, gelu: bool) -> Tensor:
    product = functional.linear(rows, weight, bias)
    return functional.gelu(product) if gelu else product


def _onednn(rows: Tensor, weight: Tensor, bias: Tensor | None, gelu: bool) -> Tensor:
    after, how = ("gelu", "none") if gelu else ("none", "")
    product: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, after, [], how)
    return product


@cache
def _has_onednn() -> bool:
    try:
        # On the CPU by name: a caller may have made another device torch's default.
        with torch.device("cpu"), torch.random.fork_rng(devices=[]):
            rows = torch.randn(FEWEST_ROWS, 8)
            weight = torch.randn(4, 8)
            bias = torch.randn(4)
        product = _onednn(rows, weight, bias, gelu=True)
    except (AttributeError, RuntimeError):
        return False
    return torch.allclose(product, functional.gelu(rows @ weight.T + bias), atol=1e-5)
