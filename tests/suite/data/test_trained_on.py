"""What a file of weights says of its training is read back, and tells images by their bytes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from backbones import create_model
from backbones.common.errors import UserError
from suite.data import open_dataset
from suite.data.trained_on import KEY, Training, hashes, seen_in_training, training_of


def weights(path: Path, metadata: dict[str, str]) -> str:
    with torch.random.fork_rng():
        save_file(create_model("vim_pico").state_dict(), path, metadata=metadata)
    return f"vim_pico[weights={path}]"


def test_the_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    training = Training(("a", "ä,b"), frozenset({"0" * 16, "f" * 16}))
    name = weights(tmp_path / "w.safetensors", training.metadata())
    assert training_of(create_model(name)) == training
    assert training_of(create_model("vim_pico", "bundled")) is None
    assert training_of(create_model("vim_pico")) is None


@pytest.mark.parametrize("text", ["{", "{}", '{"images": 3, "classes": []}', "[]"])
def test_a_damaged_record_is_named(text: str, tmp_path: Path) -> None:
    name = weights(tmp_path / "w.safetensors", {KEY: text})
    with pytest.raises(UserError, match=r"w\.safetensors has a damaged record of its training"):
        training_of(create_model(name))


def test_images_are_known_by_their_bytes(tmp_path: Path) -> None:
    for name, value in (("a/1.png", 10), ("a/2.png", 20), ("b/1.png", 10)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((9, 9, 3), value, np.uint8)).save(tmp_path / name)
    data = open_dataset(f"imagefolder:{tmp_path}")
    one, two, three = hashes(data, range(3))
    assert one == three != two
    assert seen_in_training(data, np.array([2, 1]), frozenset({one})) == [True, False]
    # Data that are not in files are known by their pixels.
    drawn = open_dataset("fashion-clutter")
    assert hashes(drawn, [4, 4, 5])[0] == hashes(drawn, [4])[0] != hashes(drawn, [5])[0]
