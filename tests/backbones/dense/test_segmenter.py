"""A segmenter against token-by-token bookkeeping in fp64, under every method and undoing."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from backbones import create_model
from backbones.base import Backbone, Reducer
from backbones.common.errors import UserError
from backbones.dense.heads import ConvHead, Head, LinearHead
from backbones.dense.segmenter import Segmenter, spaced_levels
from backbones.sequence import TokenSequence, join_images, new_sequence
from backbones.shape import Shape, Work
from backbones.unreduce import FILLS, on_grid, unreduce
from methods.parts.view import leading
from methods.reducer import Reducer as Removing
from methods.spec import parse
from suite.flops.closed_form import block_flops, dense, reachable, stem_flops, total
from suite.flops.counters import count_with_fvcore, count_with_torch
from suite.plan.grid_budget import grid_plan
from suite.verify.backbone_contract import CHECKS, Subject, narrowed_maps

sys.path.insert(0, str(Path(__file__).parents[2] / "methods"))
from option_values import BY_COUNT, ON_GRID

HEADS = {"linear": LinearHead, "conv": ConvHead}
SIDE = 3  # odd, so that no half of it is a whole number
KINDS = ("vim_nano", "deit_nano", "plainmamba_l1")


def small_body(name: str, side: int = SIDE) -> Backbone:
    settings: dict[str, int] = {"image_size": 4 * side, "patch": 4, "classes": 2}
    settings |= {"dim": 12, "layers": 2} if name.startswith("deit") else {"dim": 8, "depth": 4}
    if "stride" in vars(create_model("vim_nano").config) and not name.startswith(("deit", "plain")):
        settings |= {"stride": 4, "states": 3}
    return create_model(name, kernel="reference", **settings)


def segmenter(name: str, head: str = "conv", levels: int = 2, side: int = SIDE) -> Segmenter:
    torch.manual_seed(0)
    body = small_body(name, side)
    numbers = spaced_levels(body.depth, levels)
    made = HEADS[head]([body.describe().dim] * levels, 3)
    return Segmenter(f"small_{name}", body, numbers, made).double().eval()


def pictures(model: Backbone, count: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    size = (count, 3, model.image_size, model.image_size)
    return torch.randn(size, generator=generator, dtype=torch.float64)


def plan_of(model: Backbone, text: str, count: int = 1) -> dict[int, Reducer]:
    """`count` tokens leave at every site, or a column where the rectangle is kept."""
    composition = parse(text).composition(model.provides)
    assert composition is not None
    if not composition.keeps_rectangle:
        return {site: Removing(composition, count, site) for site in model.sites}
    plan = grid_plan(model.describe(), narrowed_maps(model.describe(), 1), composition)
    return {
        site: Removing(composition, left.tokens, site, lines=(left.rows, left.columns))
        for site, left in plan.removals.items()
    }


def followed(
    model: Segmenter, images: Tensor, plan: Mapping[int, Reducer]
) -> dict[int, tuple[TokenSequence, list[list[Tensor | None]]]]:
    """By level the body's tokens, and of each image the features that each dropped token had last."""
    body = model.backbone
    tokens = body.embed(images).tracked()
    last: list[list[Tensor | None]] = [[None] * tokens.original_length for _ in images]
    seen = {}
    for block in range(body.depth):
        if block in plan:
            features = tokens.residual + tokens.branch
            reduced = plan[block](tokens)
            assert tokens.owner is not None
            assert reduced.owner is not None
            for b in range(len(images)):
                for place in range(tokens.original_length):
                    was, now = int(tokens.owner[b, place]), int(reduced.owner[b, place])
                    if was >= 0 and now < 0:
                        last[b][place] = features[b, was]
            tokens = reduced
        needs = plan[block + 1].needs if block + 1 in plan else frozenset[str]()
        tokens = body.run(tokens, block, block + 1, needs=needs)
        if block + 1 in model.levels:
            seen[block + 1] = tokens, [list(image) for image in last]
    return seen


