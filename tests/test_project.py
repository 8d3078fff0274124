"""The project's own files say what they do: README's commands, CI, the build."""

import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("backbones", "methods", "suite", "reports")
BUILD = """
import sys
from setuptools import build_meta
out = sys.argv[1]  # setuptools writes its own command line over ours
build_meta.build_sdist(out)
build_meta.build_wheel(out)
"""


def shell_blocks() -> list[str]:
    return re.findall(r"```bash\n(.*?)\n```", (ROOT / "README.md").read_text(), flags=re.DOTALL)


def test_readme_has_two_commands_of_one_line() -> None:
    compare, tests = shell_blocks()
    assert compare.count("\n") == tests.count("\n") == 0
    assert compare.endswith("-m suite compare --methods mtr,tome")
    assert tests.endswith("tox")


def test_ci_runs_readmes_test_command_word_for_word() -> None:
    assert shell_blocks()[1] in (ROOT / ".ci" / "run").read_text().splitlines()


def source_files() -> set[str]:
    """Every file of the four packages, as the wheel should hold it."""
    found = (path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file())
    return {path.relative_to(ROOT).as_posix() for path in found if "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel of a copy of the sources, so that the tree stays clean."""
    copy, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in (*PACKAGES, "tests", "docs"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "MANIFEST.in", "tox.ini"):
        shutil.copy(ROOT / name, copy / name)
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(out)], cwd=copy, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return out


def test_the_wheel_holds_every_file_of_the_four_packages_and_no_other(built: Path) -> None:
    names = set(zipfile.ZipFile(next(built.glob("*.whl"))).namelist())
    metadata = {name for name in names if ".dist-info/" in name}
    assert names - metadata == source_files()
    assert any(name.endswith("licenses/LICENSE") for name in metadata)


def test_each_package_is_marked_as_typed() -> None:
    assert {f"{package}/py.typed" for package in PACKAGES} <= source_files()


def test_the_sdist_can_be_tested(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    tests = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("*.py")}
    assert source_files() | tests | {"tox.ini", "LICENSE", "CHANGELOG.md", "docs/install.md"} <= names


def test_the_wheel_names_its_command_and_extras(built: Path) -> None:
    wheel = zipfile.ZipFile(next(built.glob("*.whl")))
    read = {Path(name).name: wheel.read(name).decode() for name in wheel.namelist() if ".dist-info/" in name}
    assert "mamba-token-suite = suite.__main__:main" in read["entry_points.txt"]
    assert {"cuda", "ray", "video", "track"} <= set(re.findall(r"Provides-Extra: (\w+)", read["METADATA"]))
