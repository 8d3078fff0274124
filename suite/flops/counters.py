"""Counters of what a forward pass computes; neither knows anything of the closed form.

`count_with_torch` watches the dispatcher (torch's FlopCounterMode), `count_with_fvcore` reads a jit
trace. Both give MACs of matrix products and of convolutions. Counters of this kind count 0 for an
operator that they do not know; here every operator must be in one of the lists below, or the count
is an error.

A scan (`mamba_suite::selective_scan`, `backbones.ssd.ssd`) enters by its formula: no agreement is
claimed. While counting, a stand-in that returns zeros takes its place, so that shapes are real and
values are not.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import torch

with warnings.catch_warnings():  # its losses are scripted, which torch calls deprecated
    warnings.simplefilter("ignore")
    from fvcore.nn import FlopCountAnalysis
    from fvcore.nn.flop_count import _DEFAULT_SUPPORTED_OPS
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from backbones.ssd import ssd

SCAN = "mamba_suite::selective_scan"
COUNTED_SCAN = "mamba_suite::counted_scan"
COUNTED_SSD = "mamba_suite::counted_ssd"
# A trace's copy of what the scan computes on its way: no work of the block.
UNGATED = "mamba_suite::ungated_outputs"
CONVOLUTIONS = frozenset({"aten::convolution", "aten::_convolution"})
PRODUCTS = frozenset(
    f"aten::{name}"
    for name in (
        "mm",
        "addmm",
        "bmm",
        "baddbmm",
        "mv",
        "addmv",
        "dot",
        "matmul",
        "linear",
        "einsum",
    )
)

# what only looks at a tensor, or copies it
_VIEWS = """
    view _unsafe_view reshape _reshape_alias permute transpose t numpy_T expand expand_as
    squeeze unsqueeze select slice split split_with_sizes chunk unbind narrow flatten unflatten
    as_strided as_strided_ alias detach detach_ diagonal movedim lift_fresh lift_fresh_copy
    contiguous clone copy copy_ to _to_copy type_as float flip roll repeat repeat_interleave
    stack cat pad constant_pad_nd resolve_conj resolve_neg
"""
_MAKING = """
    empty empty_like empty_strided new_empty new_empty_strided zeros zeros_like new_zeros ones
    ones_like new_ones full full_like new_full fill fill_ zero_ arange scalar_tensor tensor eye
    size sym_size item Int _local_scalar_dense ScalarImplicit IntImplicit is_nonzero dim numel
    broadcast_tensors
"""
_MOVING = """
    gather index _unsafe_index index_select take_along_dim embedding scatter scatter_ index_put
    index_put_ index_copy index_copy_ index_fill index_fill_ masked_fill masked_fill_
    masked_select nonzero
    where select_scatter slice_scatter triu tril copysign sort argsort topk argmax argmin unique
    _unique2 searchsorted bucketize one_hot
"""
ZERO = frozenset(f"aten::{name}" for name in f"{_VIEWS} {_MAKING} {_MOVING}".split())
"""Operators that view, allocate, move, order or select: no arithmetic by any convention."""

_POINTWISE = """
    add add_ sub sub_ rsub mul mul_ div div_ neg neg_ abs pow square sqrt rsqrt reciprocal exp
    exp_ expm1 log log1p log2 sigmoid silu silu_ softplus relu relu_ gelu tanh clamp clamp_
    clamp_min clamp_min_ clamp_max maximum minimum exp2 floor ceil round trunc floor_divide
    remainder fmod sign lerp lerp_ addcmul addcdiv eq ne lt le gt ge logical_and logical_or
    logical_not bitwise_and bitwise_or bitwise_xor bitwise_not bitwise_left_shift
    bitwise_right_shift __and__ __or__ __xor__ __lshift__ __rshift__ isnan isfinite nan_to_num
"""
_REDUCING = """
    sum mean var std prod amax amin max min norm linalg_vector_norm cumsum any all count_nonzero
    cummax cummin cumprod max_pool2d max_pool2d_with_indices logsumexp softmax _softmax
    log_softmax _log_softmax layer_norm native_layer_norm batch_norm _batch_norm_impl_index
    native_batch_norm cosine_similarity normalize _native_batch_norm_legit_no_training
    scatter_add scatter_add_ scatter_reduce scatter_reduce_ index_add index_add_ index_reduce
    index_reduce_ adaptive_avg_pool2d _adaptive_avg_pool2d upsample_bilinear2d upsample_bicubic2d
