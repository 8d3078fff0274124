"""A comparison on videos: every view through the model, one row a video, whatever the batch."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from backbones import BACKBONES
from backbones.common.errors import UserError
from backbones.models.sizes import ClipConfig
from backbones.models.videomamba_video import VideoMambaVideo
from suite.analysis.gallery import DROPPED, side_by_side
from suite.comparison import run_comparison
from suite.config.run_spec import RunSpec
from suite.evaluation.views import average_views
from suite.plan.prepare import prepare
from suite.plan.run_time import estimate_seconds
from suite.store.results import Results, cut_shards
from suite.store.run_folder import Store

pytestmark = pytest.mark.usefixtures("undrawn")

Specs = Callable[..., RunSpec]
Content = Callable[[Path], dict[str, bytes]]


def clip_mini(**overrides: Any) -> VideoMambaVideo:
    """Three blocks over 4 frames of 4 x 4 patches."""
    sizes = {
        "dim": 16,
        "depth": 3,
        "states": 4,
        "image_size": 32,
        "patch": 8,
        "stride": 8,
        "classes": 2,
        "frames": 4,
    }
    return VideoMambaVideo("clip_mini", ClipConfig(**(sizes | overrides)))


@pytest.fixture
def clips(small: Specs, films: Path, monkeypatch: pytest.MonkeyPatch) -> Specs:
    """A maker of specs on `clip_mini` and the films."""
    monkeypatch.setitem(BACKBONES._added, "clip_mini", clip_mini)

    def spec(**changed: Any) -> RunSpec:
        values = {
            "backbones": ("clip_mini",),
            "data": f"video:{films / 'video'}",
            "views": "2x3",
            "batch_size": 8,
        }
        return small(
            **(values | {"methods": ("mtr", "tome"), "budgets": (0.3,), "shard_size": 4} | changed)
        )

    return spec


def test_each_video_gets_the_mean_of_its_views(clips: Specs, tmp_path: Path) -> None:
    few = {"budgets": (0.2,), "baselines": False}
    spec = clips(methods=("tome[order=shuffled]",), gallery=0, **few)
    result = run_comparison(spec, tmp_path / "run", quiet=True)
    assert not result.failures
    prepared = prepare(spec)
    model = prepared.models["clip_mini"]
    data = prepared.data["clip_mini"]
    results = Results(Store(tmp_path / "run"), prepared.shards)
    for cell in prepared.runnable["clip_mini"]:
        rows = results.outcomes(cell.key)
        assert rows.image.tolist() == list(range(6))
        for video in range(6):
            shares = []
            for view, clip in enumerate(torch.from_numpy(data.sample(video, 32))):
                with torch.inference_mode():
                    start = model.embed(clip[None], torch.tensor([video * 6 + view]))
                    logits = model.readout(model.run(start, plan=cell.reducers()))
                shares.append(logits.double().softmax(1)[0].numpy())
            mean = np.mean(shares, axis=0)
            assert rows.prediction[video] == mean.argmax()
            np.testing.assert_allclose(
                rows.loss[video], -np.log(mean[data.labels[video]]), rtol=1e-6
            )


def test_results_do_not_depend_on_batches_or_shards_and_fit_the_page(
    clips: Specs, tmp_path: Path, content: Content
) -> None:
    frames = []
    for name, changed in {
        "a": {"batch_size": 3},
        "b": {"batch_size": 7, "shard_size": 1},
    }.items():
        spec = clips(**changed, methods=("mtr",), seeds=1, gallery=0)
        result = run_comparison(spec, tmp_path / name, quiet=True)
        assert not result.failures
        keys = [record.key for record in result.records if record.status == "ok"]
        results = Results(Store(tmp_path / name), cut_shards(np.arange(6), spec.shard_size))
        frames.append({key: results.outcomes(key) for key in keys})
        kept = pd.read_parquet(tmp_path / name / "analyses" / "kept_tokens.parquet")
        assert kept.kept.between(0, 1).all()
        assert kept[kept.block == 0].kept.eq(1).all()
    assert frames[0].keys() == frames[1].keys()
    for key, frame in frames[0].items():
        pd.testing.assert_frame_equal(frame, frames[1][key], check_exact=True)

    from reports import build

    page = build(tmp_path / "a").read_text("utf-8")
    assert "6 views each" in page
    assert "Videos" in page
    assert "FLOPs per clip, convention" in page
    # Nothing that is said of the run calls its videos images.
    headline = json.loads((tmp_path / "a" / "analyses" / "headline.json").read_text())
    said = [headline["headline"], *headline["paragraphs"]]
    said += [row["sentence"] for row in headline["resolution"]]
    assert any("6 videos" in text for text in said)
    assert not any(re.search(r"\d images|these images", text) for text in said), said


def test_folders_of_frames_give_the_same_rows(clips: Specs, films: Path, tmp_path: Path) -> None:
    rows = []
    for kind in ("video", "frames"):
        spec = clips(data=f"{kind}:{films / kind}", methods=("stride",), baselines=False)
        result = run_comparison(spec, tmp_path / kind, quiet=True)
        rows.append([record.metrics for record in result.records])
    assert rows[0] == rows[1]


def test_a_gallery_of_clips_shows_their_frames_side_by_side(clips: Specs, tmp_path: Path) -> None:
    spec = clips(gallery=2, methods=("mtr",), baselines=False)
    run_comparison(spec, tmp_path / "run", quiet=True)
    gallery = pd.read_parquet(tmp_path / "run" / "analyses" / "gallery.parquet")
    assert set(gallery.owner.map(len)) == {64}
    assert gallery.image.nunique() == 2


def test_places_move_with_their_frames() -> None:
    # two frames of 1 x 3: the second frame's first place lives in the first frame's last
    group = torch.tensor([[0, DROPPED, 2, 2, 4, -2]])
    assert side_by_side(group, (2, 1, 3)).tolist() == [[0, DROPPED, 2, 2, 4, -2]]
    # two frames of 2 x 1: rows t0y0, t0y1, t1y0, t1y1 become y0t0, y0t1, y1t0, y1t1
    assert side_by_side(torch.tensor([[0, 0, 2, DROPPED]]), (2, 2, 1)).tolist() == [
        [0, 1, 0, DROPPED]
    ]
    alone = torch.tensor([[3, 1, DROPPED, 3]])
    assert side_by_side(alone, (1, 2, 2)) is alone


def test_answers_to_views_are_averaged_as_shares() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(12, 5, generator=generator) * 4
    found = average_views(logits, 3)
    expected = logits.double().softmax(1).view(4, 3, 5).mean(1)
    torch.testing.assert_close(found.exp(), expected)
    torch.testing.assert_close(
        found.logsumexp(1), torch.zeros(4, dtype=torch.float64), atol=1e-12, rtol=0
    )
    for row in range(4):
        assert torch.equal(average_views(logits[3 * row : 3 * row + 3], 3)[0], found[row])
    assert average_views(logits, 1) is logits
    certain = torch.tensor([[0.0, 2000.0], [0.0, 3000.0]])
    assert bool(torch.isfinite(average_views(certain, 2)).all())


def test_images_and_videos_are_not_mixed(clips: Specs, small: Specs, films: Path) -> None:
    with pytest.raises(
        UserError,
        match=r"clip_mini takes clips of 4 frames and 'blots' has images: use --data video:",
    ):
        prepare(clips(data="blots", views=None))
    with pytest.raises(
        UserError, match="vim_mini takes images and 'video' has videos: use a backbone for clips"
    ):
        prepare(clips(backbones=("vim_mini",)))
    with pytest.raises(
        UserError, match="'blots' has images, which are seen once: leave --views out"
    ):
        prepare(small(views="4x3"))


def test_the_estimate_counts_every_view(clips: Specs) -> None:
    prepared = prepare(clips(methods=("none",), baselines=False))
    (name,) = prepared.models
    assert prepared.samples(name) == 36
    assert prepared.mean_work[name] == prepared.dataset.views
    assert estimate_seconds(prepared) > 0


def test_a_damaged_video_ends_the_run_in_one_line(
    clips: Specs, films: Path, tmp_path: Path
) -> None:
    for name in ("jump", "run"):
        (tmp_path / "data" / name).mkdir(parents=True)
    (tmp_path / "data" / "jump" / "a.mkv").write_bytes(
        (films / "video" / "jump" / "a.mkv").read_bytes()
    )
    (tmp_path / "data" / "run" / "a.mkv").write_bytes(b"junk")
    with pytest.raises(UserError, match=r"run/a\.mkv cannot be read as a video"):
        run_comparison(clips(data=f"video:{tmp_path / 'data'}"), tmp_path / "out", quiet=True)
