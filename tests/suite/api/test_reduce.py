"""`suite.reduce`: the numbers of a comparison, as a module like any other."""

import copy
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import suite
from backbones import create_model
from backbones.base import Backbone
from suite.data import open_dataset
from suite.evaluation.tree import evaluate, jobs_for
from suite.plan.prepare import prepare
from suite.store.results import Results, cut_shards
from suite.store.run_folder import Store
from suite.store.schema import read_record
from suite.tries.settings import Setting


@pytest.fixture
def vim(small: Callable[..., Any]) -> Backbone:
    """The model of the runs of `finished`."""
    torch.manual_seed(0)
    return create_model("vim_mini")


@pytest.fixture
def deit(small: Callable[..., Any]) -> Backbone:
    torch.manual_seed(0)
    return create_model("deit_mini")


@pytest.fixture
def images(small: Callable[..., Any]) -> torch.Tensor:
    return torch.from_numpy(open_dataset("blots").samples(np.arange(30), 40))


def test_it_answers_as_a_stored_run_at_any_batch_size(
    finished: Callable[..., Path], vim: Backbone, images: torch.Tensor
) -> None:
    few = {"budgets": (0.3,), "baselines": False, "gallery": 0, "shard_size": 12}
    folder = finished("api", methods=("mtr", "tome", "random"), **few)
    results = Results(Store(folder), cut_shards(np.arange(30), 12))
    model, seen = vim.requires_grad_(False), 0
    for path in sorted((folder / "cells").glob("*.json")):
        record = read_record(path)
        if not (record.shown and record.budget and record.status == "ok"):
            continue
        reduced = suite.reduce(
            model,
            record.spec,
            budget=record.budget,
            schedule=record.schedule or "tuned",
            seed=record.seed,
        )
        assert reduced.plan.lengths == tuple(record.lengths)
        stored = results.outcomes(record.key).prediction.to_numpy()
        for batch in (7, 30):
            parts = zip(images.split(batch), torch.arange(30).split(batch), strict=True)
            answers = torch.cat([reduced(part, numbers).argmax(1) for part, numbers in parts])
            assert (answers.numpy() == stored).all()
        seen += 1
    assert seen == 4  # random twice


def test_its_logits_have_the_bits_of_the_engine(
    small: Callable[..., Any], images: torch.Tensor
) -> None:
    prepared = prepare(small(methods=("mtr", "tome", "evit")))
    model = prepared.models["vim_mini"]
    cells = [cell for cell in prepared.main if cell.plan and cell.image_size == 40 and cell.budget]
    with torch.inference_mode():
        tokens = model.embed(images)
        jobs = jobs_for(cells, model, torch.arange(30), torch.zeros(30))
        logits = {job.key: answer for job, answer in evaluate(model, tokens, jobs, lambda *_: None)}
        for cell in cells:
            reduced = suite.reduce(model, cell.method.text, budget=cell.budget, seed=cell.seed)
            assert torch.equal(reduced(images), logits[cell.key])
            assert torch.equal(reduced.trace(images).logits, logits[cell.key])


def test_the_default_setting_is_the_one_that_compare_picks() -> None:
    reduced = suite.reduce("vim_nano", "mtr", budget=0.4)
    assert (reduced.setting, reduced.tuned) == (Setting("one-shot", 8), True)
    assert repr(reduced) == "Reduced(vim_nano, mtr at one-shot, window 8: -40.0 % FLOPs)"
    assert not any(part.requires_grad for part in reduced.parameters())
    named = suite.reduce("vim_nano", "mtr[score=b]@falling", budget=0.4)
    assert (named.setting, named.tuned) == (Setting("falling", 0), False)
    assert repr(named).startswith("Reduced(vim_nano, mtr[score=b]")


