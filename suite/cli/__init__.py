"""The command line: one file per command.

`run` is used by ``python -m suite`` and by the tests. Nothing heavy, such as PyTorch, is imported
before a command needs it, so that help and errors of spelling appear at once.
"""

from __future__ import annotations

import functools
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from backbones.common.errors import printable
from backbones.common.registry import nearest
from methods import METHODS
from suite.cli.ablate import ablate
from suite.cli.bench import BENCHES, with_subcommand
from suite.cli.bench import HELP as BENCH_HELP
from suite.cli.compare import compare
from suite.cli.doctor import doctor
from suite.cli.exit_codes import exit_code_of, refuse
from suite.cli.export import export
from suite.cli.fetch import fetch
from suite.cli.help import FullGroup, GroupedCommand
from suite.cli.listing import list_things
from suite.cli.plan import plan
from suite.cli.report import report
from suite.cli.reproduce import reproduce
from suite.cli.retrain import retrain
from suite.cli.schema import schema
from suite.cli.sensitivity import sensitivity
from suite.cli.spec_options import PLURAL
from suite.cli.train import train
from suite.cli.tune import tune
from suite.cli.verify import verify
from suite.config.command_line import flag_of
from suite.config.spec_file import RENAMED, plain
from suite.system.version import __version__

COMMANDS: dict[str, Callable[..., int] | dict[str, Callable[..., int]]] = {
    "compare": compare,
    "ablate": ablate,
    "plan": plan,
    "tune": tune,
    "reproduce": reproduce,
    "list": list_things,
    "sensitivity": sensitivity,
    "report": report,
    "export": export,
    "bench": BENCHES,
    "schema": schema,
    "train": train,
    "retrain": retrain,
    "fetch": fetch,
    "verify": verify,
    "doctor": doctor,
}
# Options that take several values, separated by commas.
LISTS = ("--methods", "--backbones", "--budgets", "--axes", "--track")
# The option of a command that takes names of methods.
METHODS_FLAGS = {
    "compare": "--methods",
    "ablate": "--methods",
    "plan": "--methods",
    "tune": "--methods",
    "retrain": "--methods",
    "sensitivity": "--methods",
    "bench": "--methods",
    "verify": "--method",
}
# Old spellings of options still work, but are not shown.
OLD_FLAGS = {flag_of(old): flag_of(new) for old, new in RENAMED.items()}
OLD_FLAGS["--data-dir"] = "--source"


@functools.cache
def parser() -> Callable[..., Any]:
    """The parser of all commands, made once: calling a Typer application makes it for each line."""
    app = typer.Typer(
        name="suite",
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        cls=FullGroup,
        subcommand_metavar="COMMAND",
    )
    app.callback()(root)
    for name, command in COMMANDS.items():
        if isinstance(command, dict):
            group = typer.Typer(
                help=BENCH_HELP, rich_markup_mode=None, cls=FullGroup, subcommand_metavar="COMMAND"
            )
            for part, subcommand in command.items():
                group.command(part, cls=GroupedCommand)(guarded(subcommand))
            app.add_typer(group, name=name)
        else:
            app.command(name, cls=GroupedCommand)(guarded(command))
    made = typer.main.get_command(app)
    # Typer lists groups of commands before the others.
    made.commands = {name: made.commands[name] for name in COMMANDS}  # type: ignore[attr-defined]
    return made


def print_version(asked: bool) -> None:
    """Print the version of the suite and end, if `asked`."""
    if asked:
        print(f"mamba-token-suite {__version__}")
        raise typer.Exit


def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Compare token reduction methods on vision Mamba: accuracy against FLOPs, and why."""


def guarded(command: Callable[..., int]) -> Callable[..., int]:
    """`command` with errors of the user's as exit codes (see `exit_code_of`)."""

    # Typer reads the options from the signature, which is that of the wrapped function.
    @functools.wraps(command)
    def wrapper(**values: Any) -> int:
        return exit_code_of(command, **values)

    return wrapper


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line, by default that of the process; the exit code."""
    # Without arguments, Typer would end with an error.
    line = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    command = line[0]
    if not command.startswith("-") and command not in COMMANDS:
        return refuse(f"unknown command '{printable(command)}': {nearest(command, COMMANDS)}")
    if command == "bench":
        line[1:] = with_subcommand(line[1:])
    line = with_current_flags(line)
    flags = flags_of(line)
    for flag in LISTS:
        # Typer would take the last one and drop the first without a word.
        if flags.count(flag) > 1:
            return refuse(
                f"{flag} is given twice: give it once, several values separated by commas"
            )
    try:
        code: int = parser()(args=line, standalone_mode=False)
    except Exception as error:
        # What typer raises for a wrong option is of a class in a private module.
        if not hasattr(error, "format_message"):
            raise
        message = printable(" ".join(plain(error.format_message()).split()).rstrip("."))
        words = line[: 2 if command == "bench" else 1] if command in COMMANDS else []
        usage = " ".join(["python -m suite", *words, "--help"])
        return refuse(f"{with_hint(message, line)}: see {usage}")
    return code


def with_current_flags(line: Sequence[str]) -> list[str]:
    """The command line with the current names of options that once had another."""
    current = []
    for argument in line:
        flag, equals, value = argument.partition("=")
        current.append(OLD_FLAGS.get(flag, flag) + equals + value)
    return current


def flags_of(line: Sequence[str]) -> list[str]:
    """The options on a command line, in the plural if they have one."""
    flags = [argument.partition("=")[0] for argument in line if argument.startswith("--")]
    return [PLURAL.get(flag, flag) for flag in flags]


def with_hint(message: str, line: Sequence[str]) -> str:
    """Add to a message about values without an option the option that they belong to.

    They may be further values of a list, or names of methods.
    """
    stray = re.search(r"unexpected extra argument\S* \((.+)\)$", message)
    if not stray:
        return message
    # Typer shows the stray values alone, so that their place is found in the line.
    values = stray[1].split()
    before = line[: line.index(values[0])] if values[0] in line else []
    flag: str | None = None
    if len(before) > 2 and PLURAL.get(before[-2], before[-2]) in LISTS:
        flag = before[-2]
        values = [before[-1].rstrip(","), *values]
    elif "--methods" not in flags_of(line):
        names = {re.split(r"[\[@]", value)[0] for value in values}
        flag = METHODS_FLAGS.get(line[0]) if names & set(METHODS) else None
    return f"{message}, write {flag} {shlex.quote(','.join(values))}" if flag else message
