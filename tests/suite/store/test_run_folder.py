"""The folder of a run: what it accepts, what it finds again."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backbones.common.errors import UserError
from suite.config.run_spec import RunSpec
from suite.config.spec_file import build_spec
from suite.store.results import Results, cut_shards
from suite.store.run_folder import Store
from suite.store.schema import CellRecord


@given(st.lists(st.integers(0, 99), max_size=40), st.integers(1, 50))
def test_shards_cut_without_loss(indices: list[int], size: int) -> None:
    parts = cut_shards(np.array(indices, dtype=np.int64), size)
    assert [index for part in parts for index in part.tolist()] == indices
    assert all(len(part) == size for part in parts[:-1])
    assert not parts or 1 <= len(parts[-1]) <= size


def test_a_new_folder_begins_and_the_same_question_goes_on(tmp_path: Path) -> None:
    spec = RunSpec(images=40)
    Store.open(tmp_path / "run", spec)
    first = (tmp_path / "run" / "spec.yaml").read_bytes()
    Store.open(tmp_path / "run", RunSpec(images=40))
    assert (tmp_path / "run" / "spec.yaml").read_bytes() == first


@pytest.mark.parametrize(
    "changed", [{"images": 41}, {"seeds": 4}, {"batch_size": 16}, {"precision": "fp64"}]
)
def test_another_question_is_refused(tmp_path: Path, changed: dict[str, Any]) -> None:
    Store.open(tmp_path, RunSpec(images=40))
    with pytest.raises(UserError, match="other settings: choose another folder"):
        Store.open(tmp_path, build_spec(**({"images": 40} | changed)))


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(UserError, match="not empty and holds no run"):
        Store.open(tmp_path, RunSpec())
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


def test_what_a_killed_first_start_leaves_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / ".spec.yaml.77.tmp").write_text("sche")
    Store.open(tmp_path, RunSpec())
    assert (tmp_path / "spec.yaml").exists()


@pytest.mark.parametrize("text", ["- 1\n", "a: [", "schema: 1\n", "schema: 4\ncolour: red\n"])
def test_a_damaged_spec_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "spec.yaml").write_text(text)
    with pytest.raises(UserError) as caught:
        Store.open(tmp_path, RunSpec())
    assert "\n" not in str(caught.value)


RECORD = CellRecord(
    key="a" * 16,
    status="skipped",
    reason="at most 5 %",
    backbone="vim_nano",
    checkpoint="bundled",
    weights=None,
    dataset="fashion-clutter",
    split="test",
    images=500,
    method="mtr",
    label="mtr",
    spec="mtr",
    title="MTR",
    family="hybrid",
    stochastic=False,
    options={},
    composition=None,
    protocol="matched",
    flops_convention="flops",
    precision="fp32",
    image_size=56,
    budget=0.4,
    seed=0,
)


def counts(present: list[int]) -> pd.DataFrame:
    return pd.DataFrame(
        {"block": 0, "position": range(len(present)), "present": present, "foreground": 0}
    )


def test_shards_are_found_again_in_order(tmp_path: Path) -> None:
    store = Store.open(tmp_path, RunSpec())
    for index in (2, 0, 1):
        images = np.array([2 * index, 2 * index + 1])
        assert not store.has_shard("k", index, images)
        store.write_shards(
            index, images, {"k": (pd.DataFrame({"image": images}), counts([index, 1]))}
        )
        assert store.has_shard("k", index, images)
    results = Results(store, cut_shards(np.arange(6), 2))
    assert results.outcomes("k").image.tolist() == [0, 1, 2, 3, 4, 5]
    assert results.token_counts("k").present.tolist() == [3, 3]


def test_a_shard_counts_as_done_only_when_its_token_counts_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, images = Store.open(tmp_path, RunSpec()), np.array([1])
    replaced, calls = os.replace, iter((True, False))

    def stops(source: Any, target: Any) -> None:
        if not next(calls):
            raise KeyboardInterrupt
        replaced(source, target)

    monkeypatch.setattr("suite.system.atomic_files.os.replace", stops)
    with pytest.raises(KeyboardInterrupt):
        store.write_shards(0, images, {"k": (pd.DataFrame({"image": images}), counts([1]))})
    assert not store.has_shard("k", 0, images)
    assert store.tokens_path("k", 0).exists()


def test_an_analysis_without_rows_is_no_file(tmp_path: Path) -> None:
    store = Store.open(tmp_path, RunSpec())
    path = tmp_path / "analyses" / "kept_tokens.parquet"
    store.write_table("kept_tokens", pd.DataFrame())
    assert not path.exists()
    store.write_table("kept_tokens", pd.DataFrame({"a": [1]}))
    assert path.exists()
    store.write_table("kept_tokens", pd.DataFrame())
    assert not path.exists()


def test_cells_are_read_back_by_key_and_forgotten(tmp_path: Path) -> None:
    store = Store.open(tmp_path, RunSpec())
    a, b, c = (letter * 16 for letter in "abc")
    records = {key: RECORD.model_copy(update={"key": key}) for key in (b, a, c)}
    store.write_cells(records.values())
    assert [record.key for record in store.cells()] == [a, b, c]
    assert store.cells()[0] == RECORD
    store.write_cells([records[a], records[c]])
    assert [record.key for record in store.cells()] == [a, c]


@pytest.mark.parametrize("torn", [b'{"backbone": "vim_na', b"[1]", b"\xff\xfe", b""])
def test_what_is_torn_is_set_aside_or_named(
    tmp_path: Path, torn: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store.open(tmp_path / "run", RunSpec(images=40))
    store.write_halved("vim_nano", 3, {"batch": 8, "flips": 1})
    (tmp_path / "run" / "halved" / "0-00001.json").write_bytes(torn)
    assert store.halved() == [{"backbone": "vim_nano", "shard": 3, "batch": 8, "flips": 1}]
    assert "is torn or was changed" in capsys.readouterr().err
    assert len(store.halved()) == 1
    if torn != b"[1]":
        (tmp_path / "run" / "cells").mkdir(exist_ok=True)
        (tmp_path / "run" / "cells" / "12345678.json").write_bytes(torn)
        with pytest.raises(UserError, match="run its command again"):
            store.cells()
