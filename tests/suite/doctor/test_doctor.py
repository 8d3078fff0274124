"""The doctor finds what is missing, says how to fix it, and never falls over itself."""

import io
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest
from rich.console import Console

from backbones.checkpoints import source
from suite import doctor
from suite.doctor import cuda, packages, resources
from suite.doctor.check import Check, guarded, last_line, output_of

NVCC_13 = "nvcc: NVIDIA (R) Cuda compiler driver\nCuda compilation tools, release 13.0, V13.0.88"


def test_every_finding_that_is_not_ok_says_how_to_fix_it(tmp_path: Path) -> None:
    checks = doctor.diagnose(tmp_path)
    assert len({check.name for check in checks}) == len(checks)
    assert all(bool(check.fix) == (check.status != "ok") for check in checks)
    assert all("\n" not in check.detail + check.fix for check in checks)
    by_name = {check.name: check for check in checks}
    for name in (
        "python",
        "installation",
        "torch",
        "timm",
        "numba",
        "cpu scan kernel",
        "bundled images",
        "disk",
    ):
        assert by_name[name].status == "ok", by_name[name]
        assert by_name[name].required
    assert not by_name["mamba_ssm"].required


def test_without_torch_everything_else_is_still_looked_at() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from suite.doctor import diagnose\n"
        "for check in diagnose(): print(check.name, check.status, check.bad, sep='|')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    statuses = dict(line.split("|", 1) for line in done.stdout.splitlines())
    assert statuses["torch"] == "missing|True"
    assert statuses["python"] == "ok|False"
    assert statuses["bundled images"] == "ok|False"
    assert statuses["nvcc"].endswith("|False")


def test_a_look_that_raises_is_a_finding() -> None:
    def look() -> Check:
        raise OSError("first\nlibcudart.so.13: cannot open")

    check = guarded("thing", look, required=True)
    assert (check.status, check.detail, check.bad) == (
        "broken",
        "libcudart.so.13: cannot open",
        True,
    )
    assert check.fix


@pytest.mark.parametrize(
    ("printed", "built_with", "status", "says"),
    [
        (None, "13.2", "missing", "CUDA 13"),
        (None, None, "missing", "PyTorch's CUDA"),
        (NVCC_13, "13.2", "ok", ""),
        (NVCC_13, None, "ok", ""),
        (NVCC_13, "12.8", "broken", "put nvcc of CUDA 12 first"),
        ("Segmentation fault", "12.8", "broken", "CUDA 12"),
    ],
)
def test_nvcc_is_held_against_pytorchs_cuda(
    printed: str | None, built_with: str | None, status: str, says: str
) -> None:
    check = cuda.nvcc_against_torch(printed, built_with)
    assert check.status == status
    assert says in check.fix


def fake_package(folder: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    """A `causal_conv1d` whose root cannot be imported and whose kernel module is `source`."""
    package = folder / "causal_conv1d"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('GreedySearchDecoderOnlyOutput')\n")
    (package / "causal_conv1d_interface.py").write_text(source)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder))


@pytest.mark.parametrize(
    ("source", "status", "says"),
    [
        ("def causal_conv1d_fn(): ...\n", "ok", "causal_conv1d_fn"),
        ("", "broken", "causal_conv1d_fn"),
        ("raise ImportError('x.so: undefined symbol: _ZN3c10')\n", "broken", "undefined symbol"),
        ("import os\nos.abort()\n", "broken", "ended with code"),
    ],
)
def test_an_extension_is_tried_beside_its_root_and_in_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, status: str, says: str
) -> None:
    fake_package(tmp_path, monkeypatch, source)
    check = cuda.extension("causal_conv1d")
    assert (check.status, says in check.detail) == (status, True), check
    if status == "broken":
        assert "causal_conv1d-*+cu" in check.fix
        assert "cxx11abi" in check.fix


def test_an_extension_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "find_spec", lambda name: None)
    check = cuda.extension("mamba_ssm")
    assert check.status == "missing"
    assert '"mamba-ssm"' in check.fix


def test_a_driver_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed' >&2\nexit 9\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    check = cuda.driver()
    assert (check.status, check.detail) == ("broken", "NVIDIA-SMI has failed")
    tool.write_text("#!/bin/sh\necho 'NVIDIA X, 580.1, 100 MiB'\n")
    assert cuda.driver() == Check("ok", "NVIDIA X, 580.1, 100 MiB")
    monkeypatch.setenv("PATH", "")
    assert cuda.driver().status == "missing"


def test_importable_tells_missing_from_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half_there.py").write_text("import no_such_dependency\n")
    (tmp_path / "mismatched.py").write_text(
        "raise RuntimeError('operator torchvision::nms does not exist')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    checks = [
        packages.importable(name, "fix")
        for name in ("not_there_at_all", "half_there", "mismatched", "json")
    ]
    assert [check.status for check in checks] == ["missing", "broken", "broken", "ok"]
    assert "no_such_dependency" in checks[1].detail
    assert "torchvision::nms" in checks[2].detail


def test_an_old_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 1))
    assert packages.python().status == "broken"


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage(1, 1, resources.DISK_NEEDED - 1))
    assert resources.disk(tmp_path).status == "broken"
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage(1, 1, resources.DISK_NEEDED))
    assert resources.disk(tmp_path).status == "ok"


def test_weights_that_are_not_in_the_box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "WEIGHTS", tmp_path)
    assert resources.weights().status == "missing"
    (tmp_path / "vim_nano.safetensors").touch()
    assert resources.weights() == Check("ok", "vim_nano")


def test_training_images_are_looked_for_where_the_data_sets_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("suite.data.images.fashion_mnist_files.DEBIAN", tmp_path)
    monkeypatch.setattr("suite.data.images.fashion_mnist_files.cache_folder", lambda: tmp_path)
    assert resources.full_images().fix == "apt-get install dataset-fashion-mnist"


def test_commands_that_cannot_be_run() -> None:
    assert output_of(["no-such-command-here"])[0] == 127
    assert output_of(
        [sys.executable, "-c", "import sys; print(1); print(2, file=sys.stderr); sys.exit(3)"]
    ) == (
        3,
        "1",
        "2",
    )
    assert last_line("a\nb\n\n") == "b"
    assert last_line("") == ""


def test_the_table_shows_brackets_as_they_are() -> None:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(
        doctor.table([Check("missing", "wants [cuda]", 'pip install "suite[cuda]"', name="thing")])
    )
    shown = console.export_text()
    assert "wants [cuda]" in shown
    assert '→ pip install "suite[cuda]"' in shown
