import gzip
import hashlib
import struct
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from torchvision.datasets import FashionMNIST

from backbones.common.errors import UserError
from suite.data.images import fashion_mnist_files as full
from suite.data.images.clutter import open_garments
from suite.data.images.fashion_mnist_files import (
    DEBIAN,
    FOLDER_VARIABLE,
    download,
    find_folder,
    load_full,
)
from suite.data.images.sources import Sizes

SMALL = Sizes(held_out=40, dev=10, test=20)


def idx_bytes(array: np.ndarray) -> bytes:
    """`array` as uncompressed IDX content."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + array.tobytes()


@pytest.fixture
def files() -> dict[str, bytes]:
    """Small files under the published names, gzipped."""
    rng = np.random.default_rng(0)
    content = {}
    for prefix, count in (("train", 100), ("t10k", 60)):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = np.resize(np.arange(10, dtype=np.uint8), count)
        content[f"{prefix}-images-idx3-ubyte"] = idx_bytes(images)
        content[f"{prefix}-labels-idx1-ubyte"] = idx_bytes(labels)
    return {name: gzip.compress(data, mtime=0) for name, data in content.items()}


@pytest.fixture
def published(files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Take `files` for the published ones."""
    resources = []
    for name, data in files.items():
        resources.append((f"{name}.gz", hashlib.md5(data).hexdigest()))
        monkeypatch.setitem(full.SHA256, name, hashlib.sha256(gzip.decompress(data)).hexdigest())
    monkeypatch.setattr(FashionMNIST, "resources", resources)


@pytest.fixture
def requests(files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A mirror of `files`, and the paths of its requests."""
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            data = files.get(self.path.removeprefix("/").removesuffix(".gz"))
            self.send_response(200 if data else 404)
            self.end_headers()
            self.wfile.write(data or b"")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        mirror = f"http://127.0.0.1:{httpd.server_address[1]}/"
        monkeypatch.setattr(FashionMNIST, "mirrors", [mirror])
        yield paths
        httpd.shutdown()
        thread.join()


def test_download_then_open(
    tmp_path: Path, requests: list[str], files: dict[str, bytes], published: None
) -> None:
    folder = download(tmp_path / "new" / "folder")
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"{name}.gz" for name in files)
    assert len(load_full("train", folder, SMALL).labels) == 60
    assert len(load_full("test", folder, SMALL).labels) == 60
    count = len(requests)
    download(folder)
    assert len(requests) == count, "existing files are not fetched again"


def test_wrong_checksum_keeps_nothing(tmp_path: Path, requests: list[str], published: None) -> None:
    name = "t10k-labels-idx1-ubyte.gz"
    FashionMNIST.resources[-1] = (name, "0" * 32)
    with pytest.raises(UserError, match="does not have the published checksum"):
        download(tmp_path)
    assert len(list(tmp_path.iterdir())) == 3
    assert not any(name in path.name for path in tmp_path.iterdir())


def test_interrupted_write_leaves_no_file(
    tmp_path: Path, requests: list[str], published: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(KeyboardInterrupt):
        download(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_unreachable_mirror_is_named(
    tmp_path: Path, published: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FashionMNIST, "mirrors", [f"file://{tmp_path}/absent/"])
    with pytest.raises(
        UserError, match=r"cannot be fetched.*apt-get install dataset-fashion-mnist"
    ):
        download(tmp_path)


def test_a_folder_of_torchvision_is_read(
    tmp_path: Path, files: dict[str, bytes], published: None
) -> None:
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name, data in files.items():
        (raw / name).write_bytes(gzip.decompress(data))
    garments = load_full("dev", tmp_path, SMALL)
    assert len(garments.labels) == 40
    images = FashionMNIST(str(tmp_path)).data.numpy()
    assert np.array_equal(garments.images, images[garments.source])


def test_a_split_needs_its_own_files_alone(
    tmp_path: Path, files: dict[str, bytes], published: None
) -> None:
    for name, data in files.items():
        if name.startswith("t10k"):
            (tmp_path / f"{name}.gz").write_bytes(data)
    assert len(load_full("test", tmp_path, SMALL).labels) == 60
    with pytest.raises(UserError, match=f"is not in {tmp_path}"):
        load_full("train", tmp_path, SMALL)


def test_other_data_in_the_folder_is_refused(tmp_path: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (tmp_path / f"{name}.gz").write_bytes(data)
    with pytest.raises(UserError, match="is not Fashion-MNIST's"):
        load_full("test", tmp_path, SMALL)


def test_message_names_every_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "absent"))
    monkeypatch.setattr(full, "DEBIAN", tmp_path / "debian")
    with pytest.raises(
        UserError, match=r"apt-get install dataset-fashion-mnist.*--source.*suite fetch"
    ) as caught:
        open_garments("train")
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=str(tmp_path)):
        find_folder(tmp_path)


def test_search_order(
    tmp_path: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [tmp_path / name for name in ("chosen", "cache", "debian")]
    for folder in folders:
        folder.mkdir()
        for name, data in files.items():
            (folder / f"{name}.gz").write_bytes(data)
    chosen, cache, debian = folders
    monkeypatch.setenv(FOLDER_VARIABLE, str(cache))
    monkeypatch.setattr(full, "DEBIAN", debian)
    assert find_folder(chosen) == chosen
    assert find_folder() == cache
    (cache / "t10k-images-idx3-ubyte.gz").unlink()
    assert find_folder() == debian


def test_cache_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert full.cache_folder() == tmp_path / "mamba-token-suite" / "fashion-mnist"


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_debian_holds_the_published_labels() -> None:
    """With the name and time of the authors' header put back, Debian's gzip has their MD5."""
    name = "t10k-labels-idx1-ubyte"
    packed = (DEBIAN / f"{name}.gz").read_bytes()
    header = (
        b"\x1f\x8b\x08\x08"
        + (1504176627).to_bytes(4, "little")
        + b"\x00\x03"
        + name.encode()
        + b"\0"
    )
    assert (
        hashlib.md5(header + packed[10:]).hexdigest() == dict(FashionMNIST.resources)[f"{name}.gz"]
    )
