"""From the bytes of a video file, which may be anything, to frames, decoded by PyAV."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backbones.common.errors import UserError
from suite.data.base import one_line
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
WHOLE = 0.95


def import_av() -> ModuleType:
    """PyAV; UserError where it is not installed."""
    try:
        import av
    except ImportError as error:
        raise UserError(
            f"video files need PyAV ({one_line(error)}): pip install av, or give their frames as frames:PATH"
        ) from error
    return av


def read_video(path: Path, choose: Choose, keep: Keep) -> list[NDArray[np.uint8]]:
    """`keep` of the RGB frames (H, W, 3) that `choose` names, given the number of frames; one line if there are none.

    Frames are decoded one after the other and dropped unless chosen, by one thread: memory does not
    grow with the length, and the pixels do not depend on the machine's load.
    """
    count = count_frames(path)
    while True:
        wanted = [int(place) for place in choose(count)]
        kept: dict[int, NDArray[np.uint8]] = {}
        seen = 0
        with _opened(path) as (container, stream):
            stream.thread_count = 1
            for frame in container.decode(stream):
                # a decoder fills what it cannot read from pictures beside it, and later frames
                # build on that
                if frame.is_corrupt:
                    raise UserError(
                        f"{path} is damaged at frame {seen}: fetch it again or take it out"
                    )
                if seen in wanted:
                    kept[seen] = keep(_pixels(frame, path))
                seen += 1
                if len(kept) == len(set(wanted)):
                    return [kept[place] for place in wanted]
        # fewer pictures than packets, such as those that lead up to the first whole one: choose
        # among these
        if not 0 < seen < count:
            raise UserError(
                f"{path} has no frames that can be shown: fetch it again or take it out"
            )
        count = seen


def count_frames(path: Path) -> int:
    """Number of frames stored at `path`, without decoding them; UserError if there are none or the end is missing."""
    with _opened(path) as (container, stream):
        packets = shown = 0
        end = 0.0
        for packet in container.demux():
            if packet.pts is not None and packet.time_base:
                end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            if packet.stream is stream and packet.size:
                packets += 1
                shown += not packet.is_discard
        if stream.frames and packets < WHOLE * stream.frames:
            raise UserError(
                f"{path} ends after {packets} of {stream.frames} frames: fetch it again or take it out"
            )
        stated = (
            (container.duration or 0) / 1e6 if container.format.name.startswith("matroska") else 0.0
        )
        if end < WHOLE * stated:
            raise UserError(
                f"{path} ends after {end:.1f} of {stated:.1f} s: fetch it again or take it out"
            )
    if not shown:
        raise UserError(f"{path} has no frames: fetch it again or take it out")
    return shown


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """The container and its first video stream; whatever is wrong with the file becomes one line naming it."""
    av = import_av()
    try:
        # an absolute path cannot be taken for an address, as 'http:clip.mp4' could
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


def _pixels(frame: Any, path: Path) -> NDArray[np.uint8]:
    check_size(frame.width, frame.height, str(path))
    pixels: NDArray[np.uint8] = frame.to_ndarray(format="rgb24")
    return pixels
