"""Write the pages that print measured numbers or code, from their templates.

`python docs/write.py` writes README.md and the pages of docs/ from ``docs/pages/*.md``;
`--check` only says which of them differ, and which numbers of a template are not worked out.
A template is Markdown with Jinja's braces: `{{ run("main").top1("mtr", 0.4) | percent }}`. What
the pages on methods, backbones and data sets say of code is read from the code (`code_tables`).
"""

from __future__ import annotations

import inspect
import io
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import redirect_stdout
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

import jinja2
import pandas as pd

from suite.stats.ranking import FOCUS, Leader, rank
from suite.stats.schedule_words import pair_words
from suite.stats.schedules import read_schedules_table
from suite.terminal.findings import Findings, print_findings
from suite.terminal.results_table import results_tables

sys.path.insert(0, str(Path(__file__).parent))
import ahead
import answers
import code_tables
import tried

ROOT = Path(__file__).parent.parent
PAGES = ROOT / "docs" / "pages"
# What is no claim: code, links and pictures, formulas, and the template's own expressions.
NO_CLAIM = re.compile(
    r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}|^```.*?^```|^ {4}.*?$|`[^`\n]*`|\]\([^)]*\)|\$[^$\n]*\$",
    re.DOTALL | re.MULTILINE,
)
NUMBER = re.compile(r"(?<![\w.-])[-+]?\d[\d,.]*(?: ?%)?")
TICKED = re.compile(
    r"(``[^`]+``(, )?)+(?=  | \()"
)  # names with which a line of documentation begins
LITERALS = re.compile(r"\{#\s*literals:(.*?)#\}", re.DOTALL)


def percent(share: float) -> str:
    """51.1 of 0.5111."""
    return f"{100 * share:.1f}"


def points(share: float) -> str:
    """+6.0 of 0.06."""
    return f"{100 * share:+.1f}"


def lead(comparison: answers.Comparison) -> str:
    """The signed difference in points with its interval: +6.0 (+3.1 to +8.9)."""
    return change(vars(comparison))


def change(row: dict[str, Any]) -> str:
    """The difference in a row with its interval; a dash without one."""
    if row["difference"] is None:
        return "–"
    low, high = points(row["difference_low"]), points(row["difference_high"])
    return f"{points(row['difference'])} ({low} to {high})"


def printed(run: answers.Answers, *labels: str) -> str:
    """The answer and the results of methods called `labels` at 80 columns of a terminal."""
    shown = io.StringIO()
    found = Findings([(answer_of(run, labels), results_tables(run.records(labels)))])
    with patch.dict(os.environ, COLUMNS="80"), redirect_stdout(shown):
        print_findings(found)
    return "\n".join(line.rstrip() for line in shown.getvalue().splitlines())


def answer_of(run: answers.Answers, labels: Sequence[str]) -> str:
    """Who of the methods called `labels` leads at the budget that a terminal answers for."""
    small = "downsample"
    places = rank([run.outcomes(label, FOCUS) for label in labels if label != small])
    first, second = places[0], places[1]
    assert second.against is not None
    level = tuple(place.outcomes.label for place in places if place.group == 1)
    following = second.outcomes.label
    family, *_ = read_schedules_table(pd.DataFrame(run.about["tables"]["schedules"]))
    order = family.pair(level[0], following)
    settled = order is None or order.verdict != "depends"
    lead = -second.against.difference
    leader = Leader(FOCUS, level, first.outcomes.accuracy, following, lead, settled=settled)
    size = run.top1(small, FOCUS), run.removed(small, FOCUS)
    return leader.sentence(smaller=size)


def verdict_of(run: answers.Answers, backbone: str, one: str, other: str) -> str:
    """The verdict over schedules on two methods of a run, in the words of the terminal."""
    for family in read_schedules_table(pd.DataFrame(run.about["tables"]["schedules"])):
        order = family.pair(one, other)
        if family.backbone == backbone and order:
            return pair_words(order)
    raise KeyError(f"no verdict on {one} and {other} on {backbone}")


