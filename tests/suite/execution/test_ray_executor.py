"""Ray's workers give what this process gives, whichever of them die."""

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from backbones.common.errors import UserError
from suite.cli import run
from suite.comparison import run_comparison
from suite.config.run_spec import RunSpec
from suite.execution.ray_executor import OnRay

if importlib.util.find_spec("ray") is None:
    pytest.skip("Ray is not installed: pip install 'ray>=2.52'", allow_module_level=True)

Specs = Callable[..., RunSpec]
Content = Callable[[Path], dict[str, bytes]]
Harmful = Callable[[str, str], str]
KILLED = "once('killed') and os.kill(os.getpid(), signal.SIGKILL)"
# Workers wait until all nodes are at work; then one of them waits for its end.
STRANDED = """
    import ray
    node = ray.get_runtime_context().get_node_id()
    (HERE / ('at-' + node)).touch()
    while not (HERE / 'go').exists() or (HERE / ('end-' + node)).exists():
        time.sleep(0.05)
"""
LOOPBACK = ("127.0.0.1", "::1", "::ffff:127.0.0.1")


def differing(one: dict[str, bytes], other: dict[str, bytes]) -> set[str]:
    """The files in which two runs differ, apart from the one with machine and time."""
    assert one.keys() == other.keys()
    return {name for name in one if one[name] != other[name]} - {"environment.json"}


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_workers_of_which_one_is_killed_in_mid_shard_give_the_files_of_one_process(
    small: Specs,
    harmful: Harmful,
    sent_whole: None,
    content: Content,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    workers: int,
) -> None:
    few = {"budgets": (0.4,), "baselines": False, "gallery": 0, "shard_size": 15}
    spec = small(methods=("tome", harmful("deadly", KILLED)), **few)
    run_comparison(spec, tmp_path / "local", quiet=True)
    (tmp_path / "on").touch()
    result = run_comparison(spec, tmp_path / "ray", quiet=True, executor=OnRay(workers=workers))
    assert (tmp_path / "killed").exists()
    assert not result.failures
    assert "a worker was killed or crashed over shard" in capsys.readouterr().err
    assert not differing(content(tmp_path / "local"), content(tmp_path / "ray"))


@pytest.mark.slow
def test_a_node_that_goes_in_mid_run_changes_nothing(
    small: Specs,
    harmful: Harmful,
    sent_whole: None,
    content: Content,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import ray
    from ray.cluster_utils import Cluster

    spec = small(methods=("tome", harmful("stranded", STRANDED)), budgets=(0.4,), shard_size=4)
    run_comparison(spec, tmp_path / "local", quiet=True)
    (tmp_path / "on").touch()
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
    )
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    removed = threading.Event()

    def remove() -> None:
        while len(list(tmp_path.glob("at-*"))) < 2:
            time.sleep(0.1)
        by_socket = {node["RayletSocketName"]: node["NodeID"] for node in ray.nodes()}
        here = (
            ray._private.worker.global_worker.node.raylet_socket_name
        )  # the driver's, which may be any
        other = next(node for node in nodes if node.raylet_socket_name != here)
        (tmp_path / f"end-{by_socket[other.raylet_socket_name]}").touch()
        (tmp_path / "go").touch()
        cluster.remove_node(other, allow_graceful=False)
        removed.set()

    thread = threading.Thread(target=remove, daemon=True)
    thread.start()
    try:
        result = run_comparison(spec, tmp_path / "ray", quiet=True, executor=OnRay(cluster.address))
    finally:
        thread.join(60)
        ray.shutdown()  # a call of the cluster's own may have connected again
        cluster.shutdown()
    assert removed.is_set()
    assert not result.failures
    assert not differing(content(tmp_path / "local"), content(tmp_path / "ray"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        ("os._exit(1)", r"its worker was killed or crashed, \d times over one shard"),
        ("raise RuntimeError('CUDA error: device-side assert triggered')", "device-side assert"),
    ],
)
def test_a_method_that_always_takes_its_worker_along_fails_alone(
    small: Specs,
    harmful: Harmful,
    sent_whole: None,
    content: Content,
    tmp_path: Path,
    harm: str,
    reason: str,
) -> None:
    methods = f"tome,{harmful('fatal', harm)}"
    (tmp_path / "on").touch()
    options = (
        "compare --backbones vim_mini --checkpoint random --data blots --images 12 --budgets 0.4"
        " --no-baselines --shard-size 12 --threads 1 --gallery 0 --no-report"
    )
    line = [*options.split(), "--runs", str(tmp_path / "runs")]
    assert run([*line, "--methods", "tome", "--name", "sound"]) == 0
    assert (
        run([*line, "--methods", methods, "--name", "ill", "--executor", "ray", "--workers", "2"])
        == 1
    )
    cells = [
        json.loads(path.read_text()) for path in (tmp_path / "runs" / "ill" / "cells").iterdir()
    ]
    failed = [cell for cell in cells if cell["status"] == "failed"]
    assert [cell["method"] for cell in failed] == [methods.partition(",")[2]]
    assert re.search(reason, failed[0]["reason"])
    sound, ill = (content(tmp_path / "runs" / name) for name in ("sound", "ill"))
    shards = [name for name in sound if name.startswith(("shards", "tokens"))]
    assert shards
    assert all(sound[name] == ill[name] for name in shards)


