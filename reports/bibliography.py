"""The papers of the methods, backbones and data of a run, and the suite itself, as BibTeX."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from backbones import BACKBONES
from backbones.common.errors import UserError
from backbones.common.labels import data_name, labelled
from backbones.common.naming import bracketed, split
from backbones.common.reference import Reference
from backbones.common.registry import BUILT_IN
from backbones.references import reference_of
from methods import METHODS
from reports.formatting import latex
from reports.run import Run, mapping, sequence
from reports.titles import DENSE
from suite.store.data_references import DATA_REFERENCES
from suite.system.version import __version__

# As CITATION.cff has it; a test compares them.
SUITE = Reference(
    key="mambatokensuite",
    title="mamba-token-suite: a benchmark and analysis suite for token reduction on vision Mamba",
    authors=("{The mamba-token-suite authors}",),
)
# Letters of names, as every BibTeX reads them.
LETTERS = str.maketrans({"é": "{\\'e}", "è": "{\\`e}", "ö": '{\\"o}', "ü": '{\\"u}', "ä": '{\\"a}'})


def bibliography(run: Run) -> str:
    """A BibTeX file: an entry a paper, and a comment for whatever has none or is not known here."""
    found: dict[str, Reference] = {SUITE.key: SUITE}
    comments: list[str] = []
    for kind, named in (
        ("method", _methods(run)),
        ("backbone", _backbones(run)),
        ("data", _data(run)),
    ):
        for name, reference, why in named:
            if reference is None:
                comments.append(f"% {kind} {_comment(name)}: {why}")
            else:
                found[reference.key] = reference
    lines = [entry(reference) for _, reference in sorted(found.items())]
    return "\n".join([f"% the papers behind the run {_comment(run.name)}", *comments, "", *lines])


def entry(reference: Reference) -> str:
    """One entry of a BibTeX file."""
    kind, fields = "misc", {"title": f"{{{_text(reference.title)}}}"}
    if reference.authors:
        fields["author"] = " and ".join(map(_author, reference.authors))
    if reference.meeting:
        kind, fields["booktitle"] = "inproceedings", _text(reference.meeting)
    elif reference.journal:
        kind, fields["journal"] = "article", _text(reference.journal)
    if reference.year:
        fields["year"] = str(reference.year)
    if reference.arxiv:
        fields |= {"eprint": reference.arxiv, "archiveprefix": "arXiv"}
    if reference is SUITE:
        fields["note"] = f"Version {_text(__version__)}"
    body = "".join(f"  {name} = {{{value}}},\n" for name, value in fields.items())
    return f"@{kind}{{{reference.key},\n{body}}}\n"


Named = Iterable[tuple[str, Reference | None, str]]  # a name, its paper, why there is none


def _methods(run: Run) -> Iterator[tuple[str, Reference | None, str]]:
    """The methods of a run; a report runs no other code than the suite's."""
    cells = run.every_cell.drop_duplicates("method")
    for row in cells.itertuples():
        name = str(row.method)
        if name == DENSE:
            continue
        if METHODS.origin(name) != BUILT_IN:
            yield str(row.title or row.label), None, "not of this suite, add what it is from"
            continue
        reference = METHODS[name].reference
        yield name, reference, "a baseline of this suite, without a paper"


def _backbones(run: Run) -> Iterator[tuple[str, Reference | None, str]]:
    cells = run.every_cell
    labels = list(dict.fromkeys(map(str, cells["backbone"])))
    if not labels:
        labels = [str(name) for name in _listed(run.spec.get("backbones"))]
    texts = _texts(run)
    for label in labels:
        text = texts.get(label, label)
        try:
            name = bracketed(text)[0]
        except UserError:  # one that a merged report calls by its run
            name = text
        reference = reference_of(name) if BACKBONES.origin(name) == BUILT_IN else None
        yield label, reference, "not of this suite, add what it is from"


def _texts(run: Run) -> dict[str, str]:
    """What backbones are called in tables, and as they were written."""
    texts: dict[str, str] = {}
    for spec in (run.spec, *map(mapping, mapping(run.spec.get("runs")).values())):
        written = [*_listed(spec.get("backbones")), *_listed(spec.get("smaller"))]
        try:
            texts |= labelled(map(str, written), BACKBONES)
        except UserError:  # a spec that somebody wrote: its labels are names enough
            continue
    return texts


def _data(run: Run) -> Iterator[tuple[str, Reference | None, str]]:
    name = data_name(str(run.dataset.get("name") or ""))
    if name:
        yield name, DATA_REFERENCES.get(name), "images of your own, add what they are from"


def _listed(value: object) -> list[object]:
    return split(value) if isinstance(value, str) else sequence(value)  # type: ignore[return-value]


def _author(name: str) -> str:
    # A group in braces is no person with a surname.
    if name.startswith("{"):
        return f"{{{_text(name[1:-1])}}}"
    return _text(name)


def _text(text: str) -> str:
    return latex(text).translate(LETTERS)


def _comment(text: str) -> str:
    """A text on one line, without what could begin an entry."""
    return " ".join(text.split()).replace("@", "(at)")
