"""Whatever is called `methods` in the working folder, ours is the one that is imported."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from suite.system import installation


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder with packages of our names, and a command line that prints where they came from."""
    root = tmp_path / "site"
    for name in installation.SIBLINGS:
        (root / name).mkdir(parents=True)
        (root / name / "__init__.py").write_text("OURS = True\n")
    package = root / "suite"
    package.mkdir()
    (package / "system").mkdir()
    for name in ("__init__.py", "__main__.py"):
        shutil.copy(installation.ROOT / "suite" / name, package / name)
    for name in ("__init__.py", "encoding.py", "installation.py", "openmp.py"):
        shutil.copy(installation.ROOT / "suite" / "system" / name, package / "system" / name)
    (package / "cli.py").write_text(
        "def run():\n"
        "    import backbones, methods, reports\n"
        "    packages = (backbones, methods, reports)\n"
        "    print(all(getattr(module, 'OURS', False) for module in packages))\n"
        "    return 0\n"
    )
    return root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's working folder with modules of our names in three forms."""
    work = tmp_path / "work"
    (work / "backbones").mkdir(parents=True)
    (work / "backbones" / "__init__.py").write_text("raise RuntimeError('the user own')\n")
    (work / "methods.py").write_text("raise RuntimeError('the user own')\n")
    (work / "reports").mkdir()
    return work


def run_suite(
    cwd: Path, code: str | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """``python -m suite``, or `code`, by an interpreter that sees no installed packages."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-S", *(("-c", code) if code else ("-m", "suite"))]
    return subprocess.run(
        command,
        cwd=cwd,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def appended(root: Path) -> str:
    """Python that puts `root` last on the path, as site-packages is after the standard library."""
    return f"import sys, runpy; sys.path.append({str(root)!r}); "


RUN_MODULE = "runpy.run_module('suite', run_name='__main__', alter_sys=True)"


def test_a_users_methods_py_in_the_working_folder(installed: Path, folder: Path) -> None:
    done = run_suite(folder, code=appended(installed) + RUN_MODULE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


def test_a_users_folder_on_pythonpath(installed: Path, folder: Path, tmp_path: Path) -> None:
    done = run_suite(tmp_path, code=appended(installed) + RUN_MODULE, PYTHONPATH=str(folder))
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


def test_spawned_children_import_ours_too(installed: Path, folder: Path) -> None:
    (installed / "suite" / "cli.py").write_text(
        "import multiprocessing\n\n\n"
        "def ours():\n    import methods\n    return methods.OURS\n\n\n"
        "def run():\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        print(pool.apply(ours))\n"
        "    return 0\n"
    )
    done = run_suite(folder, code=appended(installed) + RUN_MODULE)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


def test_from_inside_the_checkout(installed: Path) -> None:
    done = run_suite(installed)
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


def test_a_module_imported_before_ours_is_named_in_one_line(installed: Path, folder: Path) -> None:
    (folder / "methods.py").write_text("")
    done = run_suite(folder, code=appended(installed) + "import methods; " + RUN_MODULE)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"'methods' was imported from {folder / 'methods.py'}" in done.stderr


def test_a_sibling_that_is_gone_is_named_in_one_line(installed: Path, tmp_path: Path) -> None:
    shutil.rmtree(installed / "reports")
    done = run_suite(installed)
    assert done.returncode == 2
    assert (
        done.stderr
        == f"error: 'reports' is missing from {installed}: install mamba-token-suite again\n"
    )


def test_only_shadowing_entries_move_and_only_behind_ours(installed: Path, folder: Path) -> None:
    path = [str(folder), "/stdlib.zip", str(installed), "/later"]
    assert installation.reordered(path, installed) == [
        "/stdlib.zip",
        str(installed),
        str(folder),
        "/later",
    ]


def test_an_entry_behind_ours_stays(installed: Path, folder: Path) -> None:
    path = ["/stdlib.zip", str(installed), str(folder)]
    assert installation.reordered(path, installed) == path


def test_an_editable_installation_is_put_on_the_path(installed: Path, folder: Path) -> None:
    assert installation.reordered([str(folder), "/stdlib.zip"], installed) == [
        "/stdlib.zip",
        str(installed),
        str(folder),
    ]


def test_a_plain_folder_of_the_same_name_stays(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "results" / "reports").mkdir(parents=True)
    path = [str(tmp_path / "results"), str(installed)]
    assert installation.reordered(path, installed) == path


def test_the_working_folder_may_be_written_as_nothing(
    installed: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert installation.reordered(["", str(installed)], installed) == [str(installed), ""]
    monkeypatch.chdir(installed)
    assert installation.reordered(["", str(folder)], installed) == ["", str(folder)]


def test_our_own_installation_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert installation.prefer_own_packages() is None