def map_by_hand(
    tokens: TokenSequence, last: list[list[Tensor | None]], norm: nn.Module, fill: Any
) -> Tensor:
    features = norm(tokens.residual + tokens.branch)
    if fill != "frozen":
        return on_grid(unreduce(features, tokens, fill), tokens)[:, 0].permute(0, 3, 1, 2)
    full = unreduce(features, tokens, "zeros")
    for b, image in enumerate(last):
        for place, kept in enumerate(image):
            if kept is not None:
                full[b, place] = norm(kept)
    return on_grid(full, tokens)[:, 0].permute(0, 3, 1, 2)


def every_case() -> list[tuple[str, str]]:
    cases = [("vim_nano", name) for name in BY_COUNT]
    cases += [("plainmamba_l1", name) for name in ON_GRID]
    return [
        *cases,
        ("deit_nano", "tome"),
        ("deit_nano", "evit[fused=false]"),
        ("vim_nano", "storm"),
    ]


@pytest.mark.parametrize(("name", "method"), every_case())
def test_maps_are_those_of_every_token_followed_by_hand(name: str, method: str) -> None:
    model = segmenter(name)
    images = pictures(model)
    with torch.no_grad():
        plan = plan_of(model, method)
        end = model.run(model.embed(images), plan=plan)
        seen = followed(model, images, plan)
        assert end.length < end.original_length
        for fill in FILLS:
            maps = model.maps(end.undoing(fill))
            for level, norm, features in zip(
                model.levels, model.decode_head.norms, maps, strict=True
            ):
                tokens, last = seen[level]
                expected = map_by_hand(tokens, last, norm, fill)
                torch.testing.assert_close(features, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", KINDS)
def test_without_reduction_every_undoing_reads_the_body_itself(name: str) -> None:
    model = segmenter(name)
    images = pictures(model)
    with torch.no_grad():
        tokens = model.backbone.embed(images)
        maps = []
        for level, start in zip(model.levels, (0, *model.levels), strict=False):
            tokens = model.backbone.run(tokens, start, level)
            patches = (tokens.residual + tokens.branch).gather(
                1, tokens.patches()[..., None].expand(-1, -1, tokens.branch.shape[2])
            )
            maps.append(patches.transpose(1, 2).unflatten(2, (SIDE, SIDE)))
        for features, norm, own in zip(
            maps, model.decode_head.norms, model.maps(model.run(model.embed(images))), strict=True
        ):
            expected = norm(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            torch.testing.assert_close(own, expected, atol=1e-12, rtol=0)
        for fill in FILLS:
            end = model.run(model.embed(images)).undoing(fill)
            assert torch.equal(model.readout(end), model(images))


def test_snapshots_are_of_the_reduced_tokens_only() -> None:
    model = segmenter("vim_nano", levels=4)
    plan = plan_of(model, "random")
    end = model.run(model.embed(pictures(model)), plan=plan)
    assert end.memory is not None
    lengths = [end.memory.readings[level].features.shape[1] for level in model.levels]
    assert lengths == [10, 9, 8, 7]
    # of each token that left one row, however long ago
    assert [rows.shape[1] for rows in end.memory.rows[8]] == [1, 1, 1]
    assert (end.memory.row >= 0).sum(1).tolist() == [3, 3]


class Tokenwise(Backbone):
    """A body whose blocks look at one token at a time, so that equal tokens stay equal."""

    provides: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, side: int) -> None:
        super().__init__()
        self.name, self.image_size, self.side = "tokenwise", side, side
        self.layers = nn.ModuleList(TokenwiseBlock() for _ in range(3))

    @property
    def blocks(self) -> nn.ModuleList:
        return self.layers

    @property
    def special_places(self) -> tuple[int, ...]:
        return ()

    def embed(self, images: Tensor, image_index: Tensor | None = None) -> TokenSequence:
        return new_sequence(
            images.flatten(2).transpose(1, 2), (), (1, self.side, self.side), image_index
        )

    def describe(self) -> Shape:
        def work(shape: Shape, block: int, length: int) -> Work:
            return Work(9 * length)

        return Shape(
            "tokenwise", 3, 3, 3, 0, 0, 0, 0, (1, 1, 1), 3, self.side**2, 0, 1, work=work
        )  # fmt: skip


class TokenwiseBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, tokens: TokenSequence, needs: frozenset[str] = frozenset()) -> TokenSequence:
        total = tokens.residual + tokens.branch
        return replace(tokens, branch=self.layer(total).sin(), residual=total)


