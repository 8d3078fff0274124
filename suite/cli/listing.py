"""`list`: the methods, backbones, checkpoints, data sets and recipes to choose from.

The module is not called list, since it would hide the built-in name in the package.
"""

from __future__ import annotations

import enum
import json
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from backbones.common.errors import UserError, printable

if TYPE_CHECKING:
    from backbones.checkpoints.published import PublishedFile

Rows = list[dict[str, Any]]


class Kind(enum.StrEnum):
    """What can be listed."""

    methods = "methods"
    backbones = "backbones"
    checkpoints = "checkpoints"
    datasets = "datasets"
    recipes = "recipes"


def list_things(
    kind: Annotated[Kind, typer.Argument(help="What to list.")] = Kind.methods,
    long: Annotated[
        str, typer.Option(help="Name of one method: print its card; 'all': every card.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """List methods, backbones, checkpoints, data sets or recipes; or print a method's card."""
    if long and kind is not Kind.methods:
        raise UserError(
            f"--long prints the cards of methods, not of {kind.value}: list methods --long NAME"
        )
    if long:
        from methods.spec import find
        from suite.terminal.method_cards import print_cards

        print_cards(every_card() if long == "all" else find(long).card)
        return 0
    # The same rows for a program and for a table, so that neither lacks a column.
    rows = ROWS[kind]()
    if as_json:
        print(json.dumps(rows, indent=1))
        return 0
    from suite.terminal.tables import print_table

    for title, columns in SHEETS.get(kind, {kind.value: tuple(rows[0])}).items():
        table = Table(title=title)
        for column in columns:
            numeric = all(set(str(row[column])) <= set("0123456789.,") for row in rows)
            table.add_column(column, justify="right" if numeric else "left")
        for row in rows:
            table.add_row(*(str(row[column]) for column in columns))
        print_table(table)
    return 0


def every_card() -> str:
    """The cards of all registered methods as one page, docs/methods.md."""
    from methods import METHODS

    # The cards' own headings are of the first level, which is the page's.
    cards = "\n".join(method.card.replace("# ", "## ", 1) for _, method in METHODS.usable())
    return (
        "# Methods\n\nThe cards of all methods, as `python -m suite list methods --long all` "
        f"prints them.\n\n{cards}"
    )


def method_rows() -> Rows:
    """Name, family, source, options and released code of every method."""
    from methods import METHODS

    rows = []
    for name, method in METHODS.usable():
        row = {"name": name, "title": method.title, "family": method.family, "paper": method.paper}
        row |= {"options": ", ".join(method.options), "from": METHODS.origin(name)}
        # Of a method without a paper nothing was looked for.
        code = method.code
        row |= {"released code": "", "licence": ""}
        if code is not None:
            row |= {"released code": code.repository or "none found", "licence": code.terms}
        rows.append(row)
    return rows


def backbone_rows() -> Rows:
    """Size, cost, published figures, usual checkpoint and preprocessing of every backbone.

    A plug-in that breaks is left out, in a line on standard error.
    """
    from backbones import BACKBONES

    rows = []
    for name, _ in BACKBONES.usable():
        try:
            rows.append(_backbone_row(name))
        except UserError as error:
            print(f"left out: {error}", file=sys.stderr)
        except Exception as error:  # a third party's code may raise anything
            origin = BACKBONES.origin(name)
            if origin == "built-in":
                raise
            reason = printable(f"{type(error).__name__}: {error}")
            print(f"left out: backbone '{name}' ({origin}) fails with {reason}", file=sys.stderr)
    return rows


def _backbone_row(name: str) -> dict[str, Any]:
    from backbones import without_weights
    from backbones.checkpoints.published import files_of
    from suite.flops.closed_form import reachable
    from suite.flops.published import GIGA
    from suite.plan.budget import dense_plan

    model = without_weights(name)
    plan, size = dense_plan(model.describe()), str(model.image_size)
    row: dict[str, Any] = {
        "name": name,
        "parameters": f"{sum(weight.numel() for weight in model.parameters()):,}",
        "input": f"{model.frames} x {size}" if model.frames > 1 else size,
        "tokens": plan.lengths[0],
        "blocks": model.depth,
    }
    for convention, total in plan.total.items():
        row[f"G {convention}"] = f"{total / GIGA:.3f}"
    # of the first convention, what blocks do behind the first site
    row["in reach, %"] = f"{100 * reachable(model.describe()):.1f}"
    row |= _printed_figures(name)
    # Not every backbone has a file of weights.
    row |= {"top-1": "", "mIoU": "", "on": "", "checkpoint": ""}
    if files := files_of(name):
        usual = files[0]
        row |= _figures(files[:1]) | {"on": _on(usual), "checkpoint": usual.source}
    row |= {"preprocessing": model.preprocessing.text}
    return row | _licences(name, row["checkpoint"])


def _licences(name: str, checkpoint: str) -> dict[str, str]:
    """The authors' code, its licence, and that of the usual checkpoint; empty of a plug-in's."""
    from backbones import BACKBONES
    from backbones.common.registry import BUILT_IN
    from backbones.releases import licence_of_weights, release_of

    release = release_of(name) if BACKBONES.origin(name) == BUILT_IN else None
    if release is None:
        return {"released code": "", "code licence": "", "weights licence": ""}
    return {
        "released code": release.code.repository,
        "code licence": release.code.licence,
        "weights licence": licence_of_weights(name, checkpoint) if checkpoint else "",
    }


def _printed_figures(name: str) -> dict[str, str]:
    """The first printed figure of a backbone, how it was counted, and the same count here."""
    from backbones import without_weights
    from suite.flops.published import figures_of

    figures = figures_of(name)
    if not figures:
        return {"G printed": "", "counted as": "", "G so counted": ""}
    first = figures[0]
    # The figure may be of another size than the usual one.
    settings = first.backbone.partition("[")[2].rstrip("]")
    here = first.here(without_weights(first.backbone).describe())
    return {
        "G printed": f"{first.giga} ({settings})" if settings else first.giga,
        "counted as": first.count,
        "G so counted": here,
    }


def _figures(files: Sequence[PublishedFile]) -> dict[str, str]:
    """The published figures of one file of weights, under the name that its task gives them."""
    text = " / ".join(f"{file.top1:.1f}" for file in files)
    dense = files[0].task == "segmentation"
    return {"top-1": "" if dense else text, "mIoU": text if dense else ""}


def _on(file: PublishedFile) -> str:
    """The data on which a file was measured, and the views of each video."""
    views = f", {file.views}" if file.views else ""
    return f"{file.data} {file.split}{views}"


def checkpoint_rows() -> Rows:
    """Every published or bundled file: its backbone, layout, preprocessing, and its accuracies."""
    from backbones.checkpoints.published import published_files
    from backbones.releases import licence_of_weights

    # A file that was measured on several data sets is one row.
    files: dict[tuple[str, str], list[PublishedFile]] = {}
    for file in published_files():
        files.setdefault((file.backbone, file.source), []).append(file)
    rows = []
    for (name, source), measured in files.items():
        row = {
            "name": name,
            **_figures(measured),
            "on": " / ".join(map(_on, measured)),
            "layout": measured[0].layout,
            "preprocessing": measured[0].preprocessing.text,
            "licence": licence_of_weights(name, source),
            "checkpoint": source,
        }
        rows.append(row)
    return rows


def dataset_rows() -> Rows:
    """Every data set, and how to write it on the command line."""
    from suite.data import DATASETS

    rows = []
    for name in DATASETS:
        written = f"{name}:PATH" if name in WITH_PATH else name
        rows.append({"name": name, "written": written, "from": DATASETS.origin(name)})
    return rows


def recipe_rows() -> Rows:
    """Backbone, data and length of every training recipe."""
    from suite.training.recipes import RECIPES

    columns = ("backbone", "dataset", "epochs", "batch")
    rows = []
    for name, recipe in RECIPES.items():
        rows.append({"name": name} | {column: getattr(recipe, column) for column in columns})
    return rows


# Data sets that come without files, whose folder or list is named after a colon.
WITH_PATH = (
    "frames",
    "imagefolder",
    "imagenet",
    "parquet",
    "tiny-imagenet",
    "tiny-imagenet-50",
    "video",
)
# Tables that are too wide for 80 columns are split: columns by title.
SHEETS: dict[Kind, dict[str, tuple[str, ...]]] = {
    Kind.methods: {
        "methods": ("name", "title", "family", "paper"),
        "methods: options": ("name", "options", "from"),
        "methods: the authors' code, no part of this suite": ("name", "released code", "licence"),
    },
    Kind.backbones: {
        "backbones: size": ("name", "parameters", "input", "tokens", "blocks"),
        "backbones: GFLOPs by convention, and the share of the first that tokens can leave": (
            "name",
            "G flops",
            "G macs",
            "G paper",
            "in reach, %",
        ),
        "backbones: GFLOPs as their authors printed them, and by the same count here": (
            "name",
            "G printed",
            "counted as",
            "G so counted",
        ),
        "backbones: the usual checkpoint (all: python -m suite list checkpoints)": (
            "name",
            "top-1",
            "mIoU",
            "on",
            "preprocessing",
        ),
        "backbones: where it is": ("name", "checkpoint"),
        "backbones: licences of the authors' code and of that checkpoint": (
            "name",
            "released code",
            "code licence",
            "weights licence",
        ),
    },
    Kind.checkpoints: {
        "checkpoints: what was published": (
            "name",
            "top-1",
            "mIoU",
            "on",
            "layout",
            "preprocessing",
        ),
        "checkpoints: where they are": ("name", "licence", "checkpoint"),
    },
}
ROWS: dict[Kind, Callable[[], Rows]] = {
    Kind.methods: method_rows,
    Kind.backbones: backbone_rows,
    Kind.checkpoints: checkpoint_rows,
    Kind.datasets: dataset_rows,
    Kind.recipes: recipe_rows,
}
