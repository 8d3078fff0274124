"""Python, PyTorch and the packages whose compiled parts can disagree with it."""

from __future__ import annotations

import platform
import sys
from importlib import import_module

from suite.doctor.check import Check, Status, last_line
from suite.system.environment import package_version
from suite.system.installation import ROOT, prefer_own_packages

OLDEST_PYTHON = (3, 11)


def python() -> Check:
    """The interpreter, and the C library to which prebuilt wheels are bound."""
    library = " ".join(platform.libc_ver()) or "unknown C library"
    detail = f"{platform.python_version()}, {platform.system()} {platform.machine()}, {library}"
    if sys.version_info < OLDEST_PYTHON:
        oldest = ".".join(map(str, OLDEST_PYTHON))
        fix = f"install Python {oldest} or newer and make a new environment"
        return Check("broken", detail, fix)
    return Check("ok", detail)


def installation() -> Check:
    """Whether the suite's four packages are the ones that are imported."""
    # their names are common words, which other packages may have too
    problem = prefer_own_packages()
    if problem:
        return Check("broken", problem, "pip install --force-reinstall --no-deps .")
    version = package_version("mamba-token-suite") or "not installed, run from its folder"
    return Check("ok", f"{version}, from {ROOT}")


def torch() -> Check:
    """PyTorch with what its extensions must match: CUDA version and C++ ABI."""
    check = importable("torch", "pip install torch")
    if check.status != "ok":
        return check
    import torch as module

    cuda = f"CUDA {module.version.cuda}" if module.version.cuda else "no CUDA"
    abi = str(module._C._GLIBCXX_USE_CXX11_ABI).upper()
    return Check("ok", f"{module.__version__}, built with {cuda}, cxx11abi{abi}")


def importable(name: str, fix: str) -> Check:
    """Import the package `name`; its version, or why it cannot be imported."""
    try:
        import_module(name)
    except ImportError as error:
        # a package that lacks one of its own dependencies is there, and broken
        absent = isinstance(error, ModuleNotFoundError) and error.name == name
        status: Status = "missing" if absent else "broken"
        return Check(status, last_line(str(error)), fix)
    except Exception as error:  # a compiled part built for another PyTorch raises almost anything
        return Check("broken", last_line(f"{type(error).__name__}: {error}"), fix)
    return Check("ok", package_version(name) or "")
