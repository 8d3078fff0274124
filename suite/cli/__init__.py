"""The command line: one file a command, nothing heavy imported before a command needs it."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any

import typer

from backbones.errors import UserError, mend, printable
from backbones.registry import nearest
from suite.cli.ablate import ablate
from suite.cli.bench import bench
from suite.cli.compare import compare, plan
from suite.cli.doctor import doctor
from suite.cli.export import export
from suite.cli.fetch import fetch
from suite.cli.listing import list_things
from suite.cli.report import report
from suite.cli.schema import schema
from suite.cli.sensitivity import sensitivity
from suite.cli.train import train
from suite.cli.verify import verify
from suite.exhaustion import out_of_memory
from suite.stopped import StoppedError

app = typer.Typer(
    name="suite",
    help="Compare token reduction methods on vision Mamba backbones: accuracy against FLOPs, and why.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def guarded(command: Callable[..., int]) -> Callable[..., None]:
    """`command`, its result an exit code.

    0 if all is well, 1 if a check or a cell failed, 2 for what the user can mend, 130 if interrupted.
    """

    @functools.wraps(command)
    def wrapper(**values: Any) -> None:
        try:
            code = command(**values)
        except UserError as error:
            print(f"error: {printable(str(error))}", file=sys.stderr)
            code = 2
        except StoppedError as error:
            print(f"stopped: {printable(str(error))}", file=sys.stderr)
            code = 1
        except OSError as error:  # a full disk, a folder that cannot be written, a name the file system refuses
            where = f"{error.filename}: " if error.filename else ""
            reason = printable(f"{where}{error.strerror or error}")
            print(f"error: {reason}: {mend(error)}", file=sys.stderr)
            code = 2
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            print("error: out of memory: lower --batch, or free memory; the same command goes on", file=sys.stderr)
            code = 2
        except KeyboardInterrupt:
            print("interrupted: the same command goes on where it stood", file=sys.stderr)
            code = 130
        raise typer.Exit(code)

    return wrapper


COMMANDS: dict[str, Callable[..., int]] = {
    "compare": compare,
    "ablate": ablate,
    "plan": plan,
    "list": list_things,
    "sensitivity": sensitivity,
    "report": report,
    "export": export,
    "bench": bench,
    "schema": schema,
    "train": train,
    "fetch": fetch,
    "verify": verify,
    "doctor": doctor,
}
for name, command in COMMANDS.items():
    app.command(name)(guarded(command))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; returns its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if not given[0].startswith("-") and given[0] not in COMMANDS:
        print(f"error: unknown command '{printable(given[0])}': {nearest(given[0], COMMANDS)}", file=sys.stderr)
        return 2
    try:
        code = app(args=given, standalone_mode=False)
    except Exception as error:
        if not hasattr(error, "format_message"):  # what typer raises for a wrong option is of no class we can import
            raise
        told = printable(" ".join(error.format_message().split()).rstrip("."))
        print(f"error: {told}: see python -m suite {given[0]} --help", file=sys.stderr)
        return 2
    return code if isinstance(code, int) else 0
