"""Effects on the classes of pixels, and where they change, against loops over pixels."""

from functools import cache
from math import exp, log

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from backbones.dense.heads import LinearHead
from backbones.dense.segmenter import Segmenter
from backbones.models.sizes import MambaConfig
from backbones.models.vim import Vim
from suite.data.base import IGNORED
from suite.data.loading.loader import Batch
from suite.evaluation.token_edits import removed
from suite.sensitivity.effects import CHANGED, PixelEffects
from suite.sensitivity.pixel_tables import pixels_table, reach_table
from suite.sensitivity.probe import ProbeSettings, ProbeTables, probe
from suite.sensitivity.token_tables import TokenArrays

CLASSES, SIDE, GRID, LAYERS, RANKS = 4, 12, 3, (0, 2), (0, 2, 4, 7)


@cache
def model() -> Segmenter:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        config = MambaConfig(
            dim=16, depth=3, states=4, image_size=SIDE, patch=4, stride=4, classes=CLASSES
        )
        body = Vim("m", config)
        made = Segmenter("m_linear", body, (3,), LinearHead((16,), CLASSES))
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.add_(torch.randn(parameter.shape), alpha=0.3)
    made.set_kernel("reference")
    return made.requires_grad_(False)


def truth() -> Tensor:
    drawn = torch.from_numpy(np.random.default_rng(1).integers(0, CLASSES, (SIDE, SIDE)))
    drawn[3, :] = IGNORED
    drawn[8:, 8:] = IGNORED  # the whole of the last patch
    return drawn.to(torch.uint8)


def image() -> Tensor:
    return torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(2))


@cache
def tables() -> ProbeTables:
    batch = Batch(torch.tensor([5]), image(), torch.tensor([0]), truth=truth()[None])
    settings = ProbeSettings(
        LAYERS, torch.tensor(RANKS), 3, torch.empty(0, dtype=torch.long), {}, 0, 3, frozenset()
    )
    with torch.no_grad():
        return probe(model(), batch, settings)


@cache
def logits_at_pixels(layer: int, rank: int | None) -> np.ndarray:
    """Logits (C, 12, 12) without the token of this rank, or of the whole sequence."""
    with torch.no_grad():
        tokens = model().run(model().embed(image(), torch.tensor([5])), 0, layer)
        if rank is not None:
            tokens = removed(tokens, 0, torch.tensor([rank]))
        map_of = model().readout(model().run(tokens, layer))
        full = functional.interpolate(map_of, size=(SIDE, SIDE), mode="bilinear")
    return full[0].double().numpy()


def by_pixel(layer: int, rank: int) -> list[tuple[int, int, bool, float, float]]:
    """Of each pixel with a class: row, column, whether it changes, rise of the loss, and KL."""
    ours, dense = logits_at_pixels(layer, rank), logits_at_pixels(layer, None)
    found = []
    for row in range(SIDE):
        for column in range(SIDE):
            true = int(truth()[row, column])
            if true == IGNORED:
                continue
            p, q = [
                [
                    value - log(sum(map(exp, logits[:, row, column])))
                    for value in logits[:, row, column]
                ]
                for logits in (ours, dense)
            ]
            kl = sum(exp(b) * (b - a) for a, b in zip(p, q, strict=True))
            found.append((row, column, np.argmax(p) != np.argmax(q), q[true] - p[true], kl))
    return found


def test_effects_are_means_over_the_pixels_with_a_class() -> None:
    rows = tables().tokens.set_index(["block", "rank"])
    flips = 0.0
    for layer in LAYERS:
        for rank in RANKS:
            pixels = by_pixel(layer, rank)
            flip, loss, kl = (float(np.mean([pixel[at] for pixel in pixels])) for at in (2, 3, 4))
            row = rows.loc[(layer, rank)]
            assert row.removal_flip == pytest.approx(flip)
            assert row.removal_loss == pytest.approx(loss, abs=1e-5)
            assert row.removal_kl == pytest.approx(kl, abs=1e-5)
            flips += flip
    assert 0 < flips < len(LAYERS) * len(RANKS)
    assert "removal_margin" not in rows
    assert rows.loc[(0, 1)].isna()["removal_flip"]  # not tried


def test_changed_pixels_are_counted_by_their_offset_from_the_token() -> None:
    found = tables().pixels
    assert found is not None
    rows = found.set_index(["block", "down", "right"])
    assert len(rows) == len(LAYERS) * (2 * GRID - 1) ** 2
    counted: dict[tuple[int, int], int] = {}
    for row, column in np.argwhere(truth().numpy() != IGNORED).tolist():
        place = row // 4, column // 4
        counted[place] = counted.get(place, 0) + 1
    assert (2, 2) not in counted
    for layer in LAYERS:
        shares: dict[tuple[int, int], list[float]] = {}
        totals: dict[tuple[int, int], int] = {}
        for rank in RANKS:
            changed = dict.fromkeys(counted, 0)
            for row, column, changes, _, _ in by_pixel(layer, rank):
                changed[row // 4, column // 4] += changes
            for place, count in changed.items():
                offset = place[0] - rank // GRID, place[1] - rank % GRID
                shares.setdefault(offset, []).append(count / counted[place])
                totals[offset] = totals.get(offset, 0) + count
        for (down, right), row in rows.loc[layer].iterrows():
            assert row.pixels == totals.get((down, right), 0)
            if (down, right) in shares:
                assert row["share"] == pytest.approx(np.mean(shares[down, right]))
            else:
                assert np.isnan(row["share"])


def test_the_loss_has_the_gradient_of_the_mean_over_pixels() -> None:
    batch = Batch(torch.tensor([5]), image(), torch.tensor([0]), truth=truth()[None])
    logits = torch.randn(1, CLASSES, GRID, GRID, generator=torch.Generator().manual_seed(1))
    effects = PixelEffects(logits, batch, (GRID, GRID))
    shifted = logits + torch.randn(logits.shape, generator=torch.Generator().manual_seed(9))
    rise = effects.measures(shifted)["loss"] - effects.measures(logits)["loss"]
    found = effects.of(torch.cat([logits, shifted]))
    assert found["loss"] == pytest.approx([0, float(rise)], abs=1e-6)
    assert found["flip"][0] == found[CHANGED][0].sum() == 0


def pixels(share: list[float], counts: list[float]) -> pd.DataFrame:
    """One block of a grid of one row and two columns: offsets -1, 0 and 1 to the right."""
    return pd.DataFrame(
        {"block": 0, "down": 0, "right": [-1, 0, 1], "share": share, "pixels": counts}
    )


def test_tables_are_means_over_images_that_know() -> None:
    frames = [pixels([0.5, 0.25, np.nan], [4, 12, 0]), pixels([0.1, 0.75, np.nan], [0, 0, 0])]
    table = pixels_table("m", frames)
    assert table.right.tolist() == [-1, 0]
    assert table.changed.tolist() == pytest.approx([0.3, 0.5])
    flips = np.array([[[0.2, 0.4], [np.nan] * 2], [[0.0, 0.0], [np.nan] * 2]])
    tokens = TokenArrays("m", {"removal_flip": flips}, (0, 3), (1, 1, 2), ())
    rows = reach_table(tokens, frames).set_index(["quantity", "block"])["mean"]
    # The second image has no pixel that changes: it says nothing of where they lie.
    assert rows["changed", 0] == pytest.approx(0.15)
    assert (rows["own", 0], rows["around", 0], rows["farther", -1]) == (0.75, 0.25, 0)
