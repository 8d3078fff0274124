"""`train` on a user's images: from a folder to a comparison, to the bit when cut, one line when wrong."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from backbones import BACKBONES, create_model
from backbones.models.sizes import MambaConfig
from backbones.models.vim import Vim
from suite.cli import run as run_cli
from suite.data import open_dataset
from suite.data.trained_on import hashes, training_of

Out = pytest.CaptureFixture[str]
SMALL = {"dim": 16, "depth": 2, "states": 4, "image_size": 16, "patch": 4, "stride": 4}


def vim_sprout(**overrides: Any) -> Vim:
    """Two narrow blocks over 4 x 4 patches."""
    return Vim("vim_sprout", MambaConfig(**({**SMALL, "classes": 10} | overrides)))


@pytest.fixture(autouse=True)
def _scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backbone with weights for ten classes in a file, and a folder to work in."""
    monkeypatch.setitem(BACKBONES._added, "vim_sprout", vim_sprout)
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(3)
    save_file(vim_sprout().state_dict(), tmp_path / "ten.safetensors")


def draw(folder: Path, counts: dict[str, int], start: int = 0) -> None:
    """Pictures of any size, each class of a brightness of its own."""
    for number, (name, count) in enumerate(sorted(counts.items())):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            rng = np.random.default_rng([start, number, index])
            height, width = rng.integers(20, 30, 2)
            pixels = rng.integers(0, 90, (height, width, 3)) + 80 * number
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{index}.png")


def line(*more: str, out: str = "my.safetensors", data: str = "photos") -> list[str]:
    return [
        *("train", "--backbone", "vim_sprout[weights=ten.safetensors]", "--data"),
        *(f"imagefolder:{data}", "--out", out, "--device", "cpu", "--workers", "0", *more),
    ]


def test_from_a_folder_to_a_comparison_without_training_images(tmp_path: Path, capsys: Out) -> None:
    draw(tmp_path / "photos", {"day": 10, "dusk": 11, "night": 5})
    assert run_cli(line("--epochs", "2")) == 0
    out = capsys.readouterr().out
    assert "the data have no splits: trains on 21 images, 5 are held out" in out
    assert "with a new head of 3 classes" in out
    assert re.search(r"2 epochs of 2 steps of 8 images at 16 px: about \d+ s", out)
    assert out.count("note: an epoch leaves out 5 images, which fill no batch of 8, others") == 1
    top1 = float(re.search(r"top-1: ([\d.]+) % of the 5 images held out", out)[1])
    command = out.splitlines()[-1].partition(": ")[2]
    assert command == (
        "python -m suite compare --backbones 'vim_sprout[weights=my.safetensors]' "
        "--data imagefolder:photos"
    )
    assert not (tmp_path / "my.training").exists()
    card = (tmp_path / "my.md").read_text("utf-8")
    assert f"| a part | 5 | {top1:.2f} % |" in card
    assert "Classes: 0 day, 1 dusk, 2 night." in card
    assert command in card
    compare = [
        *("compare", "--backbones", "vim_sprout[weights=my.safetensors]", "--data"),
        *("imagefolder:photos", "--methods", "mtr", "--budgets", "0.195", "--no-baselines"),
        *("--no-across-schedules", "--no-report", "--gallery", "0", "--json", "--threads", "1"),
    ]
    assert run_cli(compare) == 0
    cells = json.loads(capsys.readouterr().out)["cells"]
    dense = next(cell for cell in cells if cell["method"] == "none")
    assert dense["images"] == 5
    assert dense["metrics"]["top1"] == pytest.approx(top1 / 100)
    assert (dense["backbone"], dense["checkpoint"]) == (
        "vim_sprout[weights=my.safetensors]",
        "my.safetensors",
    )
    assert run_cli([*compare, "--images", "6"]) == 2
    assert "21 of the 26 images are those that the weights" in capsys.readouterr().err
    # Classes of other names are said.
    (tmp_path / "photos/day").rename(tmp_path / "photos/dawn")
    assert run_cli([*(part for part in compare if part != "--json"), "--name", "renamed"]) == 0
    assert "was trained on a class 'day', which the data call 'dawn'" in capsys.readouterr().err
    # Known by their bytes, wherever they lie.
    (tmp_path / "photos").rename(tmp_path / "moved")
    model = create_model("vim_sprout[weights=my.safetensors]")
    training = training_of(model)
    assert training is not None
    assert training.classes == ("day", "dusk", "night")
    data = open_dataset("imagefolder:moved")
    assert sum(known in training.images for known in hashes(data, range(26))) == 21


