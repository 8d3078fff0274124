"""Help of commands: options in groups, and every text in full, whatever the terminal's width."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import Any

from typer.core import TyperCommand, TyperGroup

COLUMN = 26  # of the names, where the terminal has room for a second column
NARROW = 78  # below it texts stand under the names
FEW = 4  # options that need no groups
RUN, OUTPUT = "Options for the run", "Options for the output"
# By the name of the option, unless it names its group itself; what is not here says how a command
# is carried out.
GROUPS = {
    "Options for what is compared": (
        *("methods", "method", "axes", "backbones", "backbone", "checkpoint", "recipe", "data"),
        *("split", "source", "views", "inference", "images", "baselines", "smaller", "layers"),
        *("positions", "zeroed", "places", "share", "lengths", "batches", "precisions", "final"),
        *("long", "timm"),
    ),
    "Options for the cost": (
        *("budgets", "protocol", "sites", "schedule", "tries", "across_schedules"),
        "flops_convention",
    ),
    "Options for the training": (
        *("epochs", "train_images", "train_batch", "learning_rate", "distill", "augment"),
        *("mixed", "loaders"),
    ),
    RUN: (),
    OUTPUT: (
        *("gallery", "name", "runs", "report", "paper", "track", "json", "as_json", "form"),
        *("save", "out", "folder", "verbose", "version", "help"),
    ),
}
Record = tuple[str, str]


class GroupedCommand(TyperCommand):
    """A command whose help has its options in groups."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The usage line; what may be repeated is named in the plural, and needs no dots."""
        return [
            piece.removesuffix("...").strip("{}") for piece in super().collect_usage_pieces(ctx)
        ]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments, then each group of options that the command has."""
        arguments: list[Record] = []
        first, *others = GROUPS
        # Groups that options name themselves come after the first, in the order of the options.
        own = [panel_of(parameter) for parameter in self.get_params(ctx)]
        titles = dict.fromkeys([first, *filter(None, own), *others])
        groups: dict[str, list[Record]] = {title: [] for title in titles}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            if parameter.param_type_name == "argument":
                arguments.append(record)
            else:
                groups[group_of(parameter)].append(record)
        if sum(map(len, groups.values())) <= FEW:
            groups = {"Options": [record for group in groups.values() for record in group]}
        write_records("Arguments", arguments, formatter)
        for title, records in groups.items():
            write_records(title, records, formatter)


class FullGroup(TyperGroup):
    """A group of commands whose help has the whole first sentence of each."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the few options of the group, then its commands."""
        records = [parameter.get_help_record(ctx) for parameter in self.get_params(ctx)]
        write_records("Options", filter(None, records), formatter)
        self.format_commands(ctx, formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands, none of whose texts is cut."""
        commands = []
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            assert command is not None
            commands.append((name, command.get_short_help_str(limit=10_000)))
        write_records(
            "Commands", commands, formatter, beside=max(len(name) for name, _ in commands)
        )


def group_of(parameter: Any) -> str:
    """The group that an option belongs to: its own, or that of its name."""
    if own := panel_of(parameter):
        return own
    return next((title for title, names in GROUPS.items() if parameter.name in names), RUN)


def panel_of(parameter: Any) -> str:
    """The group that an option names itself (Typer's `rich_help_panel`); empty for none."""
    return str(getattr(parameter, "rich_help_panel", None) or "")


def write_records(
    title: str, records: Iterable[Record], formatter: Any, beside: int = COLUMN
) -> None:
    """Write names with their texts in full, in a section of its own; nothing without any.

    A text stands beside its name if that has at most `beside` columns, on a terminal with room.
    """
    records = list(records)
    if not records:
        return
    with formatter.section(title):
        start = formatter.current_indent
        for name, text in records:
            under = start + (6 if formatter.width < NARROW and beside == COLUMN else beside + 2)
            lines = fitted(text, formatter.width - under)
            head = " " * start + name
            if len(head) + 2 <= under and lines:
                head = head.ljust(under) + lines.pop(0)
            for line in (head, *(" " * under + line for line in lines)):
                formatter.write(f"{line}\n")


def fitted(text: str, width: int) -> list[str]:
    """`text` in lines of at most `width` columns; a word that is longer stands whole."""
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
