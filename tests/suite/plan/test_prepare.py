"""From settings to cells: which cells there are, what makes two of them one, and what is refused."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from backbones import BACKBONES
from backbones.common.errors import UserError
from backbones.models.plainmamba import create
from methods.spec import parse
from suite import cli
from suite.config.run_spec import RunSpec
from suite.config.spec_file import build_spec
from suite.plan import cells
from suite.plan.budget import Plan
from suite.plan.cells import REMOVING, Cell, reducer
from suite.plan.images import choose_images
from suite.plan.layout import OTHER_TRACE, merge_equal
from suite.plan.notes import notes_on_protocol, unreachable_budgets
from suite.plan.prepare import Prepared, prepare
from suite.store.schema import CellRecord, Removal
from suite.store.unstated import UNSTATED

Specs = Callable[..., RunSpec]
Err = pytest.CaptureFixture[str]


def counts_of(plan: Plan) -> dict[int, int]:
    return {site: removal.tokens for site, removal in plan.removals.items()}


def texts(prepared: Prepared) -> list[tuple[str, float | None, int]]:
    return [(cell.method.text, cell.budget, cell.seed) for cell in prepared.main]


def test_cells_come_method_by_method_budget_by_budget_seed_by_seed(small: Specs) -> None:
    prepared = prepare(small(methods=("mtr", "random[weights=mean]"), budgets=(0.2, 0.3)))
    assert texts(prepared) == [
        ("none", None, 0),
        ("mtr", 0.2, 0),
        ("mtr", 0.3, 0),
        *(("random[weights=mean]", budget, seed) for budget in (0.2, 0.3) for seed in (0, 1)),
        *(("random", budget, seed) for budget in (0.2, 0.3) for seed in (0, 1)),
        ("stride", 0.2, 0),
        ("stride", 0.3, 0),
        ("pool", 0.2, 0),
        ("pool", 0.3, 0),
        ("downsample", 0.2, 0),
        ("downsample", 0.3, 0),
    ]
    for cell in prepared.main[1:]:
        assert cell.plan is not None
        if cell.method.name != "downsample":
            assert cell.budget is not None
            assert cell.plan.removed["flops"] == pytest.approx(cell.budget, abs=0.002)
    assert prepared.dense["vim_mini"] is prepared.cells[0]


def test_baselines_can_be_switched_off_and_are_not_run_twice(small: Specs) -> None:
    assert texts(prepare(small(methods=("mtr",), budgets=(0.2,), baselines=False))) == [
        ("none", None, 0),
        ("mtr", 0.2, 0),
    ]
    named = prepare(small(methods=("stride", "none", "pool"), budgets=(0.2,)))
    names = [cell.method.name for cell in named.main]
    assert names == ["none", "stride", "pool", "random", "random", "downsample"]


def test_a_split_of_an_undivided_data_set_is_said_to_choose_nothing(
    tmp_path: Path, capsys: Err
) -> None:
    for number in range(2):
        path = tmp_path / "data" / f"class{number}" / "a.png"
        path.parent.mkdir(parents=True)
        Image.new("RGB", (56, 56), (90 * number, 0, 0)).save(path)
    said = "the data set has no splits: --split dev is all of its 2 images"
    run = [
        "--data",
        f"imagefolder:{tmp_path}/data",
        "--split",
        "dev",
        "--backbones",
        "vim_nano[classes=2]",
    ]
    run += [
        "--checkpoint",
        "random",
        "--methods",
        "mtr",
        "--budgets",
        "0.3",
        "--no-baselines",
        "--images",
        "all",
    ]
    assert cli.run(["plan", *run]) == 0
    assert said in " ".join(capsys.readouterr().out.split())
    assert cli.run(["compare", *run, "--runs", str(tmp_path / "runs"), "--no-report"]) == 0
    assert f": 2 cells on 2 images; {said}" in capsys.readouterr().err
    (tmp_path / "data").rename(tmp_path / "dev")
    run[1] = f"imagefolder:{tmp_path}"
    assert cli.run(["plan", *run]) == 0
    assert "no splits" not in capsys.readouterr().out


def test_a_budget_beyond_all_methods_is_said_with_what_comes_closest(small: Specs) -> None:
    prepared = prepare(small(methods=("mtr", "tome"), budgets=(0.3, 0.98)))
    [told] = unreachable_budgets(prepared)
    closest = max((cell.closest, cell.label) for cell in prepared.cells if cell.closest is not None)
    assert told.startswith(
        "no method that removes tokens can remove 98 % of the FLOPs of vim_mini: the closest, "
    )
    assert told.endswith(f"removes {100 * closest[0]:.1f} %.")
    assert unreachable_budgets(prepare(small(budgets=(0.3,)))) == []


@pytest.mark.parametrize("methods", [("mtr", "tome"), ("hsa",), ("oracle",)])
def test_a_run_in_which_no_method_meets_a_budget_is_refused(
    small: Specs, methods: tuple[str, ...]
) -> None:
    unreachable = small(methods=methods, budgets=(0.98, 0.99), images=6)
    with pytest.raises(UserError, match="no method can remove 98 % of the FLOPs") as refused:
        prepare(unreachable)
    advised = re.search(r"all methods can remove ([0-9.]+) %", str(refused.value))
    assert advised
    cells = prepare(unreachable.model_copy(update={"budgets": (float(advised[1]) / 100,)})).main
    assert all(cell.plan for cell in cells if cell.kind in REMOVING)
    prepare(unreachable.model_copy(update={"budgets": (0.3, 0.99)}))
    prepare(unreachable.model_copy(update={"methods": ("downsample",), "baselines": False}))


def test_methods_without_counts_are_named_under_protocol_tokens(small: Specs) -> None:
    methods = ("mtr", "crop-shrink")
    prepared = prepare(small(methods=methods, budgets=(0.3, 0.4), protocol="tokens"))
    named = [
        note.partition(" removes no tokens at sites")[0] for note in notes_on_protocol(prepared)
    ]
    assert named == ["crop-shrink", "downsample"]
    assert notes_on_protocol(prepare(small(methods=methods))) == []


def test_equal_counts_are_asked_of_all_methods_under_protocol_tokens(small: Specs) -> None:
    prepared = prepare(small(methods=("mtr", "evit"), budgets=(0.2,), protocol="tokens"))
    plans = {
        c.method.name: c.plan for c in prepared.cells if c.method.name in ("mtr", "evit", "stride")
    }
    counts = [dict(plan.removals) for plan in plans.values() if plan is not None]
    assert len(counts) == 3
    assert counts[0] == counts[1] == counts[2]


def test_sites_are_where_the_user_puts_them(small: Specs) -> None:
    prepared = prepare(small(methods=("mtr",), budgets=(0.2,), sites=(3, 1)))
    for cell in prepared.cells:
        if cell.composition is not None and cell.plan is not None:
            assert set(cell.plan.removals) == {1, 3}
            assert {site: r.remove for site, r in cell.reducers().items()} == counts_of(cell.plan)  # type: ignore[attr-defined]


def test_a_method_made_for_attention_runs_there_in_its_original_form_and_one_of_scans_is_skipped(
    small: Specs,
) -> None:
    methods = (
        "mtr",
        "tome",
        "tome[feature=keys,order=appended]",
        "evit",
        "evit[score=cls-attention]",
    )
    spec = small(
        backbones=("vim_mini", "deit_mini"), methods=methods, budgets=(0.2,), baselines=False
    )
    found = {(cell.backbone, cell.label): cell for cell in prepare(spec).main}
    attention = {
        label: cell for (backbone, label), cell in found.items() if backbone == "deit_mini"
    }
    assert list(attention) == [
        "none",
        "mtr",
        "tome = tome[feature=keys,order=appended]",
        "evit = evit[score=cls-attention]",
    ]
    assert attention["mtr"].plan is None
    assert attention["mtr"].reason == f"needs delta_mean; deit_mini has none: {OTHER_TRACE}"
    for label in list(attention)[2:]:
        plan = attention[label].plan
        assert plan is not None
        assert set(plan.removals) <= {1, 3, 5}
        assert plan.removed["flops"] == pytest.approx(0.2, abs=0.002)
    assert found["vim_mini", "mtr"].plan is not None
    assert (
        found["vim_mini", "evit[score=cls-attention]"].reason
        == f"needs cls_attention; vim_mini has none: {OTHER_TRACE}"
    )
    published = prepare(
        small(backbones=("deit_mini",), methods=("evit", "mtr"), protocol="paper", baselines=False)
    )
    # 139, 99 and 71 of 196 tokens are left, in layers 4, 7 and 10 of 12.
    assert [counts_of(cell.plan) for cell in published.cells if cell.plan] == [
        {},
        {1: 29, 3: 20, 5: 15},
    ]


def test_what_needs_a_class_token_or_one_scan_each_way_is_skipped_where_there_is_none(
    small: Specs, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {
        "dim": 16,
        "depth": 3,
        "states": 4,
        "image_size": 40,
        "patch": 4,
        "classes": 3,
        "convolutions": 1,
    }
    monkeypatch.setitem(BACKBONES._added, "plain_mini", lambda: create("plainmamba_l2", **sizes))
    methods = (
        "evit",
        "pumer",
        "hsa",
        "activation[direction=forward]",
        "mtr",
        "mtr[direction=backward]",
        "mtr[sensitivity=1]",
        "evit[score=cls-similarity]",
    )
    spec = small(backbones=("plain_mini",), methods=methods, budgets=(0.1,), baselines=False)
    reasons = {cell.label: cell.reason for cell in prepare(spec).cells}
    assert reasons == {
        "none": None,
        "evit": "needs a class token; plain_mini has none: use score=cls-similarity",
        "pumer": "needs a class token; plain_mini has none: use score=cls-similarity",
        "hsa": "hands decay on along one scan each way; plain_mini has 4 scans",
        "activation[direction=forward]": f"needs ungated_forward; plain_mini has none: {OTHER_TRACE}",
        "mtr": None,
        "mtr[direction=backward]": "reads one of two scans; plain_mini has 4: use direction=both",
        "mtr[sensitivity=1]": "needs a class token; plain_mini has none: set sensitivity=0",
        "evit[score=cls-similarity]": None,
    }


def test_a_method_may_have_a_schedule_of_its_own(small: Specs) -> None:
    methods = ("mtr", "mtr@falling", "mtr@constant-ratio", "mtr@one-shot")
    cells = prepare(small(methods=methods, budgets=(0.1,), baselines=False)).main[1:]
    assert [cell.label for cell in cells] == [
        "mtr = mtr@constant-ratio",
        "mtr@falling",
        "mtr@one-shot",
    ]
    counts = [list(counts_of(cell.plan).values()) for cell in cells if cell.plan]
    assert counts[1] == sorted(counts[1], reverse=True)
    assert counts[1] != counts[0]
    assert len(counts[2]) == 1
    falling = prepare(
        small(methods=("mtr",), budgets=(0.1,), baselines=False, schedule="falling")
    ).cells[1]
    assert falling.key == cells[1].key
    with pytest.raises(UserError, match="did you mean falling"):
        prepare(small(methods=("mtr@faling",)))


def test_a_permutation_removes_nothing_and_has_no_budget(small: Specs) -> None:
    prepared = prepare(
        small(methods=("permute[order=reversed]", "permute"), budgets=(0.2, 0.3), baselines=False)
    )
    assert texts(prepared)[1:] == [
        ("permute[order=reversed]", 0.0, 0),
        ("permute", 0.0, 0),
        ("permute", 0.0, 1),
    ]
    assert len({cell.key for cell in prepared.cells}) == 4
    for cell in prepared.cells[1:]:
        assert cell.plan is not None
        assert cell.plan.removed["flops"] == 0
        assert sorted(cell.reducers()) == [1, 2, 3]


def test_keys_do_not_depend_on_the_order_of_the_run(small: Specs) -> None:
    one = prepare(small(methods=("mtr", "evit"), budgets=(0.2, 0.3)))
    other = prepare(
        small(methods=("evit", "mtr"), budgets=(0.3, 0.2), batch_size=3, shard_size=5, seeds=1)
    )
    keys = {(c.method.text, c.budget, c.seed): c.key for c in one.main}
    for cell in other.main:
        assert keys[cell.method.text, cell.budget, cell.seed] == cell.key
    assert len(set(keys.values())) == len(keys)


@pytest.mark.parametrize("changed", [{"precision": "fp64"}, {"images": 9}, {"kernel": "reference"}])
def test_what_changes_a_number_changes_the_key(small: Specs, changed: dict[str, Any]) -> None:
    plain, other = prepare(small()), prepare(small(**changed))
    assert not {cell.key for cell in plain.cells} & {cell.key for cell in other.cells}


def test_only_stochastic_cells_depend_on_the_seed(small: Specs) -> None:
    prepared = prepare(
        small(methods=("mtr", "mtr[order=shuffled]"), budgets=(0.2,), baselines=False)
    )
    mtr = next(cell for cell in prepared.cells if cell.method.text == "mtr")
    shuffled = next(cell for cell in prepared.cells if cell.method.text != "mtr" and cell.budget)
    assert replace(mtr, seed=5).key == mtr.key
    assert replace(shuffled, seed=5).key != shuffled.key
    assert replace(mtr, seed=5).reducers() == mtr.reducers()
    assert replace(shuffled, seed=5).reducers() != shuffled.reducers()


def test_cells_that_share_a_reducer_share_the_object() -> None:
    one, other = parse("mtr").composition(), parse("mtr[order=restored]").composition()
    assert one is not None
    assert other is not None
    three, four = Removal(tokens=3), Removal(tokens=4)
    assert reducer(one, three, 2, 0) is reducer(other, Removal(tokens=3), 2, 0)
    assert reducer(one, three, 2, 0) is not reducer(one, four, 2, 0)


def blank(text: str, seed: int = 0) -> Cell:
    return Cell("b", parse(text), 0.2, seed, parse(text).composition(), None, 8, "context")


def test_cells_of_one_identity_become_one_with_all_names() -> None:
    def cells(*found: tuple[str, int]) -> list[Cell]:
        from backbones import create_model
        from suite.plan.budget import dense_plan

        plan = dense_plan(create_model("vim_nano", depth=1).describe())
        return merge_equal([replace(blank(text, seed), plan=plan) for text, seed in found])

    merged = cells(
        ("mtr[weights=drop]", 0),
        ("mtr[feature=b,weights=drop]", 0),
        ("mtr", 0),
        ("random", 0),
        ("random", 1),
    )
    assert [cell.label for cell in merged] == [
        "mtr[weights=drop] = mtr[feature=b,weights=drop]",
        "mtr",
        "random",
        "random",
    ]


def test_skipped_cells_of_different_methods_stay_apart() -> None:
    assert (
        len(
            {
                replace(blank(text), reason="no").key
                for text in ("mtr", "tome", "stride", "downsample")
            }
        )
        == 4
    )


def test_equal_compositions_are_skipped_once_under_both_names(small: Specs) -> None:
    methods = ("mtr[weights=drop]", "mtr[feature=b,weights=drop]")
    prepared = prepare(small(methods=methods, budgets=(0.3, 0.95), baselines=False))
    assert [(cell.label, cell.reason is None) for cell in prepared.cells[1:]] == [
        (" = ".join(methods), True),
        (" = ".join(methods), False),
    ]


def test_a_window_that_is_spelled_out_makes_no_cell_of_its_own(small: Specs) -> None:
    spec = small(methods=("mtr", "mtr[cls_window=0]", "mtr[cls_window=2]"), budgets=(0.3,))
    cells = prepare(spec.model_copy(update={"baselines": False})).main
    labels = [cell.label for cell in cells]
    assert labels == ["none", "mtr = mtr[cls_window=0]", "mtr[cls_window=2]"]
    assert [cell.method.text for cell in cells] == ["none", "mtr", "mtr[cls_window=2]"]


def test_images_are_all_or_stratified(small: Specs) -> None:
    prepared = prepare(small(methods=("none",), baselines=False))
    assert prepared.indices.tolist() == list(range(30))
    chosen = choose_images(prepared.dataset, 6)
    assert np.bincount(prepared.dataset.labels[chosen]).tolist() == [2, 2, 2]
    assert len(choose_images(prepared.dataset, 500)) == 30  # the default, at most
    assert len(choose_images(prepared.dataset, 64, usual=64)) == 30
    with pytest.raises(UserError, match="31 images asked for"):
        choose_images(prepared.dataset, 31)


def test_a_head_that_does_not_fit_the_labels_is_refused(small: Specs) -> None:
    with pytest.raises(UserError, match=r"10 classes but the model's head has 3"):
        prepare(small(data="fashion-clutter", images=4))


def test_preparing_draws_no_random_numbers_of_the_caller(small: Specs) -> None:
    torch.manual_seed(5)
    expected = torch.randn(3)
    torch.manual_seed(5)
    prepare(small(methods=("none",), baselines=False))
    assert torch.equal(torch.randn(3), expected)


def test_weights_are_converted_to_the_asked_precision(small: Specs) -> None:
    prepared = prepare(small(methods=("none",), baselines=False, precision="fp64"))
    assert {p.dtype for p in prepared.models["vim_mini"].parameters()} == {torch.float64}


def test_the_record_of_a_cell_says_what_is_known_before_it_runs(small: Specs) -> None:
    spec = small(methods=("mtr[order=appended]",), budgets=(0.2, 0.95), baselines=False)
    prepared = prepare(spec)
    dense, planned, skipped = prepared.records
    for record in (dense, planned, skipped):
        text = json.dumps(record.as_json(), allow_nan=False)
        assert CellRecord.model_validate(json.loads(text)) == record
    assert (dense.budget, dense.composition, dense.removed_share) == (None, None, 0)
    assert planned.options == {"order": "appended"}
    assert (planned.label, planned.method) == ("mtr[order=appended]", "mtr")
    assert planned.images == len(prepared.indices)
    assert (planned.task, planned.weights) == ("classification", None)
    removed = planned.removals.items()
    lost = sum(removal.tokens * (4 - site) for site, removal in removed)
    assert planned.token_ratio == pytest.approx(lost / (4 * 101))
    assert planned.lengths[0] == 101
    assert planned.total["flops"] < dense.total["flops"]
    assert list(planned.flops) == ["gemm", "conv", "scan", "elementwise", "reduction"]
    assert planned.flops["reduction"] > 0
    assert all(isinstance(site, str) for site in planned.as_json()["removals"])
    assert skipped.status == "skipped"
    assert "at most" in str(skipped.reason)
    assert skipped.flops == {}


def test_protocol_paper_takes_published_counts_and_matches_mtr_and_the_baselines_to_them() -> None:
    spec = RunSpec(
        checkpoint="random", images=10, methods=("mame", "hsa", "tome"), protocol="paper", seeds=1
    )
    prepared = prepare(spec)
    by_name: dict[str, list[Cell]] = {}
    for cell in prepared.cells:
        by_name.setdefault(cell.method.name, []).append(cell)
    # HSA: 80 % kept, an even number, after blocks 5, 10 and 15 of 24: nearest are 2, 3 and 5 of 8.
    hsa, tome = by_name["hsa"][0], by_name["tome"][0]
    assert hsa.plan is not None
    assert tome.plan is not None
    assert counts_of(hsa.plan) == {2: 40, 3: 32, 5: 24}
    # R-MeeTo's 55 of 196 tokens, before every second of 24 blocks.
    assert counts_of(tome.plan) == {1: 10, 2: 5, 3: 10, 4: 5, 5: 10, 6: 5, 7: 10}
    removed = [round(cell.plan.removed["flops"], 4) for cell in (hsa, tome) if cell.plan]
    assert [hsa.budget, tome.budget] == removed
    for name in ("mtr", "stride", "pool", "random"):
        assert [cell.budget for cell in by_name[name]] == removed
        for cell in by_name[name]:
            assert cell.plan is not None
            assert cell.plan.removed["flops"] == pytest.approx(cell.budget, abs=0.002)
    (mame,) = by_name["mame"]
    assert (mame.plan, mame.budget, mame.reason) == (None, None, UNSTATED)
    protocols = {record.method: record.protocol for record in prepared.records}
    assert protocols.pop("none") == protocols.pop("mame") == "paper"
    assert protocols.pop("hsa") == protocols.pop("tome") == "paper"
    assert set(protocols.values()) == {"matched"}


def test_mtr_is_matched_as_it_was_named_and_baselines_are_however_they_were(small: Specs) -> None:
    found = prepare(
        small(methods=("hsa", "mtr[score=b]@falling", "stride"), protocol="paper", baselines=False)
    )
    labels = [(cell.method.label, cell.protocol) for cell in found.cells if cell.plan]
    assert labels == [
        ("none", "paper"),
        ("hsa", "paper"),
        ("mtr[score=b]@falling", "matched"),
        ("stride", "matched"),
    ]
    assert len({cell.budget for cell in found.cells if cell.method.name != "none"}) == 1


@pytest.mark.parametrize(
    ("methods", "words"),
    [
        (("mtr", "mame"), "no method that was named has published sites and counts: add one"),
        (("evit[score=cls-attention]",), "cannot run on vim_mini as published .needs cls_att"),
        (("tome@falling",), "leave out '@'"),
    ],
)
def test_protocol_paper_needs_a_method_that_runs_as_published(
    small: Specs, methods: tuple[str, ...], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        prepare(small(methods=methods, protocol="paper"))


def test_a_budget_nearest_to_the_whole_image_has_no_smaller_one(small: Specs) -> None:
    cells = prepare(small(methods=("mtr",), budgets=(0.01, 0.4))).cells
    found = {cell.budget: cell.reason for cell in cells if cell.method.name == "downsample"}
    assert "no smaller image" in str(found[0.01])
    assert found[0.4] is None


@pytest.mark.parametrize("changed", ["backbones/models/vim.py", "methods/fused/cpu/kernel.py"])
def test_a_change_in_any_file_of_backbones_or_methods_is_another_code(
    changed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("backbones/models/vim.py", "methods/named/mtr.py", "methods/fused/cpu/kernel.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("one")
    monkeypatch.setattr(cells.resources, "files", lambda package: tmp_path / package)
    before = cells.code_digest.__wrapped__()
    assert cells.code_digest.__wrapped__() == before
    (tmp_path / changed).write_text("two")
    assert cells.code_digest.__wrapped__() != before


def test_the_code_is_hashed_without_its_docstrings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def digest(content: str) -> str:
        (tmp_path / "methods").mkdir(exist_ok=True)
        (tmp_path / "methods" / "score.py").write_text(content)
        return str(cells.code_digest.__wrapped__(("methods",)))

    monkeypatch.setattr(cells.resources, "files", lambda package: tmp_path / package)
    code = '"""Scores."""\n\nclass Score:\n    """One."""\n\n    def of(self, x):\n        """It."""\n        return 2 * x\n'
    same = 'class Score:\n    """Another text."""\n    def of(self, x):  # why\n        return (2 * x)\n'
    assert digest(code) == digest(same)
    assert digest(code) != digest(code.replace("2 * x", "3 * x"))
    text = 'NAME = "Scores"\n'
    assert digest(text) != digest(text.replace("Scores", "Others"))  # a constant is no docstring


def test_folders_named_like_the_weights_classes_must_be_numbered_like_them(tmp_path: Path) -> None:
    def asked(names: list[str], root: Path) -> RunSpec:
        for name in names:
            (root / name).mkdir(parents=True)
            Image.fromarray(np.zeros((28, 28, 3), np.uint8)).save(root / name / "a.png")
        data = f"imagefolder:{root}"
        return build_spec(
            data=data, images="all", methods=("none",), baselines=False, budgets=(0.4,), gallery=0
        )

    named = [
        "T-Shirt",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle_Boot",
    ]
    with pytest.raises(
        UserError, match=r"begin each folder's name with its number \(0-t-shirt, .*, 9-ankle boot\)"
    ):
        prepare(asked(named, tmp_path / "named"))
    numbered = prepare(
        asked([f"{number}-{name}" for number, name in enumerate(named)], tmp_path / "numbered")
    )
    assert numbered.dataset.classes[0] == "0-T-Shirt"