"""
ELEMENTWISE = frozenset(f"aten::{name}" for name in f"{_POINTWISE} {_REDUCING}".split())
"""Operators whose work grows with the number of elements; in no total."""
KNOWN = ZERO | ELEMENTWISE | PRODUCTS | CONVOLUTIONS | {COUNTED_SCAN, COUNTED_SSD}


class UnknownOperatorError(RuntimeError):
    """A forward pass used operators of no list, so that its count would be too small."""

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__(
            f"cannot count {', '.join(sorted(names))}: name them in suite.flops.counters as "
            "products, elementwise or free of arithmetic"
        )


@dataclass(frozen=True)
class Counted:
    """The count of one call.

    Attributes:
        gemm: MACs of matrix products.
        conv: MACs of convolutions.
        scan: arithmetic operations of the scans, by formula.
        operators: how often each operator was called.

    """

    gemm: int
    conv: int
    scan: int
    operators: dict[str, int]


def scan_formula(shape: tuple[int, ...], states: int, gated: bool = True) -> int:
    """Operations of a scan of u's `shape` (K, B, L, E).

    9 E N + 2 E for each token and direction, E fewer without a gate.
    """
    return prod(shape) * (9 * states + (2 if gated else 1))


def ssd_formula(shape: tuple[int, ...], states: int, heads: int) -> int:
    """Operations of a scan with heads of u's `shape` (B, L, E): 5 E N + 3 E + 2 H a token."""
    batch, length, width = shape
    return batch * length * (5 * width * states + 3 * width + 2 * heads)


def check_known(names: Iterable[str]) -> None:
    """UnknownOperatorError for operators of no list."""
    unknown = set(names) - KNOWN
    if unknown:
        raise UnknownOperatorError(unknown)


