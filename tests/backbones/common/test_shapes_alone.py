"""Models for their sizes alone: shapes without values, and layers whose initialisers draw none."""

import pytest
import torch
from torch import nn

from backbones import BACKBONES, create_model, without_weights
from backbones.common.shapes_alone import shapes_alone


@pytest.mark.parametrize("name", ["vim_nano", "plainmamba_l1", "vmamba_nano", "deit_nano"])
def test_shapes_are_those_of_the_model_with_values(name: str) -> None:
    assert name in BACKBONES
    alone, whole = without_weights(name), create_model(name)
    assert all(tensor.is_meta for tensor in alone.state_dict().values())
    assert [(key, tensor.shape, tensor.dtype) for key, tensor in alone.state_dict().items()] == [
        (key, tensor.shape, tensor.dtype) for key, tensor in whole.state_dict().items()
    ]
    assert alone.describe() == whole.describe()


def test_initialisers_of_layers_return_their_tensor_and_set_nothing_until_the_end() -> None:
    given = torch.full((3, 4), 7.0)
    with shapes_alone():
        assert nn.init.uniform_(given, -1, 1) is given
        assert nn.init.kaiming_uniform_(tensor=given, a=2) is given
        assert nn.Linear(3, 4).weight.is_meta
        assert torch.ones(2).is_meta
    assert given.unique().tolist() == [7.0]
    assert not nn.init.zeros_(given).any()
    with pytest.raises(RuntimeError, match="as it is"), shapes_alone():
        raise RuntimeError("as it is")
    assert not torch.ones(2).is_meta
