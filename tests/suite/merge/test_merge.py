"""Several runs as one: the halves of a run say together what the whole run says; what cannot be paired is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

import reports
from backbones.common.errors import UserError
from reports.report_data import ReportData
from reports.run import load
from suite.bench.timing_files import write_timing
from suite.cli import run
from suite.config.run_spec import RunSpec
from suite.merge import merge
from suite.store.run_folder import Store
from suite.store.schema import SHOWN, TABLES

HALF: dict[str, Any] = {"budgets": (0.3,), "seeds": 1}

Finished = Callable[..., Path]
Copies = Callable[..., list[Path]]


@pytest.fixture(autouse=True)
def _registered(small: Callable[..., RunSpec], request: pytest.FixtureRequest) -> None:
    """The small backbone and data set are known; figures are made of a merged run once."""
    whole = request.node.name == "test_halves_put_together_say_what_the_whole_run_says"
    request.getfixturevalue("undrawn" if whole else "unmade")


@pytest.fixture
def halves(finished: Finished, tmp_path: Path) -> list[Path]:
    """Copies of two runs, which a test may damage: mtr with the baselines, tome with them in other shards."""
    found = [
        finished("one", methods=("mtr",), shard_size=16, **HALF),
        finished("two", methods=("tome",), shard_size=30, batch_size=5, **HALF),
    ]
    return [Path(shutil.copytree(folder, tmp_path / folder.name)) for folder in found]


def frame(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_parquet(folder / "analyses" / f"{name}.parquet")


def edit(path: Path, **changed: Any) -> None:
    found = json.loads(path.read_text())
    path.write_text(json.dumps(found | changed))


def edit_spec(folder: Path, **changed: Any) -> None:
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changed))


def edit_shards(folder: Path, key: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """Change the outcomes of a cell as if they had come out so."""
    store = Store(folder)
    for path in sorted((folder / "shards" / key).glob("*.parquet")):
        shard = change(pd.read_parquet(path))
        store.write_checked({path: (shard, store.contents(path, shard.image.to_numpy()))})


def cell(folder: Path, **wanted: Any) -> Path:
    """The file of the one cell that is so."""
    (found,) = [
        path
        for path in sorted((folder / "cells").glob("*.json"))
        if all(json.loads(path.read_text())[name] == value for name, value in wanted.items())
    ]
    return found


def test_halves_put_together_say_what_the_whole_run_says(
    finished: Finished, halves: list[Path], tmp_path: Path
) -> None:
    whole = finished("whole", methods=("mtr", "tome"), **HALF)
    folder, told = merge(halves, tmp_path / "merged")
    assert told == []
    want = {path.name: json.loads(path.read_text()) for path in (whole / "cells").glob("*.json")}
    got = {path.name: json.loads(path.read_text()) for path in (folder / "cells").glob("*.json")}
    assert {record.pop("run") for record in got.values()} == {"one", "two"}
    assert got == want
    pd.testing.assert_frame_equal(frame(folder, "statistics"), frame(whole, "statistics"))
    headline = json.loads((whole / "analyses" / "headline.json").read_text())
    assert json.loads((folder / "analyses" / "headline.json").read_text()) == headline
    marks = ReportData.of(load(whole)).marks
    assert marks
    assert ReportData.of(load(folder)).marks == marks
    for name in ("first_errors", "token_overlap", "method_similarity"):
        pd.testing.assert_frame_equal(frame(folder, name), frame(whole, name))
    for name, keys in {
        "kept_tokens": ["label", "budget", "seed", "block", "row", "col"],
        "foreground": ["label", "budget", "seed", "block"],
        "gallery": ["label", "budget", "seed", "image", "block"],
    }.items():
        one, other = (
            frame(place, name).sort_values(keys, ignore_index=True) for place in (folder, whole)
        )
        common = set(one.get("image", [])) & set(other.get("image", []))
        if common:
            one, other = (
                part[part.image.isin(common)].reset_index(drop=True) for part in (one, other)
            )
        pd.testing.assert_frame_equal(one, other)
    page = reports.build(folder).read_text()
    assert all(text in page for text in ("tome", "runs one seconds", "python -m suite report"))


def test_a_smaller_model_is_kept_and_may_be_a_backbone_of_another_run(
    finished: Finished, tmp_path: Path
) -> None:
    small = "vim_mini[dim=8]"
    quick = {"budgets": (0.3,), "baselines": False, "gallery": 0}
    beside = finished("beside", methods=("mtr",), smaller=(small,), **quick)
    other = finished("other", methods=("tome",), **quick)
    own = finished("own", backbones=(small,), methods=("tome",), **quick)
    (share,) = json.loads(cell(beside, role="smaller").read_text())["beside"].values()
    folder, _ = merge([other, beside], tmp_path / "merged")
    kept = json.loads(cell(folder, role="smaller").read_text())
    assert (kept["backbone"], kept["beside"]) == (small, {"vim_mini": share})
    assert set(frame(folder, "statistics").backbone) == {"vim_mini"}
    headline = (folder / "analyses" / "headline.json").read_text()
    assert f"a smaller model, {small}, keeps" in headline
    assert ReportData.of(load(folder)).backbones == ["vim_mini"]
    # Where it is a backbone, too, it keeps its place in both.
    for runs in ([own, beside], [beside, own]):
        folder, _ = merge(runs, tmp_path / f"both-{runs[0].name}")
        dense = json.loads(cell(folder, backbone=small, budget=None).read_text())
        assert (dense["role"], dense["beside"]) == ("asked", {"vim_mini": share})
        assert set(ReportData.of(load(folder)).backbones) == {"vim_mini", small}


def test_the_differences_are_those_of_each_image(halves: list[Path], tmp_path: Path) -> None:
    """McNemar's counts between methods of two runs, by a loop over the images of their own files."""
    folder, _ = merge(halves, tmp_path / "merged")
    rows = frame(folder, "statistics").set_index(["label", "budget"])

    def right(place: Path, method: str) -> dict[int, bool]:
        key = cell(place, label=method, budget=0.3, role="asked").stem
        shards = pd.concat(
            [pd.read_parquet(path) for path in (place / "shards" / key).glob("*.parquet")]
        )
        return dict(zip(shards.image, shards.prediction == shards.label_true, strict=True))

    mtr, tome = right(halves[0], "mtr"), right(halves[1], "tome")
    assert len(mtr) == 30
    assert rows.only_method_correct["tome", 0.3] == sum(
        tome[image] and not mtr[image] for image in mtr
    )
    assert rows.only_reference_correct["tome", 0.3] == sum(
        mtr[image] and not tome[image] for image in mtr
    )
    assert rows.reference["tome", 0.3] == "mtr"


