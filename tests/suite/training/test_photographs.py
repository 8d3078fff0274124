"""Training on Tiny-ImageNet in Parquet, end to end on fabricated files."""

import hashlib
import json
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from backbones import BACKBONES, create_model
from backbones.common.errors import UserError
from backbones.models.sizes import MambaConfig
from backbones.models.vim import Vim
from backbones.preprocessing import WHOLE
from suite.cli import run as run_cli
from suite.data import open_dataset
from suite.training import images as training
from suite.training.augment import Augmentation
from suite.training.batches import Batches
from suite.training.distributed import ProcessGroup
from suite.training.images import DecodedImages, decode_all
from suite.training.loop import Trainer
from suite.training.recipes import RECIPES, Phase, Recipe

NOISE = np.random.default_rng(0).integers(0, 64, (64, 64, 3))
RECIPE = Recipe(
    backbone="vim_sprig",
    dataset="tiny-imagenet-50",
    phases=(Phase(32, 1), Phase(64, 2)),
    batch=24,
    learning_rate=1e-2,
    warmup_epochs=1.0,
    horizontal_flip=True,
    label_smoothing=0.1,
    augmentation=Augmentation(
        smallest_crop=0.5, operations=1, erasing=0.2, mixup=0.2, cutmix=1.0, mixed=0.5
    ),
    drop_path=0.3,
    precision="bf16",
    stored="fp16",
)


def vim_sprig(**overrides: Any) -> Vim:
    """Three narrow blocks over 4 x 4 patches of 64 x 64 pixels."""
    settings = {
        "dim": 16,
        "depth": 3,
        "states": 4,
        "image_size": 64,
        "patch": 16,
        "stride": 16,
        "classes": 50,
    }
    model = Vim("vim_sprig", MambaConfig(**(settings | overrides)))
    model.preprocessing = WHOLE
    return model


