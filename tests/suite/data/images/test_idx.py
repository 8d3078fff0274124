import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from backbones.common.errors import UserError
from suite.data.images.idx import idx_bytes, parse_idx, read_idx


@settings(max_examples=40, deadline=None)
@given(arrays(np.uint8, array_shapes(max_dims=3, max_side=5)))
def test_round_trip(array: np.ndarray) -> None:
    assert np.array_equal(parse_idx(idx_bytes(array), "x"), array)


def test_layout_is_that_of_the_format(tmp_path: Path) -> None:
    content = b"\0\0\x08\x02" + struct.pack(">II", 2, 3) + bytes(range(6))
    (tmp_path / "a.gz").write_bytes(gzip.compress(content))
    (tmp_path / "a").write_bytes(content)
    for name in ("a", "a.gz"):
        assert read_idx(tmp_path / name).tolist() == [[0, 1, 2], [3, 4, 5]]


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=24), st.integers(0, 30))
def test_anything_else_is_one_line(noise: bytes, cut: int) -> None:
    whole = idx_bytes(np.arange(12, dtype=np.uint8).reshape(3, 4))
    for content in (noise, whole[:cut], whole + noise):
        if content != whole:
            with pytest.raises(UserError, match=r"^file\.gz [^\n]*fetch it again$"):
                parse_idx(content, "file.gz")


def test_damaged_gzip_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"\0\0\x08\x01")[:-3])
    with pytest.raises(UserError, match=r"a\.gz cannot be read.*fetch it again"):
        read_idx(path)
