"""Parquet files that know whether they are whole, and what they hold."""

import hashlib

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from suite.store.checksums import parquet, verify_checksum, with_checksum

FRAME = pd.DataFrame(
    {"image": [3, 5, 8], "loss": [0.5, None, 2.0], "alive": [b"\x01", b"", b"\xff"]}
)
GOOD = with_checksum(FRAME, "shards/abc/00001 of 3 images")


def test_a_sealed_file_is_read_like_any_other_and_is_the_same_every_time() -> None:
    assert verify_checksum(GOOD, "shards/abc/00001 of 3 images") is None
    pd.testing.assert_frame_equal(pd.read_parquet(pa.BufferReader(GOOD)), FRAME)
    assert with_checksum(FRAME, "shards/abc/00001 of 3 images") == GOOD


def test_the_checksum_is_that_of_the_file_with_zeros_in_its_place() -> None:
    digits = pq.read_metadata(pa.BufferReader(GOOD)).metadata[b"suite.sha256"]
    assert GOOD.count(digits) == 1
    assert hashlib.sha256(GOOD.replace(digits, b"0" * 64)).hexdigest().encode() == digits


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_any_byte_that_is_another_is_noticed(place: int, change: int) -> None:
    bad = GOOD[:place] + bytes([GOOD[place] ^ change]) + GOOD[place + 1 :]
    assert verify_checksum(bad, "shards/abc/00001 of 3 images") is not None


@given(st.integers(0, len(GOOD) - 1))
def test_a_file_that_is_cut_or_goes_on_is_noticed(length: int) -> None:
    for bad in (GOOD[:length], GOOD + GOOD[:length] + b"\0", GOOD[length:] if length else b""):
        assert verify_checksum(bad, "shards/abc/00001 of 3 images") is not None


def test_what_else_it_holds_is_told() -> None:
    assert (
        verify_checksum(GOOD, "shards/abc/00002 of 3 images")
        == "holds shards/abc/00001 of 3 images"
    )
    assert verify_checksum(parquet(FRAME), "x") == "is torn, or not the suite's"
    assert verify_checksum(b"suite.sha256\x18\x40", "x") == "is torn or was changed"
