"""Tables are read strictly: what is listed is sound, and a mistake is one line that names it."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backbones.checkpoints.published import published_file
from backbones.common.errors import UserError
from suite.reproduce.listed import find_table, names, read_table

Make = Callable[..., Path]
MTR = {"method": "mtr", "budget": 0.4}


@pytest.mark.parametrize("name", names())
def test_a_listed_table_gives_the_place_of_every_value(name: str) -> None:
    table = find_table(name)
    assert table.name == name
    assert table.dense
    for value in table.published:
        assert value.place
        # what nobody has read has no number, and says so where a place would stand
        assert value.is_read == (not value.place.startswith("no value was read"))
    # the dense model's value is that of the file, as far as papers round it
    assert table.dense.top1 == pytest.approx(published_file(table.backbone).top1, abs=0.11)


def test_a_cell_that_nobody_has_read_stays_empty(changed: Make) -> None:
    table = read_table(changed("mtr-vim-base", budgets=[0.2, 0.4]))
    assert len(table.cells) == 7
    unread = table.value("hsa", 0.2)
    assert not unread.is_read
    assert unread.place is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"source": None}, "source: field required"),
        ({"colour": "red"}, "unknown setting 'colour'"),
        ({"name": "other"}, "a table is named by its file: leave 'name' out"),
        ({"methods": ["mtrx"]}, "unknown method 'mtrx': did you mean mtr"),
        ({"methods": ["mtr", "mtr[score=delta]"]}, "two of them are the same method"),
        ({"budgets": []}, "budgets: protocol matched needs at least one"),
        ({"budgets": [0.4, 0.4]}, "budgets: one of them is there twice"),
        ({"budgets": [40]}, "budgets.0: a budget is a share of the FLOPs between 0 and 1"),
        ({"protocol": "paper"}, "under protocol paper each method has its own: leave them out"),
        ({"protocol": "mine"}, "protocol: must be 'matched' or 'paper'"),
        ({"published": []}, "published: name at least one"),
        ({"published": [1]}, "published 1: it must be a mapping"),
        ({"published": [MTR | {"dorp": 1}]}, "published 1, unknown setting 'dorp': did you mean"),
        ({"published": [MTR | {"drop": "1.6"}]}, "published 1, drop: must be a valid number"),
        ({"published": [MTR | {"retrained": 3}]}, "published 1, retrained.*: must be "),
        ({"published": [MTR | {"top1": 182}]}, "published 1, top1: must be less than or equal to"),
        ({"published": [MTR | {"drop": 1.6}]}, "published mtr at 0.4 has a value without a place"),
        ({"published": [MTR, dict(MTR)]}, "published mtr at 0.4 is there twice: keep one"),
        ({"published": [MTR | {"budget": 0.5}]}, "published mtr at 0.5 is no cell of the table"),
        ({"published": [{"method": "none", "drop": 1.0, "place": "x"}]}, "published none has a dr"),
    ],
)
def test_a_wrong_table_is_one_line(changed: Make, settings: dict[str, Any], message: str) -> None:
    path = changed("mtr-vim-base", **settings)
    with pytest.raises(UserError) as caught:
        read_table(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert re.search(message, text)
    assert "\n" not in text


@pytest.mark.parametrize("content", ["- a list", "title: [", "\x00", "a: &x 1\nb: *x"])
def test_a_file_of_another_form_is_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "table.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=r"is no published table|cannot be read as a published"):
        read_table(path)
