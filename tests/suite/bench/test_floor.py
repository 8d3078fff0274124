"""The floor of a pass against a small Vim worked out by hand, and measured on a CPU."""

import pytest
import torch

from suite.bench import floor
from suite.bench.floor import ELSE, PRODUCTS, SCANS, WAITING, floor_of, floors, terms, traffic_of
from suite.bench.limits import Ceilings, measure_cpu_ceilings
from suite.bench.spec import BenchSpec
from suite.bench.whole_models import measure_models
from suite.flops.traffic import Product

TINY = "vim_nano[image_size=8,patch=4,stride=4,dim=8,states=2,depth=2]"


def test_each_term_is_what_a_count_by_hand_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Product, str, str]] = []

    def by_macs(product: Product, precision: str, device: str) -> float:
        seen.append((product, precision, device))
        return product.macs / 1e3

    monkeypatch.setattr(floor, "product_seconds", by_macs)
    needed = traffic_of(TINY, 3, "bf16")
    # bytes are what limits the scans at these rates, then exponentials
    slow_memory = Ceilings(bytes=10.0, exponentials=1e9, multiply_adds=1e9)
    slow_functions = Ceilings(bytes=1e9, exponentials=10.0, multiply_adds=1e9)
    least = floors(needed, "bf16", "cuda", slow_memory)
    # 3 images of 4 patches and a class token; 16 channels, rank 1, 2 states, 10 classes
    macs = 12 * 48 * 8 + 2 * 15 * (8 * 32 + 2 * (16 * 5 + 1 * 16) + 16 * 8) + 3 * 8 * 10
    assert least[PRODUCTS] == pytest.approx(macs / 1e3)
    # of 2 blocks, in 2 bytes: u, delta, z and y of 16 channels; B and C of 2 states
    moved = 2 * 2 * (15 * 16 * (2 + 2 + 1 + 1) + 2 * 2 * 15 * 2)
    assert least[SCANS] == pytest.approx(moved / 10)
    assert least[ELSE] == pytest.approx(needed.bytes / 10)
    exponentials = 2 * 2 * 15 * 16 * (2 + 2 + 1)
    assert floors(needed, "bf16", "cuda", slow_functions)[SCANS] == pytest.approx(exponentials / 10)
    assert {(precision, device) for _, precision, device in seen} == {("bf16", "cuda")}


def test_kernels_are_told_apart_and_what_is_left_is_waiting() -> None:
    least = {PRODUCTS: 1.0, SCANS: 2.0, ELSE: 3.0, WAITING: 0.0}
    by_name = {"aten::mm": 2.0, "nvjet_hsh": 2.0, "scan_forward": 4.0, "add_norm": 0.0}
    found = terms(least, by_name, 10.0)
    assert [(term.name, term.floor_ms, term.ms) for term in found] == [
        (PRODUCTS, 1000, 4000),
        (SCANS, 2000, 4000),
        (ELSE, 3000, 0),
        (WAITING, 0, 2000),
    ]
    assert [term.share for term in found] == [0.25, 0.5, 0, 0]


def test_a_transformer_has_no_floor() -> None:
    notes: list[str] = []
    assert floor_of("deit_nano", 2, "fp32", "cpu", notes.append) == {}
    assert "fused attention" in notes[0]


def test_on_a_cpu_the_terms_fill_the_pass() -> None:
    limits = measure_cpu_ceilings()
    assert min(limits) > 1e7
    spec = BenchSpec(
        backbones=("vim_nano[image_size=32,depth=3]",),
        methods=("mtr",),
        budgets=(0.2,),
        batches=(4,),
    )
    dense, reduced = measure_models(spec, "cpu", lambda text: None)
    assert reduced.floor == []
    by_name = {term.name: term for term in dense.floor}
    assert list(by_name) == [PRODUCTS, SCANS, ELSE, WAITING]
    for name in (PRODUCTS, SCANS, ELSE):
        assert by_name[name].floor_ms > 0
        assert by_name[name].ms > 0
    assert by_name[WAITING].floor_ms == 0
    whole = 1e3 * 4 / dense.images_per_second
    assert sum(term.ms for term in dense.floor) >= 0.99 * whole
    assert torch.get_float32_matmul_precision() == "highest"