def test_a_run_of_tune_picks_settings(vim: Backbone, tables: Callable[..., Path]) -> None:
    folder = tables({"mtr": Setting("rising", 4)})
    assert suite.reduce(vim, "mtr", budget=0.3, tries=str(folder)).setting == Setting("rising", 4)
    assert suite.reduce(vim, "mtr", budget=0.3).setting == Setting("constant-ratio", 0)
    with pytest.raises(suite.UserError, match="no tries of deit_mini with these weights"):
        suite.reduce(create_model("deit_mini"), "tome", budget=0.3, tries=str(folder))


@pytest.mark.parametrize(
    ("counts", "lengths", "shown"),
    [
        (8, (101, 93, 85, 77), "8 tokens a site"),
        (
            60,
            (101, 51, 26, 14),
            "87 tokens in all",
        ),  # ToMe pairs tokens: at most half of them leave
        ([1, 2, 3], (101, 100, 98, 95), "6 tokens in all"),
        ({2: np.int64(5)}, (101, 101, 96, 96), "5 tokens a site"),
    ],
)
def test_counts_are_tokens_a_site(
    vim: Backbone, counts: Any, lengths: tuple[int, ...], shown: str
) -> None:
    reduced = suite.reduce(vim, "tome", counts=counts)
    assert reduced.plan.lengths == lengths
    assert reduced.setting is None
    assert repr(reduced).startswith(f"Reduced(vim_mini, tome at {shown}: -")


def test_counts_of_a_transformer_are_tokens_a_layer(deit: Backbone) -> None:
    assert suite.reduce(deit, "tome", counts=8).plan.lengths == (101, 93, 93, 85, 85, 77)


WRONG = {
    "either": {"budget": None},
    "either budget": {"counts": 3},
    "one|did you mean": {"method": "tom"},
    "between 0 and 1": {"budget": 1.5},
    "did you mean falling": {"schedule": "faling"},
    "no whole number of tokens|cannot remove": {"budget": 0.999},
    "did you mean|macs": {"convention": "mac"},
    "different ones of 1, 2, 3": {"sites": [7]},
    "call the model itself": {"method": "none"},
    "reads the labels": {"method": "oracle"},
    "removes none": {"method": "permute"},
    "is not a method": {"method": "mtr,tome"},
    "cannot reduce this Linear": {"model": torch.nn.Linear(2, 2)},
    "cannot reduce a dict: give a model": {"model": {}},
    "vim_nanoo": {"model": "vim_nanoo"},
    "2 counts do not fit the 3 sites 1, 2, 3": {"budget": None, "counts": [4, 4]},
    "sites .0. do not fit": {"budget": None, "counts": {0: 4}},
    "cannot remove 100": {"budget": None, "counts": {1: 100}},
    "counts cannot be -1": {"budget": None, "counts": -1},
    "counts cannot be 2.5": {"budget": None, "counts": 2.5},
    "give a budget": {"method": "downsample", "budget": None, "counts": 4},
    "needs a class token|needs keys": {"method": "tome[feature=keys]"},
}


@pytest.mark.parametrize("message", WRONG)
def test_what_cannot_be_is_one_line(vim: Backbone, message: str) -> None:
    with pytest.raises(suite.UserError, match=message) as error:
        suite.reduce(**({"model": vim, "method": "tome", "budget": 0.3} | WRONG[message]))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("method", ["downsample", "crop-shrink"])
def test_images_of_a_wrong_size_are_refused_before_they_are_resized(
    vim: Backbone, images: torch.Tensor, method: str
) -> None:
    reduced = suite.reduce(vim, method, 0.4)
    assert "tokens" not in repr(reduced)
    for wrong, mend in ((images[..., :20, :20], "resize them"), (images[0], "of the batch")):
        with pytest.raises(suite.UserError, match=mend):
            reduced(wrong)


@pytest.mark.parametrize("method", ["mtr", "storm", "downsample", "crop-shrink", "delta"])
def test_a_batch_without_images_is_one_line(
    vim: Backbone, images: torch.Tensor, method: str
) -> None:
    reduced = suite.reduce(vim, method, 0.4)
    for call in (reduced, reduced.trace) if method != "crop-shrink" else (reduced,):
        with pytest.raises(suite.UserError, match="the batch has no images: give at least one"):
            call(images[:0])


