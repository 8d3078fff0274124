"""Every backbone's code and weights have a licence, or the word that none is stated."""

import tomllib
from pathlib import Path

import pytest

from backbones import BACKBONES
from backbones.checkpoints.published import published_files
from backbones.common.release import NONE_STATED, UNREAD
from backbones.releases import BUNDLED, BY_PREFIX, licence_of_weights, release_of

ROOT = Path(__file__).parents[2]
LICENCES = {"Apache-2.0", "MIT", "CC-BY-NC-4.0", NONE_STATED}


def test_every_backbone_states_the_licences_of_its_code_and_weights() -> None:
    for name in BACKBONES:
        if BACKBONES.origin(name) == "built-in":
            assert release_of(name), name
    for release in BY_PREFIX.values():
        assert release.code.licence in LICENCES
        assert len(release.code.commit) == 7
        assert release.weights.licence in LICENCES | {UNREAD}
    assert release_of("mine") is None
    assert licence_of_weights("mine", "hf://a/b/c.pth") == ""


def test_every_published_file_lies_where_the_licence_was_read() -> None:
    for file in published_files():
        release = release_of(file.name)
        assert release is not None
        assert licence_of_weights(file.name, file.source)
        if file.source != "bundled":
            place = file.source.removeprefix("hf://").removeprefix("https://github.com/")
            owner, repository = place.split("/")[:2]
            assert f"{owner}/{repository}" in release.weights.places


def test_bundled_weights_have_the_licence_of_the_suite() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["license"] == BUNDLED == licence_of_weights("mambareg_nano", "bundled")


@pytest.mark.parametrize("prefix", list(BY_PREFIX))
def test_the_page_of_backbones_shows_them(prefix: str) -> None:
    release = BY_PREFIX[prefix]
    code, weights = release.code, release.weights
    cells = [release.family, f"{code.repository} {code.commit}", code.terms]
    cells += [", ".join(weights.places), weights.terms]
    page = (ROOT / "docs" / "backbones.md").read_text("utf-8")
    assert f"| {' | '.join(cells)} |\n" in page
