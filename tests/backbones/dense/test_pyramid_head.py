"""Vim with UPerNet: names of the release, logits equal to plain loops, positions with and without a class token's row."""

from pathlib import Path
from typing import Any

import pytest
import straight_line as body_by_loops
import straight_line_plain as plain
import straight_line_upernet as head_by_loops
import torch
from made_up_files import drawn
from published_layouts import auxiliary, pyramid_upernet
from torch import Tensor
from torch.nn import functional

from backbones import BACKBONES, create_model
from backbones.common.errors import UserError
from backbones.dense.segmenter import Segmenter
from backbones.models.segmenters import create
from backbones.models.vim import VimBody
from methods.composition import Composition
from methods.reducer import Reducer
from suite.flops.closed_form import dense
from suite.flops.counters import count_with_fvcore, count_with_torch

SMALL: dict[str, Any] = {
    "dim": 8,
    "depth": 4,
    "states": 3,
    "patch": 4,
    "stride": 4,
    "image_size": 20,
    "channels": 8,
    "classes": 5,
}


def made(**settings: Any) -> Segmenter:
    """A small one, every parameter and statistic of it moved."""
    model = create("vim_tiny_upernet", **(SMALL | settings)).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in (*model.parameters(), *(b for b in model.buffers() if b.is_floating_point())):
            noise = torch.randn(tensor.shape, generator=generator)
            tensor.add_(noise.abs(), alpha=0.1)
    return model


