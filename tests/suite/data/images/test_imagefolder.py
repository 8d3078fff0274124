from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backbones.common.errors import UserError
from suite.data import check_labels, content_of, open_dataset
from suite.data.images.imagefolder import ImageFolder, in_order, list_files


def put(path: Path, level: int = 0, size: tuple[int, int] = (5, 4)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (level, level, level)).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    put(tmp_path / "pets" / "dog" / "b.png", 20)
    put(tmp_path / "pets" / "dog" / "a.PNG", 10)
    put(tmp_path / "pets" / "cat" / "deep" / "er" / "c.png", 30)
    put(tmp_path / "pets" / "emu" / "d.png", 40)
    return tmp_path / "pets"


def test_labels_are_folders_in_order(root: Path) -> None:
    data = open_dataset(f"imagefolder:{root}")
    assert isinstance(data, ImageFolder)
    assert data.classes == ("cat", "dog", "emu")
    assert data.labels.dtype == np.int64
    assert data.labels.tolist() == [0, 1, 1, 2]
    assert [int(data.image(index)[0, 0, 0]) for index in range(4)] == [30, 10, 20, 40]
    assert data.sample(0, 32).shape == (3, 32, 32)
    assert data.split == "all"
    assert data.foreground(0, (14, 14)) is None


def test_empty_class_keeps_its_number(root: Path) -> None:
    (root / "cow").mkdir()
    data = open_dataset(f"imagefolder:{root}")
    assert data.classes == ("cat", "cow", "dog", "emu")
    assert data.labels.tolist() == [0, 2, 2, 3]
    assert data.manifest()["empty_classes"] == ["cow"]


def test_other_and_hidden_files_are_passed_over(root: Path) -> None:
    (root / "README.md").write_text("about")
    (root / "dog" / "notes.txt").write_text("woof")
    (root / "dog" / ".hidden.png").write_bytes(b"x")
    (root / ".git").mkdir()
    assert len(open_dataset(f"imagefolder:{root}")) == 4


def test_splits(root: Path) -> None:
    put(root.parent / "data" / "train" / "cat" / "a.png", 1)
    put(root.parent / "data" / "val" / "cat" / "b.png", 2)
    whole = f"imagefolder:{root.parent / 'data'}"
    data = open_dataset(whole, "val")
    assert (data.split, int(data.image(0)[0, 0, 0])) == ("val", 2)
    with pytest.raises(UserError, match="several splits: choose train or val with --split"):
        open_dataset(whole)
    with pytest.raises(UserError, match="no split 'test'"):
        open_dataset(whole, "test")
    assert open_dataset(f"imagefolder:{root}", "test").split == "all"


@pytest.mark.parametrize("split", ["..", "../pets", "/etc", "train/cat"])
def test_split_cannot_leave_the_folder(root: Path, split: str) -> None:
    put(root / "train" / "cat" / "a.png")
    with pytest.raises(UserError, match=r"--split|give the name alone"):
        open_dataset(f"imagefolder:{root}", split)


def test_links_that_lead_out_are_refused(root: Path) -> None:
    put(root.parent / "secret.png")
    (root / "dog" / "link.png").symlink_to(root.parent / "secret.png")
    with pytest.raises(UserError, match=r"link\.png leads out of .*copy the file"):
        open_dataset(f"imagefolder:{root}")


def test_links_within_are_followed_and_folders_are_not(root: Path) -> None:
    (root / "dog" / "again.png").symlink_to(root / "emu" / "d.png")
    assert len(open_dataset(f"imagefolder:{root}")) == 5
    (root / "dog" / "loop").symlink_to(root)
    with pytest.raises(UserError, match="loop is a link to a folder"):
        open_dataset(f"imagefolder:{root}")
    (root / "dog" / "loop").unlink()
    (root / "fox").symlink_to(root.parent)
    with pytest.raises(UserError, match="fox is a link to a folder"):
        open_dataset(f"imagefolder:{root}")


def test_damaged_image_is_named_when_it_is_read(root: Path) -> None:
    (root / "cat" / "deep" / "er" / "c.png").write_bytes(b"not a picture")
    data = open_dataset(f"imagefolder:{root}")
    with pytest.raises(UserError, match=r"cat/deep/er/c\.png is not an image"):
        data.image(0)
    (root / "dog" / "b.png").unlink()
    with pytest.raises(UserError, match=r"dog/b\.png cannot be read"):
        data.image(2)


