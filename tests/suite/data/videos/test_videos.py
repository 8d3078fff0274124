"""`video:` and `frames:` as data sets."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backbones.common.errors import UserError
from backbones.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from suite.data import open_dataset
from suite.data.videos.videos import Videos

Put = Callable[..., Path]
Make = Callable[..., np.ndarray]


def opened(spec: str, **settings: str) -> Videos:
    data = open_dataset(spec, **settings)
    assert isinstance(data, Videos)
    return data


def straight(frames: np.ndarray, count: int, clips: int, crops: int, size: int) -> np.ndarray:
    """Every view of a video whose short side is `size`, pixel by pixel as in the protocol."""
    total, height, width, _ = frames.shape
    views = []
    for clip in range(clips):
        for crop in range(crops):
            left = (width - size) // 2 if crops == 1 else int(crop * (width - size) / (crops - 1))
            pictures = []
            for i in range(count):
                segment = (total - 1) / count
                place = min(
                    int(np.round(segment * i)) + int(segment / (clips + 1) * (clip + 1)), total - 1
                )
                pixels = frames[place, :, left : left + size].astype(np.float64) / 255
                pictures.append((pixels - IMAGENET_MEAN) / IMAGENET_STD)
            views.append(np.stack(pictures).transpose(3, 0, 1, 2))
    assert height == size
    return np.stack(views)


@pytest.mark.parametrize("kind", ["video", "frames"])
@pytest.mark.parametrize(
    ("views", "clips", "crops"), [("4x3", 4, 3), ("1x1", 1, 1), ("2x2", 2, 2), ("1x5", 1, 5)]
)
def test_every_view_is_that_of_the_protocol(
    films: Path, make_film: Make, kind: str, views: str, clips: int, crops: int
) -> None:
    data = opened(f"{kind}:{films / kind}", views=views).in_frames(4)
    assert data.views == clips * crops
    for index in (0, 5):
        sample = data.sample(index, 32)
        expected = straight(make_film(index, count=9 + index), 4, clips, crops, 32)
        assert sample.shape == expected.shape == (clips * crops, 3, 4, 32, 32)
        np.testing.assert_allclose(sample, expected, atol=2e-6)


def test_files_and_folders_of_the_same_frames_are_the_same(films: Path) -> None:
    files, folders = (opened(f"{kind}:{films / kind}").in_frames(5) for kind in ("video", "frames"))
    assert files.classes == folders.classes == ("jump", "run")
    assert files.labels.tolist() == folders.labels.tolist() == [0, 0, 0, 1, 1, 1]
    for index in range(6):
        np.testing.assert_array_equal(files.sample(index, 24), folders.sample(index, 24))
        np.testing.assert_array_equal(files.image(index), folders.image(index))


def test_samples_do_not_depend_on_their_company_or_process(films: Path) -> None:
    data = opened(f"video:{films / 'video'}", views="2x3").in_frames(3)
    indices = np.array([4, 0, 2])
    together = data.samples(indices, 28)
    assert together.shape == (18, 3, 3, 28, 28)
    assert together.dtype == np.float32
    alone = np.concatenate([data.samples(indices[i : i + 1], 28) for i in range(3)])
    np.testing.assert_array_equal(together, alone)
    sent = pickle.loads(pickle.dumps(data))
    np.testing.assert_array_equal(sent.samples(indices, 28), together)
    assert sent.manifest() == data.manifest()


def test_the_short_side_is_resized_and_all_frames_alike(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "clip"
    folder.mkdir(parents=True)
    Image.new("RGB", (60, 40), (255, 0, 0)).save(folder / "1.png")
    Image.new("RGB", (80, 40), (255, 0, 0)).save(folder / "2.png")  # a change of size in the middle
    data = opened(f"frames:{tmp_path}", views="1x3").in_frames(2)
    sample = data.sample(0, 20)
    assert sample.shape == (3, 3, 2, 20, 20)
    np.testing.assert_allclose(sample[:, 0], (1 - IMAGENET_MEAN[0]) / IMAGENET_STD[0], atol=1e-6)


def test_a_video_shorter_than_a_clip_repeats_frames(
    tmp_path: Path, make_film: Make, put_frames: Put
) -> None:
    frames = make_film(1, count=2)
    put_frames(tmp_path / "run" / "clip", frames)
    sample = opened(f"frames:{tmp_path}", views="1x1").in_frames(8).sample(0, 32)
    np.testing.assert_allclose(sample, straight(frames, 8, 1, 1, 32), atol=2e-6)


def test_what_people_see_is_the_middle_view(films: Path, make_film: Make) -> None:
    data = opened(f"video:{films / 'video'}").in_frames(4)
    strip = data.view(2, 32)
    assert strip.shape == (32, 4 * 32, 3)
    frames = make_film(2, count=11)
    places = [1, 3, 6, 9]  # (i + 1/2) x 10 / 4, by the rule's rounding
    expected = np.concatenate([frames[place, :, 8:40] for place in places], axis=1)
    np.testing.assert_array_equal(strip, expected)
    assert data.once().views == 1
    np.testing.assert_array_equal(data.image(2), frames[5])


def test_the_manifest_follows_clips_views_and_preprocessing(
    films: Path, tmp_path: Path, make_film: Make
) -> None:
    spec = f"frames:{films / 'frames'}"
    first = opened(spec).manifest()
    assert opened(spec).manifest() == first
    assert opened(spec).in_frames(16).manifest() == first  # the model says how many
    assert first["images"] == 6
    assert str(films) not in str(first)
    others = [
        opened(spec, views="1x1"),
        open_dataset(spec, crop=0.9),
        open_dataset(spec, interpolation="bicubic"),
        opened(f"video:{films / 'video'}"),
    ]
    assert len({first["hash"], *(other.manifest()["hash"] for other in others)}) == 5


def test_splits_and_lists(films: Path, tmp_path: Path, put_frames: Put, make_film: Make) -> None:
    put_frames(tmp_path / "train" / "run" / "a", make_film(1, count=1))
    put_frames(tmp_path / "val" / "run" / "b", make_film(2, count=2))
    data = open_dataset(f"frames:{tmp_path}", "val")
    assert (data.split, len(data)) == ("val", 1)
    with pytest.raises(UserError, match="several splits: choose train or val with --split"):
        open_dataset(f"frames:{tmp_path}")
    (tmp_path / "few.txt").write_text("jump/b.mkv 0\nrun/c.mkv 1\n")
    listed = opened(f"video:{tmp_path / 'few.txt'}", source=str(films / "video"))
    whole = opened(f"video:{films / 'video'}")
    np.testing.assert_array_equal(listed.sample(1, 16), whole.sample(5, 16))
    (films / "video" / "beside.csv").write_text("jump/b.mkv,0\n")
    assert len(open_dataset(f"video:{films / 'video' / 'beside.csv'}")) == 1


@pytest.mark.parametrize(
    ("spec", "settings", "message"),
    [
        ("video", {}, "write video:PATH"),
        ("video:{films}/gone", {}, "not a folder"),
        ("video:{films}/video/run/a.mkv", {}, r"a.mkv is neither a folder nor a list \(.csv"),
        (
            "video:{films}/frames",
            {},
            "no video files in class folders.*use frames: for folders of frames",
        ),
        (
            "frames:{films}/video",
            {},
            "no folders of frames in class folders.*use video: for video files",
        ),
        (
            "video:{films}/list.csv",
            {"source": "{films}/gone"},
            "gone is not a folder: check --source",
        ),
        ("video:{films}/video", {"views": "many"}, "write 4x3"),
        ("fashion-mnist", {"views": "4x3"}, "images, which are seen once: leave --views out"),
    ],
)
def test_what_cannot_be_opened_is_one_line(
    films: Path, spec: str, settings: dict[str, str], message: str
) -> None:
    (films / "list.csv").write_text("a.mkv 0\n")
    settings = {name: value.format(films=films) for name, value in settings.items()}
    with pytest.raises(UserError, match=message) as refused:
        open_dataset(
            spec.format(films=films),
            None if "video" in spec or "frames" in spec else "dev",
            **settings,
        )
    assert "\n" not in str(refused.value)


def test_links_that_lead_out_are_refused(films: Path, tmp_path: Path) -> None:
    (tmp_path / "data" / "run").mkdir(parents=True)
    (tmp_path / "data" / "run" / "a.mkv").symlink_to(films / "video" / "run" / "a.mkv")
    with pytest.raises(UserError, match="leads out of"):
        open_dataset(f"video:{tmp_path / 'data'}")


def test_a_clip_is_known_by_its_bytes(
    films: Path, tmp_path: Path, put_frames: Put, make_film: Make
) -> None:
    """Neither by the number of frames, nor by names, nor by the frames that a view takes alone."""
    put_frames(tmp_path / "a" / "x", make_film(1, count=5))
    before = opened(f"frames:{tmp_path}").identify(0).content
    (tmp_path / "a").rename(tmp_path / "b")
    (tmp_path / "b" / "x").rename(tmp_path / "b" / "y")
    for path in (tmp_path / "b" / "y").iterdir():
        path.touch()
    assert opened(f"frames:{tmp_path}").identify(0).content == before
    put_frames(tmp_path / "b" / "y", make_film(2, count=5))
    assert opened(f"frames:{tmp_path}").identify(0).content != before
    files = opened(f"video:{films / 'video'}")
    assert len({files.identify(clip).content for clip in range(6)}) == 6
