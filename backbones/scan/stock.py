"""The `mamba_ssm` kernel: CUDA functions of the packages mamba-ssm and causal-conv1d.

Both work in (B, E, L) and from the first token to the last, so sequences are transposed, and
flipped for a direction that runs backwards. Gradients are those packages' own.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from types import ModuleType

import torch
from torch import Tensor
from torch.nn import functional

from backbones.scan.contract import ScanInputs, ScanResult

FIX = (
    "pip install --no-build-isolation causal-conv1d mamba-ssm (nvcc of torch's CUDA version), "
    "or use 'reference'"
)


@cache
def scan_function() -> Callable[..., Tensor]:
    """`selective_scan_fn`; ImportError if the package is missing or does not fit this torch."""
    function: Callable[..., Tensor] = imported("ops.selective_scan_interface").selective_scan_fn
    return function


def imported(module: str) -> ModuleType:
    """A module of mamba-ssm; ImportError if the package is missing or does not fit this torch."""
    spec = importlib.util.find_spec("mamba_ssm")
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError("mamba-ssm is not installed")
    return _without_init("mamba_ssm", module, list(spec.submodule_search_locations))


def _without_init(package: str, module: str, folders: list[str]) -> ModuleType:
    """A module of the package, imported without the package's own __init__."""
    name = f"{package}.{module}"
    if package in sys.modules:
        return import_module(name)
    # The package's __init__ imports transformers, and breaks with some of its versions: an empty
    # package takes its place for the time of the import.
    stand_in = ModuleType(package)
    stand_in.__path__ = folders
    sys.modules[package] = stand_in
    try:
        return import_module(name)
    finally:
        del sys.modules[package]


@cache
def conv_function() -> Callable[..., Tensor]:
    """`causal_conv1d_fn`; ImportError if the package is missing or does not fit this torch."""
    function: Callable[..., Tensor] = import_module("causal_conv1d").causal_conv1d_fn
    return function


@cache
def obstacle() -> str:
    """Why the packages cannot be used, in one line with a fix; empty if they can."""
    try:
        scan_function()
        conv_function()
    except (ImportError, OSError, AttributeError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        return f"scan kernel 'mamba_ssm' cannot be imported ({reason}): {FIX}"
    return ""


def stock_scan(
    inputs: ScanInputs, reverse: tuple[bool, ...], separate: bool, mean: bool = True
) -> ScanResult:
    """Scan by `selective_scan_fn` (see `selective_scan`); without `mean`, delta_mean is empty."""
    # The packages' kernel takes these three in fp32 only.
    wide = inputs._replace(
        A=inputs.A.float(),
        D=None if inputs.D is None else inputs.D.float(),
        delta_bias=None if inputs.delta_bias is None else inputs.delta_bias.float(),
    )
    outputs: list[Tensor] = []
    for k, backwards in enumerate(reverse):
        outputs.append(_one_direction(wide.direction(k), inputs.z, backwards))
    y = torch.stack(outputs) if separate else sum(outputs[1:], start=outputs[0])
    # The kernel does not return the timescale: the mean is extra work.
    return ScanResult(y, _step(wide).mean(dim=-1) if mean else inputs.A.new_empty(0))


def stock_convolve(x: Tensor, weight: Tensor, bias: Tensor | None, backwards: bool) -> Tensor:
    """SiLU of the causal depthwise convolution of x (B, L, E) with `weight` (E, 1, taps).

    `backwards`: each token sees those after it instead of those before.
    """
    y = conv_function()(_to_kernel(x, backwards), weight.squeeze(1), bias, activation="silu")
    return _from_kernel(y, backwards)


def _one_direction(inputs: ScanInputs, z: Tensor | None, backwards: bool) -> Tensor:
    """Gated output (B, L, E) of one direction."""
    u, delta, A, B, C, D, _, bias, carry = inputs
    if carry is not None:
        return _carried(inputs, z, backwards)
    # the kernel takes one dtype for all tensors of tokens
    arranged = [_to_kernel(part.to(u.dtype), backwards) for part in (u, delta, B, C)]
    gate = None if z is None else _to_kernel(z.to(u.dtype), backwards)
    first, second, *projections = arranged
    y = scan_function()(first, second, A, *projections, D, gate, bias, True)
    return _from_kernel(y, backwards)


def _carried(inputs: ScanInputs, z: Tensor | None, backwards: bool) -> Tensor:
    """Gated output (B, L, E) of one direction to which decay g is handed over."""
    # The kernel has no such input: scan with Delta' = Delta + g over u' = u (Delta / Delta'). Then
    # exp(Delta' A) h + Delta' B u' is exp((Delta + g) A) h + Delta B u; skip connection and gate
    # stay outside.
    u, _, A, B, C, D, _, _, carry = inputs
    step = _step(inputs)
    decay = step if carry is None else step + carry.float()
    # A timescale that vanished in fp32 has no ratio, and nothing to scale.
    ratio = torch.where(decay > 0, step / decay, torch.ones_like(step))
    driven = u.float() * ratio
    arranged = [_to_kernel(part.float(), backwards) for part in (driven, decay, B, C)]
    first, second, *projections = arranged
    scanned = scan_function()(first, second, A, *projections, None, None, None, False)
    y = _from_kernel(scanned, backwards)
    if D is not None:
        y = y + D * u.float()
    if z is not None:
        y = y * functional.silu(z.float())
    return y.to(u.dtype)


def _step(inputs: ScanInputs) -> Tensor:
    """softplus(delta + bias) in fp32, for one direction or all."""
    raw = inputs.delta.float()
    if inputs.delta_bias is None:
        return functional.softplus(raw)
    bias = inputs.delta_bias.float()
    # (K, E) for all directions, which then needs the axes of images and tokens
    if raw.dim() == 4:
        bias = bias[:, None, None]
    return functional.softplus(raw + bias)


def _to_kernel(tokens: Tensor, backwards: bool) -> Tensor:
    """(B, L, X) in image order to contiguous (B, X, L) in the order of the scan."""
    return (tokens.flip(1) if backwards else tokens).transpose(1, 2).contiguous()


def _from_kernel(tokens: Tensor, backwards: bool) -> Tensor:
    """Back to (B, L, X) in image order."""
    tokens = tokens.transpose(1, 2)
    return tokens.flip(1) if backwards else tokens
