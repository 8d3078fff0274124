"""The registered operators keep torch's contract for custom operators."""

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from backbones.scan import selective_scan
from backbones.scan.operator import scan_operator


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