def test_a_merge_asked_again_is_made_again(
    halves: list[Path], tmp_path: Path, content: Any
) -> None:
    folder, _ = merge(halves)
    assert folder.parent == halves[0].resolve().parent
    assert folder.name.startswith("merged-")
    before = content(folder)
    (folder / "shards" / "0123456789abcdef").mkdir()
    assert merge(halves) == (folder, [])
    assert content(folder) == before
    with pytest.raises(UserError, match="give the runs that a merged report was made of"):
        merge([folder, halves[0]])
    with pytest.raises(UserError, match="specification of another command"):
        merge(halves, halves[0])


UNLIKE = [
    ("dataset.json", {"hash": "0"}, "the data's hash is .* in the first and 0 in the second"),
    ("dataset.json", {"split": "dev"}, "the split is test in the first and dev in the second"),
    (
        "environment.json",
        {"device": "cuda"},
        "the device is cpu in the first and cuda in the second",
    ),
    ("environment.json", {"weights": {"vim_mini": "beef"}}, "weights of vim_mini"),
    ("environment.json", {"preprocessing": {"vim_mini": "crop"}}, "preprocessing of vim_mini"),
    (
        "spec.yaml",
        {"protocol": "tokens"},
        "the protocol is matched in the first and tokens in the second",
    ),
    (
        "spec.yaml",
        {"flops_convention": "macs"},
        "the FLOPs convention is flops in the first and macs in the second",
    ),
    (
        "spec.yaml",
        {"precision": "fp64"},
        "the precision is fp32 in the first and fp64 in the second",
    ),
    ("spec.yaml", {"data": "other"}, "the data set is blots in the first and other in the second"),
]


