"""Folders of frames."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backbones.common.errors import UserError
from suite.data.videos.frame_folder import frame_names, list_clips, natural, read_frames

Put = Callable[..., Path]
Make = Callable[..., np.ndarray]


def same(frame: np.ndarray) -> np.ndarray:
    return frame


def test_frames_stand_in_the_order_of_their_numbers(
    tmp_path: Path, make_film: Make, put_frames: Put
) -> None:
    frames = make_film(4)
    folder = put_frames(tmp_path / "clip", frames)
    assert frame_names(folder) == [f"frame_{number}.png" for number in range(1, 13)]
    frames_read = read_frames(folder, tmp_path, lambda count: np.arange(count), same)
    np.testing.assert_array_equal(np.stack(frames_read), frames)
    assert sorted(["img²10", "img9", "img²9", "img٣", "a"], key=natural) == [
        "a",
        "img٣",
        "img9",
        "img²9",
        "img²10",
    ]


def test_other_and_hidden_files_are_no_frames(
    tmp_path: Path, make_film: Make, put_frames: Put
) -> None:
    folder = put_frames(tmp_path / "clip", make_film(1, count=2))
    (folder / "notes.txt").write_text("x")
    (folder / ".frame_0.png").write_bytes(b"x")
    assert frame_names(folder) == ["frame_1.png", "frame_2.png"]


def test_clips_are_the_folders_that_hold_images(
    tmp_path: Path, make_film: Make, put_frames: Put
) -> None:
    put_frames(tmp_path / "run" / "b", make_film(1, count=1))
    put_frames(tmp_path / "run" / "deep" / "a", make_film(1, count=1))
    (tmp_path / "run" / "empty").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "run" / "loose.png")
    clips = list_clips(tmp_path / "run", tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in clips] == ["run/b", "run/deep/a"]


def test_bad_frames_and_folders_are_named(tmp_path: Path, make_film: Make, put_frames: Put) -> None:
    folder = put_frames(tmp_path / "clip", make_film(1, count=3))
    (folder / "frame_2.png").write_bytes(b"no picture")
    assert len(read_frames(folder, tmp_path, lambda count: np.array([0, 2]), same)) == 2
    with pytest.raises(UserError, match=r"frame_2\.png is not an image"):
        read_frames(folder, tmp_path, lambda count: np.array([1]), same)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty has no frames"):
        read_frames(tmp_path / "empty", tmp_path, lambda count: np.array([0]), same)
    with pytest.raises(UserError, match="gone cannot be read"):
        read_frames(tmp_path / "gone", tmp_path, lambda count: np.array([0]), same)


def test_a_frame_that_leads_out_is_refused(
    tmp_path: Path, make_film: Make, put_frames: Put
) -> None:
    folder = put_frames(tmp_path / "data" / "clip", make_film(1, count=1))
    Image.new("RGB", (4, 4)).save(tmp_path / "secret.png")
    (folder / "frame_2.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(UserError, match=r"frame_2\.png leads out of"):
        read_frames(folder, tmp_path / "data", lambda count: np.array([1]), same)
