"""The bidirectional mixer step by step: any scan kernel, any precision, with gradients.

The fused path has to agree with it, and takes its place where `fused_path.can_run` says so.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from backbones.layers.batch_invariant import linear
from backbones.layers.scan_weights import ScanWeights
from backbones.scan import ScanInputs, ScanResult
from backbones.scan.dispatch import run, ungated_outputs
from backbones.scan.stock import stock_convolve
from backbones.sequence import Trace

REVERSE = (False, True)


def mix(
    weights: ScanWeights, inputs: ScanInputs, needs: frozenset[str], kernel: str
) -> tuple[Tensor, Trace]:
    """Scan `inputs` and project the output: new tokens (B, L, C) and the trace of `needs`."""
    result = run(inputs, REVERSE, is_separate(needs), kernel, mean="delta_mean" in needs)
    y = result.y[0] + result.y[1] if is_separate(needs) else result.y
    y = y * 0.5 if weights.divide else y
    delta = None
    if "delta" in needs and inputs.delta_bias is not None:
        wide = inputs.A.dtype  # at least fp32, as the scan computes it
        bias = inputs.delta_bias.to(wide)[:, None, None]
        delta = functional.softplus(inputs.delta.to(wide) + bias)
    # Scanned again: gating these outputs here would round otherwise than a kernel's own gate, and
    # asking would change the result.
    ungated = ungated_outputs(inputs, REVERSE, kernel) if is_ungated(needs) else None
    out = linear(y, weights.out_proj.weight)
    return out, trace_of(needs, inputs, result, y, delta, ungated, weights.scale)


def is_separate(needs: frozenset[str], output: str = "y") -> bool:
    """Whether the trace needs each direction's `output`, not only their sum."""
    return not needs.isdisjoint({f"{output}_forward", f"{output}_backward"})


def is_ungated(needs: frozenset[str]) -> bool:
    """Whether the trace needs the output before the gate."""
    return "ungated" in needs or is_separate(needs, "ungated")


def trace_of(
    needs: frozenset[str],
    inputs: ScanInputs,
    result: ScanResult,
    y: Tensor,
    delta: Tensor | None,
    ungated: Tensor | None,
    scale: float,
) -> Trace:
    """The trace's fields named in `needs`.

    `y` is the combined output and `delta` the timescale. `ungated` is the output before the gate,
    combined (B, L, E), or (2, B, L, E) of each direction; `scale` the factor of their sum.
    """
    shown: dict[str, Any] = {
        "delta_mean": result.delta_mean,
        "delta": delta,
        "A": inputs.A,
        "B": inputs.B,
        "C": inputs.C,
        "y": y,
    }
    if is_separate(needs):
        shown |= {"y_forward": result.y[0], "y_backward": result.y[1]}
    shown["ungated"] = ungated
    if ungated is not None and ungated.ndim == 4:
        shown |= {"ungated_forward": ungated[0], "ungated_backward": ungated[1]}
        shown["ungated"] = (ungated[0] + ungated[1]) * scale
    return Trace(**{name: shown[name] for name in needs})


def scan_inputs(weights: ScanWeights, u: Tensor, carry: Tensor | None, kernel: str) -> ScanInputs:
    """Project and convolve tokens `u` (B, L, C), differentiably, to the inputs of the two scans."""
    x, z = linear(u, weights.in_proj.weight).chunk(2, dim=-1)
    # mamba_ssm's packages have a convolution of their own
    convolve = stock_convolve if kernel == "mamba_ssm" else plain_convolve
    rows: list[Tensor] = []
    for part, backwards in zip(weights.directions, REVERSE, strict=True):
        rows.append(convolve(x, part.conv.weight, part.conv.bias, backwards))
    convolved = torch.stack(rows)
    sizes = [weights.dt_rank, weights.states, weights.states]
    deltas: list[Tensor] = []
    Bs: list[Tensor] = []
    Cs: list[Tensor] = []
    # Projecting the stacked rows keeps each matrix product on contiguous memory.
    for part, direction in zip(weights.directions, convolved, strict=True):
        projected = linear(direction, part.x_proj.weight)
        dt, B, C = projected.split(sizes, dim=-1)
        deltas.append(linear(dt, part.dt_proj.weight))
        Bs.append(B)
        Cs.append(C)
    return ScanInputs(
        u=convolved,
        delta=torch.stack(deltas),
        A=weights.state_matrix(),
        B=torch.stack(Bs),
        C=torch.stack(Cs),
        D=torch.stack([part.D for part in weights.directions]),
        z=z,
        delta_bias=torch.stack([part.dt_proj.bias for part in weights.directions]),
        carry=carry,
    )


def plain_convolve(x: Tensor, weight: Tensor, bias: Tensor | None, backwards: bool) -> Tensor:
    """SiLU of the causal depthwise convolution of x (B, L, E) with `weight` (E, 1, taps).

    `backwards`: each token sees those after it instead of those before.
    """
    # Padding on one side only makes the convolution causal.
    reach = weight.shape[-1] - 1
    padding = (0, reach) if backwards else (reach, 0)
    padded = functional.pad(x.transpose(1, 2), padding)
    taps = weight.flip(-1) if backwards else weight
    convolved = functional.conv1d(padded, taps, bias, groups=weight.shape[0])
    return functional.silu(convolved).transpose(1, 2)
