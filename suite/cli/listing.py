"""`list`: what can be asked for."""

from __future__ import annotations

import enum
import json
from typing import Annotated, Any

import typer
from rich.table import Table


class Kind(enum.StrEnum):
    """What can be listed."""

    methods = "methods"
    backbones = "backbones"
    datasets = "datasets"
    recipes = "recipes"


def list_things(
    kind: Annotated[Kind, typer.Argument(help="What to list.")] = Kind.methods,
    long: Annotated[str, typer.Option(help="Name of one method: print its card; 'all': every card.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """List methods, backbones, data sets or recipes; with --long NAME, the card of a method."""
    if long:
        from methods.spec import find
        from suite.cards import print_cards

        print_cards(every_card() if long == "all" else find(long).card)
        return 0
    rows = ROWS[kind]()
    if as_json:
        print(json.dumps(rows, indent=1))
        return 0
    from suite.tables import print_table

    table = Table(*rows[0], title=kind.value)
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    print_table(table)
    return 0


def every_card() -> str:
    """The cards of all registered methods as one page, docs/methods.md."""
    from methods import METHODS

    cards = "\n".join(METHODS[name].card.replace("# ", "## ", 1) for name in METHODS)
    return (
        f"# Methods\n\nThe cards of all methods, as `python -m suite list methods --long all` prints them.\n\n{cards}"
    )


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
    """Size and dense cost of every backbone, under each convention."""
    import torch

    from backbones import BACKBONES, create_model
    from suite.budget import dense_plan

    rows = []
    for name in BACKBONES:
        with torch.device("meta"):
            model = create_model(name)
        plan = dense_plan(model.describe())
        rows.append(
            {
                "name": name,
                "parameters": f"{sum(p.numel() for p in model.parameters()):,}",
                "image": model.image_size,
                "tokens": plan.lengths[0],
                "blocks": model.depth,
                **{f"G {name}": f"{total / 1e9:.3f}" for name, total in plan.total.items()},
            }
        )
    return rows


def dataset_rows() -> list[dict[str, Any]]:
    """Name and how to write it."""
    from suite.data import DATASETS

    paths = {"frames", "imagefolder", "imagenet", "parquet", "tiny-imagenet", "tiny-imagenet-50", "video"}
    return [
        {"name": name, "written": f"{name}:PATH" if name in paths else name, "from": DATASETS.origin(name)}
        for name in DATASETS
    ]


def recipe_rows() -> list[dict[str, Any]]:
    """Backbone, data and length of every training recipe."""
    from suite.training.recipes import RECIPES

    return [
        {"name": name, "backbone": r.backbone, "dataset": r.dataset, "epochs": r.epochs, "batch": r.batch}
        for name, r in RECIPES.items()
    ]


ROWS = {
    Kind.methods: method_rows,
    Kind.backbones: backbone_rows,
    Kind.datasets: dataset_rows,
    Kind.recipes: recipe_rows,
}
