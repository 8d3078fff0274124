"""Made-up checkpoints of the official layouts, and a tiny made-up ImageNet."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file

# the layouts are modules beside the backbones' tests
sys.path.insert(0, str(Path(__file__).parents[2] / "backbones"))

from made_up_files import drawn
from published_layouts import Table, class_token, plain, published, staged, transformer

from backbones.checkpoints.published import published_file
from suite.reproduce.listed import TABLES, find_table

IMAGES = 2
DIM = 64  # narrow, and wide enough that matching tokens costs less than it saves
SMALL = 0.04
NARROW: dict[str, Callable[[], tuple[str, Table]]] = {
    "vim": lambda: (f"dim={DIM}", class_token(DIM, 24)),
    "videomamba": lambda: (f"dim={DIM}", class_token(DIM, 24)),
    "vit": lambda: (f"dim={DIM},heads=2", transformer(DIM, 12)),
    "deit": lambda: (f"dim={DIM},heads=2", transformer(DIM, 12)),
    "plainmamba": lambda: (f"dim={DIM}", plain(DIM, 36, 2)),
    "vmamba": lambda: ("dim=16", staged(16, 15, 2)),
}


def official_names(backbone: str, layout: Table) -> Table:
    """The layout under the names in the published file of `backbone`."""
    if not backbone.startswith("plainmamba") or any(
        name.startswith("backbone.") for name in layout
    ):
        return layout
    return {
        name.replace("head.", "head.fc.") if name.startswith("head.") else f"backbone.{name}": shape
        for name, shape in layout.items()
    }


def store(backbone: str, layout: Table, folder: Path) -> Path:
    """A checkpoint of drawn weights under the name and in the form of the published file."""
    row = published_file(backbone)
    weights = {
        name: tensor if name.endswith("num_batches_tracked") else tensor / 8
        for name, tensor in drawn(official_names(backbone, layout), 1).items()
    }
    for name in weights:
        if name.endswith("running_var"):
            weights[name] = weights[name].abs() + 1
    path = folder / row.file
    if row.layout == "bare":
        save_file(weights, path)
    elif row.layout == "state_dict":
        torch.save({"meta": {"epoch": 300}, "state_dict": weights}, path)
    else:
        torch.save({"model": weights, "model_ema": weights, "args": argparse.Namespace(lr=1)}, path)
    return path


@pytest.fixture(scope="session")
def imagenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The 1,000 synset folders, two of which have an image."""
    root = tmp_path_factory.mktemp("imagenet")
    for synset in range(1000):
        (root / "val" / f"n{synset:08d}").mkdir(parents=True)
    for synset in range(IMAGES):
        pixels = np.random.default_rng(synset).integers(0, 256, (230, 250, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "val" / f"n{synset:08d}" / "x.JPEG")
    return root


@pytest.fixture
def changed(tmp_path: Path) -> Callable[..., Path]:
    """A maker of a user's table: a listed one with some of its settings replaced, None: left out."""

    def make(listed: str, /, **settings: Any) -> Path:
        values = yaml.safe_load((TABLES / f"{listed}.yaml").read_text("utf-8")) | settings
        values = {key: value for key, value in values.items() if value is not None}
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump(values, sort_keys=False), "utf-8")
        return path

    return make


@pytest.fixture
def narrowed(tmp_path: Path, changed: Callable[..., Path]) -> Callable[[str], Path]:
    """A maker of a listed table on its backbone, as deep as published and narrow."""

    def make(name: str) -> Path:
        table = find_table(name)
        family = table.backbone.partition("_")[0]
        settings, layout = NARROW[family]()
        weights = store(table.backbone, layout, tmp_path)
        changes: dict[str, Any] = {}
        if family == "plainmamba":
            # its stem, as wide as published, is most of the work: no more can be removed
            published = [value.model_dump(mode="json") for value in table.published]
            for value in published:
                value["budget"] = value["budget"] and SMALL
            changes = {"budgets": [SMALL], "published": published}
        backbone = f"{table.backbone}[{settings}]"
        return changed(name, backbone=backbone, checkpoint=str(weights), **changes)

    return make


@pytest.fixture
def official(tmp_path: Path) -> Callable[[str], Path]:
    """A maker of a made-up checkpoint of the published sizes of a listed table's backbone."""

    def make(name: str) -> Path:
        backbone = find_table(name).backbone
        layout = published(backbone)
        assert layout is not None
        return store(backbone, layout, tmp_path)

    return make
