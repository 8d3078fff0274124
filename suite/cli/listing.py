"""`list`: what can be asked for."""

from __future__ import annotations

import enum
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Table

from backbones.common.errors import UserError

if TYPE_CHECKING:
    from backbones.base import Backbone
    from backbones.checkpoints.published import PublishedFile
    from suite.flops.published import Printed


class Kind(enum.StrEnum):
    """What can be listed."""

    methods = "methods"
    backbones = "backbones"
    checkpoints = "checkpoints"
    datasets = "datasets"
    recipes = "recipes"


SIDE: dict[bool, Literal["left", "right"]] = {
    False: "left",
    True: "right",
}  # numbers stand on the right


def list_things(
    kind: Annotated[Kind, typer.Argument(help="What to list.")] = Kind.methods,
    long: Annotated[
        str, typer.Option(help="Name of one method: print its card; 'all': every card.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """List methods, backbones, checkpoints, data sets or recipes; with --long NAME, the card of a method."""
    if long and kind is not Kind.methods:
        raise UserError(
            f"--long prints the cards of methods, not of {kind.value}: list methods --long NAME"
        )
    if long:
        from methods.spec import find
        from suite.terminal.method_cards import print_cards

        print_cards(every_card() if long == "all" else find(long).card)
        return 0
    rows = ROWS[kind]()
    if as_json:
        print(json.dumps(rows, indent=1))
        return 0
    from suite.terminal.tables import print_table

    for title, columns in SHEETS.get(kind, {kind.value: tuple(rows[0])}).items():
        table = Table(title=title)
        for column in columns:
            number = all(set(str(row[column])) <= set("0123456789.,") for row in rows)
            table.add_column(
                column, overflow="fold", no_wrap=number or column == "name", justify=SIDE[number]
            )
        for row in rows:
            table.add_row(*(str(row[column]) for column in columns))
        print_table(table)
    return 0


def every_card() -> str:
    """The cards of all registered methods as one page, docs/methods.md."""
    from methods import METHODS

    cards = "\n".join(METHODS[name].card.replace("# ", "## ", 1) for name in METHODS)
    return f"# Methods\n\nThe cards of all methods, as `python -m suite list methods --long all` prints them.\n\n{cards}"


def method_rows() -> list[dict[str, Any]]:
    """Name, family, source and options of every method."""
    from methods import METHODS

    return [
        {
            "name": name,
            "title": method.title,
            "family": method.family,
            "paper": method.paper,
            "options": ", ".join(method.options),
            "from": METHODS.origin(name),
        }
        for name, method in ((name, METHODS[name]) for name in METHODS)
    ]


def backbone_rows() -> list[dict[str, Any]]:
    """Size, cost, published figures, usual checkpoint and preprocessing of every backbone."""
    import torch

    from backbones import BACKBONES, create_model
    from backbones.checkpoints.published import files_of
    from suite.flops.published import GIGA, figures_of
    from suite.plan.budget import dense_plan

    rows = []
    for name in BACKBONES:
        with torch.device("meta"):
            model = create_model(name)
        plan = dense_plan(model.describe())
        published, printed = files_of(name), figures_of(name)
        rows.append(
            {
                "name": name,
                "parameters": f"{sum(p.numel() for p in model.parameters()):,}",
                "input": f"{model.frames} x {model.image_size}"
                if model.frames > 1
                else str(model.image_size),
                "tokens": plan.lengths[0],
                "blocks": model.depth,
                **{
                    f"G {convention}": f"{total / GIGA:.3f}"
                    for convention, total in plan.total.items()
                },
                "G printed": _printed(printed),
                "counted as": printed[0].count if printed else "",
                "G so counted": _counted(printed, name, model),
                "top-1": f"{published[0].top1:.1f}" if published else "",
                "on": _measured_on(published),
                "checkpoint": published[0].source if published else "",
                "preprocessing": model.preprocessing.text,
            }
        )
    return rows


def _printed(figures: Sequence[Printed]) -> str:
    """The figure of the usual size, or of the first other one with its settings."""
    if not figures:
        return ""
    settings = figures[0].backbone.partition("[")[2].rstrip("]")
    return figures[0].giga + (f" ({settings})" if settings else "")


def _counted(figures: Sequence[Printed], name: str, model: Backbone) -> str:
    """What the same count gives here of the size that the first figure is of; `model` is `name` at its usual size."""
    import torch

    from backbones import create_model

    if not figures:
        return ""
    if figures[0].backbone == name:
        return figures[0].here(model.describe())
    with torch.device("meta"):
        return figures[0].here(create_model(figures[0].backbone).describe())


def _measured_on(files: Sequence[PublishedFile]) -> str:
    """The data on which the usual file was measured, and how often each video was looked at."""
    if not files:
        return ""
    views = f", {files[0].views}" if files[0].views else ""
    return f"{files[0].data} {files[0].split}{views}"


def checkpoint_rows() -> list[dict[str, Any]]:
    """Every published file, and the weights in the box: of what, where, how laid out, what it scored on what."""
    from backbones.checkpoints.published import published_files

    files: dict[tuple[str, str], list[PublishedFile]] = {}
    for row in published_files():
        files.setdefault((row.backbone, row.source), []).append(row)
    return [
        {
            "name": name,
            "top-1": " / ".join(f"{row.top1:.1f}" for row in scores),
            "on": " / ".join(_measured_on([row]) for row in scores),
            "layout": scores[0].layout,
            "preprocessing": scores[0].preprocessing.text,
            "checkpoint": place,
        }
        for (name, place), scores in files.items()
    ]


def dataset_rows() -> list[dict[str, Any]]:
    """Name and how to write it."""
    from suite.data import DATASETS

    paths = {
        "frames",
        "imagefolder",
        "imagenet",
        "parquet",
        "tiny-imagenet",
        "tiny-imagenet-50",
        "video",
    }
    return [
        {
            "name": name,
            "written": f"{name}:PATH" if name in paths else name,
            "from": DATASETS.origin(name),
        }
        for name in DATASETS
    ]


def recipe_rows() -> list[dict[str, Any]]:
    """Backbone, data and length of every training recipe."""
    from suite.training.recipes import RECIPES

    return [
        {
            "name": name,
            "backbone": r.backbone,
            "dataset": r.dataset,
            "epochs": r.epochs,
            "batch": r.batch,
        }
        for name, r in RECIPES.items()
    ]


# what does not fit beside each other, below each other
SHEETS: dict[Kind, dict[str, tuple[str, ...]]] = {
    Kind.backbones: {
        "backbones: size and cost": ("name", "parameters", "input", "tokens", "blocks", "G flops", "G macs", "G paper"),
        "backbones: GFLOPs as their authors printed them, and by the same count here": (
            "name", "G printed", "counted as", "G so counted",
        ),
        "backbones: the usual checkpoint (all: python -m suite list checkpoints)": (
            "name", "top-1", "on", "checkpoint", "preprocessing",
        ),
    },
    Kind.checkpoints: {
        "checkpoints: what was published": ("name", "top-1", "on", "layout", "preprocessing"),
        "checkpoints: where they are": ("name", "checkpoint"),
    },
}  # fmt: skip
ROWS = {
    Kind.methods: method_rows,
    Kind.backbones: backbone_rows,
    Kind.checkpoints: checkpoint_rows,
    Kind.datasets: dataset_rows,
    Kind.recipes: recipe_rows,
}
