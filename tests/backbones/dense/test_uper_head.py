"""PlainMamba with UPerNet: published names, and logits equal to plain loops."""

from pathlib import Path
from typing import Any

import pytest
import straight_line_plain as plain_body
import straight_line_upernet as straight_line
import straight_line_vmamba as staged_body
import torch
from made_up_files import drawn
from published_layouts import auxiliary, staged_upernet, upernet
from torch import Tensor
from torch.nn import functional

from backbones import create_model, without_weights
from backbones.base import Backbone
from backbones.checkpoints.published import files_of
from backbones.common.errors import UserError
from backbones.dense.segmenter import Segmenter
from backbones.dense.uper_head import UPerHead
from suite.flops.closed_form import dense
from suite.flops.counters import count_with_fvcore, count_with_torch

SIZES = {
    "plainmamba_l1": (192, 24, 1),
    "plainmamba_l2": (384, 24, 2),
    "plainmamba_l3": (448, 36, 2),
}
NARROW: dict[str, Any] = {"dim": 8, "depth": 4, "channels": 8, "classes": 5}
SMALL = NARROW | {"states": 3, "image_size": 20, "patch": 4}


def moved(model: torch.nn.Module, by: float = 0.2) -> None:
    """Every parameter and statistic moved, so that mistakes show; little where sums are long."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in (*model.parameters(), *(b for b in model.buffers() if b.is_floating_point())):
            noise = torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)
            tensor.add_(noise.abs(), alpha=by)


def by_loops(state: dict[str, Tensor], image: Tensor, depth: int, patch: int) -> Tensor:
    sides = (image.shape[1] // patch, image.shape[2] // patch)
    # from the table as it was trained, by the release's own function
    table = state["backbone.pos_embed"][0]
    old = round(len(table) ** 0.5)
    grid = table.T.reshape(1, -1, old, old)
    fitted = functional.interpolate(grid, sides, mode="bicubic", align_corners=False)
    state = {**state, "backbone.pos_embed": fitted.flatten(2).transpose(1, 2)}
    maps = []
    for layer, tokens in enumerate(plain_body.layers(state, image, patch, depth)):
        if (layer + 1) % (depth // 4) == 0:
            last = layer + 1 == depth
            norm = "backbone.ln1" if last else f"backbone.norm_layer{layer}"
            normed = plain_body.layer_norm(tokens, state, norm, 1e-6)
            maps.append(normed.T.reshape(-1, *sides))
    return straight_line.upernet(state, maps)


def by_loops_in_stages(state: dict[str, Tensor], image: Tensor, depths: tuple[int, ...]) -> Tensor:
    body = {key.removeprefix("backbone."): value for key, value in state.items()}
    maps = []
    for stage, x in enumerate(staged_body.stages(body, image, depths)):
        normed = staged_body.layer_norm(x, body, f"outnorm{stage}")
        maps.append(normed.permute(2, 0, 1))
    for axis in (1, 2):
        cells = [-(-image.shape[axis] // (4 * 2**stage)) for stage in range(4)]
        assert [features.shape[axis] for features in maps] == cells
    return straight_line.upernet(state, maps)


@pytest.mark.parametrize("name", ["plainmamba_l1", "plainmamba_l2"])
def test_logits_are_those_of_plain_loops(name: str) -> None:
    model = create_model(f"{name}_upernet", kernel="reference", **SMALL).double()
    moved(model)
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(2, 3, 20, 20, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        logits = model(images)
        assert logits.shape == (2, 5, 5, 5)
        state = model.state_dict()
        expected = torch.stack([by_loops(state, image, 4, 4) for image in images])
    assert float(expected.std()) > 0.1
    torch.testing.assert_close(logits, expected, atol=1e-9, rtol=0)


@pytest.mark.parametrize("sides", [(20, 32), (24, 16)])
def test_whole_pictures_are_rectangles(sides: tuple[int, int]) -> None:
    model = create_model("plainmamba_l1_upernet", kernel="reference", **SMALL, table=4).double()
    moved(model)
    image = torch.randn(3, *sides, dtype=torch.float64)
    with torch.no_grad():
        expected = by_loops(model.state_dict(), image, 4, 4)
        on_picture = model.on_rectangle(*sides)
        torch.testing.assert_close(on_picture(image[None])[0], expected, atol=1e-9, rtol=1e-9)
    shape = on_picture.describe()
    assert (shape.rectangle, shape.side) == ((sides[0] // 4, sides[1] // 4), None)
    check_counters(on_picture, sides)


# at 30 the stem rounds up, and so does a halving
@pytest.mark.parametrize("sides", [(28, 40), (30, 23)])
def test_whole_pictures_are_rectangles_in_stages(sides: tuple[int, int]) -> None:
    model = create_model("vmamba_small_upernet", kernel="reference", **SMALL_STAGED).double()
    moved(model)
    image = torch.randn(3, *sides, dtype=torch.float64)
    with torch.no_grad():
        expected = by_loops_in_stages(model.state_dict(), image, (1, 1, 2, 1))
        on_picture = model.on_rectangle(*sides)
        torch.testing.assert_close(on_picture(image[None])[0], expected, atol=1e-9, rtol=1e-9)
    assert on_picture.describe().rectangles[0] == (-(-sides[0] // 4), -(-sides[1] // 4))


def check_counters(model: Backbone, sides: tuple[int, int]) -> None:
    model = model.float()
    images = torch.zeros(1, 3, *sides)
    closed = dense(model.describe())
    for counted in (
        count_with_torch(lambda: model(images)),
        count_with_fvcore(model, images, module=model),
    ):
        assert (counted.gemm, counted.conv) == (closed.gemm, closed.conv)


def test_both_counters_agree_with_the_closed_form_on_a_rectangle_of_stages() -> None:
    # so that no map has fewer places than products are filled up to
    model = create_model("vmamba_tiny_upernet", kernel="reference", **SMALL_STAGED)
    check_counters(model.on_rectangle(144, 208), (144, 208))


def test_other_backbones_take_squares_alone() -> None:
    with pytest.raises(UserError, match="deit_nano takes squares alone, and whole pictures are"):
        create_model("deit_nano").on_rectangle(56, 84)
    with pytest.raises(UserError, match="takes images of shape"):
        create_model("plainmamba_l1", depth=1).on_rectangle(32, 64)(torch.zeros(1, 3, 32, 32))


@pytest.mark.slow
def test_logits_are_those_of_plain_loops_at_full_width() -> None:
    sizes: dict[str, Any] = {"depth": 4, "image_size": 48, "classes": 150}
    model = create_model("plainmamba_l1_upernet", kernel="reference", **sizes).double()
    moved(model, 0.01)
    image = torch.randn(3, 48, 48, dtype=torch.float64)
    with torch.no_grad():
        expected = by_loops(model.state_dict(), image, 4, 16)
        check_alike(model(image[None])[0], expected)


@pytest.mark.slow
def test_logits_of_stages_are_those_of_plain_loops_at_full_width() -> None:
    sizes: dict[str, Any] = {"early": 1, "third": 1, "last": 1, "image_size": 32}
    model = create_model("vmamba_tiny_upernet", kernel="reference", **sizes).double()
    moved(model, 0.01)
    image = torch.randn(3, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        expected = by_loops_in_stages(model.state_dict(), image, (1, 1, 1, 1))
        check_alike(model(image[None])[0], expected)


def check_alike(logits: Tensor, expected: Tensor) -> None:
    """Equal to nine digits, over all places, which differ."""
    assert float(expected.std(dim=(1, 2)).min()) > 1e-6 * float(expected.abs().max())
    error = (logits - expected).abs().max() / expected.abs().max()
    assert float(error) < 1e-9


@pytest.mark.parametrize("name", SIZES)
def test_names_and_shapes_are_the_published_ones(name: str) -> None:
    model = without_weights(f"{name}_upernet")
    assert isinstance(model, Segmenter)
    shapes = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    assert shapes == upernet(*SIZES[name])
    assert (model.inference, model.multiple) == ("whole", 32)
    assert (model.image_size, model.describe().classes, model.describe().side) == (512, 150, 32)
    depth = SIZES[name][1]
    assert model.levels == (depth // 4, depth // 2, 3 * depth // 4, depth)


@pytest.mark.parametrize("name", SIZES)
def test_a_made_up_file_in_the_published_layout_loads(tmp_path: Path, name: str) -> None:
    convs = SIZES[name][2]
    weights = drawn(upernet(8, 4, convs, 8) | auxiliary(8, 6), 1)
    for key, tensor in weights.items():
        if key.endswith("running_var"):
            tensor.abs_()
    path = tmp_path / f"{name[-2:]}_upernet.pth"
    torch.save({"meta": {"iter": 160000}, "state_dict": weights}, path)
    (row,) = files_of(f"{name}_upernet")
    assert (row.file, row.layout, row.task) == (path.name, "state_dict", "segmentation")
    # without the classes the head is that of the file
    sizes = NARROW | {"classes": 150, "image_size": 32}
    model = create_model(f"{name}_upernet", str(path), kernel="reference", **sizes)
    provenance = model.provenance
    assert provenance is not None
    assert provenance.adapted == ("the auxiliary head, for training alone, is left out",)
    for key, tensor in model.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            assert torch.equal(tensor, weights[key]), key
    images = torch.randn(1, 3, 32, 32)
    assert model(images).shape == (1, 150, 2, 2)
    with pytest.raises(UserError, match="another shape"):
        create_model(f"{name}_upernet", str(path), **(sizes | {"classes": 7}))


STAGED = {
    "vmamba_tiny": (96, 8, 1),
    "vmamba_small": (96, 15, 2),
    "vmamba_base": (128, 15, 2),
}
SMALL_STAGED: dict[str, Any] = {
    "dim": 4,
    "early": 1,
    "third": 2,
    "last": 1,
    "channels": 8,
    "classes": 5,
    "image_size": 28,
}


def test_logits_of_stages_are_those_of_plain_loops() -> None:
    model = create_model("vmamba_small_upernet", kernel="reference", **SMALL_STAGED).double()
    moved(model)
    images = torch.randn(2, 3, 28, 28, dtype=torch.float64)
    with torch.no_grad():
        logits = model(images)
        assert logits.shape == (2, 5, 7, 7)
        state = model.state_dict()
        for row, image in enumerate(images):
            expected = by_loops_in_stages(state, image, (1, 1, 2, 1))
            torch.testing.assert_close(logits[row], expected, atol=1e-9, rtol=1e-12)


@pytest.mark.parametrize("name", STAGED)
def test_names_and_shapes_of_stages_are_the_published_ones(name: str) -> None:
    model = without_weights(f"{name}_upernet")
    assert isinstance(model, Segmenter)
    shapes = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    assert shapes == staged_upernet(*STAGED[name])
    assert (model.image_size, model.describe().classes) == (512, 150)
    assert (model.inference, model.multiple) == ("whole", 1)
    third = STAGED[name][1]
    assert model.levels == (4, 8, 8 + 2 * third, 12 + 2 * third)


def test_a_made_up_file_of_stages_loads(tmp_path: Path) -> None:
    weights = drawn(staged_upernet(16, 2, 1, 8) | auxiliary(16, 6), 1)
    for key, tensor in weights.items():
        if key.endswith("running_var"):
            tensor.abs_()
    (row,) = files_of("vmamba_tiny_upernet")
    path = tmp_path / row.file
    torch.save({"meta": {"iter": 160000}, "state_dict": weights, "optimizer": {}}, path)
    sizes: dict[str, Any] = {"dim": 16, "third": 2, "channels": 8, "image_size": 32}
    model = create_model("vmamba_tiny_upernet", str(path), kernel="reference", **sizes)
    for key, tensor in model.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            assert torch.equal(tensor, weights[key]), key
    assert model(torch.randn(1, 3, 32, 32)).shape == (1, 150, 8, 8)


def test_both_counters_agree_with_the_closed_form_in_stages() -> None:
    # so that no map has fewer places than products are filled up to
    sizes = SMALL_STAGED | {"image_size": 144, "channels": 8}
    model = create_model("vmamba_tiny_upernet", kernel="reference", **sizes)
    check_counters(model, (144, 144))


def test_both_counters_agree_with_the_closed_form_on_an_odd_grid() -> None:
    model = create_model("plainmamba_l1_upernet", kernel="reference", **SMALL)
    check_counters(model, (20, 20))


def test_levels_of_several_resolutions_are_joined_at_that_of_the_first() -> None:
    torch.manual_seed(0)
    head = UPerHead([4, 5, 6], 3, channels=7).double().eval()
    moved(head)
    maps = [torch.randn(1, c, s, s + 1, dtype=torch.float64) for c, s in ((4, 7), (5, 4), (6, 3))]
    state = {f"decode_head.{key}": tensor for key, tensor in head.state_dict().items()}
    with torch.no_grad():
        expected = straight_line.upernet(state, [features[0] for features in maps])
        torch.testing.assert_close(head(maps)[0], expected, atol=1e-9, rtol=0)
    counted = count_with_torch(lambda: head(maps))
    work = head.work([(7, 8), (4, 5), (3, 4)])
    assert (counted.gemm, counted.conv) == (work.gemm, work.conv)


def test_an_image_does_not_depend_on_its_batch() -> None:
    model = create_model("plainmamba_l1_upernet", **SMALL)
    moved(model)
    images = torch.randn(3, 3, 20, 20)
    with torch.inference_mode():
        whole = model(images)
        for row in range(3):
            assert torch.equal(model(images[row : row + 1])[0], whole[row])
