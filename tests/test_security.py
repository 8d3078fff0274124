"""What no file of the product may do, and what no command does unless it is asked to."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(
    path
    for name in ("backbones", "methods", "suite", "reports")
    for path in (ROOT / name).rglob("*.py")
)
MODULES = {
    "pickle",
    "dill",
    "cloudpickle",
    "joblib",
    "shelve",
    "marshal",
    "jsonpickle",
    "telnetlib",
    "ftplib",
}
CALLS = {
    "eval", "exec", "os.system", "os.popen", "tempfile.mktemp",   "pd.read_pickle",
    "yaml.unsafe_load", "yaml.full_load", "torch.save", "torch.hub.load", "tarfile.open",
    "shutil.unpack_archive",
}  # fmt: skip


def called(node: ast.Call) -> str:
    """The dotted name of what is called, as it is written."""
    return ast.unparse(node.func)


def sins(tree: ast.AST) -> Iterator[str]:
    """What a file does that none may."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = (
                [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else [alias.name for alias in node.names]
            )
            yield from (f"import {name}" for name in names if name.split(".")[0] in MODULES)
        if not isinstance(node, ast.Call):
            continue
        given = {word.arg: ast.unparse(word.value) for word in node.keywords}
        name = called(node)
        if name in CALLS or name.endswith((".to_pickle", ".extractall")):
            yield name
        if name == "torch.load" and given.get("weights_only") != "True":
            yield "torch.load without weights_only"
        if name == "yaml.load" and (len(node.args) != 2 or ast.unparse(node.args[1]) != "_Plain"):
            yield "yaml.load"
        if given.get("shell", "False") != "False" or given.get("allow_pickle", "False") != "False":
            yield f"{name} with a shell or a pickle"
        if (
            given.get("trust_remote_code", "False") != "False"
            or given.get("verify", "True") == "False"
        ):
            yield f"{name} trusts"


def test_no_file_of_the_product_unpickles_evaluates_or_asks_a_shell() -> None:
    found = {path: list(sins(ast.parse(path.read_text("utf-8")))) for path in FILES}
    assert len(found) > 400
    assert {str(path.relative_to(ROOT)): those for path, those in found.items() if those} == {}


@pytest.mark.parametrize(
    "text",
    [
        "import pickle", "from joblib import load", "torch.load('x')",
        "torch.load('x', weights_only=False)",
        "yaml.load(text, yaml.Loader)", "eval('1')", "exec('1')", "subprocess.run('x', shell=True)",
        "tempfile.mktemp()", "np.load('x', allow_pickle=True)", "os.system('x')",
        "frame.to_pickle('x')", "archive.extractall()",
    ],
)  # fmt: skip
def test_the_search_finds_what_it_is_for(text: str) -> None:
    assert list(sins(ast.parse(text)))


WATCHED = """
import sys
def watch(event, arguments):
    sockets = ("socket.connect", "socket.getaddrinfo", "socket.bind", "socket.sendto")
    if event in (*sockets, "urllib.Request"):
        print("NETWORK", event, arguments, flush=True)
sys.addaudithook(watch)
from suite.cli import run
for line in sys.argv[1:]:
    code = run(line.split())
    print("CODE", code, flush=True)
"""
OFFLINE = [
    "list methods", "list backbones", "list datasets", "list recipes", "schema",
    "plan --images 3 --methods mtr --budgets 0.4",
    "compare --images 4 --methods mtr --budgets 0.4 --no-baselines --gallery 1 --threads 1 "
    "--runs runs --name r",
    "report runs/r", "doctor",
]  # fmt: skip


@pytest.mark.slow
def test_nothing_opens_a_socket_unless_it_is_asked_to(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-c", WATCHED, *OFFLINE]
    done = subprocess.run(
        line, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=600
    )
    assert done.stdout.count("CODE") == len(OFFLINE), done.stderr[-2000:]
    assert "NETWORK" not in done.stdout


PLUGIN = """
print('PLUGIN RUNS')
from methods.base import Method, composed
METHOD = Method('far', 'Far', 'pruning', 'About.', lambda: composed(matching='spaced'))
model = data = object()
"""
FAR = "'far' of far-away 2.5"
LOADED = {
    "from methods.spec import parse; parse('far')": f"loading method {FAR}: one:METHOD",
    "from backbones import BACKBONES; BACKBONES['far']": f"loading backbone {FAR}: two:model",
    "from suite.data import DATASETS; DATASETS['far']": f"loading data set {FAR}: three:data",
    "parse('site/four.py:METHOD')": "loading .*site/four.py",
}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with a distribution of a method, a backbone and a data set, and a file beside it."""
    metadata = tmp_path / "site" / "far_away-2.5.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: far-away\nVersion: 2.5\n")
    groups = {
        "suite.methods": "far = one:METHOD",
        "suite.backbones": "far = two:model",
        "suite.datasets": "far = three:data",
    }
    (metadata / "entry_points.txt").write_text(
        "".join(f"[{group}]\n{line}\n" for group, line in groups.items())
    )
    for module in ("one", "two", "three", "four"):
        (tmp_path / "site" / f"{module}.py").write_text(PLUGIN)
    return tmp_path / "site"


def test_code_of_others_is_named_before_it_runs(site: Path) -> None:
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{site}"}
    joined = "; ".join(
        ["import sys; sys.stdout = sys.stderr", *LOADED]
    )  # one stream, so that the order shows
    line = [sys.executable, "-W", "ignore", "-c", joined]
    done = subprocess.run(
        line, capture_output=True, text=True, cwd=site.parent, env=environment, timeout=120
    )
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert lines[1::2] == ["PLUGIN RUNS"] * len(LOADED)
    for named, said in zip(LOADED.values(), lines[::2], strict=True):
        assert re.fullmatch(named, said)


def test_what_is_downloaded_is_pinned_by_its_hash() -> None:
    from torchvision.datasets import FashionMNIST

    from suite.data.images.fashion_mnist_files import SHA256

    assert {name.removesuffix(".gz") for name, _ in FashionMNIST.resources} == set(SHA256)
    assert all(len(md5) == 32 for _, md5 in FashionMNIST.resources)
    assert all(len(sha256) == 64 for sha256 in SHA256.values())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert not [
        need for need in project["project"]["dependencies"] if "@" in need or "git+" in need
    ]
