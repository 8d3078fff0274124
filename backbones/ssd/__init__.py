"""The state space duality scan of Mamba-2: one decay a head, so that a chunk is matrix products.

    ssd(HeadInputs(u, delta, A, B, C, D, delta_bias), kernel) -> y

`backbones.layers.headed_mixer` scans through it. `reference` is the definition, a state update per
token; `chunked` computes the same by matrix products, on any device; `stock` calls mamba-ssm.
`dispatch` chooses and checks, as `backbones.scan.dispatch` does for Mamba-1.
"""

from backbones.ssd.contract import HeadInputs
from backbones.ssd.dispatch import KERNELS, check_kernel, chosen, ssd

__all__ = ["KERNELS", "HeadInputs", "check_kernel", "chosen", "ssd"]
