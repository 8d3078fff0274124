"""README's commands, continuous integration and the declared dependencies are those in use."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import yaml

from suite.cli.listing import every_card
from suite.system.version import __version__

ROOT = Path(__file__).parent.parent
PACKAGES = {"backbones", "methods", "suite", "reports"}
DISTRIBUTION = {"PIL": "pillow", "markdown_it": "markdown-it-py", "yaml": "pyyaml"}
# each is a fixed part of the other's installation
BROUGHT_BY = {"llvmlite": "numba", "markupsafe": "jinja2"}
EXTRAS = {
    *("av", "causal_conv1d", "mamba_ssm", "mlflow", "onnxscript", "ray", "tensorboard", "triton"),
    "wandb",
}


def shell_blocks() -> list[str]:
    return re.findall(r"```bash\n(.*?)\n```", (ROOT / "README.md").read_text(), flags=re.DOTALL)


def test_readme_begins_with_two_commands_of_one_line() -> None:
    compare, tests = shell_blocks()[:2]
    assert compare.count("\n") == tests.count("\n") == 0
    assert compare.endswith("-m suite compare --methods mtr,tome")
    assert tests.endswith("tox")


def test_ci_runs_readmes_test_command_word_for_word() -> None:
    assert shell_blocks()[1] in (ROOT / ".ci" / "run").read_text().splitlines()


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert (citation["version"], citation["license"]) == (__version__, project["license"])
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()


def imported() -> Iterator[str]:
    """Top-level names of everything the four packages import."""
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                yield from (alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield node.module.partition(".")[0]


def test_every_import_is_a_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    declared = {re.split(r"[^\w-]", text)[0].lower() for text in project["dependencies"]}
    foreign = set(imported()) - PACKAGES - EXTRAS - set(sys.stdlib_module_names)
    assert {BROUGHT_BY.get(name, DISTRIBUTION.get(name, name)) for name in foreign} <= declared


def test_the_page_of_methods_holds_the_cards_as_they_are() -> None:
    page = (ROOT / "docs" / "methods.md").read_text("utf-8")
    assert page == every_card() + "\n", (
        "write it anew: python -m suite list methods --long all > docs/methods.md"
    )


def test_the_settings_of_a_run_have_one_name() -> None:
    files = [path for package in sorted(PACKAGES) for path in (ROOT / package).rglob("*.py")]
    named = [
        path.relative_to(ROOT).as_posix()
        for path in files
        if '"spec.yaml"' in path.read_text("utf-8")
    ]
    assert named == ["suite/config/spec_file.py"]
