import threading
import time
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from backbones.common.errors import UserError
from suite.data import open_dataset
from suite.data.base import Dataset, Manifest
from suite.data.images.clutter import FashionClutter
from suite.data.images.sources import bundled
from suite.data.loading.loader import batches, dismiss


class Counting(Dataset):
    """Image i is filled with i; every decoding is counted."""

    name, split, classes = "counting", "all", ("a", "b", "c")

    def __init__(self, length: int, bad: int | None = None) -> None:
        self.labels = np.arange(length, dtype=np.int64) % 3
        self.bad = bad
        self.decoded: Counter[int] = Counter()

    def image(self, index: int) -> np.ndarray:
        raise NotImplementedError

    def sample(self, index: int, image_size: int) -> np.ndarray:
        self.decoded[index] += 1
        if index == self.bad:
            raise UserError(f"image {index} is damaged")
        return np.full((3, image_size, image_size), index, np.float32)

    def identity(self) -> Manifest:
        return {}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 19), max_size=20, unique=True), st.integers(1, 7))
def test_every_image_once_in_order(indices: list[int], batch_size: int) -> None:
    data = Counting(20)
    got = list(batches(data, np.array(indices, np.int64), batch_size, 4))
    assert [int(i) for batch in got for i in batch.indices] == indices
    assert [int(p) for batch in got for p in batch.images[:, 0, 0, 0]] == indices
    assert [int(label) for batch in got for label in batch.labels] == [i % 3 for i in indices]
    assert all(len(batch.indices) == batch_size for batch in got[:-1])
    assert data.decoded == Counter(indices)


def test_kinds_and_shapes() -> None:
    batch = next(iter(batches(Counting(5), np.arange(5), 3, 8)))
    assert batch.images.shape == (3, 3, 8, 8)
    assert (batch.indices.dtype, batch.images.dtype, batch.labels.dtype) == (
        torch.int64,
        torch.float32,
        torch.int64,
    )


def test_preparation_is_bounded() -> None:
    data = Counting(100)
    stream = batches(data, np.arange(100), 1, 4)
    next(stream)
    deadline = time.monotonic() + 2
    while len(data.decoded) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert len(data.decoded) == 3
    stream.close()


def test_closing_early_leaves_no_thread() -> None:
    stream = batches(Counting(100), np.arange(100), 1, 4)
    next(stream)
    stream.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batches")]


def test_a_bad_image_is_named_in_its_batch_and_costs_only_itself() -> None:
    stream = batches(Counting(10, bad=5), np.arange(10), 2, 4)
    assert [next(stream).indices.tolist() for _ in range(2)] == [[0, 1], [2, 3]]
    batch = next(stream)
    assert batch.damaged == {5: "image 5 is damaged"}
    assert (batch.indices.tolist(), batch.images[:, 0, 0, 0].tolist()) == ([4], [4])
    (alone,) = batches(Counting(10, bad=5), np.array([5]), 2, 4)
    assert (len(alone.images), list(alone.damaged)) == (0, [5])


def test_batches_of_clutter_do_not_depend_on_their_size() -> None:
    data = FashionClutter(bundled("dev"))
    indices = np.array([3, 500, 4, 999, 0])
    wholes = [torch.cat([b.images for b in batches(data, indices, size, 56)]) for size in (1, 2, 5)]
    assert torch.equal(wholes[0], wholes[1])
    assert torch.equal(wholes[0], wholes[2])


def test_truth_comes_with_its_images() -> None:
    data = open_dataset("fashion-clutter", "dev", task="segmentation")
    for batch in batches(data, np.array([5, 2, 9]), 2, 112, (14, 14)):
        assert batch.truth is not None
        assert batch.foreground is not None
        for place, index in enumerate(batch.indices.tolist()):
            assert np.array_equal(batch.truth[place], data.truth(index, 112))
    classified = batches(FashionClutter(bundled("dev")), np.arange(2), 2, 56)
    assert [batch.truth for batch in classified] == [None]


def test_impossible_sizes() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        next(batches(Counting(3), np.arange(3), 0, 4))


def test_the_next_slice_is_begun_before_it_is_asked_for_and_nothing_is_decoded_twice() -> None:
    data = Counting(20)
    order = np.arange(20)
    seen: list[int] = []
    for start in range(0, 20, 5):
        stream = batches(data, order[start : start + 5], 2, 4, following=order[start + 5 :])
        seen += [int(index) for batch in stream for index in batch.images[:, 0, 0, 0]]
        deadline = time.monotonic() + 2
        while len(data.decoded) < min(20, start + 9) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(data.decoded) == min(20, start + 9)  # two batches of the next slice
    assert seen == order.tolist()
    assert data.decoded == Counter(range(20))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batches")]


def test_what_was_begun_for_a_slice_that_never_came_is_dropped() -> None:
    data, other = Counting(20), Counting(20)
    for chosen, source in ((np.arange(4), data), (np.arange(9, 12), data), (np.arange(3), other)):
        stream = batches(source, chosen, 2, 4, following=np.arange(12, 20))
        assert [
            int(index) for batch in stream for index in batch.images[:, 0, 0, 0]
        ] == chosen.tolist()
    dismiss()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batches")]
