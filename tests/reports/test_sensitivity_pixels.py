"""The section on changed pixels draws what is stored, with the removed token in the middle."""

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from reports.figures.canvas import WIDTH
from reports.report_data import ReportData
from reports.run import load
from reports.section import Section
from reports.sections import needed, sections

BLOCKS, REACH = (0, 4), 2


def offsets() -> pd.DataFrame:
    """Shares by offset; nothing is known below the token, as where those pixels have no class."""
    rows = []
    for block, down, right in product(BLOCKS, range(-REACH, 1), range(-REACH, REACH + 1)):
        changed = 0.01 * (1 + block) / (1 + abs(down) + 2 * abs(right))
        rows.append(("vim_mini_linear", block, down, right, changed))
    return pd.DataFrame(rows, columns=["backbone", "block", "down", "right", "changed"])


def reach() -> pd.DataFrame:
    means = {"changed": 0.004, "own": 0.25, "around": 0.45, "farther": 0.3}
    rows = []
    for block, (quantity, mean) in product((*BLOCKS, -1), means.items()):
        rows.append(("vim_mini_linear", quantity, block, mean, mean - 0.001, mean + 0.001, 5))
    columns = ["backbone", "quantity", "block", "mean", "low", "high", "images"]
    return pd.DataFrame(rows, columns=columns)


@pytest.fixture
def section(tmp_path: Path) -> Section:
    (tmp_path / "analyses").mkdir()
    spec = {"schema": 4, "kind": "sensitivity", "task": "segmentation"}
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec))
    offsets().to_parquet(tmp_path / "analyses" / "sensitivity_pixels.parquet")
    reach().to_parquet(tmp_path / "analyses" / "sensitivity_reach.parquet")
    (found,) = sections(ReportData.of(load(tmp_path, needed())))
    return found


def test_the_removed_token_is_in_the_middle_of_the_map(section: Section) -> None:
    (drawing,) = section.figures
    maps = drawing.maps
    assert maps is not None
    assert maps.middle == (REACH, REACH)
    assert maps.values.shape == (1, len(BLOCKS), 2 * REACH + 1, 2 * REACH + 1)
    for row in offsets().itertuples():
        layer = BLOCKS.index(row.block)
        assert maps.values[0, layer, REACH + row.down, REACH + row.right] == row.changed
    assert np.isnan(maps.values[:, :, REACH + 1 :]).all()
    panels = drawing.draw(WIDTH).axes[: len(BLOCKS)]
    for layer, panel in enumerate(panels):
        drawn = np.ma.filled(panel.images[0].get_array(), np.nan)
        np.testing.assert_array_equal(drawn, maps.values[0, layer])


def test_shares_are_told_in_per_cent(section: Section) -> None:
    (table,) = section.tables
    assert table.frame["Block"].tolist() == ["0", "4", "all"]
    first = table.frame.iloc[0]
    assert first["Pixels that change"] == "0.40 [0.30, 0.50]"
    assert first["In its own patch"] == "25.00 [24.90, 25.10]"
    assert section.brief == (
        "Removing one token changes 0.40 % of the pixels; of these 25.0 % lie in its own patch, "
        "45.0 % in the eight around it and 30.0 % farther away."
    )
    assert "before" in section.sentence.lower()