def through_pickle(module: Any) -> Any:
    return pickle.loads(pickle.dumps(module))


def through_torch(module: Any) -> Any:
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("copied", [copy.deepcopy, through_pickle, through_torch])
@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_copies_answer_the_same(
    vim: Backbone, images: torch.Tensor, copied: Callable[[Any], Any], mode: Any
) -> None:
    reduced = suite.reduce(vim, "mtr", budget=0.4)
    with mode():
        before = reduced(images[:3])
    other = copied(reduced)
    with mode():
        assert torch.equal(other(images[:3]), before)
        other.model.head.weight.zero_()
        assert torch.equal(reduced(images[:3]), before)
    assert repr(other) == repr(reduced)


def test_its_state_is_the_models(vim: Backbone, images: torch.Tensor) -> None:
    reduced = suite.reduce(vim, "mtr", budget=0.4)
    assert {f"model.{name}" for name in vim.state_dict()} == set(reduced.state_dict())
    other = suite.reduce(create_model("vim_mini"), "mtr", budget=0.4)
    other.load_state_dict(reduced.state_dict())
    with torch.no_grad():
        assert torch.equal(other(images), reduced(images))


@pytest.mark.parametrize("method", ["mtr", "tome"])
def test_gradients_flow_to_weights_and_images(
    vim: Backbone, images: torch.Tensor, method: str
) -> None:
    reduced = suite.reduce(vim, method, budget=0.4)
    with torch.no_grad():
        plain = reduced(images[:2])
    some = images[:2].clone().requires_grad_()
    logits = reduced(some)
    torch.testing.assert_close(logits, plain, rtol=1e-4, atol=1e-5)
    logits.square().sum().backward()
    assert some.grad is not None
    assert some.grad.abs().sum() > 0
    assert all(part.grad is not None for part in reduced.parameters())
    # without anything to differentiate, the compiled path serves although gradients are on
    vim.requires_grad_(False)
    assert torch.equal(reduced(images[:2]), plain)


def test_autocast_and_low_precision(vim: Backbone, images: torch.Tensor) -> None:
    reduced = suite.reduce(vim, "mtr", budget=0.4)
    with torch.inference_mode():
        plain = reduced(images[:2])
        with torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(reduced(images[:2]).float(), plain, rtol=0.1, atol=0.05)
    double = copy.deepcopy(reduced).double()
    torch.testing.assert_close(double(images[:2]).float(), plain, rtol=1e-3, atol=1e-4)


def test_random_numbers_are_those_of_the_images(vim: Backbone, images: torch.Tensor) -> None:
    reduced = suite.reduce(vim.requires_grad_(False), "random", budget=0.4)
    whole = reduced(images, torch.arange(30))
    assert torch.equal(reduced(images[5:9], torch.arange(5, 9)), whole[5:9])
    other = suite.reduce(vim, "random", budget=0.4, seed=1)
    assert not torch.equal(other(images), whole)


def test_images_are_those_of_a_run(vim: Backbone, images: torch.Tensor) -> None:
    samples = suite.images(suite.reduce(vim, "mtr", budget=0.4), [4, 2], data="blots")
    assert samples.numbers.tolist() == [4, 2]
    assert samples.labels.tolist() == [1, 2]
    assert torch.equal(samples.images, images[[4, 2]])
    assert len(suite.images(vim, 6, data="blots").labels.unique()) == 3
    segmenter = create_model("vim_mini_linear")
    dense = suite.images(segmenter, [4, 2], data="blots")
    assert dense.labels.shape == (2, 40, 40)
    assert dense.labels[0, :5, 0].tolist() == [1, 1, 1, 1, 0]
    assert segmenter(dense.images).shape == (2, 3, 10, 10)
    with pytest.raises(suite.UserError, match="the model's head has 3"):
        suite.images(vim)
