import numpy as np
import pytest

from backbones.common.errors import UserError
from suite.data import open_dataset
from suite.data.images.fashion import MEAN, STD, FashionMnist
from suite.data.images.sources import Garments, bundled


@pytest.fixture(scope="module")
def data() -> FashionMnist:
    return FashionMnist(bundled("dev"))


def test_images_are_the_garments_in_grey(data: FashionMnist) -> None:
    assert len(data) == 1000
    image = data.image(7)
    assert image.shape == (28, 28, 3)
    for channel in range(3):
        assert np.array_equal(image[..., channel], data.garments.images[7])


def test_sample_is_resized_and_normalised(data: FashionMnist) -> None:
    native = data.sample(7, 28)
    assert np.allclose(native[1], (data.garments.images[7] / 255 - MEAN[1]) / STD[1], atol=1e-5)
    assert data.sample(7, 56).shape == (3, 56, 56)
    pooled = data.sample(7, 56).reshape(3, 28, 2, 28, 2).mean(axis=(2, 4))
    assert np.abs(pooled - native).mean() < 0.1


def test_foreground_is_where_the_garment_is() -> None:
    images = np.zeros((1, 28, 28), np.uint8)
    images[0, 0, 0] = images[0, 27, 27] = 8
    images[0, 10, 10] = 7
    data = FashionMnist(Garments("dev", images, np.array([0]), np.array([0]), np.array([0])))
    shown = data.foreground(0, (14, 14))
    assert shown is not None
    assert np.argwhere(shown).tolist() == [[0, 0], [13, 13]]
    assert data.foreground(0, (56, 56)) is None


def test_opening() -> None:
    data = open_dataset("fashion-mnist", "dev")
    assert (data.name, data.split, len(data.classes)) == ("fashion-mnist", "dev", 10)
    assert open_dataset("fashion-mnist").split == "test"
    with pytest.raises(UserError, match="takes no path"):
        open_dataset("fashion-mnist:x")
