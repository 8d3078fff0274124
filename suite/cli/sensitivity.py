"""`sensitivity`: where a backbone feels the loss of a token, and which scores know it."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from backbones.common.naming import split
from suite.cli.run_options import FailFast, Json, Report, Resume, Track, written
from suite.cli.spec_options import expand, images_asked, option, shared, typed, with_options
from suite.config.run_spec import build
from suite.sensitivity.spec import SensitivitySpec

DEFAULTS = SensitivitySpec()
_own = functools.partial(option, defaults=DEFAULTS)
OPTIONS = [
    _own(
        "backbone",
        str,
        "Backbone (python -m suite list backbones).",
        None,
        "--backbone",
        "--backbones",
    ),
    *shared(DEFAULTS, "checkpoint", "data", "split", "source", "images"),
    _own(
        "zeroed",
        int,
        "Of the images, on how many tokens are zeroed besides being removed, to test the estimate.",
    ),
    _own(
        "layers",
        str,
        "Blocks before which tokens are changed: all, every-K, or numbers separated by commas.",
    ),
    _own(
        "positions",
        str,
        "Patches removed one at a time: all, every-K rows and columns, or numbers with commas.",
    ),
    _own(
        "methods",
        str,
        "Methods that reduce before one block alone, comma-separated.",
        None,
        "--methods",
        "--method",
    ),
    _own("share", str, "Share of the patch tokens that go where several go at once."),
    _own(
        "places", int, "Places that the class token is put to, spread over the sequence; 0: none."
    ),
    _own("seed", int, "Seed of random scores and methods."),
    *shared(DEFAULTS, "batch", "device", "precision", "kernel", "threads"),
]


def spec_from_options(values: dict[str, Any]) -> SensitivitySpec:
    """The SensitivitySpec that the options of `OPTIONS` ask for."""
    changed = {
        "source": values["source"] or None,
        "images": images_asked(values["images"]),
        "methods": expand(split(values["methods"])),
    }
    with typed(values):
        return build(SensitivitySpec, values | changed)


def _sensitivity(
    spec: SensitivitySpec,
    out: Annotated[
        str, typer.Option(help="Folder of the analysis; empty: runs/NAME, made from the settings.")
    ] = "",
    resume: Resume = True,
    fail_fast: FailFast = False,
    report: Report = True,
    track: Track = "",
    as_json: Json = False,
) -> int:
    """Measure the effect of removing each token before each block, and which scores predict it.

    Removal is exact, not estimated. Rerun the command to resume.
    """
    from suite.sensitivity.analysis import run_sensitivity
    from suite.sensitivity.output import console_tables, json_document
    from suite.terminal.tables import print_table
    from suite.trackers import chosen

    trackers = chosen(track)
    folder = Path(out) if out else Path("runs") / spec.default_name()
    found = run_sensitivity(spec, folder, as_json, resume, fail_fast)
    page = written(folder, report, trackers)
    if as_json:
        print(
            json.dumps(
                {"run": str(folder), "report": page and str(page), **json_document(found)}, indent=1
            )
        )
    else:
        for table in console_tables(found.frames):
            print_table(table)
        print(found.headline["headline"])
        print(f"report: {page}" if page else f"results: {folder}")
    return 1 if found.failures else 0


def settled(spec: SensitivitySpec) -> SensitivitySpec:
    """`spec` with the methods that `all` stands for."""
    return spec.model_copy(update={"methods": expand(spec.methods)})


sensitivity = with_options(_sensitivity, OPTIONS, spec_from_options, settled)
