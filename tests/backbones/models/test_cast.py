"""Precision of a model's weights."""

import torch

from backbones import create_model
from backbones.base import RECURRENT


def test_bf16_keeps_the_recurrence_in_fp32_and_the_answer_close() -> None:
    torch.manual_seed(0)
    model = create_model("vim_nano", checkpoint="bundled")
    images = torch.randn(2, 3, 56, 56)
    with torch.inference_mode():
        exact = model(images)
        result = model.cast(torch.bfloat16)(images.bfloat16())
    kinds = {
        name.endswith(RECURRENT): parameter.dtype for name, parameter in model.named_parameters()
    }
    assert kinds == {True: torch.float32, False: torch.bfloat16}
    # bf16 keeps 8 bits, so an error of about 2^-8 a layer; a rounded state matrix was seen to give
    # more
    assert 0 < (result.float() - exact).abs().max() < 0.02 * exact.abs().max()


def test_fp64_is_fp64_throughout() -> None:
    model = create_model("vim_nano").cast(torch.float64)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float64}
