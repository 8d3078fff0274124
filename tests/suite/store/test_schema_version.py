"""A run folder of another version is refused in one line; its settings can still be asked again."""

from __future__ import annotations

from pathlib import Path

import pytest

from backbones.common.errors import UserError
from reports.run import load
from suite.config.run_spec import RunSpec
from suite.config.spec_file import to_yaml, with_file
from suite.merge.finished_run import load_run
from suite.store.run_folder import Store

OLD = "schema: 1\nmethods: [mtr]\n"
REFUSED = r"was written by another version \(run schema 1, this one reads 4\): repeat its command"


def test_an_old_run_is_refused_in_one_line_that_names_the_fix(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(OLD)
    for read in (load, load_run, lambda folder: Store.open(folder, RunSpec())):
        with pytest.raises(UserError, match=REFUSED) as caught:
            read(tmp_path)
        assert "\n" not in str(caught.value)


def test_the_settings_of_an_old_run_ask_the_same_again(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(OLD)
    spec = with_file(RunSpec(), tmp_path / "spec.yaml", ())
    assert spec.methods == ("mtr",)
    assert to_yaml(spec).startswith("schema: 4\n")
