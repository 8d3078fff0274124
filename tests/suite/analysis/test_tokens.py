"""The images whose dense answer a method breaks first, against looking at every image; and the choice of pictures."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from backbones.common.errors import UserError
from suite.analysis.gallery import first_error_pictures
from suite.analysis.tokens import PER_METHOD
from suite.comparison import run_comparison
from suite.config.run_spec import RunSpec
from suite.data import pictured
from suite.plan.prepare import prepare
from suite.store.results import Results
from suite.store.run_folder import Store

Specs = Callable[..., RunSpec]


def test_breaks_are_those_of_looking_at_every_image(small: Specs, tmp_path: Path) -> None:
    spec = small(
        methods=("mtr", "random"), budgets=(0.5, 0.3, 0.6), seeds=1, baselines=False, gallery=2
    )
    run_comparison(spec, tmp_path, quiet=True)
    prepared = prepare(spec)
    results = Results(Store(tmp_path), prepared.shards)
    breaks = pd.read_parquet(tmp_path / "analyses" / "first_errors.parquet")
    dense = results.outcomes(prepared.cells[0].key).set_index("image")
    for label in ("mtr", "random"):
        want = []
        for image in dense.index:
            if dense.prediction[image] != dense.label_true[image]:
                continue
            for budget in (0.3, 0.5, 0.6):
                cell = next(
                    c for c in prepared.cells if (c.label, c.budget, c.seed) == (label, budget, 0)
                )
                row = results.outcomes(cell.key).set_index("image").loc[image]
                if row.prediction != row.label_true:
                    want.append((budget, -row.kl, image))
                    break
        rows = breaks[breaks.label == label]
        assert len(rows) == min(PER_METHOD, len(want))
        assert list(zip(rows.budget, rows.image, strict=True)) == [
            (b, i) for b, _, i in sorted(want)[:PER_METHOD]
        ]
    images = pd.read_parquet(tmp_path / "analyses" / "images.parquet")
    first = int(breaks[breaks.label == "mtr"].image.iloc[0])
    drawn = pictured(prepared.indices, 2)
    assert dict(zip(images.image, images.why, strict=True)) == (
        {first: "broken first by mtr"} | dict.fromkeys(drawn, "drawn at random")
    )


def test_an_image_that_several_methods_break_first_is_shown_once() -> None:
    rows = [("a", 3, 0.2), ("a", 9, 0.4), ("b", 3, 0.4), ("c", 5, 0.2)]
    frame = pd.DataFrame(rows, columns=["label", "image", "budget"])
    assert first_error_pictures(frame, ["a", "b"], "broken first by") == {3: "broken first by a, b"}
    assert first_error_pictures(frame, ["c", "a"], "broken first by") == {
        3: "broken first by a",
        5: "broken first by c",
    }
    assert first_error_pictures(frame, [], "broken first by") == {}


def test_pictures_are_drawn_or_named(small: Specs) -> None:
    indices = np.arange(3, 900, 3)
    assert pictured(indices, 0) == []
    assert set(pictured(indices, 4)) < set(pictured(indices, 8)) < set(indices.tolist())
    assert pictured(indices, (9, 3, 9)) == [9, 3]
    assert pictured(indices[:2], 8) == [3, 6]
    with pytest.raises(UserError, match="image 4 is not among the 299 of this run"):
        pictured(indices, (4, 3))
    with pytest.raises(UserError, match="image 99"):
        prepare(small(gallery=(99,)))
