"""Video files of every condition: whole, short, cut off, damaged, empty, and no video at all."""

import builtins
import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from backbones.common.errors import UserError
from suite.data.videos.video_file import count_frames, read_video

Put = Callable[..., Path]
Make = Callable[..., np.ndarray]


def pick(*places: int) -> Callable[[int], np.ndarray]:
    return lambda count: np.array(places)


def same(frame: np.ndarray) -> np.ndarray:
    return frame


def test_chosen_frames_come_out_pixel_by_pixel(
    tmp_path: Path, make_film: Make, put_film: Put
) -> None:
    frames = make_film(3)
    path = put_film(tmp_path / "a.mkv", frames)
    assert count_frames(path) == 12
    decoded = read_video(path, pick(0, 5, 5, 11), same)
    np.testing.assert_array_equal(np.stack(decoded), frames[[0, 5, 5, 11]])
    every = read_video(path, lambda count: np.arange(count), same)
    np.testing.assert_array_equal(np.stack(every), frames)


@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [
        ("a.mp4", "libx264", "yuv420p"),
        ("a.avi", "mpeg4", "yuv420p"),
        ("a.webm", "libvpx-vp9", "yuv420p"),
    ],
)
def test_the_usual_containers_and_codecs(
    tmp_path: Path, make_film: Make, put_film: Put, name: str, codec: str, pixels: str
) -> None:
    frames = make_film(1)
    path = put_film(tmp_path / name, frames, codec, pixels)
    decoded = np.stack(read_video(path, lambda count: np.arange(count), same))
    assert decoded.shape == frames.shape
    assert np.abs(decoded.astype(int) - frames).mean() < 12
    # each is nearest to its own frame: none is lost, doubled or out of order
    far = np.abs(decoded[:, None].astype(int) - frames[None]).mean((2, 3, 4))
    assert far.argmin(1).tolist() == list(range(12))


def test_frames_are_counted_whatever_their_rate(tmp_path: Path, make_film: Make) -> None:
    import av

    frames = make_film(2)
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "bgr0"
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = number * number  # ever slower
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    decoded = read_video(tmp_path / "a.mkv", lambda count: np.arange(count), same)
    np.testing.assert_array_equal(np.stack(decoded), frames)


def cut(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def scratched(content: bytes, start: int) -> bytes:
    return (
        content[:start]
        + bytes(255 - value for value in content[start : start + 200])
        + content[start + 200 :]
    )


LINE = (
    r"^[^\n]*clip\.\w+ [^\n]*(fetch it again or take it out|take it out|shrink it or take it out)$"
)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.5, 0.7, 0.9])
@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("clip.mp4", "libx264", {}),
        ("clip.mp4", "libx264", {"movflags": "faststart"}),
        ("clip.avi", "mpeg4", {}),
        ("clip.mkv", "mpeg4", {}),
    ],
)
def test_what_is_cut_off_is_named(
    tmp_path: Path,
    make_film: Make,
    put_film: Put,
    name: str,
    codec: str,
    options: dict[str, str],
    share: float,
) -> None:
    path = put_film(tmp_path / name, make_film(1, count=40), codec, "yuv420p", **options)
    cut(path, share)
    with pytest.raises(UserError, match=LINE):
        read_video(path, pick(0, 39), same)


@pytest.mark.parametrize(("name", "codec"), [("clip.mp4", "libx264"), ("clip.avi", "mpeg4")])
def test_what_is_damaged_is_named(
    tmp_path: Path, make_film: Make, put_film: Put, name: str, codec: str
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (12, 32, 48, 3), dtype=np.uint8)
    path = put_film(tmp_path / name, noise, codec, "yuv420p")
    whole = path.read_bytes()
    lines = []
    for start in range(0, len(whole) - 200, 211):
        path.write_bytes(scratched(whole, start))
        try:
            read_video(path, lambda count: np.arange(count), same)
        except UserError as error:
            lines.append(str(error))
        else:
            assert not hidden_damage(path)
    # where the damage is still a valid stream no decoder can tell, and which those are depends on
    # the encoder's machine
    assert len(lines) > 10
    assert all(re.search(LINE, line) for line in lines)
    assert any("is damaged at frame" in line for line in lines) or codec == "libx264"


def hidden_damage(path: Path) -> bool:
    import av

    with av.open(str(path)) as container:
        return any(frame.is_corrupt for frame in container.decode(video=0))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"junk" * 1000,
        b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
        b"ffconcat version 1.0\nfile other.mkv\n",
    ],
)
def test_what_is_no_video_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(UserError, match=LINE):
        read_video(path, pick(0), same)


