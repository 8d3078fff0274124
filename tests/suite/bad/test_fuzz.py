"""Settings and texts that may be anything: a specification, or one line."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backbones.common.documents import read_json, read_yaml
from backbones.common.errors import UserError
from backbones.common.naming import bracketed
from methods import METHODS
from methods.spec import parse, parse_list
from suite.bench.spec import BenchSpec
from suite.config.run_spec import RunSpec
from suite.config.spec_file import with_file
from suite.plan.schedule import find_schedule
from suite.sensitivity.selection import select
from suite.sensitivity.spec import SensitivitySpec

SPECS = (RunSpec, SensitivitySpec, BenchSpec)
KEYS = sorted({name for spec in SPECS for name in spec.model_fields} | {"schema"})
PIECES = [
    "&a ", "*a", "<<: *a", "!!python/object/apply:os.system ['touch owned']", "!!python/name:os.system", "!!binary aGk=",
    "!!set {a, b}", "!!omap [a: 1]", "!!timestamp 2001-99-99", "!!float x", "!!int 0b2", "!x y",
    "? ", ": ", "- ", "[",
    "]", "{", "}", "|\n", ">\n", "---\n", "...\n", "%YAML 9.9\n", "\t", "\x00",
    "\x1b[2J", "\u202e", "\ufeff", "\ud7ff",
    ".nan", ".inf", "1e999", "9" * 5000, "0x" + "f" * 4000, "1:1:1", "~", "yes", "'", '"', "\\x", "#", "\n", "  ", "[" * 500,
]  # fmt: skip
texts = st.lists(
    st.one_of(st.sampled_from([*PIECES, *(f"{key}: " for key in KEYS)]), st.text(max_size=6)),
    max_size=20,
)
leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.just(10**400), st.floats(), st.text(max_size=8),
    st.sampled_from(["all", "mtr", "tome[order=appended]", "vim_nano", "0.4"]), st.dates(),
    st.binary(max_size=4),
)  # fmt: skip
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=12,
)
mappings = st.dictionaries(
    st.one_of(st.sampled_from(KEYS), st.text(max_size=6)), values, max_size=5
)
pieces = st.sampled_from(
    [*METHODS, "[", "]", ",", "=", "@", ":", ".py", "order", "targets", "falling", "every-", "0",
     "-1", "1e999", "nan", "²", "٣", "9" * 1200, "true", " ", "\n", "\x00", "\u202e", "/", "..",
     "all"]
)  # fmt: skip
phrases = st.lists(st.one_of(pieces, st.text(max_size=3)), max_size=9).map("".join)
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
LONG = settings(
    max_examples=5_000, deadline=None, suppress_health_check=list(HealthCheck), database=None
)


def told(attempt: Any, *given_to_it: Any) -> None:
    """`attempt` succeeds, or says in one line what is wrong."""
    said = ": "
    try:
        attempt(*given_to_it)
    except UserError as error:
        said = str(error)
    assert "\n" not in said
    assert ": " in said


def read(content: str, folder: Path) -> None:
    path = folder / "c.yaml"
    path.write_bytes(content.encode("utf-8", "surrogatepass"))
    for spec in SPECS:
        told(with_file, spec(), path, ())
    for reader in (read_yaml, read_json):
        said = ""
        try:
            reader(path)
        except ValueError as error:
            said = str(error)
        assert "\n" not in said
    assert [entry.name for entry in folder.iterdir()] == ["c.yaml"]


def name_things(text: str) -> None:
    told(parse, text)
    told(parse_list, text)
    told(bracketed, text)
    told(find_schedule, text)
    told(select, text, (1, 2, 3), "layers")


def fuzz_texts(folder: Path, how: settings) -> None:
    how(given(texts.map("".join))(lambda content: read(content, folder)))()


def fuzz_values(folder: Path, how: settings) -> None:
    how(given(mappings)(lambda found: read(yaml.dump(found, allow_unicode=True), folder)))()


def fuzz_phrases(folder: Path, how: settings) -> None:
    how(given(phrases)(name_things))()


FUZZ = [fuzz_texts, fuzz_values, fuzz_phrases]


@pytest.mark.parametrize("fuzz", FUZZ)
def test_anything_is_settings_or_one_line(
    fuzz: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    (tmp_path / "c").mkdir()
    fuzz(tmp_path / "c", QUICK)
    assert not list((tmp_path / "work").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("fuzz", FUZZ)
def test_thousands_of_each(fuzz: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    (tmp_path / "c").mkdir()
    fuzz(tmp_path / "c", LONG)
    assert not list((tmp_path / "work").iterdir())
