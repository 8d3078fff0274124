"""Values of many tensors on one device, fetched at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def fetched(parts: Sequence[Any]) -> NDArray[Any]:
    """Tensors or arrays, stacked: in one copy, since each makes the host wait for a GPU."""
    if isinstance(parts[0], Tensor):
        there: NDArray[Any] = torch.stack(list(parts)).cpu().numpy()
        return there
    return np.stack(parts)
