"""No file imports another in a circle, and the top of `suite` stays small."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("backbones", "methods", "suite", "reports")


def modules() -> dict[str, Path]:
    """Every module of the product by its dotted name."""
    paths = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]
    return {name.removesuffix(".__init__"): path for name, path in zip(names, paths, strict=True)}


def imported(path: Path) -> set[str]:
    """Dotted names that a file imports anywhere, inside functions and for types alone too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_no_file_imports_another_in_a_circle() -> None:
    known = modules()
    graph = {}
    for name, path in known.items():
        # a package's own __init__ runs before its modules anyway, so naming it is no circle
        above = {name.rsplit(".", depth)[0] for depth in range(1, name.count(".") + 1)}
        graph[name] = (imported(path) & known.keys()) - above - {name}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_the_top_of_suite_is_small() -> None:
    assert len(list((ROOT / "suite").glob("*.py"))) <= 4
