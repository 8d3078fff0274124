"""What a run will need compiled, begun before PyTorch is imported: told from its settings alone."""

from __future__ import annotations

from pathlib import Path

from backbones.compiled.ahead import compile_ahead
from suite.config.run_spec import RunSpec

NVIDIA = Path("/proc/driver/nvidia")
WHOLE = {"none", "downsample"}  # methods after which no token is missing


def begin_compiling(spec: RunSpec) -> None:
    """Let another process compile the reduction on a CPU if `spec` is likely to need it; nothing waits here."""
    on_cpu = spec.device == "cpu" or (spec.device == "auto" and not NVIDIA.exists())
    reduces = spec.baselines or not WHOLE.issuperset(spec.methods)
    if on_cpu and reduces and spec.precision == "fp32":
        compile_ahead("methods.fused.cpu.kernel", "reduction_kernel")