def test_a_training_that_was_cut_ends_in_the_same_file(tmp_path: Path, capsys: Out) -> None:
    draw(tmp_path / "photos", {"a": 12, "b": 12})
    whole = line("--epochs", "2", "--augment", "strong", "--batch-size", "8")
    assert run_cli(whole) == 0
    cut = line("--epochs", "2", "--augment", "strong", "--batch-size", "8", out="cut.safetensors")
    assert run_cli([*cut, "--max-minutes", "0.000001"]) == 0
    assert "stopped after epoch 1 of 2: run the same command" in capsys.readouterr().out
    # What was drawn meanwhile must not matter, nor a copy of the images elsewhere.
    torch.manual_seed(99)
    assert run_cli(cut) == 0
    assert "goes on after epoch 1 of 2" in capsys.readouterr().out
    assert (tmp_path / "my.safetensors").read_bytes() == (tmp_path / "cut.safetensors").read_bytes()


def test_another_training_in_the_same_place_is_refused(tmp_path: Path, capsys: Out) -> None:
    draw(tmp_path / "photos", {"a": 6, "b": 6})
    stop = ("--epochs", "2", "--max-minutes", "0.000001")
    assert run_cli(line(*stop)) == 0
    assert run_cli(line(*stop, "--lr", "0.1")) == 2
    assert (
        "to other images or weights, or another version of recipe 'vim_sprout'"
        in capsys.readouterr().err
    )
    draw(tmp_path / "photos2", {"a": 6, "b": 6}, start=1)
    assert run_cli(line(*stop, data="photos2")) == 2
    assert "belongs to other images" in capsys.readouterr().err


def test_training_begins_with_all_of_the_weights_but_the_head(tmp_path: Path, capsys: Out) -> None:
    draw(tmp_path / "photos/train", {"a": 6, "b": 6})
    draw(tmp_path / "photos/val", {"a": 2, "b": 2}, start=1)
    shutil.copy(tmp_path / "photos/train/a/0.png", tmp_path / "photos/val/a/copy.png")
    still = ("--epochs", "2", "--lr", "1e-12", "--augment", "none", "--batch-size", "12")
    assert run_cli(line(*still)) == 0
    out = capsys.readouterr().out
    assert "2 epochs of 1 step of 12 images" in out
    assert "leaves out" not in out
    assert "trains on the 12 images of train, held out: 5 of val" in out
    assert "left out of the held-out images: 1 that are trained on, too" in out
    assert "of the 4 images of val" in out
    assert out.rstrip().endswith("--data imagefolder:photos --split val")
    ten, mine = load_file("ten.safetensors"), load_file("my.safetensors")
    for name, tensor in mine.items():
        if name.startswith("head."):
            assert tensor.shape[0] == 2
        else:
            torch.testing.assert_close(tensor, ten[name], rtol=0, atol=1e-6)
    # On the same classes the head is kept as well.
    again = line(*still, out="again.safetensors")
    again[2] = "vim_sprout[weights=my.safetensors]"
    assert run_cli(again) == 0
    assert "with their head for the same classes" in capsys.readouterr().out
    torch.testing.assert_close(
        load_file("again.safetensors")["head.weight"], mine["head.weight"], rtol=0, atol=1e-6
    )


