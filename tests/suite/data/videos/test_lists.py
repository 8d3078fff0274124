"""List files: the field's formats, and lines that lie."""

from collections.abc import Callable
from pathlib import Path

import pytest

from backbones.common.errors import UserError
from suite.data.videos.lists import Listing, from_list

Write = Callable[[str], Path]


def find(folder: Path, root: Path) -> list[Path]:
    return sorted(folder.rglob("*.mp4"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("jump/a b.mp4", "jump/c.mp4", "run/d,e.mp4", "run/f.mp4"):
        (tmp_path / "clips" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "clips" / name).write_bytes(b"x")
    return tmp_path / "clips"


def read(root: Path, text: str, split: str | None = None, name: str = "val.csv") -> Listing:
    file = root.parent / name
    file.write_text(text, encoding="utf-8")
    return from_list(file, root, split, find, Path.is_file)


@pytest.mark.parametrize(
    "text",
    [
        "jump/a b.mp4 0\nrun/d,e.mp4 1\n",
        "jump/a b.mp4,0\nrun/d,e.mp4,1",
        "\ufeff  jump/a b.mp4\t0\r\n\r\nrun/d,e.mp4 , 1  \n",
        "{root}/jump/a b.mp4 0\n{root}/run/d,e.mp4 1\n",
    ],
)
def test_a_path_and_a_number_a_line(root: Path, text: str) -> None:
    listing = read(root, text.format(root=root))
    assert [path.name for path in listing.paths] == ["a b.mp4", "d,e.mp4"]
    assert listing.labels.tolist() == [0, 1]
    assert (listing.classes, listing.split, listing.root) == (("0", "1"), "val", root)


def test_lists_of_frame_folders_say_how_many_frames(tmp_path: Path) -> None:
    for name in ("a", "b c"):
        (tmp_path / "clips" / name).mkdir(parents=True)
    file = tmp_path / "list.txt"
    file.write_text("a 12 3\nb c 250 0\n")
    listing = from_list(file, tmp_path / "clips", None, find, Path.is_dir)
    assert [path.name for path in listing.paths] == ["a", "b c"]
    assert listing.labels.tolist() == [3, 0]


def test_names_of_the_classes_stand_beside_the_list(root: Path) -> None:
    (root.parent / "classes.txt").write_text("leaping\nrunning\nsitting\n")
    assert read(root, "jump/c.mp4 0\nrun/f.mp4 1\n").classes == ("leaping", "running", "sitting")
    with pytest.raises(UserError, match=r"classes\.txt has 3 names but .*val\.csv the label 3"):
        read(root, "jump/c.mp4 3\n")


KINETICS = """label,youtube_id,time_start,time_end,split,is_cc
jump,-a_1,3,13,val,0
run,b,10,20,val,0
"jump, high",c,0,10,val,1
jump,-a_1,20,30,val,0
"""


def test_the_official_annotations(tmp_path: Path) -> None:
    names = (
        "-a_1_000003_000013",
        "-a_1_000020_000030",
        "b",
        "c_000000_000010",
        "unlisted_000000_000010",
    )
    for name in names:
        (tmp_path / "videos").mkdir(exist_ok=True)
        (tmp_path / "videos" / f"{name}.mp4").write_bytes(b"x")
    listing = read(tmp_path / "videos", KINETICS, split="test")
    assert [path.stem for path in listing.paths] == [names[0], "b", names[3], names[1]]
    assert listing.classes == ("jump", "jump, high", "run")
    assert listing.labels.tolist() == [0, 2, 1, 0]
    assert listing.split == "val"


def test_a_clip_that_is_there_twice_is_taken_from_its_class(tmp_path: Path) -> None:
    for folder in ("leaping_high", "jumping rope"):
        (tmp_path / "v" / folder).mkdir(parents=True)
        (tmp_path / "v" / folder / "x_000000_000010.mp4").write_bytes(b"x")
    text = (
        "label,youtube_id,time_start,time_end,split\n"
        "jumping rope,x,0,10,val\nleaping high,x,0,10,val\n"
    )
    assert [path.parent.name for path in read(tmp_path / "v", text).paths] == [
        "jumping rope",
        "leaping_high",
    ]


def test_several_splits_in_one_file(tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    for name in ("x", "y"):
        (tmp_path / "v" / f"{name}.mp4").write_bytes(b"x")
    text = "label,youtube_id,time_start,time_end,split\na,x,0,1,train\nb,y,0,1,val\n"
    assert [path.stem for path in read(tmp_path / "v", text, "val").paths] == ["y"]
    with pytest.raises(UserError, match="has several splits: choose train or val with --split"):
        read(tmp_path / "v", text, "test")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("jump/c.mp4\n", "line 1 is not a path and a class number"),
        ("jump/c.mp4 0\njump/c.mp4 one\n", "line 2 is not a path and a class number"),
        ("jump/c.mp4 -1\n", "line 1 is not a path and a class number"),
        ("jump/c.mp4 1.5\n", "line 1 is not a path and a class number"),
        ("7\n", "line 1 is not a path and a class number"),
        ("jump/c.mp4 999999999\n", "the label 999999999: number its classes from 0"),
        ("jump/c.mp4 99999999999999999999\n", "line 1 is not a path and a class number"),
        (
            "gone.mp4 0\njump/c.mp4 0\nalso.mp4 0\n",
            r"2 of the 3 clips in .*val.csv are not under .*first: gone.mp4",
        ),
        ("jump 0\n", "1 of the 1 clips"),
        ("../secret.mp4 0\n", "line 1 leads out of"),
        ("jump/../../secret.mp4 0\n", "line 1 leads out of"),
        ("/etc/passwd 0\n", "line 1 leads out of .*--source"),
        ("jump/c.mp4 0\n{root}/../secret.mp4 0\n", "line 2 leads out of"),
        ("link.mp4 0\n", r"link.mp4 leads out of"),
        ("away/secret.mp4 0\n", "line 1 leads out of"),
        ("jump/c\0.mp4 0\n", "line 1 leads out of"),
        ("label,youtube_id,time_start,time_end,split\n", "has no clips"),
        ("label,youtube_id,time_start,time_end,split\na,x,0\n", "line 2 has 3 columns, not 5"),
        (
            "label,youtube_id,time_start,time_end,split\na,x,0,end,val\n",
            "has the clip x without times",
        ),
        (
            "label,youtube_id,time_start,time_end,split\na,x,0,inf,val\n",
            "has the clip x without times",
        ),
        (
            "label,youtube_id,time_start,time_end,split\na,../../secret,0,1,val\n",
            "1 of the 1 clips",
        ),
        (
            "youtube_id,time_start,time_end,split\nx,0,1,test\n",
            "line 1 is not a path and a class number",
        ),
        ("x" * 200_000 + ",\n", "line 1 is not a path and a class number"),
        (
            'label,youtube_id,time_start,time_end,split\n"' + "x" * 200_000 + '",y,0,1,val\n',
            "line 2",
        ),
    ],
)
def test_what_is_wrong_with_a_list_is_one_line(root: Path, text: str, message: str) -> None:
    (root.parent / "secret.mp4").write_bytes(b"x")
    (root / "link.mp4").symlink_to(root.parent / "secret.mp4")
    (root / "away").symlink_to(root.parent)
    with pytest.raises(UserError, match=message) as refused:
        read(root, text.format(root=root))
    assert "\n" not in str(refused.value)


def test_bytes_that_are_no_text(root: Path) -> None:
    (root.parent / "val.csv").write_bytes(b"\xff\xfe\x00junk")
    with pytest.raises(UserError, match="is not a text in UTF-8"):
        from_list(root.parent / "val.csv", root, None, find, Path.is_file)
    with pytest.raises(UserError, match="cannot be read"):
        from_list(root.parent / "gone.csv", root, None, find, Path.is_file)
