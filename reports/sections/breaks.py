"""Where each method first loses an answer that the dense model has right."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from reports.figures.canvas import COLUMN, blank, new_figure, paper_style, picture
from reports.figures.fonts import wrapped
from reports.figures.gallery import answer, extra_lines
from reports.formatting import budget_name, fold, percent
from reports.report_data import ReportData
from reports.section import Drawing, Frames, Section, Table, stored
from reports.style import PLAIN, group
from reports.token_overlay import overlay

NEEDS = stored("first_errors")
# Pairs of pictures that fit on a page.
MOST = 16


@dataclass(frozen=True)
class Words:
    """What is said of a method's first picture, by what is named.

    ``reading``  how to read the pairs of pictures, which ``alt`` describes
    ``kept``     of whose picture none is kept, ``lost`` of whose answers none is lost
    ``caption``  of the table
    """

    reading: str
    alt: str
    kept: str
    lost: str
    caption: str


WORDS = {
    "classification": Words(
        "For each method a picture that the dense model classifies correctly and that the method "
        "gets wrong at the smallest budget at which it gets any wrong; among those the one whose "
        "answer moved furthest. Left: the picture and the dense answer. Right: the tokens at the "
        "end, drawn as above, and the method's answer.",
        "Pairs of pictures, one pair for each method: the dense answer, and the first answer that "
        "is lost.",
        "of whose lost answers the run keeps no picture",
        "which lose no right answer",
        "The first lost answer of each method.",
    ),
    "segmentation": Words(
        "For each method the picture whose mean IoU falls most below the dense model's at the "
        "smallest budget. Left: the picture and the dense model's mean IoU. Right: the tokens at "
        "the end, drawn as above, and the method's.",
        "Pairs of pictures, one pair for each method: the dense model's mean IoU, and the method's "
        "where it falls most.",
        "of whose picture the run keeps none",
        "under which no picture falls",
        "The picture whose mean IoU falls most under each method at the smallest budget.",
    ),
}


def section(report: ReportData, frames: Frames) -> Section | None:
    """Build the pictures of each method's first lost answer; None without pictures."""
    # A method's rows are in the order of its budgets, and of the divergence within one.
    first = frames["first_errors"].drop_duplicates(["backbone", "label"])
    pictured = _in_gallery(report, first)
    if pictured.empty or report.shape is None:
        return None
    shown, words = pictured.head(MOST), WORDS[report.run.task]
    drawing = Drawing(
        "breaks",
        partial(pairs, report, shown),
        f"{words.reading}{_not_shown(report, first, pictured)}",
        words.alt,
    )
    return Section(
        key="breaks",
        part="gallery",
        title="Where each method fails first",
        sentence=_sentence(report, first),
        figures=(drawing,),
        tables=(_table(report, shown),),
    )


