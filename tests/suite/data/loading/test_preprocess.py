from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import transforms

from backbones.common.errors import UserError
from backbones.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from suite.data import open_dataset
from suite.data.loading.pixels import normalise, resize
from suite.data.loading.preprocess import Photographs, Preprocess


def official(size: int, crop: float) -> transforms.Compose:
    """Vim's and DeiT's evaluation transform, in torchvision's own words."""
    return transforms.Compose(
        [
            transforms.Resize(int(size / crop), interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(size),
            transforms.ToTensor(),
            transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 90),
    st.integers(1, 90),
    st.sampled_from([16, 32, 33]),
    st.sampled_from([0.875, 0.9, 1.0]),
)
def test_agrees_with_torchvision(height: int, width: int, size: int, crop: float) -> None:
    if max(height, width) > 20 * min(height, width):
        return
    pixels = np.random.default_rng(height * 91 + width).integers(
        0, 256, (height, width, 3), dtype=np.uint8
    )
    expected = official(size, crop)(Image.fromarray(pixels)).numpy()
    assert np.abs(Preprocess(crop=crop)(pixels, size) - expected).max() < 1e-6


def picture_folder(root: Path) -> Path:
    for name, shade in (("a", 0), ("b", 200)):
        (root / name).mkdir()
        Image.new("RGB", (64, 48), (shade, 90, 7)).save(root / name / "1.png")
    return root


def test_a_backbone_is_given_images_as_it_was_published_unless_the_user_asked_otherwise(
    tmp_path: Path,
) -> None:
    root = picture_folder(tmp_path)
    halves = (0.5, 0.5, 0.5)
    published = Preprocessing(crop=1.0, mean=halves, std=halves)
    usual = open_dataset(f"imagefolder:{root}")
    assert isinstance(usual, Photographs)
    assert usual.preprocess == Preprocess(0.875, "bicubic")
    other = usual.prepared_as(published)
    assert other.preprocess == Preprocess(1.0, "bicubic", halves, halves)
    assert (usual.preprocess.crop, usual.mean) == (0.875, IMAGENET_MEAN)
    assert other.mean == halves
    assert other.manifest()["hash"] != usual.manifest()["hash"]
    assert np.array_equal(
        other.sample(1, 32), Preprocess(1.0, "bicubic", halves, halves)(other.image(1), 32)
    )
    overridden = open_dataset(
        f"imagefolder:{root}", crop=0.95, interpolation="bilinear"
    ).prepared_as(published)
    assert isinstance(overridden, Photographs)
    assert overridden.preprocess == Preprocess(0.95, "bilinear", halves, halves)
    assert (
        open_dataset("fashion-clutter", "dev").prepared_as(published).mean != halves
    )  # it has a form of its own


def test_impossible_settings_are_named() -> None:
    for crop in (0.0, 1.2):
        with pytest.raises(UserError, match="at most 1"):
            Preprocess(crop=crop)
    with pytest.raises(UserError, match="did you mean bicubic"):
        Preprocess(interpolation="bicubc")


def test_normalise_and_resize_by_hand() -> None:
    canvas = np.arange(48, dtype=np.uint8).reshape(1, 4, 4, 3)
    result = normalise(canvas, (0.5, 0.4, 0.3), (0.1, 0.2, 0.3))
    assert result.shape == (1, 3, 4, 4)
    assert np.isclose(result[0, 1, 2, 3], (canvas[0, 2, 3, 1] / 255 - 0.4) / 0.2, atol=1e-6)
    assert resize(canvas, 4) is canvas
    assert (
        resize(np.full((2, 4, 4, 3), 9, np.uint8), 7).tolist() == np.full((2, 7, 7, 3), 9).tolist()
    )
    assert resize(canvas[:0], 7).shape == (0, 7, 7, 3)
