"""Settings: what is allowed, how it is stored, and the command line that gives it."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backbones.common.errors import UserError
from suite.cli.spec_options import options_of, spec_from_options
from suite.config.run_spec import RunSpec, Specification
from suite.config.spec_file import build, build_spec, read_spec, to_yaml, with_file
from suite.config.sweep import combinations
from suite.plan.ablation_axes import AXES
from suite.sensitivity.spec import SensitivitySpec
from suite.system.hardware import check_precision, pick_device, set_products, set_threads
from suite.tune.spec import TuneSpec

SHARE = "a budget is a share of the FLOPs between 0 and 1; write 0.4 for 40 %"

specs = st.builds(
    RunSpec,
    methods=st.lists(st.sampled_from(["mtr", "tome[order=appended]", "evit"]), min_size=1).map(
        tuple
    ),
    budgets=st.lists(st.floats(0.01, 0.99), min_size=1, max_size=4).map(tuple),
    images=st.one_of(st.just("all"), st.integers(1, 10**6)),
    sites=st.one_of(st.none(), st.lists(st.integers(1, 30), min_size=1).map(tuple)),
    source=st.one_of(st.none(), st.text(min_size=1, max_size=9)),
    seeds=st.integers(1, 100),
    precision=st.sampled_from(["fp32", "fp64", "bf16"]),
)


@given(specs)
def test_a_spec_survives_its_file(tmp_path_factory: pytest.TempPathFactory, spec: RunSpec) -> None:
    path = tmp_path_factory.mktemp("spec") / "spec.yaml"
    path.write_text(to_yaml(spec), encoding="utf-8")
    assert read_spec(path, RunSpec) == spec
    assert read_spec(path, RunSpec).digest() == spec.digest()


@given(specs)
def test_the_name_of_a_run_is_that_of_its_question(spec: RunSpec) -> None:
    assert spec.default_name() == spec.model_copy().default_name()
    assert "/" not in spec.default_name()
    other = spec.model_copy(update={"batch_size": spec.batch_size + 1})
    assert other.default_name() != spec.default_name()


def test_names_are_safe_for_folders() -> None:
    named = build_spec(backbones=("vim_tiny[image_size=96, depth=2]", "vim_nano")).default_name()
    assert named.startswith("vim_tiny_image_size_96_depth_2+vim_nano-fashion-clutter-")
    assert (
        build_spec(data="imagenet:/data/x y", split="val")
        .default_name()
        .startswith("vim_nano-imagenet-val-500-")
    )


def test_repeated_things_are_asked_once() -> None:
    spec = build_spec(
        methods=("mtr", "tome", "mtr"), budgets=(0.4, 0.2, 0.4), axes=("size", "order", "size")
    )
    assert spec.axes == ("size", "order")
    assert spec.methods == ("mtr", "tome")
    assert spec.budgets == (0.4, 0.2)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"budgets": (0.2, 1.0)}, f"budgets.1: {SHARE} (given: 1.0)"),
        ({"budgets": ()}, "budgets: name at least one (given: [])"),
        ({"images": 0}, "images: must be a whole number from 1 on, or 'all' (given: 0)"),
        ({"images": 2.5}, "images: must be a whole number from 1 on, or 'all' (given: 2.5)"),
        (
            {"gallery": 65},
            "gallery: at most 64 images, by their count or by their numbers (given: 65)",
        ),
        (
            {"gallery": -1},
            "gallery: at most 64 images, by their count or by their numbers (given: -1)",
        ),
        ({"colour": "red"}, "unknown setting 'colour': did you mean source?"),
        ({"schema": 5}, "schema: must be 4 (given: 5)"),
    ],
)
def test_the_first_thing_that_is_wrong_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        build_spec(**values)
    assert str(caught.value).startswith(message)


def test_the_options_of_the_command_line_are_the_settings() -> None:
    asked = {option.name: option.default for option in options_of(RunSpec())}
    assert spec_from_options(RunSpec, asked) == RunSpec()
    assert set(asked) == set(RunSpec.model_fields) - {"version"}


def test_the_help_of_axes_names_every_axis() -> None:
    described = RunSpec.model_fields["axes"].description or ""
    assert f": {', '.join(AXES)}, or all." in " ".join(described.split())


def test_texts_become_settings() -> None:
    asked = {option.name: option.default for option in options_of(RunSpec())}
    asked |= {
        "methods": "mtr, tome[order=appended,weights=mean]",
        "budgets": "0.25,.5",
        "sites": "4, 2",
        "images": "all",
    }
    spec = spec_from_options(RunSpec, asked)
    assert spec.methods == ("mtr", "tome[order=appended,weights=mean]")
    assert (spec.budgets, spec.sites, spec.images) == ((0.25, 0.5), (4, 2), "all")
    pictures = {
        text: spec_from_options(RunSpec, asked | {"gallery": text}).gallery
        for text in ("5", "", "7,", "7, 3")
    }
    assert pictures == {"5": 5, "": 0, "7,": (7,), "7, 3": (7, 3)}


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    with pytest.raises(UserError, match="cannot be read"):
        read_spec(path, RunSpec)
    for content in (b"\xff\xfe", b"a: [\n", b"- 1\n", b"", b"schema: 4\nseeds: 0\n"):
        path.write_bytes(content)
        with pytest.raises(UserError) as caught:
            read_spec(path, RunSpec)
        assert "\n" not in str(caught.value)


@settings(deadline=None)
@given(specs)
def test_the_file_of_a_run_is_a_configuration_that_asks_the_same(
    tmp_path_factory: pytest.TempPathFactory, spec: RunSpec
) -> None:
    path = tmp_path_factory.mktemp("spec") / "spec.yaml"
    path.write_text(to_yaml(spec), encoding="utf-8")
    assert with_file(RunSpec(batch_size=7), path, ()) == spec
    assert with_file(RunSpec(seeds=9), path, ("seeds",)) == spec.model_copy(update={"seeds": 9})


def test_old_names_of_settings_mean_the_same(tmp_path: Path) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_text("schema: 1\nbatch: 7\nshard: 9\nconvention: macs\n")
    changed = {"batch_size": 7, "shard_size": 9, "flops_convention": "macs"}
    assert with_file(RunSpec(), path, ()) == build_spec(**changed)
    assert with_file(RunSpec(shard_size=5), path, ("shard_size",)).shard_size == 5
    path.write_text("batch: 7\nbatch_size: 8\n")
    with pytest.raises(UserError, match="batch_size' is given under its old name too: keep one"):
        with_file(RunSpec(), path, ())


def test_a_configuration_changes_only_what_it_names(tmp_path: Path) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_text("budgets: [0.3]\nmethods: [mtr, tome]\n")
    base = RunSpec(split="dev", images=9, budgets=(0.5,))
    assert with_file(base, path, ()) == RunSpec(split="dev", images=9, budgets=(0.3,))
    assert with_file(base, path, ("budgets",)) == RunSpec(split="dev", images=9, budgets=(0.5,))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("budgets: [0.2, 2]", f"experiment.yaml: budgets.1: {SHARE} (given: 2)"),
        ("budget: 0.2", "experiment.yaml: unknown setting 'budget': did you mean budgets?"),
        ("seeds: many", "experiment.yaml: seeds: must be a valid integer"),
        ("- mtr", "it must be a mapping of settings"),
        ("1: mtr", "it must be a mapping of settings"),
        ("!!python/object/apply:os.system [ls]", "cannot be read"),
        ("kind: sensitivity", "is the specification of another command's run"),
    ],
)
def test_the_wrong_key_of_a_configuration_is_named(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        with_file(RunSpec(), path, RunSpec.model_fields)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_devices_and_precisions(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == "cpu"
    with pytest.raises(UserError, match="no CUDA device"):
        pick_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto") == pick_device("cuda") == "cuda"
    assert pick_device("cpu") == "cpu"
    assert check_precision("bf16", "cuda") == torch.bfloat16
    for precision in ("bf16", "tf32"):
        with pytest.raises(UserError, match=f"{precision} is for CUDA devices: use --precision"):
            check_precision(precision, "cpu")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla V100")
    for capability in ((9, 0), (7, 0)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda of=capability: of)
        if capability[0] > 7:
            assert check_precision("tf32", "cuda") == torch.float32
        else:
            with pytest.raises(UserError, match="Tesla V100 has no TF32"):
                check_precision("tf32", "cuda")


def test_products_are_rounded_to_tf32_where_asked_alone() -> None:
    import torch

    for precision, rounded in (("tf32", True), ("fp32", False), ("tf32", True), ("bf16", False)):
        set_products(precision)
        assert torch.get_float32_matmul_precision() == ("high" if rounded else "highest")
        assert torch.backends.cudnn.allow_tf32 is rounded


def test_threads_are_set_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    before = torch.get_num_threads()
    try:
        assert set_threads(1) == torch.get_num_threads() == 1
        assert set_threads(2) == torch.get_num_threads() == 2
        monkeypatch.setattr("os.cpu_count", lambda: 1)
        assert set_threads(0) == torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_a_folder_with_one_table_of_tries_and_that_table_are_one_run(tmp_path: Path) -> None:
    table = tmp_path / "tries-vim_nano.parquet"
    table.touch()
    folder, file = RunSpec(tries=str(tmp_path)), RunSpec(tries=str(table))
    assert folder == file
    assert folder.default_name() == file.default_name()
    (tmp_path / "tries-vim_pico.parquet").touch()
    assert RunSpec(tries=str(tmp_path)).tries == str(tmp_path)


@pytest.mark.parametrize(
    ("kind", "field", "several"),
    [
        (RunSpec, "backbones", True),
        (TuneSpec, "backbones", True),
        (SensitivitySpec, "backbone", False),
    ],
)
def test_segmentation_has_a_backbone_with_such_a_head(
    kind: type[Specification], field: str, several: bool
) -> None:
    def backbone(**values: Any) -> str:
        found = getattr(build(kind, values), field)
        return str(found[0] if several else found)

    def named(name: str) -> dict[str, Any]:
        return {field: (name,) if several else name}

    assert backbone() == "vim_nano"
    assert backbone(task="segmentation") == "vim_nano_conv"
    # one that was named is refused where it is opened, and never another one in its place
    assert backbone(task="segmentation", **named("vim_nano")) == "vim_nano"
    assert backbone(task="segmentation", **named("deit_nano_conv")) == "deit_nano_conv"
    # A folder is named after the settings, so that both of them are the same run.
    digests = [
        build(kind, {"task": "segmentation", **more}).digest()
        for more in ({}, named("vim_nano_conv"))
    ]
    assert digests[0] == digests[1]


def test_a_backbone_that_nobody_named_is_one_of_the_task(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text("task: segmentation\n")
    assert with_file(RunSpec(), path, ()).backbones == ("vim_nano_conv",)
    assert with_file(RunSpec(), path, ("backbones",)).backbones == ("vim_nano",)
    both = combinations(RunSpec(), {"task": ["classification", "segmentation"]})
    assert [spec.backbones for _, spec in both] == [("vim_nano",), ("vim_nano_conv",)]
