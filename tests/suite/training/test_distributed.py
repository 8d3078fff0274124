"""Processes that train together end in the weights of one that trains alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from suite.training.distributed import ProcessGroup, process_group

# As `python -m suite train` does it, with the images and the backbone of the tests.
TRAINING = """
import sys
from pathlib import Path

import torch

from backbones import BACKBONES
from suite.training.loop import Trainer
from suite.training.distributed import process_group
from tests.suite.training import test_training as small

torch.set_num_threads(1)
BACKBONES._added["vim_sprout"] = small.vim_sprout
out = Path(sys.argv[1])
with process_group("cpu") as group:
    with group.main_first():
        (out / "seen").open("a").write(f"{group.rank} of {group.size}\\n")
    for stop in (0.0, 1e9):
        one = Trainer(small.RECIPE, small.Noise(), out, "cpu", 0, "auto", group)
        one.run(lambda figures: print(figures["loss"], figures["top1"]), max_seconds=stop)
"""


def test_one_process_has_nothing_to_agree_on() -> None:
    with process_group("cpu") as alone:
        assert alone == ProcessGroup()
        tensor = torch.arange(3.0)
        alone.average([tensor])
        assert tensor.tolist() == [0, 1, 2]
        assert alone.broadcast(1.5) == 1.5
        with alone.main_first():
            assert alone.is_main


@pytest.mark.slow
def test_two_processes_end_in_the_weights_of_one(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(TRAINING)
    figures = []
    for count in (1, 2):
        place = tmp_path / str(count)
        place.mkdir()
        begin = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node",
            str(count),
        ]
        done = subprocess.run(
            [*begin, str(script), str(place)],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"PYTHONPATH": str(Path.cwd())},
        )
        assert done.returncode == 0, done.stderr
        figures.append(
            [[float(number) for number in line.split()] for line in done.stdout.splitlines()]
        )
    assert (tmp_path / "2" / "seen").read_text() == "0 of 2\n1 of 2\n"
    assert len(figures[0]) == len(figures[1]) == 4
    torch.testing.assert_close(
        torch.tensor(figures[0]), torch.tensor(figures[1]), rtol=1e-3, atol=1e-4
    )
    alone, together = (load_file(tmp_path / place / "state.safetensors") for place in ("1", "2"))
    for name, tensor in alone.items():
        torch.testing.assert_close(together[name], tensor, rtol=1e-2, atol=2e-4, msg=name)