def _in_gallery(report: ReportData, first: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `first` whose picture and tokens are in the gallery, in drawing order."""
    cell = ["backbone", "label", "budget", "image"]
    # The last block has the tokens that reach the head.
    tokens = report.run.gallery.sort_values("block").drop_duplicates(cell, keep="last")
    joined = first.merge(tokens, on=cell, how="inner")
    joined = joined[joined["image"].isin(list(report.pictures))]
    order = {label: index for index, label in enumerate(report.labels)}
    # Backbones are no labels: they sort equal and keep their order.
    return joined.sort_values(["backbone", "label"], key=lambda names: names.map(order).fillna(0))


def pairs(report: ReportData, rows: pd.DataFrame, width: float) -> Figure:
    """Draw a pair of pictures for each lost answer: before, and the tokens that are left."""
    assert report.shape is not None
    across = 2 * (3 if width > COLUMN else 2)
    lines = -(-2 * len(rows) // across)
    with paper_style():
        size = width / (across + 0.15 * across)
        titles = []
        for row in rows.to_dict("records"):
            # On a page of one backbone its name would only repeat.
            name = report.title(row["label"])
            if len(report.backbones) > 1:
                name = f"{name}, {row['backbone']}"
            title = f"{fold(name, 24)}, {budget_name(row['budget'])}"
            titles.append(wrapped(title, 2 * size, 7))
        above = max(title.count("\n") for title in titles)
        height = size * report.shape[0] / report.shape[1] + 0.42
        height += 0.12 * above + 0.1 * extra_lines(report.run, rows, size)
        figure = new_figure(width, height * lines, pad=0.02)
        panels = figure.subplots(lines, across, squeeze=False).ravel()
        for axes in panels:
            blank(axes)
        for index, row in enumerate(rows.to_dict("records")):
            left, right = panels[2 * index : 2 * index + 2]
            pixels = report.pictures[row["image"]]
            picture(left, pixels)
            picture(right, overlay(pixels, np.asarray(row["owner"], np.int64), report.shape))
            left.set_title(titles[index], fontsize=7, fontweight="normal")
            answer(left, report.run, row, size, "dense_", right=True)
            answer(right, report.run, row, size, right=False)
        return figure


def _table(report: ReportData, rows: pd.DataFrame) -> Table:
    # The pictures' answers again, for readers who cannot see them.
    frame = pd.DataFrame(
        {
            "Method": rows["label"],
            "Backbone": rows["backbone"],
            "FLOPs removed": rows["budget"].map(budget_name),
            "Image": rows["image"],
        }
    )
    if report.run.task == "classification":
        frame["True class"] = rows["label_true"].map(report.run.class_name)
    for head, whose in (("Dense", "dense_"), ("Reduced", "")):
        answers = [report.run.answer(row, whose) for row in rows.to_dict("records")]
        frame[head] = [f"{given.name} {percent(given.share, 0)} %" for given in answers]
    return Table("breaks", WORDS[report.run.task].caption, frame)


def _not_shown(report: ReportData, first: pd.DataFrame, pictured: pd.DataFrame) -> str:
    """Name the methods without a pair of pictures, and why.

    `first` are all first losses, `pictured` those with a picture in the gallery.
    """
    # Blind baselines lose answers everywhere, so a run keeps no pictures for them.
    looking = _methods(report, first[first["label"].map(group) != PLAIN])
    lost, in_gallery = _methods(report, first), _methods(report, pictured)
    evaluated = _methods(report, report.run.gallery)
    words = WORDS[report.run.task]
    # Each reason continues the list of its methods.
    reasons = {
        words.kept: [name for name in looking if name not in in_gallery],
        "for which there is no room": _methods(report, pictured.iloc[MOST:]),
        words.lost: [name for name in evaluated if name not in lost],
    }
    clauses = [f"{', '.join(names)}, {why}" for why, names in reasons.items() if names]
    return f" Not shown: {'; '.join(clauses)}." if clauses else ""


def _methods(report: ReportData, rows: pd.DataFrame) -> list[str]:
    """Return the methods of `rows` in drawing order, with their backbone if there are several."""
    pairs = rows[["backbone", "label"]].drop_duplicates().itertuples(index=False)
    names = []
    for pair in sorted(pairs, key=lambda pair: report.labels.index(pair.label)):
        several = len(report.backbones) > 1
        name = report.title(pair.label)
        names.append(f"{name} on {pair.backbone}" if several else name)
    return names


def _sentence(report: ReportData, first: pd.DataFrame) -> str:
    smallest = first["budget"].min()
    if report.run.task == "segmentation":
        return (
            "No picture is right or wrong in segmentation: shown is the one whose mean IoU falls "
            f"most under each method at the smallest budget, {budget_name(smallest)}."
        )
    # A method counts once, on however many backbones it ran.
    early = first[first["budget"] == smallest]["label"].nunique()
    total = first["label"].nunique()
    if early == total:
        return (
            "Every method loses some right answers of the dense model at the smallest budget, "
            f"{budget_name(smallest)}."
        )
    return (
        f"{early} of {total} methods lose some right answers of the dense model at the smallest "
        f"budget, {budget_name(smallest)}; the last to do so loses none below "
        f"{budget_name(first['budget'].max())}."
    )