def largest_lead(runs: Iterable[answers.Answers]) -> float:
    """The largest lead over the blind baselines that was shown."""
    rows = [row for run in runs for row in run.table("blind_comparison") if row["shown"]]
    return max(row["difference"] for row in rows)


def claim(holds: bool) -> str:
    """Nothing if a sentence holds; else the page is not written."""
    if not holds:
        raise jinja2.TemplateRuntimeError("a claim of this page does not hold")
    return ""


def minutes(seconds: float) -> str:
    """3 min 17 s."""
    whole, rest = divmod(round(seconds), 60)
    return f"{whole} min {rest} s" if whole else f"{rest} s"


def example(name: str) -> str:
    """A file of `examples/`, as a block of code."""
    return f"```python\n{(ROOT / 'examples' / name).read_text()}```\n"


def doc(target: str) -> str:
    """The documentation of ``module:attribute``, as a block of text."""
    module, attribute = target.split(":")
    text = inspect.getdoc(getattr(import_module(module), attribute)) or ""
    lines = "\n".join(map(without_ticks, text.splitlines()))
    return f"```text\n{lines}\n```\n"


def without_ticks(line: str) -> str:
    """A line of documentation without the ticks round names; what stood below stays below."""
    if names := TICKED.match(line):
        ticks = " " * names[0].count("`")
        line = names[0] + ticks + line[names.end() :]
    return line.replace("``", "")


def environment() -> jinja2.Environment:
    """Jinja with the functions and filters that the templates use."""
    made = jinja2.Environment(  # noqa: S701  Markdown of our own, no HTML
        loader=jinja2.FileSystemLoader(PAGES),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {"run": cache(answers.read), "tried": cache(tried.tried), "claim": claim}
    made.globals |= {"SCHEDULES": tried.SCHEDULES, "largest_lead": largest_lead}
    made.globals |= {"verdict_of": verdict_of, "example": example, "doc": doc, "printed": printed}
    made.globals |= {"stored": cache(ahead.stored), "claims_of": cache(ahead.claims_of)}
    made.globals |= {"GOAL": ahead.GOAL, "HELD_OUT": ahead.HELD_OUT}
    made.globals |= {"budgets_of": ahead.budgets_of, "backbones_of": ahead.backbones_of}
    made.globals |= {name: getattr(code_tables, name) for name in code_tables.__all__}
    made.filters |= {"percent": percent, "points": points, "lead": lead, "minutes": minutes}
    made.filters |= {"change": change, "lead_words": ahead.lead_words, "p_words": ahead.p_words}
    made.filters |= {"reading": ahead.reading_name}
    return made


def targets() -> dict[str, Path]:
    """The page that each template makes."""
    pages = {}
    for path in sorted(PAGES.glob("*.md")):
        pages[path.name] = ROOT / ("" if path.name == "README.md" else "docs") / path.name
    return pages


def loose_numbers(text: str) -> Iterator[str]:
    """Numbers in the prose of a template that are neither worked out nor named as literals."""
    named = LITERALS.search(text)
    literals = set(named[1].split()) if named else set()
    for found in NUMBER.finditer(NO_CLAIM.sub(" ", text)):
        number = found[0].rstrip(".,")
        if number.replace(" %", "") not in literals:
            yield number


def faults() -> list[str]:
    """The pages that are not what their templates give, and the numbers not worked out."""
    found = []
    for name, page in targets().items():
        if page.read_text() != environment().get_template(name).render():
            found.append(f"{name} is not what its template gives: run python docs/write.py")
        for number in loose_numbers((PAGES / name).read_text()):
            found.append(f"{name}: {number} is not worked out from stored answers")
    return found


if __name__ == "__main__":
    if "--check" not in sys.argv:
        for name, page in targets().items():
            page.write_text(environment().get_template(name).render())
    if wrong := faults():
        sys.exit("\n".join(wrong))