@pytest.mark.slow
def test_what_a_worker_finds_wrong_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "two"):
        (tmp_path / "images" / name).mkdir(parents=True)
        pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / name / "a.png")
    (tmp_path / "images" / "two" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    line = "compare --backbones vim_nano[classes=2] --checkpoint random"
    line += f" --data imagefolder:{tmp_path}/images --images all --runs {tmp_path}/runs"
    line += " --methods stride --budgets 0.4 --no-baselines --threads 1 --gallery 0"
    line += " --executor ray --workers 1"
    assert run(line.split()) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert len(errors) == 1
    assert re.match(rf"error: {tmp_path}/images/two/a.png is ", errors[0])


@pytest.mark.slow
def test_no_cluster_at_the_address_is_one_line(small: Specs, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no Ray cluster to work with at 127\.0\.0\.1:9"):
        run_comparison(small(), tmp_path, quiet=True, executor=OnRay("127.0.0.1:9"))


@pytest.mark.slow
def test_an_interrupted_run_leaves_no_process_and_goes_on_with_the_same_command(
    tmp_path: Path,
) -> None:
    """Meanwhile its ports are open to this machine alone."""
    options = (
        "compare --methods mtr --budgets 0.4 --no-baselines --images 200 --shard-size 4 --threads 1"
        " --gallery 0 --no-report --name run --executor ray --workers 1"
    )
    line = [sys.executable, "-m", "suite", *options.split(), "--runs", str(tmp_path)]
    begun = subprocess.Popen(
        line, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=interruptible
    )
    try:
        wait_for(lambda: next(tmp_path.glob("run/shards/*/*.parquet"), None), begun)
        family = psutil.Process(begun.pid).children(recursive=True)
        heard = [
            c.laddr.ip for p in family for c in connections(p) if c.status == psutil.CONN_LISTEN
        ]
        os.killpg(begun.pid, signal.SIGINT)
        _, stderr = begun.communicate(timeout=120)
    finally:
        begun.kill()
    assert begun.returncode == 130
    assert stderr.splitlines()[-1] == "interrupted: rerun the command to resume"
    assert "Traceback" not in stderr
    assert heard
    assert set(heard) <= set(LOOPBACK)
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not alive
    done = len(list(tmp_path.glob("run/shards/*/*.parquet")))
    assert done < 100
    assert subprocess.run(line, check=False).returncode == 0
    assert len(list(tmp_path.glob("run/shards/*/*.parquet"))) == 100


def interruptible() -> None:
    """What a shell begins in the background ignores interrupts, and hands that on."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_for(condition: Callable[[], Any], process: subprocess.Popen[str]) -> None:
    """Until `condition` holds while `process` runs."""
    while not condition():
        assert process.poll() is None
        time.sleep(0.2)


def connections(process: psutil.Process) -> list[Any]:
    try:
        return process.net_connections(kind="inet")
    except psutil.Error:
        return []
