"""Start compiling what a run will need, before PyTorch is imported."""

from __future__ import annotations

from pathlib import Path

from backbones.compiled.ahead import compile_ahead
from suite.config.run_spec import RunSpec

# Exists where a driver is loaded; asking PyTorch would mean to import it.
NVIDIA = Path("/proc/driver/nvidia")
KEEP_ALL = {"none", "downsample"}  # methods that remove no token from a sequence


def begin_compiling(spec: RunSpec) -> None:
    """Let another process compile the reduction for the CPU if `spec` is likely to need it."""
    on_cpu = spec.device == "cpu" or (spec.device == "auto" and not NVIDIA.exists())
    reduces = spec.baselines or not KEEP_ALL.issuperset(spec.methods)
    # The compiled reduction is for fp32; a wrong guess costs only the other process's time.
    if on_cpu and reduces and spec.precision == "fp32":
        compile_ahead("methods.fused.cpu.kernel", "reduction_kernel")