def write(path: Path, labels: list[int]) -> None:
    cells = []
    for number, label in enumerate(labels):
        pixels = NOISE + np.array([label, number % 190, 190 - label])
        buffer = BytesIO()
        Image.fromarray(pixels.astype(np.uint8)).save(buffer, "JPEG")
        cells.append({"bytes": buffer.getvalue(), "path": f"{number}.jpeg"})
    pq.write_table(pa.table({"image": cells, "label": labels}), path, row_group_size=100)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four training images of a class, shuffled, and one validation image."""
    place = tmp_path_factory.mktemp("tiny")
    write(
        place / "train-0-of-1.parquet",
        np.random.default_rng(0).permutation(np.arange(800) % 200).tolist(),
    )
    write(place / "valid.parquet", list(range(200)))
    return place


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKBONES._added, "vim_sprig", vim_sprig)
    monkeypatch.setitem(RECIPES, "sprig", RECIPE)


def test_pictures_are_decoded_once(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = open_dataset(f"tiny-imagenet-50:{folder}", "dev")
    first = decode_all(data, tmp_path)
    assert [path.suffix for path in tmp_path.iterdir()] == [".npy"]
    for index in range(len(data)):
        assert np.array_equal(first.render(np.array([index]))[0], data.image(index))
    monkeypatch.setattr(data, "image", None)
    again = decode_all(data, tmp_path)
    assert np.array_equal(first.pixels, again.pixels)
    assert np.array_equal(again.labels, data.labels)


def test_pictures_of_several_sizes_are_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = open_dataset(f"tiny-imagenet-50:{folder}", "dev")
    monkeypatch.setattr(data, "image", lambda index: np.zeros((64 + index % 2, 64, 3), np.uint8))
    with pytest.raises(UserError, match="of 2 sizes: training takes those of one size"):
        decode_all(data)


def noise(count: int) -> DecodedImages:
    pixels = np.random.default_rng(1).integers(0, 256, (count, 64, 64, 3), dtype=np.uint8)
    return DecodedImages(pixels, np.arange(count) % 50, (0.5,) * 3, (0.2,) * 3)


def test_an_epoch_is_augmented_anew_and_can_be_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    # It must not set back the generators of GPUs, which draw for the training itself.
    monkeypatch.delattr("torch.cuda.manual_seed_all")
    data, state = noise(48), torch.get_rng_state()
    made = [Batches(data, RECIPE, ProcessGroup())[epoch, 1] for epoch in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(made[0][0], made[1][0])
    assert not torch.equal(made[0][0], made[2][0])
    plain = replace(RECIPE, augmentation=Augmentation(), horizontal_flip=False)
    batches = Batches(data, plain, ProcessGroup())
    images, labels = batches[0, 0]
    assert np.array_equal(images.permute(0, 2, 3, 1).numpy(), data.pixels[batches.order(0)[0]])
    assert np.array_equal(labels.numpy(), data.labels[batches.order(0)[0]])


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_run_that_draws_ends_in_the_same_weights_when_cut(tmp_path: Path, workers: int) -> None:
    def trainer(place: str, number: int) -> Trainer:
        torch.manual_seed(number)  # what was drawn before must not matter
        return Trainer(RECIPE, noise(48), tmp_path / place, "cpu", number, "auto")

    whole = trainer("whole", workers)
    assert whole.run(lambda figures: None)
    for _ in range(2):
        assert not trainer("cut", 0).run(lambda figures: None, max_seconds=0)
    last = trainer("cut", 0)
    assert last.run(lambda figures: None)
    assert last.done.step == 6
    assert all(torch.equal(tensor, last.ema[name]) for name, tensor in whole.ema.items())


def test_from_files_to_a_comparison(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    line = ["train", "--recipe", "sprig", "--out", str(out), "--device", "cpu", "--workers", "0"]
    assert run_cli(line) == 2
    assert "name the folder of its Parquet files with --source" in capsys.readouterr().err
    line += ["--source", str(folder)]
    assert run_cli([*line, "--max-minutes", "0.0000001"]) == 0
    assert "stopped after epoch 1 of 3" in capsys.readouterr().out
    assert run_cli([*line, "--final"]) == 0
    file = out / "vim_sprig.safetensors"
    stored = load_file(file)
    averaged = load_file(out / "state.safetensors")
    assert all(
        torch.equal(tensor, averaged[f"ema.{name}"].half()) for name, tensor in stored.items()
    )
    model = create_model("vim_sprig", str(file))
    data = open_dataset(f"tiny-imagenet-50:{folder}")
    with torch.no_grad():
        logits = model(torch.from_numpy(data.samples(np.arange(50), 64)))
    top1 = float((logits.argmax(1).numpy() == data.labels).mean())
    card = (out / "vim_sprig.md").read_text("utf-8")
    assert f"| valid | 50 | {100 * top1:.2f} % |" in card
    assert f"| dev | {len(open_dataset(f'tiny-imagenet-50:{folder}', 'dev'))} |" in card
    assert "`valid` was read once" in card
    assert "averaged weights, fp16" in card
    assert f"SHA-256 of the file: `{hashlib.sha256(file.read_bytes()).hexdigest()}`" in card
    assert "by `python -m suite train --recipe sprig`" in card
    assert "| augmentation | smallest_crop 0.5, operations 1," in card
    compare = [
        "compare",
        "--backbones",
        "vim_sprig",
        "--checkpoint",
        str(file),
        "--methods",
        "mtr",
        "--budgets",
        "0.202",  # what one token less at every site removes
    ]
    compare += [
        "--data",
        f"tiny-imagenet-50:{folder}",
        "--images",
        "all",
        "--no-baselines",
        "--no-across-schedules",
        "--gallery",
        "0",
        "--device",
        "cpu",
    ]
    capsys.readouterr()
    assert (
        run_cli(
            [*compare, "--runs", str(tmp_path / "runs"), "--no-report", "--threads", "1", "--json"]
        )
        == 0
    )
    cells = json.loads(capsys.readouterr().out)["cells"]
    dense = next(cell for cell in cells if cell["method"] == "none")
    assert dense["metrics"]["top1"] == pytest.approx(top1)


def test_another_seed_is_another_training(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(RECIPES, "sprig", replace(RECIPE, phases=(Phase(64, 1),)))
    monkeypatch.chdir(tmp_path)
    line = ["train", "--recipe", "sprig", "--device", "cpu", "--workers", "0"]
    line += ["--source", str(folder)]
    for more in ([], ["--seed", "0", "--out", "again"], ["--seed", "1"]):
        assert run_cli([*line, *more]) == 0
    first, again, second = (
        load_file(tmp_path / place / "vim_sprig.safetensors")
        for place in ("runs/train-sprig", "again", "runs/train-sprig-seed1")
    )
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.items())
    head = "head.weight"
    assert not torch.equal(first[head], second[head])
    # Nothing of one is in the other: neither the drawn weights nor the batches.
    assert (
        abs(float(torch.corrcoef(torch.stack([first[head], second[head]]).flatten(1))[0, 1])) < 0.5
    )
    card = (tmp_path / "runs/train-sprig-seed1/vim_sprig.md").read_text("utf-8")
    assert "by `python -m suite train --recipe sprig --seed 1`" in card
    assert "Seed 1." in card
    capsys.readouterr()
    # A state is not resumed under another seed, and images of one's own have none.
    assert run_cli([*line, "--seed", "1", "--out", "again"]) == 2
    assert run_cli(["train", "--backbone", "vim_sprig", "--data", "x:y", "--seed", "1"]) == 2
    assert "--seed is for --recipe: leave it out" in capsys.readouterr().err


def test_the_held_out_recipe_sees_one_size() -> None:
    plan = RECIPES["vim_nano_64_full"]
    assert isinstance(plan, Recipe)
    sizes = {phase.image_size for phase in plan.phases}
    assert sizes == {create_model(plan.backbone).image_size} == {64}


@pytest.mark.gpu
def test_training_in_bf16_follows_that_in_fp32(tmp_path: Path) -> None:
    def losses(precision: str) -> list[float]:
        plan = replace(RECIPE, precision=precision, learning_rate=1e-3, phases=(Phase(64, 4),))
        seen: list[float] = []
        one = Trainer(plan, noise(240), tmp_path / precision, "cuda", 0, "triton")
        one.run(lambda figures: seen.append(figures["loss"]))
        assert {parameter.dtype for parameter in one.model.parameters()} == {torch.float32}
        return seen

    assert losses("bf16") == pytest.approx(losses("fp32"), rel=0.02)


def test_the_same_weights_on_plain_parquet(folder: Path, tmp_path: Path) -> None:
    """A head of all 200 classes reads `parquet:` as it reads `tiny-imagenet:`."""
    model = create_model("vim_sprig", classes=200)
    one, other = (
        open_dataset(f"{name}:{folder}", "valid")
        .prepared_as(model.preprocessing)
        .samples(np.arange(8), 64)
        for name in ("parquet", "tiny-imagenet")
    )
    assert np.array_equal(one, other)


@pytest.mark.parametrize(
    "name", ["vim_tiny_64", "vim_tiny_64_full", "vim_nano_64", "vim_nano_64_full"]
)
def test_recipes_name_what_there_is(name: str) -> None:
    plan = RECIPES[name]
    model = create_model(plan.backbone)
    classes = {"tiny-imagenet": 200, "tiny-imagenet-50": 50}[plan.dataset]
    assert model.describe().classes == classes
    assert plan.phases[-1].image_size == model.image_size
    assert plan.dataset in training.FINAL
    assert sum(parameter.numel() for parameter in model.parameters()) * 2 < 16 << 20
