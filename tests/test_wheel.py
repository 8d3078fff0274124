"""What is built holds everything that runs, and runs anywhere."""

import os
import re
import shutil
import site
import subprocess
import sys
import sysconfig
import tarfile
import venv
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


def source_files() -> set[str]:
    """Every file of the four packages, as the wheel should hold it."""
    found = (path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file())
    return {path.relative_to(ROOT).as_posix() for path in found if "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist and the wheel of a copy of the sources, so that the tree stays clean."""
    copy, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in (*PACKAGES, "tests", "docs"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "MANIFEST.in",
        "tox.ini",
    ):
        shutil.copy(ROOT / name, copy / name)
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(out)],
        cwd=copy,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def python(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new environment with our wheel, and the dependencies of this one."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=False, symlinks=True)
    packages = Path(
        sysconfig.get_path("purelib", "venv", {"base": str(home), "platbase": str(home)})
    )
    zipfile.ZipFile(next(built.glob("*.whl"))).extractall(packages)
    heavy = [
        entry
        for entry in (*site.getsitepackages(), sysconfig.get_path("purelib"))
        if Path(entry).is_dir()
    ]
    (packages / "dependencies.pth").write_text("\n".join(dict.fromkeys(heavy)))
    return home / "bin" / "python"


@pytest.fixture(params=["empty", "methods.py"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A user's working folder: with nothing in it, or with modules of their own under our names."""
    if request.param != "empty":
        (tmp_path / "methods.py").write_text("raise RuntimeError('the user own')\n")
        (tmp_path / "backbones").mkdir()
        (tmp_path / "backbones" / "__init__.py").write_text("raise RuntimeError('the user own')\n")
        (tmp_path / "reports").mkdir()
    return tmp_path


def run_suite(python: Path, folder: Path, *arguments: str) -> str:
    """Standard output of ``python -m suite`` in `folder`."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(python), "-m", "suite", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=clean, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


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
    assert (
        source_files() | tests | {"tox.ini", "LICENSE", "CHANGELOG.md", "docs/install.md"} <= names
    )


def test_the_wheel_names_its_command_and_extras(built: Path) -> None:
    wheel = zipfile.ZipFile(next(built.glob("*.whl")))
    read = {
        Path(name).name: wheel.read(name).decode()
        for name in wheel.namelist()
        if ".dist-info/" in name
    }
    assert "mamba-token-suite = suite.__main__:main" in read["entry_points.txt"]
    assert {"cuda", "ray", "video", "track"} <= set(
        re.findall(r"Provides-Extra: (\w+)", read["METADATA"])
    )


def test_the_installed_wheel_lists_its_methods_from_any_folder(python: Path, folder: Path) -> None:
    listed = run_suite(python, folder, "list", "methods", "--json")
    assert {"mtr", "tome", "evit", "random"} <= set(re.findall(r'"name": "(\w+)"', listed))


@pytest.mark.slow
def test_the_installed_wheel_compares_and_reports_from_any_folder(
    python: Path, folder: Path
) -> None:
    run_suite(
        python,
        folder,
        "compare",
        "--methods",
        "mtr",
        "--budgets",
        "0.4",
        "--images",
        "20",
        "--name",
        "small",
    )
    page = (folder / "runs" / "small" / "report" / "index.html").read_text("utf-8")
    assert "mtr" in page