def enlarged(x: Tensor, state: dict[str, Tensor], at: str) -> Tensor:
    """A transposed convolution of stride 2, each place by itself."""
    weight, bias = state[f"{at}.weight"], state[f"{at}.bias"]
    out = torch.zeros(weight.shape[1], 2 * x.shape[1], 2 * x.shape[2], dtype=x.dtype)
    for row in range(out.shape[1]):
        for column in range(out.shape[2]):
            tap = weight[:, :, row % 2, column % 2]
            out[:, row, column] = x[:, row // 2, column // 2] @ tap + bias
    return out


def largest(x: Tensor) -> Tensor:
    """The largest of 2 x 2 places; an odd one is left out."""
    rows, columns = x.shape[1] // 2, x.shape[2] // 2
    out = torch.zeros(x.shape[0], rows, columns, dtype=x.dtype)
    for row in range(rows):
        for column in range(columns):
            cells = x[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            out[:, row, column] = cells.flatten(1).amax(1)
    return out


def by_loops(state: dict[str, Tensor], image: Tensor, depth: int, patch: int) -> Tensor:
    body = {key.removeprefix("backbone."): value for key, value in state.items()}
    tokens = torch.stack(body_by_loops.patch_rows(body, image, patch)) + body["pos_embed"][0]
    side = image.shape[1] // patch
    maps = []
    for layer, (_, branch) in enumerate(body_by_loops.branches(body, tokens, depth, 0.5), start=1):
        if layer % (depth // 4) == 0:
            maps.append(branch.T.reshape(-1, side, side))
    first = plain.gelu(plain.batch_norm(enlarged(maps[0], body, "fpn1.0"), body, "fpn1.1"))
    maps[0] = enlarged(first, body, "fpn1.3")
    maps[1] = enlarged(maps[1], body, "fpn2.0")
    maps[3] = largest(maps[3])
    return head_by_loops.upernet(state, maps)


def test_logits_are_those_of_plain_loops() -> None:
    model = made().double()
    model.set_kernel("reference")
    images = torch.randn(2, 3, 20, 20, dtype=torch.float64)
    with torch.no_grad():
        logits = model(images)
        assert logits.shape == (2, 5, 20, 20)
        expected = torch.stack([by_loops(model.state_dict(), image, 4, 4) for image in images])
    assert float(expected.std()) > 1e-3
    torch.testing.assert_close(logits, expected, atol=1e-9, rtol=1e-9)


@pytest.mark.slow
def test_logits_are_those_of_plain_loops_at_full_width() -> None:
    model = create("vim_small_upernet", depth=4, image_size=64).double().eval()
    model.set_kernel("reference")
    image = torch.randn(3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        expected = by_loops(model.state_dict(), image, 4, 16)
        error = (model(image[None])[0] - expected).abs().max() / expected.abs().max()
    assert float(expected.std()) > 0
    assert float(error) < 1e-9


@pytest.mark.parametrize(("name", "dim"), [("vim_tiny", 192), ("vim_small", 384)])
def test_names_and_shapes_are_those_of_the_release(name: str, dim: int) -> None:
    with torch.device("meta"):
        model = create(f"{name}_upernet")
    shapes = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    assert shapes == pyramid_upernet(dim, 24)
    assert model.levels == (6, 12, 18, 24)
    assert (model.image_size, model.describe().classes, model.inference) == (512, 150, "slide")
    # in no list, since no weights are published
    assert f"{name}_upernet" not in BACKBONES


def own_file(folder: Path) -> Path:
    """A file that makes it a backbone."""
    path = folder / "vim_seg.py"
    path.write_text(
        "from functools import partial\n"
        "from backbones.models.segmenters import create\n"
        'VIM_SEG = partial(create, "vim_tiny_upernet")\n'
    )
    return path


def test_a_made_up_file_of_the_release_loads(tmp_path: Path) -> None:
    weights = drawn(pyramid_upernet(16, 4) | auxiliary(16, 6), 1)
    for key, tensor in weights.items():
        if key.endswith("running_var"):
            tensor.abs_()
    path = tmp_path / "iter_60000.pth"
    torch.save({"meta": {"iter": 60000}, "state_dict": weights, "optimizer": {}}, path)
    sizes: dict[str, Any] = {"dim": 16, "depth": 4, "channels": 16, "image_size": 64}
    model = create_model(f"{own_file(tmp_path)}:VIM_SEG", str(path), **sizes)
    provenance = model.provenance
    assert provenance is not None
    assert provenance.adapted == (
        "positions resampled from 1024 tokens to 16",
        "the auxiliary head, for training alone, is left out",
    )
    for key, tensor in model.state_dict().items():
        if not key.endswith(("pos_embed", "num_batches_tracked")):
            assert torch.equal(tensor, weights[key]), key
    assert model(torch.randn(1, 3, 64, 64)).shape == (1, 150, 16, 16)
    rotary = weights | {"backbone.rope.freqs_cos": torch.zeros(1024, 16)}
    torch.save({"state_dict": rotary}, path)
    with pytest.raises(UserError, match="rotary positions"):
        create_model(f"{own_file(tmp_path)}:VIM_SEG", str(path), **sizes)


def resampled(rows: Tensor, side: int) -> Tensor:
    """A table (n, C) of a square as that of another."""
    old = int(len(rows) ** 0.5)
    grid = rows.T.reshape(1, -1, old, old)
    wide = functional.interpolate(grid, (side, side), mode="bicubic", align_corners=False)
    return wide[0].flatten(1).T


@pytest.mark.parametrize("shifted", [False, True])
def test_the_class_tokens_row_is_left_out_or_as_released_the_first(shifted: bool) -> None:
    body = made(shifted=shifted).backbone
    assert isinstance(body, VimBody)
    table = torch.randn(1, 17, 8)  # of 4 x 4 patches; the class token is the ninth of 17
    kept = [row for row in range(17) if row != (0 if shifted else 8)]
    found = body.positions_here(table)
    assert found is not None
    torch.testing.assert_close(found[0], resampled(table[0, kept], 5))
    assert body.positions_here(torch.randn(1, 18, 8)) is None
    state = {"pos_embed": table, "cls_token": torch.zeros(1, 1, 8)}
    adapted, notes = body.fitted(state, frozenset({"image_size"}))
    assert list(adapted) == ["pos_embed"]
    assert notes == [
        "positions resampled from 17 tokens to 25",
        "the class token is left out",
    ]


def test_both_counters_agree_with_the_closed_form() -> None:
    model = made()
    model.set_kernel("reference")
    images = torch.zeros(1, 3, 20, 20)
    closed = dense(model.describe())
    for counted in (
        count_with_torch(lambda: model(images)),
        count_with_fvcore(model, images, module=model),
    ):
        assert (counted.gemm, counted.conv) == (closed.gemm, closed.conv)


def test_an_image_does_not_depend_on_its_batch() -> None:
    model = made()
    images = torch.randn(3, 3, 20, 20)
    with torch.inference_mode():
        whole = model(images)
        for row in range(3):
            assert torch.equal(model(images[row : row + 1])[0], whole[row])


def test_a_dropped_token_keeps_the_branch_it_had() -> None:
    """As in DyVM: the branch alone is frozen, without the residual."""
    model = made().double()
    images = torch.randn(2, 3, 20, 20, dtype=torch.float64)
    composition = Composition(score="random", matching="lowest", weights="drop")
    with torch.inference_mode():
        tokens = model.run(model.embed(images), 0, 2)
        reduced = Reducer(composition, 7, 2)(tokens)
        maps = model.maps(model.run(reduced, 2))
        for row in range(2):
            gone = sorted({*range(25)} - {*reduced.position[row].tolist()})
            assert len(gone) == 7
            for level in (2, 3):
                found = maps[level][row].flatten(1).T[gone]
                torch.testing.assert_close(found, tokens.branch[row, gone])
            # at the levels before the site nothing is missing
            assert maps[1][row].flatten(1).T.equal(tokens.branch[row])