def test_unreadable_folder_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr("suite.data.images.imagefolder.os.scandir", refuse)
    with pytest.raises(UserError, match=r"cat cannot be read \(Permission denied\)"):
        list_files(root / "cat", root)


def test_folders_without_images_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a folder: check the path"):
        open_dataset(f"imagefolder:{tmp_path / 'absent'}")
    with pytest.raises(UserError, match="write imagefolder:PATH"):
        open_dataset("imagefolder")
    with pytest.raises(UserError, match="give a folder of class folders"):
        open_dataset(f"imagefolder:{tmp_path}")
    put(tmp_path / "loose.png")
    with pytest.raises(UserError, match="one folder a class"):
        open_dataset(f"imagefolder:{tmp_path}")


def test_manifest_follows_files_and_preprocessing(root: Path) -> None:
    spec = f"imagefolder:{root}"
    first = open_dataset(spec).manifest()["hash"]
    assert open_dataset(spec).manifest()["hash"] == first
    assert open_dataset(spec, crop=0.9).manifest()["hash"] != first
    put(root / "dog" / "b.png", 20, size=(50, 40))
    assert open_dataset(spec).manifest()["hash"] != first


def test_content_is_what_the_images_hold_wherever_their_files_lie(root: Path) -> None:
    def content(folder: Path, *images: int) -> str | None:
        return content_of(f"imagefolder:{folder}", "dev", None, None, np.array(images))

    first = content(root, 0, 2)
    assert first is not None
    assert content(root, 0, 3) != first
    # another image, and another name of a folder above
    put(root / "emu" / "d.png", 41)
    moved = root.rename(root.parent / "elsewhere")
    assert content(moved, 0, 2) == first
    put(moved / "dog" / "b.png", 21)
    assert content(moved, 0, 2) != first
    assert content(moved, 0, 4) == ""
    assert content(root, 0, 2) is None


def test_manifest_does_not_hold_the_path(root: Path) -> None:
    first = open_dataset(f"imagefolder:{root}").manifest()
    moved = root.rename(root.parent / "elsewhere")
    assert open_dataset(f"imagefolder:{moved}").manifest() == first


@pytest.mark.parametrize(
    ("names", "expected", "said"),
    [
        (["0", "1", "10", "2", "11"], ["0", "1", "2", "10", "11"], "by number"),
        (["007", "08", "10"], ["007", "08", "10"], ""),  # both orders are one
        (["007", "8", "10"], ["007", "8", "10"], "by number"),
        (["-1", "0", "1"], ["-1", "0", "1"], "by name"),  # a sign makes it a name
        (["n01440764", "n01443537"], ["n01440764", "n01443537"], ""),
        (["\u0661", "2", "10"], ["10", "2", "\u0661"], "by name"),  # only ASCII digits are numbers
    ],
)
def test_whole_numbers_are_numbers(names: list[str], expected: list[str], said: str) -> None:
    order, note = in_order(names, None)
    assert order == expected
    assert note.startswith(said and f"class folders are taken {said} (")
    assert bool(note) == bool(said)
    assert in_order(names, "name") == (sorted(names), "")


@pytest.mark.parametrize(
    ("names", "by_name", "naturally"),
    [
        (["apple", "Banana"], "Banana, apple", "apple, Banana"),
        (["cat2", "cat10"], "cat10, cat2", "cat2, cat10"),
        (["a", "b_2x", "b_10"], "b_10, b_2x", "b_2x, b_10"),
        (["Zoo 9", "Zoo 10", "ant"], "Zoo 10, Zoo 9, ant", "ant, Zoo 9, Zoo 10"),
    ],
)
def test_two_orders_are_named_and_a_setting_chooses(
    tmp_path: Path, names: list[str], by_name: str, naturally: str
) -> None:
    for level, name in enumerate(names):
        put(tmp_path / name / "a.png", level)
    usual = open_dataset(f"imagefolder:{tmp_path}")
    assert usual.classes == tuple(sorted(names))
    (note,) = usual.notes
    assert f"{by_name}, ...)" in note
    assert f"({naturally}, ...): [order=natural]" in note
    chosen = open_dataset(f"imagefolder:{tmp_path}[order=natural]")
    assert ", ".join(chosen.classes).endswith(naturally)
    assert chosen.notes == ()
    assert chosen.manifest()["hash"] != usual.manifest()["hash"]
    with pytest.raises(UserError, match="no order 'timm'"):
        open_dataset(f"imagefolder:{tmp_path}[order=timm]")
    with pytest.raises(UserError, match=r"not all .* whole numbers: write \[order=natural\]"):
        open_dataset(f"imagefolder:{tmp_path}[order=number]")
    with pytest.raises(UserError, match="no setting 'sort': write"):
        open_dataset(f"imagefolder:{tmp_path}[sort=name]")
    with pytest.raises(UserError, match="no setting 'order': leave the brackets out"):
        open_dataset(f"parquet:{tmp_path}[order=name]")


