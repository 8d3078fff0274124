"""What a pass needs, against a small Vim worked out by hand."""

from collections import Counter

import pytest
import torch

from backbones import without_weights
from suite.flops.closed_form import dense
from suite.flops.counters import UnknownOperatorError
from suite.flops.traffic import Product, Scan, Traffic, traffic

BATCH, PATCHES, C, E, N, TAPS, RANK, CLASSES, DEPTH = 3, 4, 8, 16, 2, 4, 1, 10, 2
L = PATCHES + 1
TINY = "vim_nano[image_size=8,patch=4,stride=4,dim=8,states=2,depth=2]"


def traffic_of(name: str, dtype: torch.dtype, batch: int) -> Traffic:
    model = without_weights(name).cast(dtype)
    for mixer in model.mixers():
        mixer.kernel = "reference"
    side = model.image_size
    images = torch.empty(batch, 3, side, side, dtype=dtype, device="meta")
    return traffic(lambda: model(images))


@pytest.mark.parametrize(("dtype", "size"), [(torch.float32, 4), (torch.bfloat16, 2)])
def test_a_small_vim_by_hand(dtype: torch.dtype, size: int) -> None:
    found = traffic_of(TINY, dtype, BATCH)
    rows = BATCH * L
    assert found.products == Counter(
        {
            Product(1, BATCH * PATCHES, 3 * 4 * 4, C): 1,
            Product(1, rows, C, 2 * E): DEPTH,
            Product(1, rows, E, RANK + 2 * N): 2 * DEPTH,
            Product(1, rows, RANK, E): 2 * DEPTH,
            Product(1, rows, E, C): DEPTH,
            Product(1, BATCH, C, CLASSES): 1,
        }
    )
    assert found.scans == Counter({Scan(2, BATCH, L, E, N, gated=True, separate=False): DEPTH})
    wide = 4  # bytes of the residual and of the recurrence
    tokens = rows * C
    norms = (DEPTH + 1) * wide * C
    # patches, class token and positions in; residual and normed tokens out
    embedded = size * (BATCH * PATCHES * C + C + L * C) + (wide + size) * tokens
    # branch and residual in, both out; of the last residual the class tokens
    added = (size + wide) * tokens + size * tokens + wide * BATCH * C
    # x in, taps and bias of both directions, and both out
    convolved = DEPTH * size * (rows * E + 2 * E * TAPS + 2 * E + 2 * rows * E)
    # -exp(A_log) of both directions
    decays = DEPTH * wide * 2 * (2 * E * N)
    # class tokens of branch and residual in; into the head
    last = BATCH * C * (size + wide) + size * BATCH * C
    assert found.bytes == norms + embedded + added + convolved + decays + last


@pytest.mark.parametrize("name", ["vim_nano", "plainmamba_l1[depth=2]", "deit_nano", "vmamba_tiny"])
def test_products_are_those_of_the_closed_form(name: str) -> None:
    shape = without_weights(name).describe()
    depthwise = 0
    found = traffic_of(name, torch.float32, 2)
    macs = sum(product.macs * count for product, count in found.products.items())
    whole = dense(shape)
    if name == "vim_nano":
        depthwise = shape.depth * 2 * shape.length * shape.inner * shape.conv_kernel
        assert macs == 2 * (whole.gemm + whole.conv - depthwise)
    assert 2 * whole.gemm <= macs <= 2 * (whole.gemm + whole.conv)
    operations = sum(
        count
        * scan.directions
        * scan.batch
        * scan.length
        * scan.width
        * (9 * scan.states + 1 + scan.gated)
        for scan, count in found.scans.items()
    )
    assert operations == 2 * whole.scan


def on_meta(*shape: int) -> torch.Tensor:
    return torch.empty(*shape, device="meta")


def test_a_kernel_reads_once_and_writes_what_is_needed_later() -> None:
    a, b, weight = on_meta(4, 8), on_meta(4, 8), on_meta(8, 8)

    def one() -> torch.Tensor:
        total = (a + b).exp() * a  # two in, one out into the product
        return torch.relu(total @ weight) + total  # both in, one out

    assert traffic(one).bytes == 4 * 32 * (2 + 1 + 2 + 1)
    # moving and scaling are left to the products
    assert traffic(lambda: ((a @ weight).t().contiguous() * 0.5) @ a).bytes == 0
    assert traffic(lambda: (torch.zeros_like(a) + a) @ weight).bytes == 4 * 32 * 2


def test_vectors_and_batches_are_products() -> None:
    def run() -> tuple[torch.Tensor, ...]:
        many = torch.bmm(on_meta(5, 2, 3), on_meta(5, 3, 4))
        added = torch.addmm(on_meta(4), on_meta(2, 3), on_meta(3, 4))
        return many, added, torch.mv(on_meta(6, 7), on_meta(7))

    assert traffic(run).products == Counter(
        {Product(5, 2, 3, 4): 1, Product(1, 2, 3, 4): 1, Product(1, 6, 7, 1): 1}
    )


def test_what_cannot_be_counted_is_said() -> None:
    with pytest.raises(NotImplementedError, match="Mamba-2"):
        traffic_of("adventurer_nano[image_size=32,depth=1,dim=8]", torch.float32, 1)
    with pytest.raises(UnknownOperatorError, match="fft"):
        traffic(lambda: torch.fft.fft(on_meta(4, 8)))
