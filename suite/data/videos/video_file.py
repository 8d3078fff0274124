"""From the bytes of a video file, which may be damaged or hostile, to frames; decoded by PyAV."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backbones.common.errors import UserError
from suite.data.base import Pixels, one_line
from suite.data.loading.decode import check_size
from suite.data.videos.sampling import Choose, Keep

SUFFIXES = (
    ".mp4",
    ".m4v",
    ".mov",
    ".mkv",
    ".webm",
    ".avi",
    ".mpg",
    ".mpeg",
    ".ts",
    ".flv",
    ".wmv",
    ".3gp",
)
# Containers that hold their frames themselves: a playlist would open other files, or addresses.
OPTIONS = {
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,flv,asf",
    "protocol_whitelist": "file",
}
# A stream that ends earlier than this share of what its header states was cut off.
COMPLETE_SHARE = 0.95


def import_av() -> ModuleType:
    """PyAV; UserError where it is not installed."""
    try:
        import av
    except ImportError as error:
        raise UserError(
            f"video files need PyAV ({one_line(error)}): "
            f"pip install av, or give their frames as frames:PATH"
        ) from error
    return av


def read_video(path: Path, choose: Choose, keep: Keep) -> list[Pixels]:
    """`keep` of the RGB frames (H, W, 3) that `choose` selects, given the number of frames.

    Frames are decoded one after the other by one thread, and dropped unless chosen: memory does not
    grow with the length, and the pixels do not depend on the machine's load. UserError for a file
    that cannot be decoded.
    """
    count = count_frames(path)
    while True:
        chosen = choose(count).tolist()
        kept: dict[int, Pixels] = {}
        number = 0
        with _opened(path) as (container, stream):
            stream.thread_count = 1
            for frame in container.decode(stream):
                # A decoder fills what it cannot read from pictures beside it, and later frames
                # build on that.
                if frame.is_corrupt:
                    raise UserError(
                        f"{path} is damaged at frame {number}: fetch it again or take it out"
                    )
                if number in chosen:
                    check_size(frame.width, frame.height, str(path))
                    kept[number] = keep(upright(frame))
                number += 1
                if len(kept) == len(set(chosen)):
                    return [kept[index] for index in chosen]
        # Fewer pictures than packets, as before the first whole one: choose among the pictures.
        if not 0 < number < count:
            raise UserError(
                f"{path} has no frames that can be shown: fetch it again or take it out"
            )
        count = number


def upright(frame: Any) -> Pixels:
    """The pixels of a decoded frame (H, W, 3) as players show it: turned as its file says."""
    pixels: Pixels = frame.to_ndarray(format="rgb24")
    for data in frame.side_data:
        if data.type.name == "DISPLAYMATRIX":
            pixels = displayed(pixels, np.frombuffer(bytes(data), np.int32))
    return pixels


def displayed(pixels: Pixels, matrix: NDArray[np.int32]) -> Pixels:
    """`pixels` (H, W, 3) under a display matrix of 9 numbers: quarter turns and mirrors.

    A pixel at (x, y) is shown at (a x + c y, b x + d y), for a, b, c, d at 0, 1, 3, 4.
    """
    a, b, c, d = (int(matrix[place]) for place in (0, 1, 3, 4))
    if abs(b) + abs(c) > abs(a) + abs(d):
        pixels, a, d = pixels.transpose(1, 0, 2), c, b
    across, down = (-1 if a < 0 else 1), (-1 if d < 0 else 1)
    return np.ascontiguousarray(pixels[::down, ::across])


def count_frames(path: Path) -> int:
    """Number of frames in a video, not decoded; UserError if there are none or the end is cut."""
    with _opened(path) as (container, stream):
        packets = shown = 0
        end = 0.0
        for packet in container.demux():
            if packet.pts is not None and packet.time_base:
                end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            if packet.stream is stream and packet.size:
                packets += 1
                shown += not packet.is_discard
        if stream.frames and packets < COMPLETE_SHARE * stream.frames:
            raise UserError(
                f"{path} ends after {packets} of {stream.frames} frames: "
                f"fetch it again or take it out"
            )
        # Matroska states no number of frames, but the duration; other formats estimate theirs.
        stated = 0.0
        if container.format.name.startswith("matroska"):
            stated = (container.duration or 0) / 1e6
        if end < COMPLETE_SHARE * stated:
            raise UserError(
                f"{path} ends after {end:.1f} of {stated:.1f} s: fetch it again or take it out"
            )
    if not shown:
        raise UserError(f"{path} has no frames: fetch it again or take it out")
    return shown


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """The container and its first video stream; UserError naming the file for any damage."""
    av = import_av()
    try:
        # An absolute path cannot be taken for an address, as 'http:clip.mp4' could.
        with av.open(str(path.absolute()), options=OPTIONS) as container:
            stream = next(iter(container.streams.video), None)
            if stream is None or stream.codec_context is None:
                raise UserError(
                    f"{path} has no video stream that can be decoded: fetch it again or take it out"
                )
            check_size(stream.codec_context.width, stream.codec_context.height, str(path))
            yield container, stream
    except av.FFmpegError as error:
        reason = error.strerror or type(error).__name__
        raise UserError(
            f"{path} cannot be read as a video ({reason}): fetch it again or take it out"
        ) from error
    except (OSError, ValueError, LookupError, MemoryError) as error:
        raise UserError(
            f"{path} is damaged ({one_line(error)}): fetch it again or take it out"
        ) from error