@pytest.mark.parametrize("method", ["tome[weights=size]", "pool", "grid-pool"])
def test_merging_equal_tokens_changes_nothing(method: str) -> None:
    torch.manual_seed(0)
    model = Segmenter("made", Tokenwise(4), (1, 3), HEADS["conv"]([3, 3], 2)).double()
    # each second column repeats the one before
    images = torch.randn(2, 3, 4, 2, dtype=torch.float64).repeat_interleave(2, 3)
    composition = parse(method).composition(model.provides)
    assert composition is not None
    lines = (0, 2) if composition.keeps_rectangle else (0, 0)
    plan = {1: Removing(composition, 8, 1, lines=lines)}
    with torch.no_grad():
        end = model.run(model.embed(images), plan=plan)
        assert end.length == 8
        for fill in FILLS:
            logits = model.readout(end.undoing(fill))
            torch.testing.assert_close(logits, model(images), atol=1e-12, rtol=0)


class Dropping:
    """Somebody's reducer, which drops the first tokens."""

    needs = frozenset[str]()

    def __init__(self, **changed: Any) -> None:
        self.changed = changed

    def __call__(self, tokens: TokenSequence) -> TokenSequence:
        owner = tokens.owner
        assert owner is not None
        short = {
            name: getattr(tokens, name)[:, 2:]
            for name in ("branch", "residual", "position", "size")
        }
        return replace(
            tokens, **short, **{"owner": (owner - 2).clamp_min(-1), "trace": None} | self.changed
        )


def test_the_reducer_of_somebody_is_followed_or_refused() -> None:
    torch.manual_seed(0)
    model = Segmenter("made", Tokenwise(3), (3,), HEADS["linear"]([3], 2)).double()
    images = pictures(model)
    with torch.no_grad():
        end = model.run(model.embed(images), plan={1: Dropping()})
        first = model.backbone.run(model.backbone.embed(images), 0, 1)
        (features,) = model.maps(end)
        norm = model.decode_head.norms[0]
        kept = norm((first.residual + first.branch)[:, :2])
        torch.testing.assert_close(features.flatten(2).transpose(1, 2)[:, :2], kept)
        with pytest.raises(UserError, match="memory"):
            model.run(model.embed(images), plan={1: Dropping(memory=None)})

        def unaware(tokens: TokenSequence) -> TokenSequence:
            return Dropping(owner=tokens.owner)(tokens)

        unaware.needs = frozenset[str]()  # type: ignore[attr-defined]
        with pytest.raises(UserError, match="owner"):
            model.run(model.embed(images), plan={1: unaware})  # type: ignore[dict-item]


def test_images_that_part_and_meet_again_are_as_alone() -> None:
    model = segmenter("vim_nano", levels=4)
    images = pictures(model, 3)
    counts = ((0, 4), (3, 1), (2, 2))
    composition = parse("evit[fused=false]").composition(model.provides)
    assert composition is not None

    def gone(tokens: TokenSequence, count: int, site: int) -> TokenSequence:
        return Removing(composition, count, site)(tokens)

    with torch.no_grad():
        arrived = model.run(model.embed(images), 0, 1, needs=composition.needs)
        alone, parts = [], []
        for row, (first, second) in enumerate(counts):
            one = model.run(model.embed(images[row : row + 1]), 0, 1, needs=composition.needs)
            one = model.run(gone(one, first, 1), 1, 2, needs=composition.needs)
            alone.append(model.readout(model.run(gone(one, second, 2), 2)))
            part = arrived.pick_images(torch.tensor([row]))
            assert arrived.trace is not None
            part = replace(part, trace=arrived.trace.pick_images(torch.tensor([row])))
            part = model.run(gone(part, first, 1), 1, 2, needs=composition.needs)
            parts.append(gone(part, second, 2))
        together = model.run(join_images(parts), 2)
        for fill in FILLS:
            if fill == "frozen":
                torch.testing.assert_close(model.readout(together), torch.cat(alone))
            whole = model.readout(together.undoing(fill))
            for row, part in enumerate(parts):
                single = model.readout(model.run(part, 2).undoing(fill))
                torch.testing.assert_close(whole[row : row + 1], single)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("head", HEADS)