def test_a_backbone_of_a_file_is_trained_from_drawn_weights(tmp_path: Path, capsys: Out) -> None:
    draw(tmp_path / "photos", {"a": 4, "b": 4})
    (tmp_path / "net.py").write_text(
        "from backbones.models.sizes import MambaConfig\n"
        "from backbones.models.vim import Vim\n"
        f"def net(classes=10, image_size=16):\n    small = {SMALL}\n"
        "    small |= dict(classes=classes, image_size=image_size)\n"
        "    return Vim('net', MambaConfig(**small))\n"
    )
    own = line("--epochs", "2", "--image-size", "24")
    own[2] = "net.py:net"
    assert run_cli(own) == 2
    assert "no weights of net.py:net" in capsys.readouterr().err
    assert run_cli([*own, "--from-scratch"]) == 0
    out = capsys.readouterr().out
    assert "begins with drawn weights" in out
    assert "at 24 px" in out
    assert "'net.py:net[image_size=24,weights=my.safetensors]'" in out
    model = create_model("net.py:net[image_size=24,weights=my.safetensors]")
    assert (model.describe().classes, model.image_size) == (2, 24)


UNTRAINABLE = {
    "that is changed in place": (
        "x = torch.exp(super().forward(images)); x.mul_(2); return x",
        r"'net' answers, but cannot be trained \(RuntimeError: .*inplace operation.*gradients",
    ),
    "without a graph": (
        "torch.no_grad().__enter__(); return super().forward(images)",
        "'net' answers, but cannot be trained .*outside torch.no_grad",
    ),
    "that depends on no parameter": (
        "x = super().forward(images).detach(); return x + images.sum().requires_grad_()",
        "no parameter of backbone 'net' has a gradient",
    ),
}


@pytest.mark.parametrize("case", UNTRAINABLE)
def test_a_backbone_that_fails_backward_alone_is_one_line(
    case: str, tmp_path: Path, capsys: Out
) -> None:
    body, problem = UNTRAINABLE[case]
    draw(tmp_path / "photos", {"a": 4, "b": 4})
    (tmp_path / "net.py").write_text(
        "import torch\n"
        "from backbones.models.sizes import MambaConfig\n"
        "from backbones.models.vim import Vim\n"
        "class Net(Vim):\n"
        f"    def forward(self, images):\n        {body}\n"
        "def net(classes=10):\n"
        f"    return Net('net', MambaConfig(**({SMALL} | dict(classes=classes))))\n"
    )
    own = line("--epochs", "1", "--from-scratch")
    own[2] = "net.py:net"
    try:
        assert run_cli(own) == 2
    finally:
        torch.set_grad_enabled(True)
    err = capsys.readouterr().err.strip().splitlines()
    assert re.search(problem, err[-1]), err
    assert len(err) == 2, err  # the first says whose code runs
    assert not list(tmp_path.glob("*.training"))


def folder_of(**counts: int) -> Callable[[Path], None]:
    return lambda place: draw(place / "photos", counts)


def splits(train: dict[str, int], val: dict[str, int]) -> Callable[[Path], None]:
    def make(place: Path) -> None:
        draw(place / "photos/train", train)
        draw(place / "photos/val", val, start=1)

    return make