def test_a_playlist_opens_no_other_file(tmp_path: Path, make_film: Make, put_film: Put) -> None:
    put_film(tmp_path / "other.mkv", make_film(1))
    (tmp_path / "clip.mp4").write_text("ffconcat version 1.0\nfile other.mkv\n")
    with pytest.raises(UserError, match=LINE):
        read_video(tmp_path / "clip.mp4", pick(0), same)
    (tmp_path / "clip.mkv").write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nother.mkv\n#EXT-X-ENDLIST\n"
    )
    with pytest.raises(UserError, match=LINE):
        read_video(tmp_path / "clip.mkv", pick(0), same)


def test_a_path_is_never_an_address(
    tmp_path: Path, make_film: Make, put_film: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = make_film(1)
    put_film(tmp_path / "a.mkv", frames).rename(tmp_path / "http:clip.mkv")
    monkeypatch.chdir(tmp_path)
    np.testing.assert_array_equal(read_video(Path("http:clip.mkv"), pick(3), same)[0], frames[3])


def test_sound_alone_and_missing_files_are_named(tmp_path: Path) -> None:
    import av

    with av.open(str(tmp_path / "clip.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        silence = av.AudioFrame.from_ndarray(
            np.zeros((1, 800), np.int16), format="s16", layout="mono"
        )
        silence.sample_rate = 8000
        container.mux(stream.encode(silence))
    with pytest.raises(UserError, match=r"clip\.mkv has no video stream"):
        read_video(tmp_path / "clip.mkv", pick(0), same)
    with pytest.raises(UserError, match=r"gone\.mkv cannot be read as a video \(No such file"):
        read_video(tmp_path / "gone.mkv", pick(0), same)


def test_frames_of_huge_or_odd_size_are_refused_before_they_are_decoded(
    tmp_path: Path, make_film: Make, put_film: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put_film(tmp_path / "clip.mkv", make_film(1))
    monkeypatch.setattr("suite.data.loading.decode.MAX_PIXELS", 1000)
    with pytest.raises(UserError, match=r"clip\.mkv has 48x32 pixels: shrink it"):
        read_video(path, pick(0), same)
    monkeypatch.undo()
    thin = put_film(tmp_path / "thin.mkv", np.zeros((2, 4, 1000, 3), np.uint8))
    with pytest.raises(UserError, match=r"thin\.mkv has 1000x4 pixels, too long"):
        read_video(thin, pick(0), same)


def test_without_pyav_a_wrong_path_and_then_the_package_is_named(
    tmp_path: Path, make_film: Make, put_film: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    from suite.data import open_dataset

    put_film(tmp_path / "run" / "a.mkv", make_film(1))
    real = builtins.__import__

    def without(name: str, *rest: object, **more: object) -> object:
        if name == "av":
            raise ImportError("No module named 'av'")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"PyAV .*pip install av, or give their frames"):
        open_dataset(f"video:{tmp_path}")
    with pytest.raises(UserError, match="nowhere is not a folder: check the path"):
        open_dataset(f"video:{tmp_path / 'nowhere'}")


SHOWN = {  # display matrix a, b, c, d -> what a player shows of the stored picture
    (1, 0, 0, 1): lambda stored: stored,
    (0, 1, -1, 0): lambda stored: np.rot90(stored, -1, (1, 2)),
    (-1, 0, 0, -1): lambda stored: np.rot90(stored, 2, (1, 2)),
    (0, -1, 1, 0): lambda stored: np.rot90(stored, 1, (1, 2)),
    (-1, 0, 0, 1): lambda stored: stored[:, :, ::-1],
    (1, 0, 0, -1): lambda stored: stored[:, ::-1],
}


@pytest.mark.parametrize("suffix", [".mov", ".mp4"])
@pytest.mark.parametrize("matrix", SHOWN)
def test_frames_are_turned_as_players_show_them(
    tmp_path: Path, make_film: Make, put_film: Put, matrix: tuple[int, ...], suffix: str
) -> None:
    frames = make_film(3, count=3)
    path = put_film(tmp_path / f"clip{suffix}", frames, "libx264", "yuv420p")
    stored = np.stack(read_video(path, lambda count: np.arange(count), same))
    content = bytearray(path.read_bytes())
    # A track header of version 0 has its matrix 40 bytes behind its name.
    start = content.index(b"tkhd") + 4 + 40
    a, b, c, d = (number << 16 for number in matrix)
    content[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    shown = np.stack(read_video(path, lambda count: np.arange(count), same))
    np.testing.assert_array_equal(shown, SHOWN[matrix](stored))
