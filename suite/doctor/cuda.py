"""The driver, nvcc and the CUDA extensions, all optional, and the usual obstacle in this field.

The versions that must agree are printed: the driver's, nvcc's, and that of the CUDA with which
PyTorch was built.
"""

from __future__ import annotations

import re
import shutil
import sys
from importlib.util import find_spec

from suite.doctor.check import Check, last_line, output_of

NVCC_RELEASE = re.compile(r"release (\d+)\.(\d+)")
BUILD = 'MAX_JOBS=2 pip install --no-build-isolation "{name}"'
# The package's root imports models with many dependencies, which break on their own; the kernel
# needs none of them.
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
        return Check("missing", "no nvidia-smi", "only for CUDA: install NVIDIA's driver")
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    code, out, err = output_of(query)
    if code != 0 or not out:
        fix = "nvidia-smi must work: reinstall the driver"
        return Check("broken", last_line(err or out), fix)
    return Check("ok", "; ".join(out.splitlines()))


def device() -> Check:
    """The CUDA device that PyTorch can use."""
    import torch

    if torch.cuda.is_available():
        major, minor = torch.cuda.get_device_capability()
        detail = f"{torch.cuda.get_device_name()}, compute capability {major}.{minor}"
        return Check("ok", detail)
    if torch.version.cuda is None:
        detail = "this PyTorch is built without CUDA"
        return Check("missing", detail, "only for CUDA: pip install torch")
    if shutil.which("nvidia-smi") is None:
        detail = "no NVIDIA driver, so the CPU is used"
        return Check("missing", detail, "only for CUDA: see the driver")
    # there is a driver, and a PyTorch that wants one
    detail = f"the driver does not serve PyTorch's CUDA {torch.version.cuda}"
    fix = "update the driver, or install a PyTorch for an older CUDA"
    return Check("broken", detail, fix)


def nvcc() -> Check:
    """The CUDA compiler, needed only to build extensions."""
    import torch

    path = shutil.which("nvcc")
    if path is None:
        return nvcc_against_torch(None, torch.version.cuda)
    _, out, _ = output_of([path, "--version"])
    return nvcc_against_torch(out, torch.version.cuda)


def nvcc_against_torch(printed: str | None, built_with: str | None) -> Check:
    """Compare nvcc's version text (None: no nvcc) with the CUDA version of PyTorch."""
    aim = f"CUDA {built_with.partition('.')[0]}" if built_with else "PyTorch's CUDA"
    if printed is None:
        detail = "needed only to build CUDA extensions"
        return Check("missing", detail, f"install the toolkit of {aim}")
    release = NVCC_RELEASE.search(printed)
    if release is None:
        detail = f"its version cannot be read: {last_line(printed)}"
        return Check("broken", detail, f"install that of {aim}")
    detail = f"{release[1]}.{release[2]}, PyTorch built with {built_with or 'no CUDA'}"
    # extensions of another minor version load, of another major version do not
    if built_with is not None and built_with.partition(".")[0] != release[1]:
        detail = f"{detail}: the major versions differ"
        return Check("broken", detail, f"put nvcc of {aim} first on PATH")
    return Check("ok", detail)


def extension(package: str) -> Check:
    """Import the kernel of `package` (a key of `EXTENSIONS`) in a process of its own.

    A wheel for another PyTorch fails there with ``undefined symbol``, or crashes the process.
    """
    distribution, module, function = EXTENSIONS[package]
    fix = f"{BUILD.format(name=distribution)}, with nvcc of PyTorch's CUDA (docs/install.md)"
    if find_spec(package) is None:
        return Check("missing", "optional CUDA kernels", f"only for CUDA: {fix}")
    code, _, err = output_of([sys.executable, "-c", IMPORT_WITHOUT_ROOT, package, module, function])
    if code != 0:
        reason = last_line(err) or f"the interpreter ended with code {code}"
        return Check("broken", reason, f"wanted: {wheel_name(distribution)}; or {fix}")
    detail = f"{function} can be imported; its numbers are checked when it is first used"
    return Check("ok", detail)


def wheel_name(distribution: str) -> str:
    """Pattern of the prebuilt wheel for this Python and PyTorch, as these projects name theirs."""
    import torch

    stem = distribution.replace("-", "_")
    release = ".".join(torch.__version__.split(".")[:2])
    cuda = (torch.version.cuda or "none").partition(".")[0]
    abi = str(torch._C._GLIBCXX_USE_CXX11_ABI).upper()
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    return f"{stem}-*+cu{cuda}torch{release}cxx11abi{abi}-{tag}-{tag}-linux_x86_64.whl"
