"""Results of a shard, against one image and one cell at a time."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy.stats import kendalltau

from backbones.base import Reducer
from backbones.sequence import TokenSequence
from suite.config.run_spec import RunSpec
from suite.data.loading.loader import Batch
from suite.evaluation.outcomes import ClassAnswers, outcomes
from suite.evaluation.runner import ShardResult, concatenate, evaluate_batch, evaluate_shard, shrink
from suite.execution.local import execute
from suite.plan.prepare import Prepared, prepare
from suite.store.run_folder import Store

Specs = Callable[..., RunSpec]


def silent(count: int) -> None:
    """Count nothing."""


def on_images(prepared: Prepared, images: list[int]) -> ShardResult:
    name = prepared.spec.backbones[0]
    cells = prepared.runnable[name]
    return evaluate_shard(prepared, name, np.array(images), cells, prepared.spec.batch_size, silent)


class TauRecorder:
    """A reducer that keeps scipy's tau of the patch positions it leaves, of the first image."""

    def __init__(self, inner: Reducer, taus: list[float]) -> None:
        self.inner, self.taus, self.needs = inner, taus, inner.needs

    def __call__(self, tokens: TokenSequence) -> TokenSequence:
        out = self.inner(tokens)
        specials = set(out.special[0].tolist())
        left = [
            place for index, place in enumerate(out.position[0].tolist()) if index not in specials
        ]
        self.taus.append(kendalltau(range(len(left)), left).statistic if len(left) > 1 else 1.0)
        return out


def test_each_cell_gets_what_it_would_get_alone_image_by_image(small: Specs) -> None:
    methods = ("mtr", "mtr[order=appended]", "stride[order=shuffled]", "permute[shuffle=0.3]")
    prepared = prepare(small(methods=methods, budgets=(0.3,), seeds=1))
    chosen = [3, 4, 11, 17, 18, 19, 20, 29]  # more than a batch holds
    result = on_images(prepared, chosen)
    model, dense = prepared.models["vim_mini"], prepared.dense["vim_mini"]
    assert not result.failures
    for cell in prepared.runnable["vim_mini"]:
        rows = []
        for image in chosen:
            pixels = torch.from_numpy(prepared.dataset.sample(image, 40))[None]
            index, label = torch.tensor([image]), torch.from_numpy(prepared.dataset.labels[[image]])
            taus: list[float] = []
            with torch.inference_mode():
                whole = model(pixels)
                if cell.image_size == 40:
                    recorders = {
                        site: TauRecorder(reducer, taus)
                        for site, reducer in cell.reducers().items()
                    }
                    tokens = model.run(model.embed(pixels, index), plan=recorders)
                    logits = model.readout(tokens)
                else:
                    logits = model.resized(cell.image_size)(shrink(pixels, cell.image_size))
            tau = torch.tensor([float(np.mean(taus)) if taus else 1.0])
            rows.append(
                concatenate(
                    [
                        {
                            name: value[0]
                            for name, value in outcomes(
                                logits[None], whole, label, index, tau[None]
                            ).items()
                        }
                    ]
                )
            )
        pd.testing.assert_frame_equal(result.outcomes[cell.key], pd.concat(rows, ignore_index=True))
    assert dense.key in result.outcomes


def test_a_smaller_image_is_what_pillow_makes_of_it() -> None:
    image = np.random.default_rng(0).random((20, 20)).astype(np.float32)
    small = shrink(torch.from_numpy(image)[None, None].expand(1, 3, -1, -1), 12)
    expected = np.asarray(Image.fromarray(image).resize((12, 12), Image.Resampling.BICUBIC))
    np.testing.assert_allclose(small[0, 1].numpy(), expected, atol=2e-3)


def test_downsample_is_the_dense_model_on_the_smaller_image_at_its_own_cost(small: Specs) -> None:
    prepared = prepare(small(methods=("none",), budgets=(0.5,)))
    cell = next(cell for cell in prepared.cells if cell.method.name == "downsample")
    assert cell.plan is not None
    assert cell.image_size % 4 == 0
    assert cell.image_size < 40
    assert cell.plan.lengths == ((cell.image_size // 4) ** 2 + 1,) * 4
    images = torch.from_numpy(prepared.dataset.samples(np.arange(2), 40))
    batch = Batch(torch.arange(2), images, torch.zeros(2, dtype=torch.long))
    dense = prepared.dense["vim_mini"]
    answers = ClassAnswers(batch, dense.key)
    model = prepared.models["vim_mini"]
    with torch.inference_mode():
        result = evaluate_batch(
            model, batch, [dense, cell], dense.key, answers, np.zeros(2, bool), "cpu"
        )
    assert list(result.tau) == [dense.key, cell.key]
    assert list(answers.outcomes([cell.key], result.tau)) == [cell.key]


def test_progress_counts_every_image_of_every_cell_once(small: Specs, tmp_path: Path) -> None:
    prepared = prepare(small(budgets=(0.3,), seeds=1, baselines=False, shard_size=12))
    store = Store.open(tmp_path, prepared.spec)
    cells = prepared.runnable["vim_mini"]
    everything = 30 * len(cells)
    assert store.count_outcomes(prepared.keys, prepared.shards) == (0, everything)
    for _ in range(2):
        counted: list[int] = []
        assert execute(prepared, store, counted.append) == {}
        assert sum(counted) == 30 * len(cells)
        assert store.count_outcomes(prepared.keys, prepared.shards) == (everything, everything)
        store.outcomes_path(cells[2].key, 1).unlink()
        assert store.count_outcomes(prepared.keys, prepared.shards) == (everything - 12, everything)


def test_skipped_cells_are_not_run(small: Specs) -> None:
    prepared = prepare(small(budgets=(0.3, 0.95)))
    assert any(cell.plan is None for cell in prepared.cells)
    assert all(cell.plan is not None for cell in prepared.runnable["vim_mini"])
    assert prepared.runnable["vim_mini"][0].method.name == "none"


@pytest.mark.parametrize("precision", ["fp64", "fp32"])
def test_images_are_given_in_the_precision_of_the_model(small: Specs, precision: str) -> None:
    result = on_images(
        prepare(small(methods=("mtr",), budgets=(0.3,), precision=precision)), [1, 2]
    )
    assert not result.failures


def test_what_counts_on_a_gpu_gives_the_same_tables(
    small: Specs, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = small(methods=("mtr", "hsa", "permute[order=shuffled]"), budgets=(0.3,), gallery=5)
    prepared = prepare(spec)
    loops = on_images(prepared, list(range(12)))
    monkeypatch.setattr(torch.Tensor, "is_cpu", False)
    monkeypatch.setattr("suite.evaluation.token_counts.AT_ONCE", 2)
    operations = on_images(prepared, list(range(12)))
    assert loops.failures == operations.failures == {}
    for key, outcome in loops.outcomes.items():
        pd.testing.assert_frame_equal(outcome, operations.outcomes[key])
        pd.testing.assert_frame_equal(loops.tokens[key], operations.tokens[key])
    assert len({frame.tau.iloc[0] for frame in loops.outcomes.values()}) > 1