@pytest.mark.parametrize(
    ("file", "changed", "reason"), UNLIKE, ids=[str(change) for _, change, _ in UNLIKE]
)
def test_what_cannot_be_compared_is_refused(
    file: str, changed: dict[str, Any], reason: str, halves: list[Path], tmp_path: Path, capsys: Any
) -> None:
    if file == "spec.yaml":
        edit_spec(halves[1], **changed)
    else:
        edit(halves[1] / file, **changed)
    before = sorted(tmp_path.iterdir())
    assert run(["report", *map(str, halves)]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: 'one' and 'two' cannot be one report: ")
    assert told.count("\n") == 1
    with pytest.raises(UserError, match=reason):
        merge(halves)
    assert sorted(tmp_path.iterdir()) == before


def test_runs_that_saw_other_images_are_refused(finished: Finished, halves: list[Path]) -> None:
    few = finished("few", methods=("mtr",), images=12, baselines=False, **HALF)
    with pytest.raises(
        UserError, match="the number of images is 30 in the first and 12 in the second"
    ):
        merge([halves[0], few])
    for place in (halves[1] / "shards").iterdir():
        edit_shards(halves[1], place.name, lambda shard: shard.assign(image=shard.image + 1))
    with pytest.raises(UserError, match=r"they saw different images \(29 of 30 are the same\)"):
        merge(halves)


def test_a_cell_of_two_runs_counts_once_if_it_came_out_alike(
    halves: list[Path], tmp_path: Path
) -> None:
    """As after a change of the code that changed no result: other keys, the same outcomes."""
    for path in sorted((halves[1] / "cells").glob("*.json")):
        record = json.loads(path.read_text())
        record["key"] = record["key"][::-1]
        path.with_name(f"{record['key']}.json").write_text(json.dumps(record))
        path.unlink()
        store = Store(halves[1])
        for place in ("shards", "tokens"):
            for old in sorted((halves[1] / place / path.stem).glob("*.parquet")):
                new = halves[1] / place / record["key"] / old.name
                images = pd.read_parquet(
                    store.outcomes_path(path.stem, int(old.stem))
                ).image.to_numpy()
                store.write_checked({new: (pd.read_parquet(old), store.contents(new, images))})
    edit(halves[1] / "environment.json", git="2222222")
    folder, told = merge(halves, tmp_path / "merged")
    assert len(told) == 1
    assert told[0].startswith("The code's commit differs: ")
    assert told[0].endswith("2222222 in two.")
    assert told[0] in json.loads((folder / "analyses" / "headline.json").read_text())["paragraphs"]
    cells = [json.loads(path.read_text()) for path in (folder / "cells").glob("*.json")]
    labels = [cell["label"] for cell in cells if cell["role"] in SHOWN]
    assert labels.count("none") == 1
    assert labels.count("mtr") == labels.count("tome") == 1
    key = cell(halves[1], label="none").stem
    edit_shards(
        halves[1],
        key,
        lambda shard: shard.assign(loss=shard.loss + np.float32(1e-6) * (shard.image == 11)),
    )
    why = r"contradict each other: none on vim_mini dense came out otherwise on 1 of 30 images, by other code"
    with pytest.raises(UserError, match=why):
        merge(halves)


def test_another_schedule_is_another_method(
    finished: Finished, halves: list[Path], tmp_path: Path
) -> None:
    rising = finished("rising", methods=("mtr",), schedule="rising", baselines=False, **HALF)
    edit_spec(halves[0], schedule="constant-ratio")
    folder, told = merge([halves[0], rising], tmp_path / "merged")
    assert told[-1] == "Methods named without a schedule follow constant-ratio."
    labels = set(frame(folder, "statistics").label)
    assert {"mtr", "mtr@rising", "random", "none"} <= labels
    assert "random@rising" not in labels
    assert set(frame(folder, "kept_tokens").label) >= {"mtr", "mtr@rising"}


@pytest.mark.slow
def test_runs_of_another_schedule_that_share_cells_agree_on_its_name(
    finished: Finished, halves: list[Path], tmp_path: Path
) -> None:
    rising = {"methods": ("mtr", "random"), "schedule": "rising", "baselines": False, "gallery": 0}
    rising["budgets"] = (0.3,)
    parts = [finished(f"rising-{seeds}", seeds=seeds, **rising) for seeds in (1, 2)]
    folder, _ = merge([halves[0], *parts], tmp_path / "merged")
    rows = frame(folder, "statistics")
    there = set(rows.label)
    assert {"mtr", "mtr@rising", "random", "random@rising"} <= there
    assert not any("@rising" in label and " = " in label for label in there)
    assert set(rows[rows.label == "random@rising"].seeds) == {2}


def test_mamba_and_attention_of_two_runs_stand_side_by_side(
    finished: Finished, tmp_path: Path
) -> None:
    same = {"methods": ("tome", "utr"), "budgets": (0.3,), "baselines": False, "gallery": 0}
    both = finished("both", backbones=("vim_mini", "deit_mini"), **same)
    apart = [finished("vim", **same), finished("deit", backbones=("deit_mini",), **same)]
    folder, _ = merge(apart, tmp_path / "merged")
    for name in ("mamba_vs_attention", "mamba_minus_attention", "statistics"):
        pd.testing.assert_frame_equal(frame(folder, name), frame(both, name))


def flip(path: Path) -> None:
    """Change one answer without a new checksum."""
    shard = pd.read_parquet(path)
    content = path.read_bytes()
    metadata = pq.read_metadata(path).metadata
    table = pa.Table.from_pandas(
        shard.assign(prediction=0), preserve_index=False
    ).replace_schema_metadata(None)
    with pq.ParquetWriter(path, table.schema) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(
            {k: v for k, v in metadata.items() if k.startswith(b"suite.")}
        )
    assert path.read_bytes() != content


def own_outcomes(place: Path) -> Path:
    """Outcomes that the other run does not have."""
    key = cell(place, label="tome", budget=0.3, role="asked").stem
    return place / "shards" / key / "00000.parquet"


HARM = [
    (lambda place: (place / "cells" / "evil.json").symlink_to("/etc/passwd"), "is a symbolic link"),
    (lambda place: (place / "shards" / "out").symlink_to("/tmp"), "is a symbolic link"),
    (lambda place: cell(place, label="none").write_text("[]"), "does not hold a JSON object"),
    (lambda place: cell(place, label="none").write_text("{" * 9999), "cannot be read"),
    (
        lambda place: edit(cell(place, label="none"), key="../../../tmp/x"),
        "key: string should match",
    ),
    (lambda place: edit(cell(place, label="none"), key="0" * 16), "is the record of cell"),
    (lambda place: edit(cell(place, label="none"), seed="0"), "seed"),
    (
        lambda place: edit(cell(place, label="none"), status="failed"),
        "holds no finished dense cell",
    ),
    (
        lambda place: own_outcomes(place).write_bytes(b"PAR1"),
        "is missing or damaged",
    ),
    (lambda place: flip(own_outcomes(place)), "is torn or was changed"),
    (lambda place: (place / "spec.yaml").write_text("kind: [1]"), "is not a comparison"),
    (
        lambda place: (place / "spec.yaml").write_text("!!python/object:os.system x"),
        "cannot be read",
    ),
    (lambda place: edit_spec(place, sites=[99, "x"]), "sites"),
]


@pytest.mark.parametrize(("harm", "reason"), HARM, ids=[reason for _, reason in HARM])
def test_a_hostile_or_damaged_folder_is_one_line(
    harm: Callable[[Path], Any], reason: str, halves: list[Path], capsys: Any
) -> None:
    harm(halves[1])
    assert run(["report", *map(str, halves)]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert told.count("\n") == 1
    with pytest.raises(UserError, match=reason):
        merge(halves)


def test_methods_of_a_foreign_spec_are_not_loaded(halves: list[Path], tmp_path: Path) -> None:
    """A spec may name a method in a file; a merge reads results and runs nobody's code."""
    trap = tmp_path / "trap.py"
    trap.write_text(f"open({str(tmp_path / 'sprung')!r}, 'w')")
    edit_spec(halves[1], methods=["tome", f"{trap}:MINE"])
    merge(halves, tmp_path / "merged")
    assert not (tmp_path / "sprung").exists()


def test_one_run_twice_and_two_of_one_name_are_refused(halves: list[Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="named twice"):
        merge([halves[0], halves[0]])
    other = Path(shutil.copytree(halves[1], tmp_path / "elsewhere" / "one"))
    with pytest.raises(UserError, match="two of the runs are called 'one'"):
        merge([halves[0], other])


def test_one_run_may_have_its_report_elsewhere(halves: list[Path], tmp_path: Path) -> None:
    shutil.rmtree(halves[0] / "report", ignore_errors=True)
    before = sorted(halves[0].rglob("*"))
    assert run(["report", str(halves[0]), "--out", str(tmp_path / "elsewhere")]) == 0
    assert (tmp_path / "elsewhere" / "report" / "index.html").is_file()
    # as on a medium that cannot be written
    assert sorted(halves[0].rglob("*")) == before


@pytest.mark.parametrize("renamed", [{"score": "spread"}, {"feature": "mine"}, {"later": 1}])
def test_methods_of_others_are_merged_from_their_records_alone(
    halves: list[Path], tmp_path: Path, renamed: dict[str, Any]
) -> None:
    # neither the file nor the parts it registers are known here
    for path in (halves[1] / "cells").glob("*.json"):
        record = json.loads(path.read_text())
        if record["method"] == "tome":
            own = {"label": "spread", "method": "spread.py:SPREAD", "spec": "spread.py:SPREAD"}
            edit(path, **own, composition=record["composition"] | renamed)
    edit_spec(halves[1], methods=["spread.py:SPREAD"])
    folder, _ = merge(halves, tmp_path / "merged")
    assert {"mtr", "spread"} <= set(frame(folder, "statistics").label)


GATE = (
    "from dataclasses import replace\nfrom methods import METHODS\n"
    "GATE = replace(METHODS['{}'], name='gate', title='Gate')\n"
)


def test_sentences_of_ablations_and_timings_tell_methods_of_one_name_apart(
    finished: Finished, tmp_path: Path
) -> None:
    runs = []
    for name, method in (("one", "tome"), ("two", "mtr")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "gate.py").write_text(GATE.format(method))
        methods = (f"{tmp_path / name}/gate.py:GATE",)
        settings = {"axes": ("size",), "budgets": (0.3,), "baselines": False, "gallery": 0}
        runs.append(finished(f"told-{name}", methods=methods, **settings))
        own = frame(runs[-1], "ablation_sentences").sentence[0]
        assert ": gate (" in own
        timed = [timing("none", None, 0.0, "dense"), timing("gate", 0.3, 0.3, "faster")]
        write_timing(runs[-1], timed)
        assert "the fastest method, gate, is" in frame(runs[-1], "bench_words").sentence[0]
    folder, _ = merge(runs, tmp_path / "merged")
    told = frame(folder, "ablation_sentences").sentence
    assert [": gate (told-one) (" in text for text in told] == [True, False]
    assert [": gate (told-two) (" in text for text in told] == [False, True]
    for source, text in zip(runs, told, strict=True):
        bare = text.replace(f"gate ({source.name})", "gate")
        assert bare == frame(source, "ablation_sentences").sentence[0]
    headline = json.loads((folder / "analyses" / "headline.json").read_text())
    assert [headline["headline"], headline["paragraphs"][0]] == told.tolist()
    fastest = frame(folder, "bench_words").sentence
    assert ["the fastest method, gate (told-one), is" in text for text in fastest] == [True, False]
    assert ["the fastest method, gate (told-two), is" in text for text in fastest] == [False, True]
    damaged = frame(runs[0], "ablation").drop(columns="interval")
    damaged.to_parquet(runs[0] / "analyses" / "ablation.parquet")
    with pytest.raises(
        UserError, match=r"the table ablation of .* lacks interval: run its command"
    ):
        merge(runs, tmp_path / "again")


def timing(label: str, budget: float | None, removed: float, verdict: str) -> dict[str, Any]:
    """A row of the table ``bench``."""
    row: dict[str, Any] = dict.fromkeys(TABLES["bench"].columns, 1.0)
    row |= {"key": label, "backbone": "vim_mini", "label": label, "budget": budget, "batch": 2}
    row |= {"removed": removed, "verdict": verdict, "interval": "range", "precision": "fp32"}
    return row | {"machine": "CPU", "threads": 1, "rounds": 2}


def test_different_methods_of_one_name_have_their_runs_names(
    finished: Finished, tmp_path: Path
) -> None:
    for name, method in (("one", "tome"), ("two", "mtr"), ("copy", "tome")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "gate.py").write_text(GATE.format(method))
    runs = []
    for name, alias in (("one", "mtr[order=reversed]"), ("two", "tome"), ("copy", "tome")):
        methods = (f"{tmp_path / name}/gate.py:GATE", f"Mine={alias}", "norm")
        few = {"budgets": (0.3,), "baselines": False, "gallery": 0}
        runs.append(finished(f"gate-{name}", methods=methods, **few))
    folder, _ = merge(runs[:2], tmp_path / "merged")
    rows = frame(folder, "statistics")
    own = {f"{name} (gate-{run})" for name in ("gate", "Mine") for run in ("one", "two")}
    assert {part for label in rows.label for part in label.split(" = ")} == {"none", "norm", *own}
    compared = 0
    for source in runs[:2]:
        for path in (source / "cells").glob("*.json"):
            record = json.loads(path.read_text())
            # others are in no table of statistics
            if record["role"] == "asked" and record["label"] in ("gate", "Mine"):
                name = f"{record['label']} ({source.name})"
                there = rows[[name in label.split(" = ") for label in rows.label]]
                found = there[there.budget == record["budget"]].top1.tolist()
                assert found == ([record["metrics"]["top1"]] if record["status"] == "ok" else [])
                compared += len(found)
    assert compared == 4
    # the same bytes in another place are the same method
    folder, _ = merge([runs[0], runs[2]], tmp_path / "again")
    labels = {part for label in frame(folder, "statistics").label for part in label.split(" = ")}
    assert labels == {"none", "norm", "gate", "Mine (gate-one)", "Mine (gate-copy)"}


def test_backbones_of_files_are_merged_by_name_and_code_and_not_run(
    finished: Finished, tmp_path: Path
) -> None:
    code = (
        "from backbones.models.sizes import MambaConfig\nfrom backbones.models.vim import Vim\n"
        "def net():\n    return Vim('', MambaConfig(16, 3, 4, 40, 4, 4, 3))\n"
    )
    runs = {}
    for name, method, text in (("a", "mtr", code), ("b", "tome", code), ("c", "tome", code + "#")):
        (tmp_path / name).mkdir()
        file = tmp_path / name / "own.py"
        file.write_text(text)
        settings = {"methods": (method,), "budgets": (0.3,), "baselines": False, "gallery": 0}
        runs[name] = finished(f"own-{name}", backbones=(f"{file}:net",), **settings)
        file.unlink()
    folder, _ = merge([runs["a"], runs["b"]], tmp_path / "merged")
    rows = frame(folder, "statistics")
    assert set(zip(rows.backbone, rows.label, strict=True)) == {
        ("net", label) for label in ("none", "mtr", "tome")
    }
    assert yaml.safe_load((folder / "spec.yaml").read_text())["backbones"] == ["net"]
    with pytest.raises(UserError, match=r"cannot be one report: code of net is \w+ in the first"):
        merge([runs["a"], runs["c"]], tmp_path / "again")
