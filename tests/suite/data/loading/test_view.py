"""What the model sees, as pixels for people."""

import numpy as np
from PIL import Image

from suite.data import open_dataset
from suite.data.loading.preprocess import Preprocess


def test_a_view_is_the_canvas_itself_at_its_own_size() -> None:
    dataset = open_dataset("fashion-clutter", "dev")
    np.testing.assert_array_equal(dataset.view(3, 56), dataset.image(3))


def test_a_view_of_a_wide_photograph_is_its_middle(tmp_path) -> None:
    pixels = np.zeros((40, 120, 3), np.uint8)
    pixels[:, 40:80] = 200
    (tmp_path / "thing").mkdir()
    Image.fromarray(pixels).save(tmp_path / "thing" / "wide.png")
    view = open_dataset(f"imagefolder:{tmp_path}").view(0, 35)
    assert Preprocess().crop == 0.875  # 35 of 40 rows and columns are kept
    assert view.shape == (35, 35, 3)
    np.testing.assert_array_equal(view, np.full((35, 35, 3), 200))
