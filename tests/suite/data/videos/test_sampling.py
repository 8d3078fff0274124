"""Which frames and which crops, against the published rule worked out one number at a time."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backbones.common.errors import UserError
from suite.data.videos.sampling import Views, crop_offsets, cropped, frame_indices


def rule(count: int, frames: int, clips: int) -> list[list[int]]:
    """The test sampling of UMT and VideoMamba: a later frame of each segment in each clip."""
    segment = max(0.0, float(count - 1) / frames)
    duration = segment / (clips + 1)
    clips_of_frames = []
    for clip in range(clips):
        row = []
        for i in range(frames):
            row.append(min(int(np.round(segment * i)) + int(duration * (clip + 1)), count - 1))
        clips_of_frames.append(row)
    return clips_of_frames


@given(st.integers(1, 2000), st.integers(1, 64), st.integers(1, 20))
def test_frames_are_those_of_the_published_rule(count: int, frames: int, clips: int) -> None:
    indices = frame_indices(count, frames, clips)
    assert indices.tolist() == rule(count, frames, clips)
    assert indices.min() >= 0
    assert indices.max() < count
    assert (np.diff(indices, axis=1) >= 0).all()


def test_a_known_video() -> None:
    # 10 s at 30 frames a second, 8 frames, 4 clips: segments of 37.375 frames
    indices = frame_indices(300, 8, 4)
    assert indices[:, 0].tolist() == [7, 14, 22, 29]
    assert indices[0].tolist() == [7, 44, 82, 119, 157, 194, 231, 269]
    assert frame_indices(3, 8, 1)[0].tolist() == [0, 0, 0, 1, 1, 1, 2, 2]
    assert frame_indices(1, 4, 2).tolist() == [[0] * 4] * 2


@given(st.integers(1, 400), st.integers(0, 400), st.integers(1, 5))
def test_crops_lie_within_and_go_from_end_to_end(size: int, more: int, crops: int) -> None:
    offsets = crop_offsets(size + more, size, crops)
    assert len(offsets) == crops
    assert all(0 <= offset <= more for offset in offsets)
    if crops == 1:
        assert offsets == [more // 2]
    else:
        assert (offsets[0], offsets[-1]) == (0, more)
        assert all(0 <= b - a - more / (crops - 1) + 1 < 2 for a, b in pairwise(offsets))


def test_crops_of_wide_and_tall_frames() -> None:
    wide = np.arange(4 * 10, dtype=np.uint8).reshape(1, 4, 10, 1).repeat(3, axis=3)
    lefts = [int(crop[0, 0, 0, 0]) for crop in cropped(wide, 4, 3)]
    assert lefts == [0, 3, 6]
    tall = wide.transpose(0, 2, 1, 3)
    assert [int(crop[0, 0, 0, 0]) for crop in cropped(tall, 4, 3)] == [0, 3, 6]
    assert all(crop.shape == (1, 4, 4, 3) for crop in cropped(tall, 4, 3))
    smaller = cropped(wide, 2, 1)[0]
    assert smaller[0, :, :, 0].tolist() == wide[0, 1:3, 4:6, 0].tolist()


def test_views_by_their_text() -> None:
    assert Views.parse("4x3") == Views(4, 3) == Views()
    assert (Views.parse("10x1").count, str(Views(2, 3))) == (10, "2x3")
    for text in ("", "4", "4x", "0x3", "4x0", "-1x3", "100x3", "4X3", "4x3x2", "٤x٣"):
        with pytest.raises(UserError, match="write 4x3 for 4 clips under 3 crops"):
            Views.parse(text)
