"""Every published file: one of its layout is made up, found in the hub's cache, and loaded."""

import hashlib
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from made_up_files import NARROW, drawn, made_up, narrow
from published_layouts import Table, class_token, published, registers, video
from safetensors.torch import save_file
from torch import Tensor

from backbones import BACKBONES, create_model
from backbones.checkpoints.published import (
    PublishedFile,
    card_scores,
    files_of,
    published_file,
    published_files,
    usual_preprocessing,
)
from backbones.common.errors import UserError
from backbones.layers.positions import interpolate_pos_embed, resample_frames, resample_positions
from backbones.models.sizes import FAMILIES, SEGMENTERS, UPERNETS

# those of UPerNet, whose positions are resampled, have a test of their own
HUB = [
    row
    for row in published_files()
    if row.source.startswith("hf://") and row.backbone not in UPERNETS
]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, and no network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path


def in_cache(cache: Path, row: PublishedFile, content: dict[str, Any]) -> Path:
    """Put a file into the hub's cache as its client does."""
    # the content under its SHA-256, a link to it under its name
    match = re.fullmatch(r"hf://([^/]+/[^/]+)/(.+)", row.source)
    assert match is not None
    repo, file = match.groups()
    root = cache / f"models--{repo.replace('/', '--')}"
    made = cache / "made"
    if file.endswith(".safetensors"):
        save_file(content, made)
    else:
        torch.save(content, made)
    blob = root / "blobs" / hashlib.sha256(made.read_bytes()).hexdigest()
    link = root / "snapshots" / ("0" * 40) / file
    for folder in (blob.parent, link.parent, root / "refs"):
        folder.mkdir(parents=True, exist_ok=True)
    made.rename(blob)
    link.symlink_to(blob)
    (root / "refs" / "main").write_text("0" * 40)
    return blob


def test_only_backbones_of_our_own_making_have_no_published_layout() -> None:
    registered = [name for configs in FAMILIES.values() for name in configs]
    assert {name for name in registered if published(name) is None} == {
        "vim_nano",
        "vim_pico",
        "videomamba_nano",
        "deit_nano",
        "vim_tiny_64",
        "vim_tiny_64_full",
        "vim_nano_64",
        "adventurer_nano",
        "vmamba_nano",
        *SEGMENTERS,
    }


RELEASED = [
    row
    for row in published_files()
    if row.source.startswith("https://github.com/") and row.backbone not in UPERNETS
]
BUNDLED = [row for row in published_files() if row.source == "bundled"]


def test_every_file_is_of_the_hub_or_a_release_or_bundled() -> None:
    others = len(BUNDLED) + len(RELEASED) + len(UPERNETS)
    assert len(HUB) + others == len(published_files())


@pytest.mark.parametrize("name", sorted({row.backbone for row in BUNDLED}))
def test_bundled_weights_load(name: str) -> None:
    assert create_model(name, "bundled").provenance is not None


@pytest.mark.parametrize("row", HUB, ids=lambda row: row.file)
def test_a_file_of_each_published_layout_is_found_in_the_cache_and_loaded(
    cache: Path, row: PublishedFile
) -> None:
    content, expected = made_up(row)
    blob = in_cache(cache, row, content)
    model = create_model(row.backbone, row.source, **narrow(row.backbone))
    state = model.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in expected.items())
    assert model.describe().classes == row.classes
    assert model.preprocessing == row.preprocessing
    result = model.provenance
    assert result is not None
    assert (result.source, result.branch, result.sha256, result.adapted) == (
        row.source,
        row.layout,
        blob.name,
        (),
    )


@pytest.mark.parametrize("row", RELEASED, ids=lambda row: row.file)
def test_a_file_of_a_release_is_found_where_torch_keeps_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row: PublishedFile
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    path = tmp_path / "hub" / "checkpoints" / row.file
    with pytest.raises(UserError, match=f"network cannot be used: .*{path}"):
        create_model(row.backbone, row.source, **narrow(row.backbone))
    content, expected = made_up(row)
    path.parent.mkdir(parents=True)
    torch.save(content, path)
    state = create_model(row.backbone, row.source, **narrow(row.backbone)).state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in expected.items())


def test_every_large_backbone_has_its_published_file() -> None:
    lacking = {name for name in BACKBONES if not files_of(name)}
    assert lacking <= {
        "mambareg_tiny",
        "vim_tiny_64",
        "vim_tiny_64_full",
        "vim_nano_64",
        "vmamba_nano",
    }  # never published; trained by recipes


