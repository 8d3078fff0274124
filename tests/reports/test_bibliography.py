"""`references.bib`: parsed by other code, complete, and at one with what the cards say."""

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import yaml

from backbones import BACKBONES
from backbones.common.reference import Reference
from backbones.references import BY_PREFIX, reference_of
from methods import METHODS
from methods.base import Method
from reports.bibliography import SUITE, bibliography, entry
from reports.report_data import ReportData
from reports.run import load
from suite.data import DATASETS
from suite.store.data_references import DATA_REFERENCES

ROOT = Path(__file__).parents[2]


def parsed(text: str) -> dict[str, dict[str, str]]:
    """Fields of all entries by their keys; braces must balance, and keys and fields be unique."""
    entries: dict[str, dict[str, str]] = {}
    place = 0
    while (start := text.find("@", place)) >= 0:
        between = text[place:start]
        assert all(not line or line.startswith("%") for line in between.splitlines()), between
        match = re.compile(r"@(misc|article|inproceedings)\{([a-z0-9]+),\n").match(text, start)
        assert match, text[start : start + 60]
        place = match.end()
        fields: dict[str, str] = {"": match[1]}
        while text[place] != "}":
            field = re.compile(r"  ([a-z]+) = \{").match(text, place)
            assert field, text[place : place + 60]
            depth, end = 1, field.end()
            while depth:
                escaped = text[end - 1] == "\\"
                depth += {"{": 1, "}": -1}.get(text[end], 0) if not escaped else 0
                end += 1
            assert field[1] not in fields
            fields[field[1]] = text[field.end() : end - 1]
            assert text[end : end + 2] == ",\n"
            place = end + 2
        place += 1
        assert match[2] not in entries
        entries[match[2]] = fields
    return entries


def run_of(
    methods: list[str], backbones: list[str], data: str, spec: dict[str, Any] | None = None
) -> Any:
    rows = [
        {"method": method, "title": method.upper(), "label": method, "backbone": backbone}
        for method in methods
        for backbone in backbones
    ]
    columns = ["method", "title", "label", "backbone"]
    return SimpleNamespace(
        name="a run",
        every_cell=pd.DataFrame(rows, columns=columns),
        spec=spec or {},
        dataset={"name": data},
    )


def references() -> Iterator[Reference]:
    yield SUITE
    for name in METHODS:
        if METHODS.origin(name) == "built-in" and (reference := METHODS[name].reference):
            yield reference
    yield from BY_PREFIX.values()
    yield from {value.key: value for value in DATA_REFERENCES.values() if value}.values()


def test_a_run_cites_what_is_in_it_and_nothing_else() -> None:
    text = bibliography(
        run_of(
            ["none", "mtr", "tome", "stride", "/home/me/own.py:MINE"],
            ["vim_nano", "deit_nano[layers=6]", "Mine", "net (own)[depth=2]"],
            "fashion-clutter",
            {"backbones": ["vim_nano", "Mine=videomamba_nano[depth=2]", "/x/own.py:net[depth=2]"]},
        )
    )
    assert set(parsed(text)) == {
        *("mambatokensuite", "ma2025mtr", "bolya2023tome", "zhu2024vim", "touvron2021deit"),
        *("li2024videomamba", "xiao2017fashionmnist"),
    }
    assert "% method stride: a baseline of this suite, without a paper" in text
    assert "% method /HOME/ME/OWN.PY:MINE: not of this suite" in text
    assert "% backbone net (own)[depth=2]: not of this suite" in text
    own = bibliography(run_of(["mtr"], ["vim_nano"], "imagefolder:/home/me/photos"))
    assert "% data imagefolder: images of your own" in own
    assert "le2015tinyimagenet" in bibliography(run_of([], ["vim_nano"], "tiny-imagenet-50:x"))


def test_every_method_of_a_stored_run_is_there_or_in_a_comment(report: ReportData) -> None:
    text = bibliography(report.run)
    entries = parsed(text)
    for name in set(report.run.every_cell["method"]) - {"none"}:
        reference = METHODS[name].reference if METHODS.origin(name) == "built-in" else None
        title = str(report.run.every_cell.set_index("method").title[name])
        assert (
            reference.key in entries if reference else f"% method {name}" in text or title in text
        )


def test_what_a_hostile_run_says_parses(harmful_folder: Path) -> None:
    parsed(bibliography(load(harmful_folder)))


def test_nothing_a_user_wrote_begins_an_entry() -> None:
    text = bibliography(run_of(["x\n@misc{a,"], ["@b{\n@c"], "@d{"))
    assert list(parsed(text)) == ["mambatokensuite"]


OURS = {"crop-shrink"}  # made here, and on no paper but its page in docs/


def test_every_method_backbone_and_data_set_has_a_paper_or_says_that_there_is_none() -> None:
    for name in METHODS:
        if METHODS.origin(name) != "built-in":
            continue
        method = METHODS[name]
        assert (method.reference is None) == (method.paper == ""), name
        if method.reference is None:
            assert method.family == "baseline" or name in OURS
            continue
        # The card's citation and the fields say the same.
        assert method.year == method.reference.year
        assert f"arXiv:{method.reference.arxiv}" in method.paper
        if " et al.," in method.paper:
            assert method.paper.startswith(method.reference.authors[0].partition(",")[0])
    for name in BACKBONES:
        if BACKBONES.origin(name) == "built-in":
            assert reference_of(name), name
    for name in DATASETS:
        if DATASETS.origin(name) == "built-in":
            assert name in DATA_REFERENCES, name


def test_keys_are_unique_and_all_entries_are_sound() -> None:
    found = list(references())
    assert len({reference.key for reference in found}) == len(found)
    for reference in found:
        ((key, fields),) = parsed(entry(reference)).items()
        assert key == reference.key
        assert fields["title"].startswith("{")
        assert not re.search(r"(?<!\\)[&%#_$]", "".join(fields.values()))
        assert "".join(fields.values()).isascii()
    assert "J{\\'e}gou" in entry(BY_PREFIX["deit"])
    assert "transformers \\& distillation" in entry(BY_PREFIX["deit"])


@pytest.mark.parametrize("field", ["title", "authors"])
def test_the_suite_is_cited_as_its_citation_file_says(field: str) -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    said = {
        "title": citation["title"],
        "authors": tuple(f"{{{author['name']}}}" for author in citation["authors"]),
    }
    assert getattr(SUITE, field) == said[field]
    assert f"Version {citation['version']}" in entry(SUITE)


def test_a_method_of_ones_own_needs_no_reference() -> None:
    assert Method("own", "Own", "baseline", "", None, kind="none").reference is None
