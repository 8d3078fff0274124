from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from backbones.scan import selective_scan


@settings(max_examples=25, deadline=None)
@given(
    length=st.integers(1, 12),
    batch=st.integers(1, 3),
    width=st.integers(1, 5),
    states=st.integers(1, 4),
    reverse=st.lists(st.booleans(), min_size=1, max_size=3).map(tuple),
    left_out=st.sets(st.sampled_from(["D", "z", "delta_bias", "carry"])),
    seed=st.integers(0, 1000),
)
def test_agrees_with_the_loop(
    loop_scan: Any,
    make_inputs: Any,
    length: int,
    batch: int,
    width: int,
    states: int,
    reverse: tuple[bool, ...],
    left_out: set[str],
    seed: int,
) -> None:
    inputs = make_inputs(len(reverse), batch, length, width, states, seed=seed, dtype=torch.float64)
    inputs = {name: tensor for name, tensor in inputs.items() if name not in left_out}
    expected, mean = loop_scan(**inputs, reverse=reverse)
    apart = selective_scan(**inputs, reverse=reverse, separate=True, kernel="reference")
    summed = selective_scan(**inputs, reverse=reverse, kernel="reference")
    np.testing.assert_allclose(apart.y, expected, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(summed.y, expected.sum(axis=0), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(summed.delta_mean, mean, rtol=1e-10)


def test_gradients_agree_with_finite_differences(make_inputs: Any) -> None:
    inputs = make_inputs(2, 1, 3, 2, 2, dtype=torch.float64)
    names = list(inputs)
    leaves = tuple(inputs[name].requires_grad_() for name in names)

    def run(*tensors: torch.Tensor) -> Any:
        return selective_scan(
            **dict(zip(names, tensors, strict=True)), reverse=(False, True), kernel="reference"
        )

    assert torch.autograd.gradcheck(run, leaves)


def test_state_is_fp32_under_bf16(make_inputs: Any) -> None:
    inputs = make_inputs(1, 2, 40, 4, 4, dtype=torch.bfloat16)
    coarse = selective_scan(**inputs, reverse=(False,), kernel="reference")
    wide = selective_scan(
        **{name: part.float() for name, part in inputs.items()},
        reverse=(False,),
        kernel="reference",
    )
    assert coarse.y.dtype == torch.bfloat16
    assert coarse.delta_mean.dtype == torch.float32
    assert torch.equal(coarse.y, wide.y.bfloat16())


def test_wrong_shapes_are_named(make_inputs: Any) -> None:
    inputs = make_inputs(2, 1, 3, 2, 2)
    with pytest.raises(ValueError, match="delta_bias must be"):
        selective_scan(**inputs | {"delta_bias": torch.zeros(2)}, reverse=(False, True))
    with pytest.raises(ValueError, match="reverse"):
        selective_scan(**inputs, reverse=(False,))