BAD: dict[str, tuple[Callable[[Path], None], list[str], str]] = {
    "no images": (lambda place: (place / "photos/a").mkdir(parents=True), [], "has no images in"),
    "one class": (folder_of(a=5), [], "has a single class \\(a\\).*a folder each"),
    "one image": (folder_of(a=5, b=1), [], "class 'b' has a single image"),
    "a lacking class": (splits({"a": 3, "b": 3}, {"a": 2}), [], "split val .*lacks class 'b'"),
    "a foreign class": (splits({"a": 3}, {"a": 2, "b": 2}), [], "single class"),
    "a surplus class": (
        splits({"a": 3, "b": 2}, {"a": 2, "b": 2, "c": 1}),
        [],
        "has a class 'c' that is not in train",
    ),
    "an empty class": (
        splits({"a": 3, "b": 3}, {"a": 2, "b": 0}),
        [],
        "'b' has no images in split",
    ),
    "a file in the way": (
        folder_of(a=3, b=3),
        ["--out", "ten.safetensors"],
        "exists: move it away",
    ),
    "a folder in the way": (folder_of(a=3, b=3), ["--out", "photos"], "is a folder"),
    "no folder to write": (
        folder_of(a=3, b=3),
        ["--out", "ten.safetensors/x.safetensors"],
        "a file",
    ),
    "another suffix": (folder_of(a=3, b=3), ["--out", "x.pt"], "let it end in .safetensors"),
    "a tiny size": (folder_of(a=3, b=3), ["--image-size", "0"], "cannot|positive|at least"),
    "a rate of nan": (folder_of(a=3, b=3), ["--lr", "nan"], "--lr cannot be nan"),
    "no epochs": (folder_of(a=3, b=3), ["--epochs", "0"], "--epochs"),
    "a single step": (
        folder_of(a=6, b=6),
        ["--batch-size", "64"],
        "10 training images are one step of 10, .* still 0: give more --epochs, or --batch-size 2",
    ),
    "an unknown augmentation": (folder_of(a=3, b=3), ["--augment", "x"], "none or light or strong"),
    "bf16 on a CPU": (folder_of(a=3, b=3), ["--precision", "bf16"], "bf16 is for CUDA devices"),
    "a source": (folder_of(a=3, b=3), ["--source", "x"], "--source is for --recipe"),
    "a recipe, too": (folder_of(a=3, b=3), ["--recipe", "vim_nano"], "does not go with --recipe"),
    "a damaged image": (
        lambda place: (
            folder_of(a=3, b=3)(place),
            (place / "photos/a/1.png").write_bytes(b"\x89PNG damaged"),
        ),
        [],
        "1.png is",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line(case: str, tmp_path: Path, capsys: Out) -> None:
    make, more, problem = BAD[case]
    make(tmp_path)
    assert run_cli(line("--epochs", "1", *more)) == 2
    err = capsys.readouterr().err
    assert re.search(problem, err), err
    assert len(err.strip().splitlines()) == 1
    assert not list(tmp_path.glob("*.training"))


def test_what_is_missing_is_said(capsys: Out) -> None:
    assert run_cli(["train"]) == 2
    assert "give --backbone NAME and --data imagefolder:PATH" in capsys.readouterr().err


@pytest.mark.slow
def test_bundled_weights_learn_sooner_than_drawn_ones(tmp_path: Path, capsys: Out) -> None:
    for start, (split, count) in enumerate((("train", 24), ("val", 30))):
        for number, name in enumerate(("rings", "crosses", "stripes")):
            (tmp_path / "shapes" / split / name).mkdir(parents=True)
            for index in range(count):
                shape(number, [start, number, index]).save(
                    tmp_path / "shapes" / split / name / f"{index}.png"
                )
    top1 = {}
    for how in ("bundled", "drawn"):
        scratch = ["--from-scratch"] if how == "drawn" else []
        assert (
            run_cli(
                [
                    *("train", "--backbone", "vim_nano", "--data", "imagefolder:shapes"),
                    *("--epochs", "6", "--out", f"{how}.safetensors", "--device", "cpu", *scratch),
                ]
            )
            == 0
        )
        top1[how] = float(re.search(r"top-1: ([\d.]+) %", capsys.readouterr().out)[1])
    assert top1["bundled"] > 60
    assert top1["bundled"] > top1["drawn"] + 10


def shape(kind: int, seed: list[int]) -> Image.Image:
    """A ring, a cross or a striped square, bright on noise, at any place."""
    rng = np.random.default_rng(seed)
    height, width = rng.integers(60, 90, 2)
    pixels = rng.integers(0, 90, (height, width, 3))
    y, x = np.mgrid[:height, :width]
    dy, dx = y - height * rng.uniform(0.4, 0.6), x - width * rng.uniform(0.4, 0.6)
    radius = rng.uniform(14, 24)
    inside = (abs(dy) < radius) & (abs(dx) < radius)
    marks = (
        abs(np.hypot(dy, dx) - radius) < 4,
        ((abs(dy) < 4) | (abs(dx) < 4)) & inside,
        (y // 5 % 2 == 0) & inside,
    )
    pixels[marks[kind]] = rng.integers(150, 256, 3)
    return Image.fromarray(pixels.astype(np.uint8))