def test_official_is_the_file_of_the_settings_and_the_data() -> None:
    assert published_file("vim_tiny").file == "vim_t_midclstok_76p1acc.pth"
    assert (
        published_file("videomamba_small[image_size=576]").file
        == "videomamba_s16_in1k_res224to448to576.pth"
    )
    clip = "videomamba_middle_video[image_size=384, frames=64]"
    assert published_file(clip).file == "videomamba_m16_k400_f64_res224to384.pth"
    assert (
        published_file("videomamba_tiny_video", "something-something-v2").file
        == "videomamba_t16_ssv2_f8_res224.pth"
    )
    with pytest.raises(
        UserError, match=r"no checkpoint of vim_tiny\[image_size=448\].*published is vim_tiny$"
    ):
        published_file("vim_tiny[image_size=448]")
    with pytest.raises(UserError, match="no checkpoint of mambareg_tiny is published: give a file"):
        published_file("mambareg_tiny")


def test_the_word_official_loads_that_file(cache: Path) -> None:
    row = published_file("vim_base")
    content, expected = made_up(row)
    in_cache(cache, row, content)
    model = create_model("vim_base", "official", **NARROW)
    assert torch.equal(model.state_dict()["cls_token"], expected["cls_token"])
    assert model.provenance is not None
    assert model.provenance.source == row.source


