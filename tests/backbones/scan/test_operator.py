"""The registered operators keep torch's contract for custom operators."""

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from backbones.scan import ScanInputs, selective_scan
from backbones.scan.dispatch import ungated_outputs
from backbones.scan.operator import scan_operator, ungated_operator


@pytest.mark.parametrize(
    ("kernel", "dtype"), [("reference", torch.float64), ("cpu", torch.float32)]
)
@pytest.mark.parametrize("separate", [False, True])
def test_torch_accepts_the_operator(
    make_inputs: Any, kernel: str, dtype: torch.dtype, separate: bool
) -> None:
    inputs = {
        name: part.requires_grad_()
        for name, part in make_inputs(2, 2, 3, 4, 2, dtype=dtype).items()
    }
    given = [
        inputs[name] for name in ("u", "delta", "A", "B", "C", "D", "z", "delta_bias", "carry")
    ]
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(
        scan_operator, (*given, [False, True], separate, kernel), test_utils=checks
    )
    bare = (*given[:5], None, None, None, None)
    torch.library.opcheck(
        scan_operator, (*bare, [False, True], separate, kernel), test_utils=checks
    )


@pytest.mark.parametrize(
    ("kernel", "dtype"), [("reference", torch.float64), ("cpu", torch.float32)]
)
def test_ungated_outputs_are_those_of_a_scan_without_its_gate_and_so_are_their_gradients(
    make_inputs: Any, kernel: str, dtype: torch.dtype
) -> None:
    inputs = {
        name: part.requires_grad_()
        for name, part in make_inputs(2, 2, 5, 4, 3, dtype=dtype).items()
    }
    both = (False, True)
    found = ungated_outputs(ScanInputs(**inputs), both, kernel)
    bare = inputs | {"z": None}
    expected = selective_scan(**bare, reverse=both, separate=True, kernel=kernel).y
    assert torch.equal(found, expected)
    leaves = [part for name, part in inputs.items() if name != "z"]
    weights = torch.randn(found.shape, dtype=dtype, generator=torch.Generator().manual_seed(0))
    gradients = (torch.autograd.grad((y * weights).sum(), leaves) for y in (found, expected))
    for one, other in zip(*gradients, strict=True):
        assert torch.equal(one, other)
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    given = ScanInputs(**inputs)._asdict()
    del given["z"]
    torch.library.opcheck(
        ungated_operator, (*given.values(), [False, True], kernel), test_utils=checks
    )


def test_a_dispatcher_sees_one_operator(make_inputs: Any) -> None:
    seen: list[str] = []

    class Listener(TorchDispatchMode):
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            seen.append(str(func))
            return func(*args, **(kwargs or {}))

    inputs = make_inputs(2, 2, 3, 4, 2)
    with Listener():  # type: ignore[no-untyped-call]
        selective_scan(**inputs, reverse=(False, True), kernel="reference")
    assert seen == ["mamba_suite.selective_scan.default"]
