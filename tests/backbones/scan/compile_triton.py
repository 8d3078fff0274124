"""Compile every Triton kernel for a Hopper GPU, without one, and print its resources.

Registers, spilled bytes, and the instructions of its longest loop by kind: of the scans the work of
a token forward, of `CHUNK` tokens backward. Run as a script: Triton's interpreter, which the tests
run in, must be off.
"""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from backbones.scan import triton_backward, triton_conv, triton_forward, triton_norm

SCAN = {"DIRECTIONS": 2, "N": 16}
CONV = {"DIRECTIONS": 2, "TAPS": 4, "BACKWARDS": 2, "TOKENS": 32, "CHANNELS": 64}
NORM = {"ROWS": 4, "WIDE": 256}
FORWARD = SCAN | {"BLOCK": 64, "EVEN": True, "ROWS": 16, "CHUNK": 4}
# with the arguments that are None
KERNELS: list[tuple[Any, dict[str, int], str]] = [
    (triton_forward.scan_forward, FORWARD, "saved"),
    # the walk for its states alone
    (triton_forward.scan_forward, FORWARD, "D|z|parts|y|mean|step|ungated|arrivals"),
    (triton_backward.scan_backward, SCAN | {"BLOCK": 32, "CHUNK": 4}, ""),
    (triton_conv.conv_forward, CONV, ""),
    (triton_conv.conv_inner, CONV | {"TOKENS": triton_conv.SUMMED}, ""),
    (triton_conv.conv_outer, CONV, ""),
    (triton_norm.add_norm_rows, NORM, ""),
    (triton_norm.norm_gradients, NORM, ""),
]
FP32 = re.compile(
    r"A|D|bias|carry|mean|step|dmean|saved|d[ABCD]|dbias|dcarry|residual|added|d_added|d_residual"
)
OPTIONAL = re.compile(r"D|d?z|bias|d?carry|mean|step|ungated")
WHOLE = re.compile(r"batch|length|width|states|backwards|rows|\w+_[kbl]")
ODD = re.compile(
    r"batch|length|backwards|rows|scale|eps"
)  # what no multiple of 16 can be expected of


def compiled(kernel: Any, constants: dict[str, int], absent: str, dtype: str, bare: bool) -> Any:
    """The kernel with tensors of tokens in `dtype`, and without what is optional if `bare`."""
    signature: dict[str, str] = {}
    values: dict[str, Any] = dict(constants)
    aligned: dict[tuple[int], list[list[Any]]] = {}  # as a call's addresses, widths and strides are
    scan = "N" in constants
    for place, name in enumerate(kernel.arg_names):
        if name in constants:
            signature[name] = "constexpr"
        elif re.fullmatch(absent, name) or (scan and bare and OPTIONAL.fullmatch(name)):
            signature[name], values[name] = "constexpr", None
        elif name == "arrivals":
            signature[name] = "*i32"
        elif name in ("scale", "eps"):
            signature[name] = "fp32"
        elif WHOLE.fullmatch(name):
            signature[name] = "i32"
        else:
            signature[name] = "*fp32" if FP32.fullmatch(name) else f"*{dtype}"
        if signature[name] != "constexpr" and not ODD.fullmatch(name):
            aligned[place,] = [["tt.divisibility", 16]]
    source = ASTSource(fn=kernel, signature=signature, constexprs=values, attrs=aligned)
    options = {"num_warps": 1 if scan else 4, "enable_fp_fusion": True}
    return triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)


def read(binary: bytes, folder: Path, what: str) -> str:
    """What Triton's own cuobjdump says of a cubin."""
    path = folder / "kernel.cubin"
    path.write_bytes(binary)
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    return subprocess.run([tool, what, path], capture_output=True, text=True, check=True).stdout


def resources(binary: bytes, folder: Path) -> str:
    """Registers and stack."""
    return " ".join(re.findall(r"(?:REG|STACK):\d+", read(binary, folder, "--dump-resource-usage")))


def loop(binary: bytes, folder: Path) -> str:
    """Instructions between the branch that jumps back the furthest and its target, by opcode."""
    listing = re.findall(
        r"/\*([0-9a-f]{4,5})\*/\s+(?:@!?U?P\w+\s+)?(\w+)([^;]*);",
        read(binary, folder, "--dump-sass"),
    )
    back = [(int(address, 16), int(to.group(1), 16)) for address, kind, rest in listing
            if kind == "BRA" and (to := re.search(r"0x([0-9a-f]+)$", rest.strip()))]  # fmt: skip
    end, begin = max(back, key=lambda jump: jump[0] - jump[1])
    if end <= begin:
        return ""
    kinds = Counter(kind for address, kind, _ in listing if begin <= int(address, 16) <= end)
    return f"LOOP:{kinds.total()} " + " ".join(
        f"{kind}:{count}" for kind, count in kinds.most_common(8)
    )


if __name__ == "__main__":
    for kernel, constants, absent in KERNELS:
        for dtype, bare in (("bf16", False), ("fp32", True)):
            made = compiled(kernel, constants, absent, dtype, bare)
            binary, folder = made.asm["cubin"], Path(sys.argv[1])
            print(kernel.__name__, dtype, resources(binary, folder), loop(binary, folder))