def test_a_segmenter_keeps_the_contract_of_a_backbone(name: str, head: str) -> None:
    model = segmenter(name, head, levels={"linear": 1}.get(head, 2), side=5).float()
    with torch.inference_mode():
        subject = Subject(model, pictures(model, 3).float())
        for check in CHECKS:
            assert check(subject) == "", check.__name__


@pytest.mark.parametrize("head", HEADS)
def test_both_counters_and_the_closed_form_agree_on_the_head(head: str) -> None:
    model = segmenter("vim_nano", head, levels={"linear": 1}.get(head, 2), side=5).float()
    shape = model.describe()
    assert shape.readout is not None
    images = pictures(model, 1).float()
    closed = dense(shape)
    counts = (
        count_with_torch(lambda: model(images)),
        count_with_fvcore(model, images, module=model),
    )
    for counted in counts:
        assert (counted.gemm, counted.conv) == (closed.gemm, closed.conv)
    # a constant: what is removed between blocks leaves it as it is
    end = model.run(model.embed(images), plan=plan_of(model, "random", 3))
    after = count_with_torch(lambda: model.readout(end))
    assert (after.gemm, after.conv) == shape.readout[:2]


def test_the_share_in_reach_is_what_is_neither_head_nor_before_the_first_site() -> None:
    shape = segmenter("vim_nano").describe()
    outside = total(stem_flops(shape)) + total(block_flops(shape, 0, shape.length))
    assert reachable(shape) == pytest.approx(1 - outside / total(dense(shape)))
    assert reachable(replace(shape, readout=None)) > reachable(shape)


def test_a_straight_line_gives_the_logits_of_both_heads() -> None:
    generator = torch.Generator().manual_seed(3)
    maps = [torch.randn(2, 8, 3, 5, generator=generator, dtype=torch.float64) for _ in range(2)]
    linear, conv = HEADS["linear"]([8], 3).double(), HEADS["conv"]([8, 8], 3).double()
    with torch.no_grad():
        weight, bias = linear.classifier.weight, linear.classifier.bias
        expected = torch.einsum("bchw,kc->bkhw", maps[0], weight) + bias[:, None, None]
        torch.testing.assert_close(linear(maps[:1]), expected, atol=1e-12, rtol=0)
        total_map = sum(
            torch.einsum("bchw,kc->bkhw", features, layer.weight[:, :, 0, 0])
            + layer.bias[:, None, None]
            for features, layer in zip(maps, conv.narrow, strict=True)
        )
        x = functional.conv2d(
            total_map.clamp(min=0), conv.coarse.weight, conv.coarse.bias, padding=1
        ).clamp(min=0)
        large = torch.zeros(*x.shape[:2], 6, 10, dtype=torch.float64)
        for row in range(6):
            for column in range(10):
                large[:, :, row, column] = interpolated(
                    x, (row + 0.5) / 2 - 0.5, (column + 0.5) / 2 - 0.5
                )
        x = functional.conv2d(large, conv.fine.weight, conv.fine.bias, padding=1).clamp(min=0)
        expected = torch.einsum("bchw,kc->bkhw", x, conv.classifier.weight[:, :, 0, 0])
        expected = expected + conv.classifier.bias[:, None, None]
        torch.testing.assert_close(conv(maps), expected, atol=1e-12, rtol=0)


def interpolated(x: Tensor, row: float, column: float) -> Tensor:
    """The value (B, C) at a place between the centres of pixels, the rim repeated."""
    height, width = x.shape[2:]
    row, column = max(row, 0.0), max(column, 0.0)
    top, left = int(row), int(column)
    down, right = row - top, column - left
    below, beside = min(top + 1, height - 1), min(left + 1, width - 1)
    upper = x[:, :, top, left] * (1 - right) + x[:, :, top, beside] * right
    lower = x[:, :, below, left] * (1 - right) + x[:, :, below, beside] * right
    return upper * (1 - down) + lower * down


def test_at_another_size_only_positions_change() -> None:
    model = segmenter("vim_nano")
    larger = model.resized(20)
    assert model.image_size == 12
    assert larger(pictures(larger)).shape == (2, 3, 10, 10)
    assert model(pictures(model)).shape == (2, 3, 6, 6)


