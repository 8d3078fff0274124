"""What tables call backbones and data sets, from their texts alone."""

import pytest

from backbones.common.errors import UserError
from backbones.common.labels import data_label, data_name, data_parts, labelled

REGISTERED = {"vim_nano", "vim_tiny"}


@pytest.mark.parametrize(
    ("texts", "labels"),
    [
        (["vim_nano", "vim_tiny[image_size=448]"], ["vim_nano", "vim_tiny[image_size=448]"]),
        (["/a/own.py:net[depth=4]", "/a/own.py:net"], ["net[depth=4]", "net"]),
        (["Mine=/a/own.py:net[depth=4]"], ["Mine"]),
        (["Small = vim_nano[depth=2]", "vim_nano"], ["Small", "vim_nano"]),
        (["/a/own.py:vim_nano"], ["vim_nano (own)"]),
        (["/a/own.py:net[depth=2]", "/b/own.py:net"], ["net (a/own:net)[depth=2]", "net (b/own:net)"]),
        (["/a/own.py:net", "/a/other.py:net"], ["net (own)", "net (other)"]),
        # one file under two spellings
        (["/a/own.py:net", "/a/../a/own.py:net"], ["net (own)"]),
        # a file of weights without its folder, unless two have one name
        (["vim_nano[weights=/a/my.pt]", "vim_nano"], ["vim_nano[weights=my.pt]", "vim_nano"]),
        (["/a/own.py:net[weights=w/my.pt,depth=2]"], ["net[weights=my.pt,depth=2]"]),
        (["vim_nano[weights=a/my.pt]", "vim_nano[weights=b/my.pt]"], ["vim_nano[weights=a/my.pt]", "vim_nano[weights=b/my.pt]"]),
        # what is a label already, as in a merged report
        (["net (own)[depth=2]", "Mine"], ["net (own)[depth=2]", "Mine"]),
    ],
)  # fmt: skip
def test_a_backbone_is_called_without_its_path(texts: list[str], labels: list[str]) -> None:
    called = labelled(texts, REGISTERED)
    assert list(called) == labels
    assert set(called.values()) <= set(texts)


@pytest.mark.parametrize(
    "texts",
    [
        ["A=vim_nano", "A=vim_tiny"],
        ["vim_tiny=vim_nano[depth=2]"],
        ["net=vim_nano", "/a/own.py:net"],
        ["/a/own.py:net", "net=vim_nano"],
    ],
)
def test_one_name_never_means_two(texts: list[str]) -> None:
    with pytest.raises(UserError, match="two backbones are called '"):
        labelled(texts, REGISTERED)


def test_a_data_set_is_called_without_the_path_of_its_file() -> None:
    assert data_parts("imagefolder:a/b.py:c") == ("imagefolder", ":", "a/b.py:c")
    assert data_parts("a/b.py:DATA") == ("a/b.py:DATA", "", "")
    assert data_parts("a/b.py:DATA:x:y") == ("a/b.py:DATA", ":", "x:y")
    assert data_label("a/b.py:DATA:photos") == "DATA:photos"
    assert data_label("imagefolder:photos") == "imagefolder:photos"
    assert data_name("a/b.py:DATA:photos") == "DATA"
    assert data_name("imagefolder:photos") == "imagefolder"
