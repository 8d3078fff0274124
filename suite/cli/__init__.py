"""The command line: one file a command, nothing heavy imported before a command needs it."""

from __future__ import annotations

import functools
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Any

import typer

from backbones.common.errors import printable
from backbones.common.registry import nearest
from methods import METHODS
from suite.cli.ablate import ablate
from suite.cli.bench import BENCHES, with_subcommand
from suite.cli.bench import HELP as BENCH_HELP
from suite.cli.compare import compare
from suite.cli.doctor import doctor
from suite.cli.exit_codes import answer
from suite.cli.export import export
from suite.cli.fetch import fetch
from suite.cli.listing import list_things
from suite.cli.plan import plan
from suite.cli.report import report
from suite.cli.schema import schema
from suite.cli.sensitivity import sensitivity
from suite.cli.spec_options import PLURAL, flag_of
from suite.cli.train import train
from suite.cli.verify import verify
from suite.config.spec_file import RENAMED as RENAMED_SETTINGS
from suite.config.spec_file import plain

app = typer.Typer(
    name="suite",
    help="Compare token reduction methods on vision Mamba backbones: accuracy against FLOPs, and why.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def guarded(command: Callable[..., int]) -> Callable[..., None]:
    """`command`, its result an exit code (see `answer`)."""

    @functools.wraps(command)
    def wrapper(**values: Any) -> None:
        raise typer.Exit(answer(command, **values))

    return wrapper


COMMANDS: dict[str, Callable[..., int] | dict[str, Callable[..., int]]] = {
    "compare": compare,
    "ablate": ablate,
    "plan": plan,
    "list": list_things,
    "sensitivity": sensitivity,
    "report": report,
    "export": export,
    "bench": BENCHES,
    "schema": schema,
    "train": train,
    "fetch": fetch,
    "verify": verify,
    "doctor": doctor,
}
# Old spellings of options, which are not shown any more.
RENAMED = {flag_of(old): flag_of(new) for old, new in RENAMED_SETTINGS.items()}
RENAMED["--data-dir"] = "--source"
OF_METHODS = {"verify": "--method"} | dict.fromkeys(
    ("compare", "ablate", "plan", "sensitivity", "bench"), "--methods"
)
LISTS = {"--methods", "--backbones", "--budgets", "--axes", "--track"}
for name, command in COMMANDS.items():
    if isinstance(command, dict):
        group = typer.Typer(help=BENCH_HELP, rich_markup_mode=None)
        for part, subcommand in command.items():
            group.command(part)(guarded(subcommand))
        app.add_typer(group, name=name)
    else:
        app.command(name)(guarded(command))


def repeated(given: Sequence[str]) -> str:
    """An option of several values that is given twice, so that the first would be lost; empty if there is none."""
    flags = flags_of(given)
    return next((flag for flag in flags if flags.count(flag) > 1 and flag in LISTS), "")


def flags_of(given: Sequence[str]) -> list[str]:
    """The options that are given, each under the name of several values."""
    return [
        PLURAL.get(flag, flag)
        for flag in (part.partition("=")[0] for part in given)
        if flag.startswith("--")
    ]


def current(arguments: Sequence[str]) -> list[str]:
    """The command line with the current names of options that once had another."""
    replaced = []
    for argument in arguments:
        flag, equals, value = argument.partition("=")
        replaced.append(RENAMED.get(flag, flag) + equals + value)
    return replaced


def mended(told: str, given: Sequence[str]) -> str:
    """`told` of a wrong command line, with the option that values without one belong to.

    Values after the first of a list, and names of methods.
    """
    bare = re.search(r"unexpected extra argument\S* \((.+)\)$", told)
    if not bare:
        return told
    extra = bare[1].split()
    before = given[: given.index(extra[0])] if extra[0] in given else []
    if len(before) > 2 and PLURAL.get(before[-2], before[-2]) in LISTS:
        return (
            f"{told}, write {before[-2]} {shlex.quote(','.join([before[-1].rstrip(','), *extra]))}"
        )
    flag = OF_METHODS.get(given[0])
    known = any(re.split(r"[\[@]", name)[0] in METHODS for name in extra)
    if not flag or not known or "--methods" in flags_of(given):
        return told
    return f"{told}, write {flag} {shlex.quote(','.join(extra))}"


@functools.cache
def parser() -> Callable[..., Any]:
    """The parser of every command, which calling `app` would make anew for each line."""
    group = typer.main.get_command(app)
    # Typer lists groups of commands before the others.
    group.commands = {name: group.commands[name] for name in COMMANDS}  # type: ignore[attr-defined]
    return group


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; returns its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if not given[0].startswith("-") and given[0] not in COMMANDS:
        print(
            f"error: unknown command '{printable(given[0])}': {nearest(given[0], COMMANDS)}",
            file=sys.stderr,
        )
        return 2
    if given[0] == "bench":
        given[1:] = with_subcommand(given[1:])
    given = current(given)
    twice = repeated(given)
    if twice:
        print(
            f"error: {twice} is given twice: give it once, several values separated by commas",
            file=sys.stderr,
        )
        return 2
    try:
        code = parser()(args=given, standalone_mode=False)
    except Exception as error:
        if not hasattr(
            error, "format_message"
        ):  # what typer raises for a wrong option is of no class we can import
            raise
        told = printable(" ".join(plain(error.format_message()).split()).rstrip("."))
        told = mended(told, given)
        words = given[: 2 if given[0] == "bench" else 1]
        command = "" if given[0].startswith("-") else f"{' '.join(words)} "
        print(f"error: {told}: see python -m suite {command}--help", file=sys.stderr)
        return 2
    return code if isinstance(code, int) else 0
