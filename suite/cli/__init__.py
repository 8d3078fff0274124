"""The command line: one file a command, nothing heavy imported before a command needs it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click
import typer

from backbones.errors import UserError
from suite.cli.bench import bench
from suite.cli.compare import compare, plan
from suite.cli.doctor import doctor
from suite.cli.listing import list_things
from suite.cli.report import report
from suite.cli.train import train

app = typer.Typer(
    name="suite",
    help="Compare token reduction methods on vision Mamba backbones: accuracy against FLOPs, and why.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for name, command in {
    "compare": compare,
    "plan": plan,
    "list": list_things,
    "report": report,
    "bench": bench,
    "train": train,
    "doctor": doctor,
}.items():
    app.command(name)(command)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; the exit code is 0, 1 if a check or a cell failed, 2 if what was asked cannot be done."""
    try:
        result = app(args=arguments, standalone_mode=False)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except click.ClickException as error:
        error.show()
        return 2
    except (click.exceptions.Abort, KeyboardInterrupt):
        print("interrupted: the same command goes on where it stood", file=sys.stderr)
        return 130
    return result if isinstance(result, int) else 0