class _Census(TorchDispatchMode):
    """Record every operator that reaches the dispatcher, and the operations of every scan."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operators: Counter[str] = Counter()
        self.scan = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        name = func._schema.name
        if not name.startswith("prim::"):  # asks for a device or a layout
            self.operators[name] += 1
        if name == COUNTED_SCAN:
            self.scan += scan_formula(tuple(args[0].shape), args[1].shape[-1], args[4])
        if name == COUNTED_SSD:
            self.scan += ssd_formula(tuple(args[0].shape), args[1].shape[-1], len(args[2]))
        return func(*args, **(kwargs or {}))


def _vector_product(*shapes: tuple[int, ...], at: int = 0, **_: Any) -> int:
    """Operations of the matrix or vector `at` this argument times a vector, twice the MACs."""
    return 2 * prod(shapes[at])


# FlopCounterMode knows products of matrices only
_TORCH_EXTRA = {
    torch.ops.aten.mv: _vector_product,
    torch.ops.aten.dot: _vector_product,
    torch.ops.aten.addmv: partial(_vector_product, at=1),
}


def count_with_torch(call: Callable[[], Any]) -> Counted:
    """Count `call()` by FlopCounterMode; UnknownOperatorError for an operator of no list."""
    counter, census = FlopCounterMode(display=False, custom_mapping=_TORCH_EXTRA), _Census()
    # With gradients, since without them backbones run fused kernels, inside which no counter sees.
    with torch.enable_grad(), StandIns(), census, counter:
        call()
    check_known(census.operators)
    conv = gemm = 0
    for operator, flops in counter.get_flop_counts().get("Global", {}).items():
        # FlopCounterMode counts a MAC as two
        macs, odd = divmod(flops, 2)
        assert not odd, f"{operator} counted {flops}, which is not twice a number of MACs"
        if str(operator).replace(".", "::") in CONVOLUTIONS:
            conv += macs
        else:
            gemm += macs
    return Counted(gemm, conv, census.scan, dict(census.operators))


class _Called(nn.Module):
    """A function as a module, which fvcore needs; the trace needs the parameters of `module`."""

    def __init__(self, call: Callable[..., Any], module: nn.Module | None) -> None:
        super().__init__()
        self.call = call
        self.module = module

    def forward(self, *inputs: Tensor) -> Any:
        return self.call(*inputs)


def _jit_shape(value: Any) -> list[int]:
    sizes: list[int] = value.type().sizes()
    return sizes


def _jit_vector_product(inputs: list[Any], outputs: list[Any], at: int = 0) -> Counter[str]:
    return Counter({"mv": prod(_jit_shape(inputs[at]))})


def _jit_batched_addition(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
    return Counter({"bmm": prod(_jit_shape(inputs[1])) * _jit_shape(inputs[2])[-1]})


def _jit_einsum(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
    """MACs of an einsum of two operands: the product of all indices, each once."""
    # fvcore's own handle reads a rounded number out of NumPy's report
    left, right = inputs[0].toIValue().replace(" ", "").split("->")[0].split(",")
    shapes = [_jit_shape(value) for value in inputs[1].node().inputs()]
    sizes = dict(zip(left, shapes[0], strict=True)) | dict(zip(right, shapes[1], strict=True))
    return Counter({"einsum": prod(sizes.values())})


def _jit_scan(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
    gated = bool(inputs[4].toIValue())
    return Counter(
        {"scan": scan_formula(tuple(_jit_shape(inputs[0])), _jit_shape(inputs[1])[-1], gated)}
    )


def _jit_ssd(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
    u, B, A = (_jit_shape(value) for value in inputs[:3])
    return Counter({"scan": ssd_formula(tuple(u), B[-1], A[0])})


@torch.library.custom_op("mamba_suite::counted_scan", mutates_args=())
def _counted_scan(
    u: Tensor, A: Tensor, others: list[Tensor], separate: bool, gated: bool
) -> tuple[Tensor, Tensor]:
    """Zeros in the shapes of the scan's results.

    A stand-in, because the jit tracer cannot record the scan's list of booleans. `others` are the
    scan's further inputs; without them the trace would drop what computes them as dead code.
    """
    y = u.new_zeros(u.shape if separate else u.shape[1:])
    return y, u.new_zeros(u.shape[:3], dtype=torch.promote_types(u.dtype, torch.float32))


@torch.library.custom_op("mamba_suite::counted_ssd", mutates_args=())
def _counted_ssd(u: Tensor, B: Tensor, A: Tensor, others: list[Tensor]) -> Tensor:
    """Zeros in the shape of a scan with heads; `others` as in `_counted_scan`."""
    return u.new_zeros(u.shape)


# Where tensors have no values either.
_counted_scan.register_fake(_counted_scan._init_fn)
_counted_ssd.register_fake(_counted_ssd._init_fn)


class StandIns(TorchFunctionMode):
    """Replace what the jit tracer cannot record: scans, and booleans that are scattered."""

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        schema = getattr(func, "_schema", None)
        if schema is not None and schema.name == SCAN:
            u, delta, A, B, C, D, z, bias, carry, _, separate = args[:11]
            others = [part for part in (delta, B, C, D, z, bias, carry) if part is not None]
            return _counted_scan(u, A, others, separate, z is not None)
        if func is ssd:
            u, delta, A, B, C, D, bias, carry = args[0]
            others = [part for part in (delta, C, D, bias, carry) if part is not None]
            return _counted_ssd(u, B, A, others)
        if schema is not None and schema.name == UNGATED:
            return torch.zeros_like(args[0])
        if getattr(func, "__name__", "") in ("scatter", "scatter_"):
            args = tuple(int(value) if isinstance(value, bool) else value for value in args)
        return func(*args, **(kwargs or {}))


def count_with_fvcore(
    call: Callable[..., Any], *inputs: Tensor, module: nn.Module | None = None
) -> Counted:
    """Count `call(*inputs)`, which returns tensors, by fvcore's reading of its jit trace.

    Give `module` if `call` uses one, so that the tracer knows its parameters. UnknownOperatorError
    for an operator of no list.
    """
    analysis = FlopCountAnalysis(_Called(call, module).eval(), inputs)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings(
        "none"
    )
    analysis.clear_op_handles()
    analysis.set_op_handle(**_fvcore_handles(), **dict.fromkeys(ZERO | ELEMENTWISE))
    with torch.enable_grad(), StandIns(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns of every shape that Python reads
        counts = analysis.by_operator()
    check_known(analysis.unsupported_ops())
    conv, scan = counts.pop("conv", 0), counts.pop("scan", 0)
    return Counted(int(sum(counts.values())), int(conv), int(scan), {})


def _fvcore_handles() -> dict[str, Any]:
    """Handles by operator: fvcore's for what it knows, our own for the rest."""
    own = {
        "aten::mv": _jit_vector_product,
        "aten::dot": _jit_vector_product,
        "aten::addmv": partial(_jit_vector_product, at=1),
        "aten::baddbmm": _jit_batched_addition,
        "aten::einsum": _jit_einsum,
        COUNTED_SCAN: _jit_scan,
        COUNTED_SSD: _jit_ssd,
    }
    handles = {}
    for name, handle in _DEFAULT_SUPPORTED_OPS.items():
        # fvcore also counts norms and others, at operations an element
        if name in PRODUCTS | CONVOLUTIONS:
            handles[name] = handle
    return handles | own
