"""The sections on sensitivity draw what is stored, for one backbone and for two."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.figure import Figure

import reports
from reports import sections
from reports.figures.canvas import WIDTH
from reports.figures.tokens import grids, stacked
from reports.page_panels import stack_panel
from reports.report_data import ReportData
from reports.run import load
from reports.section import Maps, Section
from reports.sections import sensitivity_maps

SIDE, DEPTH, OVERALL = 4, 3, -1
EFFECTS = ("loss", "margin", "flip", "kl")
SCORES = ("delta", "delta:forward", "delta:backward", "norm", "random")
TARGETS = ("removal_kl", "removal_loss", "foreground")
NEAR = [("centre", ""), ("sequence", ""), ("sequence", "centre")]
PAIRS = [
    ("loss", "estimate", "zeroing"),
    ("loss", "estimate", "removal"),
    ("kl", "bound", "removal"),
]
KEYS = ("sensitivity", "estimates", "scores", "layers", "class-token")


def _measured(rng: np.random.Generator, backbone: str, **values: Any) -> pd.DataFrame:
    """A row for each combination of the values, with an invented mean and its interval."""
    frame = pd.DataFrame(product(*values.values()), columns=list(values)).assign(
        backbone=backbone, images=64
    )
    mean = rng.normal(0, 0.3, len(frame))
    return frame.assign(mean=mean, low=mean - 0.1, high=mean + 0.1)


def _frames(backbone: str, rng: np.random.Generator) -> dict[str, pd.DataFrame]:
    side, blocks, every = range(SIDE), range(DEPTH), (OVERALL, *range(DEPTH))
    grid = pd.DataFrame(product(range(DEPTH + 1), side, side), columns=["block", "row", "col"])
    grid = grid.assign(backbone=backbone, frame=0, foreground=0.3)
    names = [f"{kind}_{effect}" for kind in ("removal", "zeroing") for effect in (*EFFECTS, "rank")]
    for name in [*names, "estimate_loss", "bound_rank"]:
        grid[name] = np.where(grid["block"] < DEPTH, rng.normal(0, 1, len(grid)), np.nan)
    for name in ("delta:forward", "delta:backward", "b:forward"):
        grid[f"score_{name}"] = np.where(grid["block"] > 0, rng.random(len(grid)), np.nan)
    kept = pd.DataFrame(
        product(("mtr", "stride"), blocks[1:], side, side), columns=["label", "block", "row", "col"]
    )
    quantities = ("removal_kl", "removal_loss", "removal_rank")
    axes, near = ("row", "col", "sequence"), pd.DataFrame(NEAR, columns=["nearness", "given"])
    pairs, windows = pd.DataFrame(PAIRS, columns=["quantity", "first", "second"]), (0, 1, 2)
    rankings = _measured(
        rng, backbone, block=blocks, ranking=("random", "delta"), window=windows, quantity=EFFECTS
    )
    exact = _measured(
        rng, backbone, block=blocks, ranking=("removal",), window=(0,), quantity=EFFECTS
    )
    return {
        "map": grid,
        "profile": _measured(
            rng, backbone, block=blocks, axis=axes, at=(0.0, 1.0, 2.0), quantity=quantities
        ),
        "distance": _measured(
            rng, backbone, block=every, quantity=("removal_kl",), pair=range(3)
        ).join(near, on="pair"),
        "agreement": _measured(rng, backbone, block=every, pair=range(3)).join(pairs, on="pair"),
        "scores": _measured(
            rng, backbone, block=(OVERALL, 1, 2), target=TARGETS, score=(*SCORES, "place", "bound")
        ),
        "groups": pd.concat([rankings, exact]),
        "placements": _measured(
            rng, backbone, block=range(DEPTH + 1), position=(0, 4, 8, 16), quantity=EFFECTS
        ),
        "methods": _measured(
            rng, backbone, block=blocks[1:], label=("mtr", "stride"), quantity=EFFECTS
        ).assign(tokens_removed=6),
        "kept": kept.assign(backbone=backbone, kept=rng.random(len(kept))),
        "skipped": pd.DataFrame(
            {"backbone": [backbone], "label": ["evit[score=cls-attention]"], "reason": ["no cls"]}
        ),
    }


def _write(folder: Path, backbones: tuple[str, ...]) -> Path:
    parts = [
        _frames(backbone, np.random.default_rng(seed)) for seed, backbone in enumerate(backbones)
    ]
    (folder / "analyses").mkdir(parents=True)
    (folder / "spec.yaml").write_text(yaml.safe_dump({"schema": 4, "kind": "sensitivity"}))
    for name in parts[0]:
        pd.concat([part[name] for part in parts]).to_parquet(
            folder / "analyses" / f"sensitivity_{name}.parquet"
        )
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _write(tmp_path_factory.mktemp("run") / "s", ("vim_nano",))


def _sections(folder: Path) -> list[Section]:
    return sections.sections(ReportData.of(load(folder, sections.needed())))


@pytest.fixture(scope="module")
def built(folder: Path) -> list[Section]:
    return [section for section in _sections(folder) if section.key in KEYS]


def _stored(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_parquet(folder / "analyses" / f"sensitivity_{name}.parquet")


def _drawing(built: list[Section], name: str) -> Any:
    return next(drawing for section in built for drawing in section.figures if drawing.name == name)


def _lines(figure: Figure, axes: int) -> dict[str, tuple[list[float], list[float]]]:
    return {
        str(line.get_label()): (list(line.get_xdata()), list(line.get_ydata()))
        for line in figure.axes[axes].get_lines()
    }


def test_every_section_is_there_with_a_sentence(built: list[Section]) -> None:
    assert [section.key for section in built] == list(KEYS)
    for section in built:
        assert "vim_nano" in section.sentence
        assert " nan" not in section.sentence
        assert all(drawing.caption and drawing.alt for drawing in section.figures)


def test_maps_hold_what_is_stored(built: list[Section], folder: Path) -> None:
    maps = _drawing(built, "sensitivity-loss").maps
    assert isinstance(maps, Maps)
    assert (maps.rows, maps.layers) == (("removed", "zeroed", "gradient × activation"), (0, 1, 2))
    rows = _stored(folder, "map")
    for name, values in zip(
        ("removal_loss", "zeroing_loss", "estimate_loss"), maps.values, strict=True
    ):
        for row in rows[rows["block"] < DEPTH].itertuples():
            assert values[row.block, row.row, row.col] == getattr(row, name)
    figure = stacked(maps, WIDTH)
    pictures = [axes.images[0] for axes in figure.axes if axes.images]
    np.testing.assert_array_equal(pictures[4].get_array(), maps.values[1, 1])
    assert pictures[4].get_clim() == maps.bounds()[1]


def test_captions_describe_the_colour_scales_of_page_and_figure(built: list[Section]) -> None:
    for name in ("sensitivity-loss", "sensitivity-kl", "sensitivity-traces"):
        drawing = _drawing(built, name)
        # Of the effects the first says it for all of them.
        told = _drawing(built, name if name == "sensitivity-traces" else "sensitivity-rank")
        words = "ach kind of map has a colour scale of its own, the same in all blocks."
        assert words in told.caption
        scales = stack_panel(drawing.maps)[
            "bounds"
        ]  # of the page, where a row is one map behind the slider
        pictures = [axes.images[0] for axes in drawing.draw(WIDTH).axes if axes.images]
        layers = len(drawing.maps.layers)
        for index, picture in enumerate(pictures):
            assert list(picture.get_clim()) == scales[index // layers]


def test_traces_belong_to_the_block_before(built: list[Section], folder: Path) -> None:
    maps = _drawing(built, "sensitivity-traces").maps
    assert maps.layers == (0, 1, 2)
    assert maps.rows == ("mean Δ, forward scan", "mean Δ, backward scan", "mean |B|, forward scan")
    rows = _stored(folder, "map").set_index(["block", "row", "col"])
    assert maps.values[1, 2, 1, 3] == rows.loc[(3, 1, 3), "score_delta:backward"]


def test_frames_of_a_clip_stand_beside_each_other() -> None:
    places = product((0, 1), (0, 1), (0, 1, 2))
    rows = pd.DataFrame(
        [(5, t, r, c, 100 * t + 10 * r + c) for t, r, c in places],
        columns=["block", "frame", "row", "col", "value"],
    )
    assert grids(rows, "value", [5]).tolist() == [
        [[0, 1, 2, 100, 101, 102], [10, 11, 12, 110, 111, 112]]
    ]


@pytest.mark.parametrize(
    ("name", "axes", "label", "stored", "at", "where"),
    [
        (
            "sensitivity-estimates",
            0,
            "|gradient| × |activation|, with removal (answer)",
            "agreement",
            "block",
            {"quantity": "kl", "first": "bound"},
        ),
        (
            "sensitivity-scores-by-block",
            2,
            "norm",
            "scores",
            "block",
            {"target": "foreground", "score": "norm"},
        ),
        (
            "sensitivity-groups",
            1,
            "exact removal, by the loss",
            "groups",
            "block",
            {"quantity": "flip", "ranking": "removal", "window": 0},
        ),
        (
            "sensitivity-layers",
            0,
            "Stride",
            "methods",
            "block",
            {"quantity": "loss", "label": "stride"},
        ),
        (
            "sensitivity-window",
            1,
            "before block 1",
            "groups",
            "window",
            {"quantity": "loss", "ranking": "delta", "block": 1},
        ),
        (
            "sensitivity-profiles",
            2,
            "block 0",
            "profile",
            "at",
            {"quantity": "removal_rank", "axis": "sequence", "block": 0},
        ),
    ],
)
def test_lines_are_the_stored_means(
    name: str,
    axes: int,
    label: str,
    stored: str,
    at: str,
    where: dict[str, Any],
    built: list[Section],
    folder: Path,
) -> None:
    rows = _stored(folder, stored)
    for column, value in where.items():
        rows = rows[rows[column] == value]
    rows = rows[rows["block"] != OVERALL].sort_values(at)
    drawn = _lines(_drawing(built, name).draw(WIDTH), axes)
    assert drawn[label] == (rows[at].tolist(), rows["mean"].tolist())


def test_the_class_tokens_own_place_is_where_nothing_changes(folder: Path, tmp_path: Path) -> None:
    rows = _stored(folder, "placements")
    rows.loc[rows["quantity"] == "kl", "mean"] = np.where(
        rows.loc[rows["quantity"] == "kl", "position"] == 8, 0.0, 0.5
    )
    other = _write(tmp_path / "s", ("vim_nano",))
    rows.to_parquet(other / "analyses" / "sensitivity_placements.parquet")
    drawn = _lines(_drawing(_sections(other), "sensitivity-placement").draw(WIDTH), 1)
    read = rows[(rows["quantity"] == "flip") & (rows["block"] == DEPTH)].sort_values("position")
    assert drawn["another token read out"] == ([-8, -4, 0, 8], read["mean"].tolist())


def test_scores_are_ranked_and_yardsticks_hollow(built: list[Section], folder: Path) -> None:
    rows = _stored(folder, "scores")
    rows = rows[(rows["block"] == OVERALL) & (rows["target"] == "removal_kl")].sort_values("mean")
    figure = _drawing(built, "sensitivity-scores").draw(WIDTH)
    dots = [line for line in figure.axes[0].get_lines() if line.get_marker() == "o"]
    places = {float(dot.get_ydata()[0]): float(dot.get_xdata()[0]) for dot in dots}
    assert [places[place] for place in sorted(places)] == rows["mean"].tolist()
    hollow = {float(dot.get_xdata()[0]) for dot in dots if dot.get_markerfacecolor() == "white"}
    assert hollow == set(rows.loc[rows["score"].isin(["place", "bound"]), "mean"])


def test_a_page_of_two_backbones(tmp_path: Path) -> None:
    folder = _write(tmp_path / "two", ("vim_nano", "deit nano"))
    made = _sections(folder)
    names = [drawing.name for section in made for drawing in section.figures]
    assert len(names) == len(set(names))
    assert {"sensitivity-kl-vim-nano", "sensitivity-kl-deit-nano"} <= set(names)
    nearness = next(
        table
        for section in made
        for table in section.tables
        if table.name == "sensitivity-nearness"
    )
    assert nearness.frame["Block"].tolist()[-1] == "vim_nano: mean"


@pytest.mark.usefixtures("unmade")  # what is drawn is tested above
def test_the_page_carries_all_of_it(folder: Path) -> None:
    page = reports.build(folder).read_text("utf-8")
    assert all(f'id="{key}"' in page for key in KEYS)
    assert "evit[score=cls-attention] on vim_nano: no cls" in page.replace("\u200b", "")
    assert (folder / "report" / "tables" / "sensitivity-groups-table.csv").is_file()


def test_nothing_removed_is_no_section(folder: Path) -> None:
    rows = _stored(folder, "map").assign(removal_loss=np.nan)
    report = ReportData.of(load(folder, sections.needed()))
    assert sensitivity_maps.section(report, {"sensitivity_map": rows}) is None
