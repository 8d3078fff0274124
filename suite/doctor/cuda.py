"""The driver, nvcc and the CUDA extensions: all optional, and the field's most common wall.

What must agree is printed side by side: the driver, the CUDA version PyTorch was built with, and
nvcc's.
"""

from __future__ import annotations

import re
import shutil
import sys
from importlib.util import find_spec

from suite.doctor.check import Check, last_line, output_of

NVCC_RELEASE = re.compile(r"release (\d+)\.(\d+)")
BUILD = 'MAX_JOBS=2 pip install --no-build-isolation "{name}"'
# The package's root imports models and their many dependencies, which break on their own; the
# kernel needs none.
IMPORT_WITHOUT_ROOT = """
import importlib, importlib.util, sys, types
package, module, function = sys.argv[1:]
root = types.ModuleType(package)
root.__path__ = list(importlib.util.find_spec(package).submodule_search_locations)
sys.modules[package] = root
getattr(importlib.import_module(f"{package}.{module}"), function)
"""
EXTENSIONS = {
    "causal_conv1d": ("causal-conv1d", "causal_conv1d_interface", "causal_conv1d_fn"),
    "mamba_ssm": ("mamba-ssm", "ops.selective_scan_interface", "selective_scan_fn"),
}


def driver() -> Check:
    """The NVIDIA driver and its devices."""
    if shutil.which("nvidia-smi") is None:
        return Check(
            "nvidia driver", "missing", "no nvidia-smi", "only for CUDA: install NVIDIA's driver"
        )
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    code, out, err = output_of(query)
    if code != 0 or not out:
        return Check(
            "nvidia driver",
            "broken",
            last_line(err or out),
            "nvidia-smi must work: reinstall the driver",
        )
    return Check("nvidia driver", "ok", "; ".join(out.splitlines()))


def device() -> Check:
    """Whether PyTorch can use a CUDA device."""
    import torch

    if torch.cuda.is_available():
        major, minor = torch.cuda.get_device_capability()
        return Check(
            "cuda device",
            "ok",
            f"{torch.cuda.get_device_name()}, compute capability {major}.{minor}",
        )
    if torch.version.cuda is None:
        return Check(
            "cuda device",
            "missing",
            "this PyTorch is built without CUDA",
            "only for CUDA: pip install torch",
        )
    if shutil.which("nvidia-smi") is None:
        return Check(
            "cuda device",
            "missing",
            "no NVIDIA driver, so the CPU is used",
            "only for CUDA: see the driver",
        )
    detail = f"the driver does not serve PyTorch's CUDA {torch.version.cuda}"
    return Check(
        "cuda device", "broken", detail, "update the driver, or install a PyTorch for an older CUDA"
    )


def nvcc() -> Check:
    """The CUDA compiler, needed only to build extensions."""
    import torch

    path = shutil.which("nvcc")
    if path is None:
        return nvcc_against_torch(None, torch.version.cuda)
    _, out, _ = output_of([path, "--version"])
    return nvcc_against_torch(out, torch.version.cuda)


def nvcc_against_torch(printed: str | None, built_with: str | None) -> Check:
    """What nvcc's version text (None: there is none) means beside the CUDA version PyTorch was built with."""
    aim = f"CUDA {built_with.partition('.')[0]}" if built_with else "PyTorch's CUDA"
    if printed is None:
        return Check(
            "nvcc",
            "missing",
            "needed only to build CUDA extensions",
            f"install the toolkit of {aim}",
        )
    release = NVCC_RELEASE.search(printed)
    if release is None:
        return Check(
            "nvcc",
            "broken",
            f"its version cannot be read: {last_line(printed)}",
            f"install that of {aim}",
        )
    detail = f"{release[1]}.{release[2]}, PyTorch built with {built_with or 'no CUDA'}"
    if built_with is not None and built_with.partition(".")[0] != release[1]:
        return Check(
            "nvcc",
            "broken",
            f"{detail}: the major versions differ",
            f"put nvcc of {aim} first on PATH",
        )
    return Check("nvcc", "ok", detail)


def extension(package: str) -> Check:
    """Whether the kernel of `package` (a key of `EXTENSIONS`) can be imported, tried in a process of its own.

    A wheel for another PyTorch fails there with ``undefined symbol``, or takes the process down.
    """
    distribution, module, function = EXTENSIONS[package]
    mend = f"{BUILD.format(name=distribution)}, with nvcc of PyTorch's CUDA (docs/install.md)"
    if find_spec(package) is None:
        return Check(package, "missing", "optional CUDA kernels", f"only for CUDA: {mend}")
    code, _, err = output_of([sys.executable, "-c", IMPORT_WITHOUT_ROOT, package, module, function])
    if code != 0:
        reason = last_line(err) or f"the interpreter ended with code {code}"
        return Check(package, "broken", reason, f"wanted: {wheel_name(distribution)}; or {mend}")
    return Check(
        package, "ok", f"{function} can be imported; its numbers are checked when it is first used"
    )


def wheel_name(distribution: str) -> str:
    """Pattern of the prebuilt wheel that fits this Python and PyTorch, in its projects' way of naming."""
    import torch

    stem = distribution.replace("-", "_")
    release = ".".join(torch.__version__.split(".")[:2])
    cuda = (torch.version.cuda or "none").partition(".")[0]
    abi = str(torch._C._GLIBCXX_USE_CXX11_ABI).upper()
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    return f"{stem}-*+cu{cuda}torch{release}cxx11abi{abi}-{tag}-{tag}-linux_x86_64.whl"
