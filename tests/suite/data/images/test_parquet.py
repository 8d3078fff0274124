import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from backbones.common.errors import UserError
from suite.data import open_dataset


def png(level: int) -> bytes:
    buffer = BytesIO()
    Image.new("L", (6, 5), level).save(buffer, "PNG")
    return buffer.getvalue()


def write(
    path: Path, levels: list[int], plain: bool = False, labels: list[int | None] | None = None
) -> None:
    cells = [
        png(level) if plain else {"bytes": png(level), "path": f"{level}.png"} for level in levels
    ]
    table = pa.table({"image": cells, "label": labels or [level % 7 for level in levels]})
    pq.write_table(table, path, row_group_size=2)


@pytest.mark.parametrize("plain", [False, True])
def test_rows_in_any_order_over_groups_and_files(tmp_path: Path, plain: bool) -> None:
    write(tmp_path / "train-00000-of-00002.parquet", [1, 2, 3, 4, 5], plain)
    write(tmp_path / "train-00001-of-00002.parquet", [6, 7, 8], plain)
    data = open_dataset(f"parquet:{tmp_path}")
    assert (len(data), data.split) == (8, "train")
    for index in (0, 7, 3, 4, 5, 2, 6, 1):
        assert int(data.image(index)[0, 0, 2]) == index + 1
    assert data.labels.tolist() == [1, 2, 3, 4, 5, 6, 0, 1]
    assert data.classes == tuple("0123456")
    assert data.sample(0, 32).shape == (3, 32, 32)


def test_one_group_is_read_once_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.parquet", list(range(1, 8)))
    reads: list[int] = []
    original = pq.ParquetFile.read_row_group

    def counted(self: pq.ParquetFile, group: int, **options: object) -> pa.Table:
        reads.append(group)
        return original(self, group, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counted)
    data = open_dataset(f"parquet:{tmp_path / 'a.parquet'}")
    assert reads == []
    data.samples(np.arange(7), 32)
    assert reads == [0, 1, 2, 3]


def test_class_names_of_hugging_face(tmp_path: Path) -> None:
    names = ["ant", "bee", "cat"]
    stored = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
    table = pa.table({"image": [png(1)], "label": [1]}).replace_schema_metadata(
        {"huggingface": json.dumps(stored)}
    )
    pq.write_table(table, tmp_path / "a.parquet")
    assert open_dataset(f"parquet:{tmp_path}").classes == tuple(names)
    pq.write_table(table.replace_schema_metadata({"huggingface": "{bad"}), tmp_path / "a.parquet")
    assert open_dataset(f"parquet:{tmp_path}").classes == ("0", "1")


def test_splits_by_file_name(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    write(tmp_path / "data" / "train-0.parquet", [1])
    write(tmp_path / "data" / "test.parquet", [2])
    assert int(open_dataset(f"parquet:{tmp_path}", "test").image(0)[0, 0, 0]) == 2
    with pytest.raises(UserError, match="several splits: choose test or train"):
        open_dataset(f"parquet:{tmp_path}")
    with pytest.raises(UserError, match="no split 'val'"):
        open_dataset(f"parquet:{tmp_path}", "val")


def test_paths_that_hold_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no \.parquet files"):
        open_dataset(f"parquet:{tmp_path}")
    with pytest.raises(UserError, match="does not exist: check the path"):
        open_dataset(f"parquet:{tmp_path / 'absent'}")
    with pytest.raises(UserError, match="write parquet:PATH"):
        open_dataset("parquet")
    pq.write_table(
        pa.table({"image": pa.array([], pa.binary()), "label": pa.array([], pa.int64())}),
        tmp_path / "a.parquet",
    )
    with pytest.raises(UserError, match="has no rows"):
        open_dataset(f"parquet:{tmp_path}")


def test_damaged_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write(path, [1, 2, 3])
    whole = path.read_bytes()
    for content in (b"", b"hello", whole[:-20]):
        path.write_bytes(content)
        with pytest.raises(
            UserError, match=r"a\.parquet is not a readable Parquet file.*fetch it again"
        ):
            open_dataset(f"parquet:{path}")


def test_damaged_pages_are_named_when_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write(path, [1, 2, 3])
    place = pq.ParquetFile(path).metadata.row_group(0).column(0).file_offset or 4
    content = bytearray(path.read_bytes())
    content[max(place, 4) : max(place, 4) + 60] = b"\xff" * 60
    path.write_bytes(content)
    data = open_dataset(f"parquet:{path}")
    with pytest.raises(UserError, match=r"a\.parquet"):
        data.image(0)


@pytest.mark.parametrize("column", ["image", "label"])
def test_missing_column_is_named(tmp_path: Path, column: str) -> None:
    table = pa.table({"image": [png(1)], "label": [0]}).rename_columns(
        ["other" if name == column else name for name in ("image", "label")]
    )
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(UserError, match=f"no column '{column}' .it has .*other.*: rename"):
        open_dataset(f"parquet:{tmp_path}")


def test_labels_must_be_whole_and_present(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", [1, 2], labels=[0, None])
    with pytest.raises(UserError, match="1 rows without a label"):
        open_dataset(f"parquet:{tmp_path}")
    pq.write_table(pa.table({"image": [png(1)], "label": ["cat"]}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match="labels of type string: number the classes"):
        open_dataset(f"parquet:{tmp_path}")


def test_rows_without_bytes_are_named_and_no_path_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "secret.png"
    path.write_bytes(png(5))
    cells = [{"bytes": png(1), "path": "a"}, {"bytes": None, "path": str(path)}, None]
    pq.write_table(pa.table({"image": cells, "label": [0, 0, 0]}), tmp_path / "a.parquet")
    data = open_dataset(f"parquet:{tmp_path}")
    for row in (1, 2):
        with pytest.raises(UserError, match=rf"a\.parquet row {row} has no image bytes"):
            data.image(row)


def test_damaged_image_names_its_row_in_its_file(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", [1, 2, 3])
    pq.write_table(pa.table({"image": [png(1), b"junk"], "label": [0, 0]}), tmp_path / "b.parquet")
    with pytest.raises(UserError, match=r"b\.parquet row 1 is not an image"):
        open_dataset(f"parquet:{tmp_path}").image(4)


def test_manifest_follows_the_content(tmp_path: Path) -> None:
    hashes = set()
    for levels in ([1, 2, 3], [1, 2, 4], [1, 2]):
        write(tmp_path / "a.parquet", levels, labels=[0] * len(levels))
        hashes.add(open_dataset(f"parquet:{tmp_path}").manifest()["hash"])
    assert len(hashes) == 3


def test_rows_exchanged_are_other_images_under_the_same_footer(tmp_path: Path) -> None:
    held = []
    for levels in ([10, 20], [20, 10]):
        write(tmp_path / "a.parquet", levels, labels=[0, 0])
        data = open_dataset(f"parquet:{tmp_path}")
        held.append([data.identify(row).content for row in (0, 1)])  # type: ignore[attr-defined]
    assert held[0] == held[1][::-1]
    assert held[0][0] != held[0][1]
    write(tmp_path / "a.parquet", [20, 10], labels=[0, 1])
    data = open_dataset(f"parquet:{tmp_path}")
    assert data.identify(1).content != held[1][1]  # type: ignore[attr-defined]
