"""`bench`: speed and memory on this machine, a sub-command for each measurement."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from backbones.common.errors import UserError
from methods.spec import MethodSpec, parse
from suite.bench.spec import BenchSpec
from suite.cli.exit_codes import INTERRUPTED
from suite.cli.paths import absolute
from suite.cli.run_options import Verbose
from suite.cli.spec_options import declared, options_of, parameter, spec_from_options
from suite.system.atomic_files import write_text

if TYPE_CHECKING:
    from rich.table import Table

    from suite.terminal.findings import Findings

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Save = Annotated[
    Path | None, typer.Option(parser=absolute, help="Also write the JSON to this file.")
]
Runs = Annotated[Path, typer.Option(parser=absolute, help="Folder that contains the runs.")]
Run = Annotated[
    Path, typer.Argument(parser=absolute, help="Folder of a finished run.", show_default=False)
]
Timm = Annotated[
    str,
    typer.Option(
        help="Model of timm that stands beside each backbone, such as deit_small_patch16_224; "
        "empty: the ViT of nearest FLOPs."
    ),
]
Images = Annotated[int, typer.Option(min=1, help="Images of noise that every cell sees.")]
HELP = "Measure speed and memory on this machine: of methods (speed, the default), kernels, models."
# What was an option is a sub-command now; commands in notes and scripts go on working.
OLD_FLAGS = {
    "--kernels": "kernels",
    "--reduction": "reduction",
    "--models": "models",
    "--sweep": "tiles",
    "--run": "run",
}


class Measured(NamedTuple):
    """What `--json` prints and `--save` writes, and what is printed else."""

    document: Any
    findings: Findings
    lines: Sequence[str] = ()


# Yields what is measured so far, so that an interruption leaves it in the file of `--save`.
Command = Callable[..., Iterator[Measured]]


def measurement(*settings: str, **defaults: Any) -> Callable[[Command], Callable[..., int]]:
    """Decorate ``command(spec, device, ...)``: its options are `settings` and its own parameters.

    `defaults` are the command's own, where those of BenchSpec do not suit it.
    """
    names = {*settings, "device", "threads"}
    options = [option for option in options_of(BenchSpec(**defaults)) if option.name in names]

    def decorate(command: Command) -> Callable[..., int]:
        own = list(inspect.signature(command, eval_str=True).parameters.values())[2:]

        def wrapper(as_json: bool, save: Path | None, verbose: bool, **values: Any) -> int:
            from suite.system.hardware import pick_device, set_threads
            from suite.terminal.findings import print_findings

            if save and save.is_dir():
                file = save / "bench.json"
                raise UserError(
                    f"--save {save}: that is a folder, name a file in it, such as {file}"
                )
            texts = {option.name: values.pop(option.name) for option in options}
            spec = spec_from_options(BenchSpec, texts)
            set_threads(spec.threads)
            kept = "nothing was kept"
            try:
                for measured in command(spec, pick_device(spec.device), **values):
                    text = json.dumps(measured.document, indent=1)
                    if save:
                        write_text(save, text + "\n")
                        kept = f"{save} has what was measured before"
            except KeyboardInterrupt:
                print(f"interrupted: {kept}, and a rerun measures all anew", file=sys.stderr)
                return INTERRUPTED
            if as_json:
                print(text)
                return 0
            print_findings(measured.findings, verbose)
            for line in measured.lines:
                print(line)
            return 0

        parameters = [*options, *(part.replace(kind=part.KEYWORD_ONLY) for part in own)]
        parameters += [parameter("as_json", Json, False), parameter("save", Save, None)]
        parameters.append(parameter("verbose", Verbose, False))
        return declared(wrapper, parameters, command.__doc__)

    return decorate


PASSES = ("backbones", "methods", "budgets", "batches", "precisions")
TIMED = (*PASSES, "kernel", "rounds")


@measurement(*TIMED, "lengths")
def speed(spec: BenchSpec, device: str, runs: Runs = Path("runs")) -> Iterator[Measured]:
    """Measure latency, throughput and memory of methods by budget, batch and length, with a report.

    The default of `bench`. Weights and images are random.
    """
    from suite.bench.timing_files import measure_grid

    folder = runs / spec.default_name()
    rows, sentences = measure_grid(folder, spec, device, notify)
    yield _report(folder, rows, sentences)


@measurement("batches", "rounds")
def run(spec: BenchSpec, device: str, folder: Run) -> Iterator[Measured]:
    """Measure the same for the cells of a finished run, into its report."""
    from reports import check
    from suite.bench.cells import time_run
    from suite.bench.timing_files import write_timing

    # A page that cannot be written is an error before the measurement, which takes minutes.
    check(folder)
    rows = list(time_run(folder, spec, device, notify))
    yield _report(folder, rows, write_timing(folder, rows))


@measurement()
def kernels(spec: BenchSpec, device: str) -> Iterator[Measured]:
    """Measure speed and error of the scan kernels, beside yardsticks of the same run."""
    if device == "cpu":
        from suite.bench import cpu_kernels

        figures = cpu_kernels.measure_cpu_kernels()
        yield _figures(figures, cpu_kernels.answer(figures), cpu_kernels.table(figures))
        return
    import torch

    from suite.bench import ceilings, cuda_kernels

    limits = ceilings.measure_ceilings()
    rows = cuda_kernels.measure_cuda_kernels(limits)
    table = cuda_kernels.table(rows, limits, torch.cuda.get_device_name())
    yield _figures([limits, *rows], cuda_kernels.answer(rows), table)


@measurement(*PASSES, "rounds", budgets=(0.4,), batches=(32,))
def reduction(spec: BenchSpec, device: str) -> Iterator[Measured]:
    """Measure the share of a pass that the reduction itself takes."""
    from suite.bench.reduction import measure_reduction, table
    from suite.stats.speed_words import reduction_answer

    rows = list(measure_reduction(_reducing(spec), device, notify))
    yield _figures(rows, reduction_answer(rows), table(rows))


@measurement(*PASSES, budgets=(0.4,), batches=(32,), precisions=("bf16", "fp32"))
def models(spec: BenchSpec, device: str) -> Iterator[Measured]:
    """Measure whole models by every scan kernel, dense beside their floor, and reduced."""
    from suite.bench import whole_models

    rows: list[whole_models.ModelRow] = []
    for row in whole_models.measure_models(_reducing(spec), device, notify):
        rows.append(row)
        notify(whole_models.line(row))
        yield _figures(rows, "")
    tables = [whole_models.table(rows), whole_models.profile_table(rows)]
    if any(row.floor for row in rows):
        tables.append(whole_models.floor_table(rows))
    warning = whole_models.above_one(rows)
    measured = _figures(rows, whole_models.answer(rows), *tables)
    yield measured._replace(
        findings=replace(measured.findings, warnings=[warning] if warning else [])
    )


@measurement(*TIMED, budgets=(0.4,), batches=(1,))
def latency(spec: BenchSpec, device: str) -> Iterator[Measured]:
    """Measure small batches, dense and reduced: on a GPU each pass as one graph."""
    from suite.bench.latency import answer, measure_latency, table
    from suite.terminal.findings import Findings

    rows = list(measure_latency(spec, device, notify))
    yield Measured(rows, Findings([(answer(rows), [table(rows)])]))


@measurement(
    *TIMED,
    methods=("all",),
    budgets=(0.2, 0.3, 0.4, 0.5, 0.6),
    batches=(500,),
    rounds=3,
)
def engine(spec: BenchSpec, device: str, images: Images = 2000) -> Iterator[Measured]:
    """Measure a run's rate under many cells beside that of the same models called alone."""
    from suite.bench.engine import answer, measure_engine, table

    rows = []
    for row in measure_engine(spec, device, images, notify):
        rows.append(row)
        yield _figures(rows, answer(rows), table(rows))