def test_numbers_from_one_to_a_thousand_are_told() -> None:
    order, note = in_order([str(number) for number in range(1, 1001)], None)
    assert order[:3] == ["1", "2", "3"]
    assert "by number (from class 1: 2, 3, 4, ...), not by name (10, 100, 1000, ...)" in note
    assert note.endswith("folder 1 is class 0")


def test_images_by_content_and_what_is_passed_over(root: Path) -> None:
    put(root / "dog" / "c.png", 50)
    (root / "dog" / "c.png").rename(root / "dog" / "bare")
    Image.new("RGB", (4, 4)).save(root / "dog" / "d.jfif", "JPEG")
    Image.new("RGB", (4, 4)).save(root / "dog" / "e.JPE", "JPEG")
    Image.new("RGB", (4, 4)).save(root / "emu" / "f.avif")
    for name in ("dog/@eaDir/a.PNG/SYNOFILE_THUMB_M.jpg", "@eaDir/dog/x.jpg", "__MACOSX/a/b.png"):
        put(root / name)
    for name in ("dog/Thumbs.db", "dog/._a.png", "dog/.DS_Store", "emu/README", "cat/x.heic"):
        (root / name).write_bytes(b"x")
    put(root / "loose.png")
    (root / "fox").mkdir()
    data = open_dataset(f"imagefolder:{root}")
    assert data.classes == ("cat", "dog", "emu", "fox")
    names = [Path(name).name for name in data.names]  # type: ignore[attr-defined]
    assert names == ["c.png", "a.PNG", "b.png", "bare", "d.jfif", "e.JPE", "d.png", "f.avif"]
    empty, passed = data.notes
    assert empty == "classes without images: 1 of 4 (fox)"
    assert passed.startswith("passed over as no images of a class: 9 (2 hidden, 1 ")
    assert data.image(3)[0, 0].tolist() == [50, 50, 50]


@pytest.mark.parametrize(
    "names",
    [("Training", "Testing"), ("TRAIN", "Test"), ("eval", "trainset"), ("Train_Set", "val2017")],
)
def test_folders_like_splits_are_no_classes(tmp_path: Path, names: tuple[str, str]) -> None:
    for name in names:
        put(tmp_path / name / "cat" / "a.png")
    with pytest.raises(UserError, match=f"choose {' or '.join(sorted(names))} with --split"):
        open_dataset(f"imagefolder:{tmp_path}", "missing")
    assert open_dataset(f"imagefolder:{tmp_path}", names[0]).classes == ("cat",)


def test_a_class_may_be_called_like_a_split(tmp_path: Path) -> None:
    for name in ("Testing", "boat", "train"):
        put(tmp_path / name / "a.png")
    data = open_dataset(f"imagefolder:{tmp_path}", "test")
    assert data.classes == ("Testing", "boat", "train")


def test_splits_one_folder_further_down_are_named(tmp_path: Path) -> None:
    put(tmp_path / "data" / "train" / "cat" / "a.png")
    with pytest.raises(UserError, match=f"give {tmp_path / 'data'}"):
        open_dataset(f"imagefolder:{tmp_path}")


def test_a_wrong_number_of_classes_comes_with_what_was_noted(tmp_path: Path) -> None:
    put(tmp_path / "cat" / "a.png")
    (tmp_path / "thumbnails").mkdir()
    with pytest.raises(UserError, match=r"classes without images: 1 of 2 \(thumbnails\)"):
        check_labels(open_dataset(f"imagefolder:{tmp_path}"), 1)