@pytest.mark.parametrize("method", [*ON_GRID, "grid-pool"])
@pytest.mark.parametrize("fill", FILLS)
def test_maps_of_stages_are_those_of_their_first_places(method: str, fill: Any) -> None:
    model = staged()
    images = pictures(model)
    with torch.no_grad():
        plan = plan_of(model, method)
        end = model.run(model.embed(images), plan=plan).undoing(fill)
        tokens = model.backbone.embed(images).tracked()
        expected = {}
        for block in range(model.depth):
            if block in plan:
                tokens = plan[block](tokens)
            needs = plan[block + 1].needs if block + 1 in plan else frozenset[str]()
            tokens = model.backbone.run(tokens, block, block + 1, needs=needs)
            if block + 1 in model.levels:
                expected[block + 1] = tokens
        assert end.length < 3
        for number, level in enumerate(model.levels):
            step, tokens = 2**number, expected[level]
            norm = list(model.decode_head.norms)[number]
            features = norm(tokens.residual + tokens.branch)
            found = model.maps(end)[number]
            assert tokens.owner is not None
            for row in range(found.shape[2]):
                for column in range(found.shape[3]):
                    place = row * step * tokens.grid[2] + column * step
                    for b in range(2):
                        owner = int(tokens.owner[b, place])
                        if owner >= 0:
                            torch.testing.assert_close(
                                found[b, :, row, column], features[b, owner], atol=1e-12, rtol=0
                            )


def staged() -> Segmenter:
    """A small VMamba, whose map of 5 x 5 becomes 3, 2 and 1 a side."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"image_size": 20, "dim": 4, "early": 1, "third": 1, "last": 1}
    body = create_model("vmamba_nano", kernel="reference", **sizes)
    shape = body.describe()
    levels = (*shape.halvings, shape.depth)
    head = ConvHead([shape.width(level - 1) for level in levels], 3)
    return Segmenter("staged", body, levels, head).double().eval()


class Thinning:
    """Drops the last column of the map."""

    needs = frozenset[str]()

    def __call__(self, tokens: TokenSequence) -> TokenSequence:
        rectangle = tokens.rectangle
        assert rectangle is not None
        rows, columns = rectangle
        stays = torch.arange(rows * columns).view(rows, columns)[:, :-1].flatten()
        slot = torch.full((rows * columns,), -1)
        slot[stays] = torch.arange(len(stays))
        owner = tokens.owner
        assert owner is not None
        return replace(
            tokens,
            branch=tokens.branch[:, stays],
            residual=tokens.residual[:, stays],
            position=tokens.position[:, stays],
            size=tokens.size[:, stays],
            owner=slot[owner.clamp_min(0)].where(owner >= 0, -1),
            lattice=(rows, columns - 1),
            trace=None,
        )


def test_a_token_that_left_in_an_earlier_stage_takes_its_nearest_survivors_features() -> None:
    model = staged()
    images = pictures(model)
    with torch.no_grad():
        end = model.run(model.embed(images), plan={1: Thinning(), 3: Thinning()})
        first = model.backbone.run(model.backbone.embed(images), 0, 1)
        stages = model.maps(end)
        norms = list(model.decode_head.norms)
        # in its own stage it keeps what it had
        last_column = norms[0]((first.residual + first.branch)[:, 4::5])
        torch.testing.assert_close(stages[0][:, :, :, 4].transpose(1, 2), last_column)
        # Of the 3 columns of the second stage the last was gone before, and takes what is near.
        other = model.maps(end.undoing("nearest"))
        assert not torch.equal(stages[1][..., 1], other[1][..., 1])
        torch.testing.assert_close(stages[1][..., 0], other[1][..., 0])
        torch.testing.assert_close(stages[2], other[2])


def test_a_window_of_the_image_is_tracked_from_its_first_block_on() -> None:
    model = segmenter("vim_nano")
    tokens = leading(model.embed(pictures(model)), 7)
    assert tokens.owner is not None
    assert (tokens.owner < 0).sum(1).tolist() == [2, 2]
    assert torch.equal(tokens.owner.gather(1, tokens.position), torch.arange(8).expand(2, -1))


@pytest.mark.parametrize(
    ("name", "message"),
    [("videomamba_tiny_video", "clips")],
)
def test_bodies_that_cannot_be_read_are_refused(name: str, message: str) -> None:
    with torch.device("meta"):
        body = create_model(name)
    with pytest.raises(UserError, match=message):
        Segmenter("made", body, (1,), Head())
