"""Which token each grid place lives in, against following every token by hand; and tables about kept tokens."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from backbones.sequence import TokenSequence, new_sequence
from methods.composition import Composition
from methods.reducer import Reducer
from suite.analysis.gallery import DROPPED, IN_SPECIAL, gallery, patch_owners, picture_table
from suite.comparison import run_comparison
from suite.config.run_spec import RunSpec
from suite.plan.prepare import prepare
from suite.store.run_folder import Store

Specs = Callable[..., RunSpec]
MERGED = Composition("odd-even", feature="branch", weights="mean", order="appended")
FEW = Composition("lowest", score="random", order="shuffled")


def followed(tokens: TokenSequence) -> list[list[int]]:
    """Group of every grid place, place by place."""
    assert tokens.owner is not None
    out = []
    for b in range(tokens.batch):
        specials = sorted(tokens.position[b][tokens.special[b]].tolist())
        patches = [place for place in range(tokens.original_length) if place not in specials]
        row = []
        for place in patches:
            owner = int(tokens.owner[b, place])
            if owner < 0:
                row.append(DROPPED)
            elif owner in tokens.special[b].tolist():
                row.append(IN_SPECIAL)
            else:
                row.append(patches.index(int(tokens.position[b, owner])))
        out.append(row)
    return out


@given(
    st.sets(st.integers(0, 10), min_size=1, max_size=2),
    st.integers(0, 3),
    st.integers(0, 4),
    st.integers(0, 9),
)
@settings(max_examples=40, deadline=None)
def test_groups_are_those_of_following_every_token(
    special: set[int], merged: int, dropped: int, seed: int
) -> None:
    count = 9 + len(special)
    generator = torch.Generator().manual_seed(seed)
    tokens = new_sequence(
        torch.randn(3, count, 4, generator=generator),
        sorted(special & set(range(count))),
        (1, 3, 3),
    )
    if tokens.special.shape[1] != len(special):
        return
    tokens = Reducer(FEW, dropped, 2, seed)(Reducer(MERGED, merged, 1)(tokens.tracked()))
    assert patch_owners(tokens).tolist() == followed(tokens)


def test_a_token_that_went_into_a_special_one_is_marked() -> None:
    tokens = new_sequence(torch.zeros(1, 5, 2), [2], (1, 2, 2)).tracked()
    owner = torch.tensor([[0, 2, 2, 3, -1]])
    assert patch_owners(TokenSequence(**{**tokens.__dict__, "owner": owner})).tolist() == [
        [0, IN_SPECIAL, 2, DROPPED]
    ]


def test_rows_of_the_gallery_hold_both_predictions_and_all_places(small: Specs) -> None:
    prepared = prepare(small(methods=("mtr", "stride"), budgets=(0.3,), baselines=False))
    model, index = prepared.models["vim_mini"], torch.tensor([4, 9, 23])
    images = torch.from_numpy(prepared.dataset.samples(index.numpy(), 40))
    labels = torch.from_numpy(prepared.dataset.labels[index.numpy()])
    frame = gallery(model, images, index, labels, prepared.main)
    for row in frame.itertuples():
        cell = next(cell for cell in prepared.main if cell.label == row.label)
        assert cell.plan is not None
        place = index.tolist().index(row.image)
        with torch.inference_mode():
            alone, at = images[place][None], index[place][None]
            tokens = model.embed(alone, at).tracked()
            upto, begun = tokens, 0
            for site, reducer in cell.reducers().items():
                if site <= row.block:
                    upto, begun = reducer(model.run(upto, begun, site, needs=reducer.needs)), site
            end = model.run(tokens, plan=cell.reducers())
            probability = model.readout(end)[0].double().softmax(0)
            dense = model(alone)[0].double().softmax(0)
        assert row.owner.tolist() == followed(upto)[0]
        assert (row.prediction, row.dense_prediction) == (
            int(probability.argmax()),
            int(dense.argmax()),
        )
        assert row.confidence == pytest.approx(float(probability.max()))
        assert row.dense_confidence == pytest.approx(float(dense.max()))
        assert row.label_true == row.image % 3
        survivors = 100 - sum(
            removal.tokens for site, removal in cell.plan.removals.items() if site <= row.block
        )
        assert len({group for group in row.owner if group >= 0}) == survivors
        assert (DROPPED in row.owner) == (row.label == "stride")
    assert len(frame) == 3 * sum(len(cell.plan.removals) for cell in prepared.main if cell.plan)


def test_pictures_are_what_the_model_sees(small: Specs) -> None:
    dataset = prepare(small(methods=("none",), baselines=False)).dataset
    frame = picture_table(dataset, torch.tensor([7, 2]), 40, {2: "chosen"})
    assert frame.image.tolist() == [7, 2]
    assert frame.label_true.tolist() == [1, 2]
    assert frame.why.tolist() == ["", "chosen"]
    for row in frame.itertuples():
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(row.png))), dataset.image(row.image))


def test_kept_and_foreground_tables_are_counted_token_by_token(
    small: Specs, tmp_path: Path
) -> None:
    spec = small(methods=("stride", "mtr"), budgets=(0.3,), baselines=False, images=12)
    run_comparison(spec, tmp_path, quiet=True)
    prepared = prepare(spec)
    kept = pd.read_parquet(tmp_path / "analyses" / "kept_tokens.parquet")
    shares = pd.read_parquet(tmp_path / "analyses" / "foreground.parquet")
    model = prepared.models["vim_mini"]
    for cell in prepared.main[1:]:
        assert cell.plan is not None
        present = {block: np.zeros(100) for block in (0, *cell.plan.removals)}
        shown = dict.fromkeys(present, 0)
        for image in prepared.indices:
            mask = prepared.dataset.foreground(int(image), (10, 10))
            assert mask is not None
            pixels = torch.from_numpy(prepared.dataset.sample(int(image), 40))[None]
            with torch.inference_mode():
                tokens, at = model.embed(pixels, torch.tensor([image])), 0
                for block in present:
                    if block:
                        reducer = cell.reducers()[block]
                        tokens = reducer(model.run(tokens, at, block, needs=reducer.needs))
                        at = block
                    places = [
                        place - (place > 50) for place in tokens.position[0].tolist() if place != 50
                    ]
                    present[block][places] += 1
                    shown[block] += int(mask.reshape(-1)[places].sum())
        for block, counted in present.items():
            rows = kept[(kept.label == cell.label) & (kept.block == block)].sort_values(
                ["row", "col"]
            )
            assert rows.kept.tolist() == pytest.approx((counted / 12).tolist())
            share = shares[(shares.label == cell.label) & (shares.block == block)].iloc[0]
            assert share.kept == pytest.approx(counted.sum() / 1200)
            assert share.foreground_kept == pytest.approx(shown[block] / shown[0])
            assert share.images == 12
    assert Store.open(tmp_path, spec).folder == tmp_path