@measurement("backbones", "batches", "precisions", "kernel", "rounds", batches=(32,))
def vit(spec: BenchSpec, device: str, timm: Timm = "") -> Iterator[Measured]:
    """Measure dense backbones beside timm's ViT of nearest FLOPs, in the same rounds."""
    from suite.bench.beside_vit import NOTE, answers, measure_beside_vit, table
    from suite.bench.machine import busy, state
    from suite.terminal.findings import Findings

    machine = state(device)  # before the timing, which is a load itself
    warning = busy(machine)
    rows = []
    for row in measure_beside_vit(spec, device, timm, notify):
        rows.append(row)
        yield _figures(rows, "")
    *others, last = answers(rows)
    found = [*((line, []) for line in others), (last, [table(rows, machine)])]
    notes = [] if timm else [NOTE]
    document = [row._asdict() for row in rows]
    yield Measured(document, Findings(found, notes, [warning] if warning else []))


@measurement()
def tiles(spec: BenchSpec, device: str) -> Iterator[Measured]:
    """Measure the triton scan on a GPU for every way to cut its work into tiles."""
    _check_gpu(device)
    from suite.bench.tile_sweep import answer, measure_tiles, table

    rows = measure_tiles()
    yield _figures(rows, answer(rows), table(rows))


BENCHES = {
    "speed": speed,
    "run": run,
    "kernels": kernels,
    "reduction": reduction,
    "models": models,
    "latency": latency,
    "engine": engine,
    "vit": vit,
    "tiles": tiles,
}


def with_subcommand(arguments: Sequence[str]) -> list[str]:
    """The arguments of `bench` with a sub-command: their own, that of an old flag, or `speed`."""
    if arguments and (arguments[0] in BENCHES or arguments[0] == "--help"):
        return list(arguments)
    for index, argument in enumerate(arguments):
        flag, _, value = argument.partition("=")
        if flag in OLD_FLAGS:
            rest = [*arguments[:index], *([value] if value else []), *arguments[index + 1 :]]
            return [OLD_FLAGS[flag], *rest]
    return ["speed", *arguments]


def notify(line: str) -> None:
    """Print a line of progress, apart from the results."""
    from suite.terminal.lines import print_note

    print_note(line)


def _reducing(spec: BenchSpec) -> BenchSpec:
    """`spec` with the methods whose own work can be timed; UserError if there is none."""
    methods = tuple(text for text in spec.methods if _works(parse(text)))
    if not methods:
        raise UserError(f"{', '.join(spec.methods)} reduces no tokens: name methods that do")
    for text in spec.methods:
        if text not in methods:
            notify(f"left out: {text} reduces no tokens")
    return spec.model_copy(update={"methods": methods})


def _works(method: MethodSpec) -> bool:
    return method.composition() is not None or method.method.view is not None


def _check_gpu(device: str) -> None:
    if device != "cuda":
        raise UserError("this measures on a GPU, and there is none here: use bench speed")


def _report(folder: Path, rows: list[dict[str, Any]], sentences: list[str]) -> Measured:
    """Write the report of `folder`."""
    from reports import build
    from suite.cli.results import speed_findings

    page = build(folder)
    found = speed_findings(rows, sentences)
    return Measured({"run": str(folder), "rows": rows}, found, [f"report: {page}"])


def _figures(rows: Sequence[Any], answer: str, *tables: Table) -> Measured:
    from suite.terminal.findings import Findings

    return Measured([row._asdict() for row in rows], Findings([(answer, tables)]))
