"""Running out of memory: told from other errors, halved, and without a trace in the results."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from backbones.models.vim import Vim
from backbones.sequence import TokenSequence
from methods.reducer import Reducer
from suite.analysis.gallery import gallery, gallery_in_parts
from suite.cli import run as command
from suite.config.run_spec import RunSpec
from suite.execution.shards import evaluate, shards
from suite.plan.prepare import prepare
from suite.system.out_of_memory import (
    DeviceLostError,
    device_is_lost,
    out_of_memory,
    with_smaller_batch,
)

Specs = Callable[..., RunSpec]
Content = Callable[[Path], dict[str, bytes]]
Err = pytest.CaptureFixture[str]
LINE = [
    "compare", "--backbones", "vim_mini", "--checkpoint", "random", "--data", "blots", "--images",
    "18", "--no-baselines", "--budgets", "0.3", "--batch-size", "8", "--shard-size", "9",
    "--gallery", "0",
    "--device", "cpu", "--threads", "1", "--no-report", "--protocol", "tokens", "--no-across-schedules",
]  # fmt: skip
LOST = "CUDA error: an illegal memory access was encountered"


def test_what_a_lack_of_memory_looks_like() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 50)
    assert out_of_memory(caught.value)
    with pytest.raises(MemoryError) as refused:
        np.empty(1 << 55, np.uint8)
    assert out_of_memory(refused.value)
    assert out_of_memory(torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))
    assert not out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not out_of_memory(torch.cuda.OutOfMemoryError(LOST))
    assert device_is_lost(torch.AcceleratorError(LOST))


def test_the_batch_is_halved_until_it_fits_and_one_is_the_end(capsys: Err) -> None:
    tried: list[int] = []

    def action(batch: int) -> str:
        tried.append(batch)
        if batch > 3:
            raise MemoryError
        return "done"

    assert with_smaller_batch(13, action, "slice 4") == ("done", 3)
    assert tried == [13, 6, 3]
    assert capsys.readouterr().err == (
        "out of memory: slice 4 is done again with batch 6\n"
        "out of memory: slice 4 is done again with batch 3\n"
    )
    with pytest.raises(ValueError, match="else"):
        with_smaller_batch(8, lambda _: (_ for _ in ()).throw(ValueError("else")), "")
    with pytest.raises(MemoryError):
        with_smaller_batch(2, lambda _: (_ for _ in ()).throw(MemoryError()), "")


def limited(
    monkeypatch: pytest.MonkeyPatch, most: int, error: Exception, only: str | None = None
) -> None:
    """Let reducers (of `only` one kind of matching) raise `error` on more than `most` images."""
    call = Reducer.__call__

    def checked(self: Reducer, tokens: TokenSequence) -> TokenSequence:
        if tokens.batch > most and only in (None, self.composition.matching):
            raise error
        return call(self, tokens)

    monkeypatch.setattr(Reducer, "__call__", checked)


def test_on_cpu_less_memory_gives_the_same_bytes(
    small: Specs, content: Content, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Err
) -> None:
    assert command([*LINE, "--methods", "stride", "--runs", str(tmp_path), "--name", "ample"]) == 0
    with monkeypatch.context() as patch:
        limited(
            patch,
            3,
            RuntimeError(
                "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to ..."
            ),
        )
        assert (
            command([*LINE, "--methods", "stride", "--runs", str(tmp_path), "--name", "scarce"])
            == 0
        )
    assert (
        "out of memory: shard 1 of vim_mini is done again with batch 2" in capsys.readouterr().err
    )
    ample, scarce = content(tmp_path / "ample"), content(tmp_path / "scarce")
    assert [name for name in scarce if name.startswith("halved/")]
    assert {name for name in ample if ample[name] != scarce.get(name)} <= {"environment.json"}
    assert b'"batch": 2' in scarce["environment.json"]


def test_the_gallery_is_the_same_in_parts(small: Specs, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = prepare(small(methods=("mtr", "stride"), budgets=(0.3, 0.5), baselines=False))
    model, index = prepared.models["vim_mini"], torch.tensor([4, 9, 2, 17, 25])
    images = torch.from_numpy(prepared.dataset.samples(index.numpy(), model.image_size))
    labels = torch.from_numpy(prepared.dataset.labels[index.numpy()])
    want = gallery(model, images, index, labels, prepared.main)
    limited(monkeypatch, 2, MemoryError())
    pd.testing.assert_frame_equal(
        gallery_in_parts(model, images, index, labels, prepared.main), want
    )


def test_a_cell_that_does_not_fit_with_one_image_fails_and_the_others_do_not(
    small: Specs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: Content
) -> None:
    line = [*LINE, "--runs", str(tmp_path), "--methods", "stride,mtr"]
    assert command([*line, "--name", "ample"]) == 0
    with monkeypatch.context() as patch:
        limited(patch, 0, MemoryError("no room"), only="keep-target-source")
        assert command([*line, "--name", "scarce"]) == 1
        assert command([*line, "--name", "stopped", "--fail-fast"]) == 1
    ample, scarce = content(tmp_path / "ample"), content(tmp_path / "scarce")
    failed = [
        name
        for name in scarce
        if name.startswith("cells/") and b"MemoryError at site 1: no room" in scarce[name]
    ]
    assert len(failed) == 1
    kept = {name for name in ample if name.startswith(("cells/", "shards/", "tokens/"))} - set(
        failed
    )
    key = Path(failed[0]).stem
    assert {name for name in kept if ample[name] != scarce.get(name)} == {
        name for name in kept if key in name
    }
    assert (
        len(list((tmp_path / "scarce" / "halved").iterdir())) == 1
    )  # the second slice leaves the cell out
    assert not (tmp_path / "stopped" / "cells").exists()
    assert command([*line, "--name", "stopped", "--fail-fast"]) == 0
    assert (
        content(tmp_path / "stopped")["analyses/statistics.parquet"]
        == ample["analyses/statistics.parquet"]
    )


def test_on_a_device_predictions_that_differ_are_counted(
    small: Specs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Simulated: the numbers are the CPU's, and the answers depend on the batch by decree."""
    prepared = prepare(
        small(methods=("stride",), budgets=(0.3,), baselines=False, batch_size=8, shard_size=12)
    )
    limited(monkeypatch, 4, torch.cuda.OutOfMemoryError("CUDA out of memory."))
    readout = Vim.readout

    def swayed(self: Vim, tokens: TokenSequence) -> torch.Tensor:
        logits = readout(self, tokens)
        if tokens.batch == 2:  # the first image of two gets another answer
            logits[0] = -logits[0]
        return logits

    monkeypatch.setattr(Vim, "readout", swayed)
    monkeypatch.setattr(type(prepared), "device", "cuda", raising=False)
    object.__setattr__(prepared, "device", "cuda")
    monkeypatch.setattr(torch.Tensor, "to", lambda self, *_, **__: self)
    first = next(iter(shards(prepared)))
    result = evaluate(prepared, first, prepared.runnable["vim_mini"], lambda _: None)
    assert result.halved == {"batch": 4, "compared": 8, "flips": 4}


def test_a_lost_device_stops_the_run_and_leaves_the_cell_out(
    small: Specs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Err
) -> None:
    line = [*LINE, "--runs", str(tmp_path), "--name", "lost", "--methods", "mtr,stride"]
    with monkeypatch.context() as patch:
        limited(patch, 0, torch.AcceleratorError(LOST), only="keep-target-source")
        assert command(line) == 1
        told = capsys.readouterr().err
        assert (
            "stopped: the device takes no more work "
            "(AcceleratorError at site 1: CUDA error: an illegal" in told
        )
        assert "done again" not in told
        assert not list((tmp_path / "lost").glob("shards/*/*"))
        assert command(line) == 1
    records = list((tmp_path / "lost" / "cells").iterdir())
    assert sorted('"status": "ok"' in path.read_text() for path in records) == [False, True, True]


def test_the_reasons_travel_between_processes() -> None:
    lost: Any = pickle.loads(pickle.dumps(DeviceLostError({"a": "why"})))
    assert (lost.reasons, str(lost)) == ({"a": "why"}, str(DeviceLostError({"a": "why"})))
