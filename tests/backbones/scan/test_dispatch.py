"""Which kernel runs, what is said of it, and that none runs unproven."""

import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from backbones.common.errors import UserError
from backbones.scan import chosen, cpu, dispatch, selective_scan, stock
from backbones.scan.contract import ScanInputs, ScanResult


@pytest.fixture
def fresh() -> Iterator[None]:
    """A process that has checked no kernel yet, before and after."""
    for cached in (dispatch._chosen, dispatch.prove_gradients, dispatch.triton_obstacle):
        cached.cache_clear()
    yield
    for cached in (dispatch._chosen, dispatch.prove_gradients, dispatch.triton_obstacle):
        cached.cache_clear()


def test_auto_says_what_it_took_and_why() -> None:
    assert chosen("auto", "cpu", torch.float32) == ("cpu", "fastest for float32 on cpu")
    kernel, reason = chosen("auto", "cpu", torch.float64)
    assert kernel == "reference"
    assert "computes in float32, not float64" in reason
    assert chosen("reference", "cpu", torch.float64).reason == "asked for"


def test_auto_on_cuda_without_the_packages_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, fresh: None
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    stock.obstacle.cache_clear()
    stock.scan_function.cache_clear()
    kernel, reason = chosen("auto", "cuda", torch.bfloat16)
    assert kernel == "reference"
    assert "mamba-ssm is not installed" in reason
    assert "pip install" in reason
    stock.obstacle.cache_clear()


@pytest.mark.parametrize(
    ("kernel", "device", "dtype", "message"),
    [
        ("cpi", "cpu", torch.float32, "unknown scan kernel 'cpi': did you mean cpu"),
        ("triton", "cpu", torch.float32, "needs a CUDA device, not cpu"),
        ("triton", "cuda", torch.float64, "cannot compute in float64"),
        ("cpu", "cuda", torch.float32, "cannot run on cuda"),
        ("cpu", "cpu", torch.float64, "computes in float32, not float64"),
        ("mamba_ssm", "cpu", torch.float32, "needs a CUDA device, not cpu"),
        ("mamba_ssm", "cuda", torch.float64, "cannot compute in float64"),
    ],
)
def test_a_kernel_that_cannot_serve_is_an_error(
    kernel: str, device: str, dtype: torch.dtype, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        chosen(kernel, device, dtype)


def test_what_triton_needs(monkeypatch: pytest.MonkeyPatch, fresh: None) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"finds no CUDA device"):
        chosen("triton", "cuda", torch.float32)
    dispatch.triton_obstacle.cache_clear()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(UserError, match=r"needs a C compiler: install gcc"):
        chosen("triton", "cuda", torch.float32)


def test_a_kernel_that_breaks_says_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch, fresh: None
) -> None:
    def breaks(*given: Any) -> Any:
        raise OSError("no such compiler\nand a long story")

    monkeypatch.setattr(cpu, "cpu_scan", breaks)
    with pytest.raises(
        UserError,
        match=r"^scan kernel 'cpu' cannot run here \(no such compiler\): use kernel 'reference'$",
    ):
        chosen("cpu", "cpu", torch.float32)


def test_without_numba_auto_takes_the_reference(
    monkeypatch: pytest.MonkeyPatch, fresh: None
) -> None:
    monkeypatch.setitem(sys.modules, "backbones.scan.cpu", None)
    kernel, reason = chosen("auto", "cpu", torch.float32)
    assert kernel == "reference"
    assert "pip install numba" in reason
    with pytest.raises(UserError, match="pip install numba"):
        chosen("cpu", "cpu", torch.float32)


def test_a_wrong_kernel_is_refused(
    monkeypatch: pytest.MonkeyPatch, fresh: None, make_inputs: Any
) -> None:
    right = cpu.cpu_scan

    def slightly_wrong(inputs: ScanInputs, reverse: tuple[bool, ...], separate: bool) -> ScanResult:
        y, mean = right(inputs, reverse, separate)
        return ScanResult(y + 1e-3 * y.abs().max(), mean)

    monkeypatch.setattr(cpu, "cpu_scan", slightly_wrong)
    for kernel in ("cpu", "auto"):
        with pytest.raises(
            UserError, match=r"kernel 'cpu' is wrong on this machine \(y of 'random' is off by"
        ):
            selective_scan(**make_inputs(1, 1, 2, 2, 2), reverse=(False,), kernel=kernel)


def test_a_wrong_gradient_is_refused(
    monkeypatch: pytest.MonkeyPatch, fresh: None, make_inputs: Any
) -> None:
    right = cpu.cpu_scan_backward
    monkeypatch.setattr(
        cpu, "cpu_scan_backward", lambda *given: [part * 1.01 for part in right(*given)]
    )
    inputs = make_inputs(1, 1, 2, 2, 2)
    assert selective_scan(**inputs, reverse=(False,), kernel="cpu").y.isfinite().all()
    inputs["u"].requires_grad_()
    with pytest.raises(UserError, match="gradient of u"):
        selective_scan(**inputs, reverse=(False,), kernel="cpu")


def test_the_check_leaves_random_numbers_alone(fresh: None) -> None:
    torch.manual_seed(7)
    expected = torch.randn(3)
    torch.manual_seed(7)
    chosen("cpu", "cpu", torch.float32)
    assert torch.equal(torch.randn(3), expected)
