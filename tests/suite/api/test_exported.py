"""torch.compile and `suite.export` of reduced models: the model's logits, in one graph, or one line before it starts."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import suite
from backbones import create_model
from backbones.base import Backbone
from methods import METHODS
from methods.spec import parse
from suite.api.exported import check
from suite.api.reduce import OTHER_KINDS

IMAGES = torch.randn(2, 3, 40, 40, generator=torch.Generator().manual_seed(0))
# a few of each kind of part, beside those of the methods
PARTS = (
    "mtr[order=score]",
    "mtr[order=shuffled]",
    "mtr[matching=halves]",
    "mtr[matching=neighbours]",
    "mtr[score=hidden-attention]",
    "evit[decay=false]",
    "mtr[score=b,window=3]",
    "mtr[weights=delta-b]",
    "tome[cls_placement=proportional]",
    "pool[path=grid]",
)
OTHERS: dict[str, dict[str, Any]] = {
    "videomamba_tiny": {"stride": 4},
    "mambareg_tiny": {"stride": 4, "registers": 3},
    "plainmamba_l1": {"image_size": 80, "patch": 8},
    "adventurer_tiny": {"stride": 4, "head": 8},
}


@pytest.fixture
def vim(small: Callable[..., Any]) -> Backbone:
    torch.manual_seed(0)
    return create_model("vim_mini").requires_grad_(False)


@pytest.fixture
def deit(small: Callable[..., Any]) -> Backbone:
    torch.manual_seed(0)
    return create_model("deit_mini").requires_grad_(False)


@pytest.fixture(autouse=True)
def _forgetting() -> Iterator[None]:
    yield
    torch._dynamo.reset()


def agrees(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def in_one_graph(module: torch.nn.Module, backend: str = "eager") -> Any:
    return torch.compile(module, backend=backend, fullgraph=True)


@pytest.mark.parametrize("method", ["mtr", "tome", "evit", "random", "tome[order=appended]"])
@pytest.mark.parametrize("name", ["vim", "deit"])
def test_what_a_tracer_sees_gives_the_same_logits(
    name: str, method: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = request.getfixturevalue(name)
    if model.missing(parse(method).composition(model.provides).needs):
        pytest.skip("needs a scan")
    reduced = suite.reduce(model, method, counts=6)
    expected = reduced(IMAGES)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    # nothing that a tracer cannot see through runs, and no kernel that was not proven
    monkeypatch.setattr("backbones.layers.fused_path.mix", None)
    monkeypatch.setattr("methods.fused.dispatch.reduced", None)
    monkeypatch.setattr("backbones.scan.dispatch._check_forward", None)
    agrees(reduced(IMAGES), expected)
    monkeypatch.setattr("backbones.scan.dispatch._PROVEN", {})
    monkeypatch.setattr("backbones.scan.cpu.cpu_scan", None)
    agrees(reduced(IMAGES), expected)


@pytest.mark.slow
def test_an_exported_model_runs_without_the_suite(vim: Backbone, tmp_path: Path) -> None:
    reduced = suite.reduce(vim, "mtr", counts=6)
    path = suite.export(reduced, IMAGES, tmp_path / "vim.pt2")
    other = torch.randn(2, 3, 40, 40)
    torch.save([other, reduced(other)], tmp_path / "seen.pt")
    code = (
        "import sys, torch, backbones.scan;"
        f"images, logits = torch.load({str(tmp_path / 'seen.pt')!r});"
        f"found = torch.export.load({str(path)!r}).module()(images);"
        "torch.testing.assert_close(found, logits, rtol=1e-4, atol=1e-5);"
        "print('methods' in sys.modules, 'suite' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.stdout == "False False\n", ran.stderr


REFUSED: dict[str, dict[str, Any]] = {
    "give a path that ends in .pt2 or .onnx": {"path": "model.pth"},
    "there is no folder .*nowhere": {"path": "nowhere/model.pt2"},
    "ONNX has no selective scan, of which vim_mini is made: export it to model.pt2": {
        "path": "model.onnx"
    },
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_exported_is_refused_before_anything_is_done(
    vim: Backbone, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.export, "export", None)
    with pytest.raises(suite.UserError, match=message):
        suite.export(
            suite.reduce(vim, "mtr", counts=6), IMAGES, tmp_path / REFUSED[message]["path"]
        )
    assert not list(tmp_path.iterdir())


def test_onnx_without_its_packages_names_them(
    deit: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("suite.api.exported.find_spec", lambda name: None)
    with pytest.raises(suite.UserError, match="ONNX needs onnx and onnxscript: pip install onnx"):
        suite.export(suite.reduce(deit, "tome", counts=6), IMAGES, tmp_path / "model.onnx")


def test_a_model_that_answers_otherwise_is_refused() -> None:
    logits = torch.tensor([[1.0, 2.0], [2.0, 1.0]])
    check(logits + 1e-5, logits)
    check(logits + torch.tensor([[0.0], [0.5]]), logits)  # a tie that went the other way
    for other in (logits + 0.1, logits * torch.nan):
        with pytest.raises(suite.UserError, match="answers otherwise"):
            check(other, logits)


@pytest.mark.slow
@pytest.mark.parametrize("method", [*(name for name in METHODS), *PARTS])
@pytest.mark.parametrize("name", ["vim", "deit"])
def test_every_method_is_one_graph_and_exports(
    name: str, method: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if METHODS[method.partition("[")[0]].kind in (*OTHER_KINDS, "image"):
        pytest.skip("removes no tokens of a sequence")
    try:
        reduced = suite.reduce(request.getfixturevalue(name), method, counts=10)
    except suite.UserError as error:
        pytest.skip(str(error))
    reduced(IMAGES)  # proves the kernel
    # The plain path's own logits: between it and the fast one, a tie to the last digit may go either way.
    with monkeypatch.context() as patch:
        patch.setattr(torch.compiler, "is_compiling", lambda: True)
        expected = reduced(IMAGES)
    agrees(in_one_graph(reduced)(IMAGES), expected)
    agrees(torch.export.export(reduced, (IMAGES,)).module()(IMAGES), expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_every_family_is_one_graph_and_exports(name: str) -> None:
    sizes: dict[str, Any] = {
        "image_size": 40,
        "patch": 4,
        "classes": 3,
        "dim": 16,
        "depth": 3,
        "states": 4,
    }
    model = create_model(name, **(sizes | OTHERS[name])).requires_grad_(False)
    # exported before anything ran: what a tracer sees must not be kept for later
    images = torch.randn(2, 3, model.image_size, model.image_size)
    reduced = suite.reduce(model, "mtr", counts=5)
    program = torch.export.export(reduced, (images,))
    expected = reduced(images)
    agrees(program.module()(images), expected)
    agrees(in_one_graph(reduced)(images), expected)


@pytest.mark.slow
def test_gradients_and_other_batches_pass_through_a_compiled_model(vim: Backbone) -> None:
    reduced = suite.reduce(vim.requires_grad_(True), "mtr", counts=6)
    compiled = in_one_graph(reduced, "aot_eager")

    def gradients(run: Callable[[torch.Tensor], torch.Tensor]) -> list[torch.Tensor]:
        return list(torch.autograd.grad(run(IMAGES).square().sum(), list(vim.parameters())))

    for found, expected in zip(gradients(compiled), gradients(reduced), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)
    with torch.no_grad():
        for batch in (1, 3):
            images = torch.randn(batch, 3, 40, 40)
            agrees(compiled(images), reduced(images))


@pytest.mark.slow
def test_inductor_compiles_it(vim: Backbone) -> None:
    reduced = suite.reduce(vim, "mtr", counts=6)
    expected = reduced(IMAGES)
    agrees(in_one_graph(reduced, "inductor")(IMAGES), expected)


@pytest.mark.parametrize(
    ("name", "where", "budget"),
    [
        ("vim", "detail", 0.4),
        ("deit", "random", 0.3958),
        pytest.param("vim", "random", 0.3958, marks=pytest.mark.slow),
        pytest.param("deit", "detail", 0.4, marks=pytest.mark.slow),
    ],
)
def test_a_window_exports(
    name: str, where: str, budget: float, request: pytest.FixtureRequest
) -> None:
    reduced = suite.reduce(request.getfixturevalue(name), f"crop-shrink[where={where}]", budget)
    program = torch.export.export(reduced, (IMAGES,)).module()
    for images in (IMAGES, torch.randn(*IMAGES.shape)):
        agrees(program(images), reduced(images))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["tome", "evit", "random"])
@pytest.mark.usefixtures("small")
def test_a_transformer_runs_in_onnx(method: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    model = create_model("deit_mini", layers=2).requires_grad_(False)
    reduced = suite.reduce(model, method, counts=6)
    path = suite.export(reduced, IMAGES, tmp_path / "deit.onnx")
    session = runtime.InferenceSession(str(path))
    other = torch.randn(2, 3, 40, 40)
    (found,) = session.run(None, {session.get_inputs()[0].name: other.numpy()})
    agrees(torch.from_numpy(found), reduced(other))
