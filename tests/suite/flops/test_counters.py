"""Two counters against hand-counted modules, and their refusal of what they do not know."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import backbones.scan
from backbones import create_model
from backbones.sequence import TokenSequence
from suite.flops.closed_form import Flops, count, dense
from suite.flops.counters import (
    COUNTED_SCAN,
    ELEMENTWISE,
    PRODUCTS,
    ZERO,
    Counted,
    UnknownOperatorError,
    count_with_fvcore,
    count_with_torch,
    scan_formula,
)

SLOW = pytest.mark.slow  # a larger model of a family, or a larger image


@torch.library.custom_op("suite_tests::mystery", mutates_args=())
def mystery(x: Tensor) -> Tensor:
    return x * 2


@mystery.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tracing is thousands of tiny operators, which threads only slow down."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Hand(nn.Module):
    """One linear map, depthwise convolution, batched product, matrix-vector product, and noise."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 10)
        self.conv = nn.Conv1d(10, 10, 4, groups=10)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, 6) to (B, L, L - 3)."""
        y = torch.nn.functional.silu(self.linear(x))
        z = self.conv(y.transpose(1, 2))
        scores = (y @ z).softmax(-1)
        best = scores.argsort(dim=1, stable=True).gather(1, scores.topk(2, dim=1).indices)
        out: Tensor = scores + torch.mv(self.linear.weight, x[0, 0]).sum() + best.sum()
        return out


def expected(batch: int, length: int) -> tuple[int, int]:
    gemm = batch * length * 6 * 10 + batch * length * 10 * (length - 3) + 10 * 6
    return gemm, batch * 10 * (length - 3) * 4


@pytest.mark.parametrize(("batch", "length"), [(1, 5), (3, 9)])
def test_both_counters_agree_with_hand_count(batch: int, length: int) -> None:
    module, x = Hand(), torch.randn(batch, length, 6)
    for counted in (
        count_with_torch(lambda: module(x)),
        count_with_fvcore(module, x, module=module),
    ):
        assert (counted.gemm, counted.conv) == expected(batch, length)
        assert counted.scan == 0


def test_einsum_and_batched_products_are_counted_exactly() -> None:
    left, right = torch.randn(3, 7, 5), torch.randn(3, 5, 11)

    def call(a: Tensor, b: Tensor) -> Tensor:
        return torch.einsum("bij,bjk->bik", a, b) + torch.baddbmm(torch.zeros(3, 7, 11), a, b)

    macs = 2 * 3 * 7 * 5 * 11
    assert count_with_torch(lambda: call(left, right)).gemm == macs
    assert count_with_fvcore(call, left, right).gemm == macs


def test_scan_enters_by_formula_in_both() -> None:
    K, B, L, E, N = 2, 3, 5, 4, 6
    u, delta = torch.randn(K, B, L, E), torch.randn(K, B, L, E)
    A, b, c = -torch.rand(K, E, N), torch.randn(K, B, L, N), torch.randn(K, B, L, N)
    D, z = torch.randn(K, E), torch.randn(B, L, E)

    def call(*parts: Tensor) -> Tensor:
        out: Tensor = backbones.scan.selective_scan(
            *parts, reverse=(False, True), kernel="reference"
        ).y
        return out

    for gate in ((), (z,)):
        parts = (u, delta, A, b, c, D, *gate)
        formula = K * (9 * B * L * E * N + (1 + len(gate)) * B * L * E)
        assert scan_formula((K, B, L, E), N, bool(gate)) == formula
        for counted in (
            count_with_torch(lambda given=parts: call(*given)),
            count_with_fvcore(call, *parts),
        ):  # type: ignore[misc]
            assert (counted.gemm, counted.conv, counted.scan) == (0, 0, formula)


def test_an_operator_in_no_list_is_an_error_never_zero() -> None:
    x = torch.randn(4, 4)
    with pytest.raises(UnknownOperatorError, match="suite_tests::mystery"):
        count_with_torch(lambda: torch.ops.suite_tests.mystery(x))
    with pytest.raises(UnknownOperatorError, match="suite_tests::mystery"):
        count_with_fvcore(lambda t: torch.ops.suite_tests.mystery(t), x)
    with pytest.raises(UnknownOperatorError, match="cdist"):
        count_with_torch(lambda: torch.cdist(x, x))
    with pytest.raises(UnknownOperatorError, match="cdist"):
        count_with_fvcore(lambda t: torch.cdist(t, t), x)


def test_a_python_autograd_function_is_an_error_for_fvcore() -> None:
    class Hidden(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: Tensor) -> Tensor:
            return x @ x

    x = torch.randn(4, 4)
    assert count_with_torch(lambda: Hidden.apply(x)).gemm == 64
    with pytest.raises(UnknownOperatorError, match=r"PythonOp\.Hidden"):
        count_with_fvcore(lambda t: Hidden.apply(t), x)


def test_lists_do_not_overlap() -> None:
    assert not ZERO & ELEMENTWISE
    assert not (ZERO | ELEMENTWISE) & PRODUCTS


class DropLast:
    """A reducer without arithmetic of its own: the last `remove` tokens go."""

    needs: frozenset[str] = frozenset()

    def __init__(self, remove: int) -> None:
        self.remove = remove

    def __call__(self, tokens: TokenSequence) -> TokenSequence:
        kept = {
            name: getattr(tokens, name)[:, : -self.remove]
            for name in ("branch", "residual", "position", "size")
        }
        return replace(tokens, **kept)


def assert_equal(counted: Counted, closed: Flops) -> None:
    assert (counted.gemm, counted.conv, counted.scan) == (closed.gemm, closed.conv, closed.scan)


@pytest.mark.parametrize(
    ("name", "depth", "size"),
    [
        ("vim_nano", 3, 56),
        pytest.param("vim_tiny", 4, 64, marks=SLOW),
        ("vim_small", 2, 64),
        pytest.param("vim_base", 2, 64, marks=SLOW),
        ("vim_tiny_stride8", 2, 64),
        ("videomamba_nano", 3, 28),
        pytest.param("videomamba_middle", 2, 64, marks=SLOW),
        ("videomamba_tiny_video", 2, 64),
        pytest.param("mambareg_tiny", 2, 224, marks=SLOW),
        ("mambareg_base", 1, 96),
        pytest.param("mambareg_large", 1, 96, marks=SLOW),
    ],
)
def test_macs_of_real_models_are_equal_three_ways(name: str, depth: int, size: int) -> None:
    model = create_model(name, kernel="reference", depth=depth, image_size=size)
    frames = (model.frames,) if model.frames > 1 else ()
    image = torch.zeros(1, 3, *frames, model.image_size, model.image_size)
    closed = dense(model.describe())
    assert_equal(count_with_fvcore(model, image, module=model), closed)
    assert_equal(count_with_torch(lambda: model(image)), closed)


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("deit_nano", 3),
        ("deit_tiny", 2),
        pytest.param("deit_base", 1, marks=SLOW),
        pytest.param("vit_small", 2, marks=SLOW),
    ],
)
def test_macs_of_attention_are_equal_three_ways(name: str, layers: int) -> None:
    model = create_model(name, layers=layers)
    image = torch.zeros(2, 3, model.image_size, model.image_size)
    closed = dense(model.describe()) + dense(model.describe())
    assert_equal(count_with_fvcore(model, image, module=model), closed)
    assert_equal(count_with_torch(lambda: model(image)), closed)


@pytest.mark.parametrize(
    ("name", "depth"), [("plainmamba_l1", 3), pytest.param("plainmamba_l3", 2, marks=SLOW)]
)
def test_macs_of_zigzag_scans_are_equal_three_ways(name: str, depth: int) -> None:
    model = create_model(name, kernel="reference", depth=depth, image_size=112)
    image = torch.zeros(2, 3, 112, 112)
    closed = dense(model.describe()) + dense(model.describe())
    assert_equal(count_with_fvcore(model, image, module=model), closed)
    assert_equal(count_with_torch(lambda: model(image)), closed)


# maps of 18, 9, 5, 3, and of 26, 13, 7, 4; smaller ones would be padded in products of few rows
@pytest.mark.parametrize(
    ("image_size", "changed"),
    [
        pytest.param(104, {}, marks=SLOW),
        (72, {"expand": 2, "states": 3, "dim": 32}),
    ],
)
def test_macs_of_scans_in_stages_are_equal_three_ways(
    image_size: int, changed: dict[str, int]
) -> None:
    model = create_model("vmamba_nano", kernel="reference", image_size=image_size, **changed)
    image = torch.zeros(2, 3, image_size, image_size)
    closed = dense(model.describe()) + dense(model.describe())
    assert_equal(count_with_fvcore(model, image, module=model), closed)
    assert_equal(count_with_torch(lambda: model(image)), closed)


def test_the_four_directions_of_a_layer_are_one_scan() -> None:
    model = create_model("vmamba_nano", kernel="reference")
    counted = count_with_torch(lambda: model(torch.zeros(1, 3, 56, 56)))
    assert counted.operators[COUNTED_SCAN] == model.depth // 2
    assert model.describe().directions == 4


@pytest.mark.parametrize(
    ("name", "depth"), [("adventurer_nano", 4), pytest.param("adventurer_tiny", 1, marks=SLOW)]
)
def test_macs_of_scans_with_heads_are_equal_three_ways(name: str, depth: int) -> None:
    model = create_model(name, kernel="reference", depth=depth)
    image = torch.zeros(2, 3, model.image_size, model.image_size)
    closed = dense(model.describe()) + dense(model.describe())
    assert_equal(count_with_fvcore(model, image, module=model), closed)
    assert_equal(count_with_torch(lambda: model(image)), closed)


def test_macs_of_a_shortened_sequence_are_equal_three_ways() -> None:
    model = create_model("vim_nano", kernel="reference")
    image, plan = torch.zeros(2, 3, 56, 56), {2: DropLast(20), 5: DropLast(3)}

    def cut(images: Tensor) -> Tensor:
        return model.readout(model.run(model.embed(images), plan=plan))

    lengths = [197, 197, 177, 177, 177, 174, 174, 174]
    one = count(model.describe(), lengths)
    closed = one + one
    assert_equal(count_with_fvcore(cut, image, module=model), closed)
    assert_equal(count_with_torch(lambda: cut(image)), closed)