def test_a_damaged_file_in_the_cache_is_refused(cache: Path) -> None:
    row = published_file("vim_tiny")
    blob = in_cache(cache, row, made_up(row)[0])
    content = bytearray(blob.read_bytes())
    content[len(content) // 2] ^= 1
    blob.write_bytes(content)
    with pytest.raises(UserError, match="damaged in the hub's cache"):
        create_model("vim_tiny", row.source, **NARROW)


def test_preprocessing_is_the_published_one() -> None:
    assert usual_preprocessing("mambareg_base").crop == 1.0
    assert usual_preprocessing("adventurer_base").crop == 0.875
    assert usual_preprocessing("adventurer_base[weighted=false]").crop == 0.875
    assert usual_preprocessing("adventurer_base[image_size=448]").crop == 1.0
    assert usual_preprocessing("adventurer_base[image_size=448, weighted=true]").crop == 1.0
    assert create_model("adventurer_base", image_size=384, depth=1).preprocessing.crop == 1.0
    assert usual_preprocessing("videomamba_tiny").crop == 0.875
    assert usual_preprocessing("vit_small").mean == (0.5, 0.5, 0.5)
    assert create_model("vim_nano").preprocessing.text == "crop 0.875 bicubic"


def test_bundled_weights_are_known_by_their_cards() -> None:
    assert {(row.split, row.top1) for row in files_of("vim_nano")} == {
        ("dev", 92.92),
        ("test", 91.97),
    }


def test_a_card_says_of_which_data_its_weights_are() -> None:
    card = "# small\n\nTrained on `tiny-imagenet-50` by a recipe\n\n| dev | 1,250 | 40.08 % |\n"
    card += "| valid | 2,500 | 39.12 % |\n"
    rows = list(card_scores("small", card))
    assert [(row.data, row.split, row.top1, row.classes) for row in rows] == [
        ("tiny-imagenet-50", "dev", 40.08, 50),
        ("tiny-imagenet-50", "valid", 39.12, 50),
    ]
    assert {row.preprocessing.crop for row in rows} == {1.0}
    assert list(card_scores("small", card.replace("tiny-imagenet-50", "another"))) == []


def saved(path: Path, table: Table) -> tuple[str, dict[str, Tensor]]:
    state = drawn(table, 3)
    torch.save({"model": state}, path)
    return str(path), state


@pytest.mark.parametrize(("name", "old", "new"), [("vim_tiny", 98, 18), ("videomamba_tiny", 0, 0)])
def test_another_image_size_resamples_positions_and_spares_the_class_token(
    tmp_path: Path, name: str, old: int, new: int
) -> None:
    path, state = saved(tmp_path / "c.pth", class_token(16, 1))
    model = create_model(f"{name}[image_size=96]", path, **NARROW)
    expected = interpolate_pos_embed(state["pos_embed"], old, (14, 14), new, (6, 6))
    assert torch.equal(model.get_parameter("pos_embed"), expected)
    assert torch.equal(model.get_parameter("pos_embed")[0, new], state["pos_embed"][0, old])
    assert model.provenance is not None
    assert model.provenance.adapted == ("positions resampled from 197 tokens to 37",)
    with pytest.raises(
        UserError, match="positions for 37 tokens, the model for 197"
    ):  # nobody asked for another size
        create_model(
            name,
            saved(tmp_path / "d.pth", class_token(16, 1) | {"pos_embed": (1, 37, 16)})[0],
            **NARROW,
        )


def test_registers_have_no_place_in_resampled_positions(tmp_path: Path) -> None:
    path, state = saved(tmp_path / "c.pth", registers(16, 1, 4, 1))
    model = create_model("mambareg_tiny", path, image_size=64, registers=4, **NARROW)
    assert torch.equal(
        model.get_parameter("pos_embed"), resample_positions(state["pos_embed"], (14, 14), (4, 4))
    )
    assert torch.equal(model.get_parameter("pos_embed_cls"), state["pos_embed_cls"])


def test_a_video_model_begins_from_an_image_model(tmp_path: Path) -> None:
    path, state = saved(tmp_path / "c.pth", class_token(16, 1))
    with pytest.raises(
        UserError,
        match=r"no head .*'videomamba_tiny_video\[dim=16,depth=1,classes=N\]' \(in Python: num_",
    ):
        create_model("videomamba_tiny_video", path, **NARROW)
    model = create_model("videomamba_tiny_video", path, num_classes=5, **NARROW)
    result = model.state_dict()
    assert torch.equal(result["patch_embed.proj.weight"][:, :, 0], state["patch_embed.proj.weight"])
    assert not bool(result["temporal_pos_embedding"].any())
    assert result["head.weight"].shape == (5, 16)
    assert torch.equal(result["layers.0.mixer.D_b"], state["layers.0.mixer.D_b"])
    assert model.provenance is not None
    assert model.provenance.adapted == ("begun from an image model",)
    assert model.provenance.made_up == ("temporal_pos_embedding (zeros)", "head (random)")


def test_another_number_of_frames_resamples_theirs(tmp_path: Path) -> None:
    path, state = saved(tmp_path / "c.pth", video(16, 1, 8))
    model = create_model("videomamba_tiny_video[frames=16]", path, **NARROW)
    result = model.get_parameter("temporal_pos_embedding")
    assert torch.equal(result, resample_frames(state["temporal_pos_embedding"], 16))
    # twice as many frames: each old one lies between two new ones, a quarter of a step from both
    middle = (result[0, 2] + result[0, 3]) / 2
    weights = torch.tensor([0.125, 0.75, 0.125])[:, None]
    torch.testing.assert_close(middle, (weights * state["temporal_pos_embedding"][0, 0:3]).sum(0))
    with pytest.raises(UserError, match="temporal_pos_embedding"):
        create_model(
            "videomamba_tiny_video", saved(tmp_path / "d.pth", video(16, 1, 4))[0], **NARROW
        )


def test_weights_without_a_head_begin_a_new_one_if_asked(tmp_path: Path) -> None:
    table = {
        name: shape for name, shape in class_token(16, 1).items() if not name.startswith("head")
    }
    path, _ = saved(tmp_path / "c.pth", table)
    with pytest.raises(UserError, match="no head"):
        create_model("vim_tiny", path, **NARROW)
    model = create_model("vim_tiny", path, num_classes=3, **NARROW)
    assert model.provenance is not None
    assert model.provenance.made_up == ("head (random)",)


def test_the_head_has_as_many_classes_as_the_weights_unless_asked(tmp_path: Path) -> None:
    path, _ = saved(
        tmp_path / "c.pth", class_token(16, 1) | {"head.weight": (7, 16), "head.bias": (7,)}
    )
    assert create_model("vim_tiny", path, **NARROW).describe().classes == 7
    with pytest.raises(UserError, match=r"9 classes asked for: .*num_classes=7"):
        create_model("vim_tiny", path, num_classes=9, **NARROW)


@pytest.mark.parametrize(
    "text", ["vim_nano[depth=]", "vim_nano[depth=1,depth=2]", "vim_nano]", "vim_nano[depth=two]"]
)
def test_malformed_settings_are_refused_in_one_line(text: str) -> None:
    with pytest.raises(UserError) as error:
        create_model(text)
    assert "\n" not in str(error.value)


def test_settings_in_brackets_are_those_of_the_configuration() -> None:
    model = create_model("videomamba_nano[depth=2, image_size=28]")
    assert (model.depth, model.image_size, model.describe().patches) == (2, 28, 49)
