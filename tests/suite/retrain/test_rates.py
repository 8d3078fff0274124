"""The rate of a training is the one whose weights have the least loss on images held out of it."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from backbones.common.errors import UserError
from suite.retrain import train
from suite.retrain.files import STATES, Finished, Tried
from suite.retrain.prepare import Retraining, Training, prepare_retraining
from suite.retrain.rates import best
from suite.retrain.spec import RetrainSpec
from suite.retrain.tables import rates_table
from suite.retrain.train import train_all, trainer_of
from suite.training.distributed import ProcessGroup
from suite.training.loop import Trainer

Make = Callable[..., RetrainSpec]
ALONE = ProcessGroup()
RATES = (1e-4, 2e-2)


def ignore(text: str) -> None:
    """Say it to nobody."""


def by_hand(
    retraining: Retraining, training: Training, rate: float, folder: Path
) -> tuple[float, float, dict[str, Tensor]]:
    """Loss and top-1 of one training on the held-out images, image by image, and its weights."""
    model = retraining.models[training.backbone]
    held_out = retraining.held_out
    assert held_out is not None
    images = retraining.data.images_for(model, retraining.crop, folder)
    trainer = trainer_of(retraining, training, rate, images, folder, ALONE)
    trainer.run(lambda figures: None)
    trained = trainer.model.eval()
    trained.load_state_dict(trainer.ema)
    seen = held_out.images_for(model, 1.0, folder)
    losses, hits = [], []
    for plan in [cell.reducers() for cell in training.cells] or [{}]:
        for place, label in enumerate(held_out.labels.tolist()):
            pixels = seen.render(np.array([place]), 0)[0].astype(np.float64) / 255
            inputs = (pixels - np.array(seen.mean)) / np.array(seen.std)
            image = torch.tensor(inputs.transpose(2, 0, 1)[None], dtype=torch.float32)
            with torch.no_grad():
                tokens = trained.run(trained.embed(image, torch.tensor([place])), plan=plan)
                logits = trained.readout(tokens)[0].tolist()
            losses.append(math.log(sum(math.exp(value) for value in logits)) - logits[label])
            hits.append(max(range(len(logits)), key=logits.__getitem__) == label)
    return float(np.mean(losses)), float(np.mean(hits)), dict(trainer.ema)


def test_the_least_loss_by_hand_is_kept(retrain_spec: Make, tmp_path: Path) -> None:
    changed = {"methods": ("tome",), "budgets": (0.2, 0.4), "mixed": True, "epochs": 1}
    spec = retrain_spec(learning_rate=RATES, train_batch=3, **changed)
    retraining = prepare_retraining(spec)
    done = train_all(retraining, tmp_path / "run", ALONE, ignore)
    assert [len(training.cells) for training in retraining.trainings] == [0, 2]
    table = rates_table(done).set_index(["training", "learning_rate"])
    assert len(table) == 4
    for training in retraining.trainings:
        (tmp_path / training.name).mkdir()
        tries = [by_hand(retraining, training, rate, tmp_path / training.name) for rate in RATES]
        for rate, (loss, top1, _) in zip(RATES, tries, strict=True):
            row = table.loc[(training.name, rate)]
            assert row["held_out_loss"] == pytest.approx(loss, abs=1e-5)
            assert row["held_out_top1"] == pytest.approx(top1)
            assert row["held_out_images"] == 3
        lowest = min(range(2), key=lambda place: tries[place][0])
        assert done[training.name].retrained.learning_rate == RATES[lowest]
        assert table.loc[training.name]["picked"].tolist() == [lowest == 0, lowest == 1]
        kept = load_file(tmp_path / "run" / "weights" / f"{training.name}.safetensors")
        for name, value in tries[lowest][2].items():
            assert torch.equal(kept[name], value)
    # Else the choice would not have been tested.
    assert table["held_out_loss"].nunique() == 4


def test_what_is_held_out_is_neither_trained_on_nor_evaluated(retrain_spec: Make) -> None:
    retraining = prepare_retraining(retrain_spec(learning_rate=RATES))
    held_out = retraining.held_out
    assert held_out is not None
    assert held_out.labels.tolist() == [0, 1, 2]
    assert sorted([*held_out.rows, *retraining.data.rows]) == list(range(12))
    # All of the split are known to have been at hand.
    assert len(retraining.data.record.images) == 12
    assert prepare_retraining(retrain_spec()).held_out is None


PLACES: dict[str, tuple[object, str, int]] = {
    "at the second rate": (Trainer, "_step", 2),
    "within the second training": (Trainer, "_step", 5),
    "before the second choice": (train, "best", 1),
}


class Cut(Exception):
    """A process that ends here."""


@pytest.mark.parametrize(
    "place",
    [*list(PLACES)[:1], *(pytest.param(name, marks=pytest.mark.slow) for name in list(PLACES)[1:])],
)
def test_wherever_it_is_cut_it_ends_in_the_same_bytes(
    place: str, retrain_spec: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = retrain_spec(learning_rate=RATES, methods=("tome",), train_batch=4, epochs=1)
    retraining = prepare_retraining(spec)
    owner, name, calls = PLACES[place]
    plain, counted = getattr(owner, name), [0]

    def cutting(*arguments: object) -> object:
        if counted[0] == calls:
            raise Cut
        counted[0] += 1
        return plain(*arguments)

    def files(folder: Path) -> dict[str, bytes | list[Tried]]:
        found: dict[str, bytes | list[Tried]] = {}
        for file in sorted((folder / "weights").glob("*.safetensors")):
            found[file.name] = file.read_bytes()
            record = Finished.model_validate_json(file.with_suffix(".json").read_text())
            found[f"{file.name} tried"] = record.tried
        return found

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, cutting)
        with pytest.raises(Cut):
            train_all(retraining, tmp_path / "cut", ALONE, ignore)
    train_all(retraining, tmp_path / "cut", ALONE, ignore)
    train_all(retraining, tmp_path / "whole", ALONE, ignore)
    assert len(files(tmp_path / "whole")) == 4
    assert files(tmp_path / "cut") == files(tmp_path / "whole")
    assert not (tmp_path / "cut" / STATES).exists()


def test_a_rate_at_which_training_diverges_is_not_chosen(
    retrain_spec: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = retrain_spec(learning_rate=(1e-3, 10.0), methods=("tome",), train_batch=4)
    plain = Trainer._step

    def diverging(self: Trainer, images: Tensor, labels: Tensor) -> Tensor:
        figures = plain(self, images, labels)
        return figures * float("nan") if self.recipe.learning_rate > 1 else figures

    monkeypatch.setattr(Trainer, "_step", diverging)
    said: list[str] = []
    done = train_all(prepare_retraining(spec), tmp_path / "run", ALONE, said.append)
    assert {one.retrained.learning_rate for one in done.values()} == {1e-3}
    assert [one.loss is None for one in done["vim_sprig-none"].tried] == [False, True]
    assert sum("the loss is no number any more; it is not chosen" in text for text in said) == 2
    both = spec.model_copy(update={"learning_rate": (10.0, 20.0)})
    with pytest.raises(UserError, match=r"as a control: .* at any rate: choose an --lr below 10"):
        train_all(prepare_retraining(both), tmp_path / "both", ALONE, ignore)


def test_of_equal_losses_the_first_is_kept() -> None:
    tries = [
        Tried(learning_rate=rate, loss=loss, top1=0.5, images=3)
        for rate, loss in ((1.0, None), (2.0, 0.7), (3.0, 0.2), (4.0, 0.2))
    ]
    assert best(tries, "net") == 2


def test_other_rates_are_another_training(retrain_spec: Make, tmp_path: Path) -> None:
    spec = retrain_spec(learning_rate=RATES, methods=("tome",), train_batch=4, epochs=1)
    train_all(prepare_retraining(spec), tmp_path, ALONE, ignore)
    more = spec.model_copy(update={"learning_rate": (*RATES, 1e-3)})
    with pytest.raises(UserError, match="was trained from other weights, on other images"):
        train_all(prepare_retraining(more), tmp_path, ALONE, ignore)
