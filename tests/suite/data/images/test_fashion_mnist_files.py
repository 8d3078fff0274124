import gzip
import hashlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from backbones.common.errors import UserError
from suite.data.images import fashion_mnist_files as full
from suite.data.images.clutter import open_garments
from suite.data.images.fashion_mnist_files import (
    DEBIAN,
    FOLDER_VARIABLE,
    ORIGINALS,
    Original,
    download,
    find_folder,
    load_full,
)
from suite.data.images.idx import idx_bytes
from suite.data.images.sources import Sizes

SMALL = Sizes(held_out=40, dev=10, test=20)


@pytest.fixture
def files() -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    content = {}
    for prefix, count in (("train", 100), ("t10k", 60)):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        content[f"{prefix}-images-idx3-ubyte"] = idx_bytes(images)
        content[f"{prefix}-labels-idx1-ubyte"] = idx_bytes(
            np.resize(np.arange(10, dtype=np.uint8), count)
        )
    return {name: gzip.compress(data, mtime=0) for name, data in content.items()}


@pytest.fixture
def originals(files: dict[str, bytes]) -> dict[str, Original]:
    return {
        name: Original(
            name, hashlib.md5(data).hexdigest(), hashlib.sha256(gzip.decompress(data)).hexdigest()
        )
        for name, data in files.items()
    }


@pytest.fixture
def server(files: dict[str, bytes]) -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            data = files.get(self.path.removeprefix("/").removesuffix(".gz"))
            self.send_response(200 if data else 404)
            self.end_headers()
            self.wfile.write(data or b"")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}", asked
        httpd.shutdown()
        thread.join()


def test_download_then_open(
    tmp_path: Path, server: tuple[str, list[str]], originals: dict[str, Original]
) -> None:
    folder = download(tmp_path / "new" / "folder", server[0], originals)
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        f"{name}.gz" for name in originals
    )
    assert len(load_full("train", folder, SMALL, originals).labels) == 60
    assert len(load_full("test", folder, SMALL, originals).labels) == 60
    download(folder, server[0], originals)
    assert len(server[1]) == 4, "what is there is not fetched again"


def test_wrong_checksum_keeps_nothing(
    tmp_path: Path, server: tuple[str, list[str]], originals: dict[str, Original]
) -> None:
    name = "t10k-labels-idx1-ubyte"
    originals[name] = Original(name, "0" * 32, "0" * 64)
    with pytest.raises(UserError, match="does not have the published checksum"):
        download(tmp_path, server[0], originals)
    assert not any(name in path.name for path in tmp_path.iterdir())


def test_interrupted_write_leaves_no_file(
    tmp_path: Path,
    server: tuple[str, list[str]],
    originals: dict[str, Original],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("suite.data.images.fashion_mnist_files.os.replace", fail)
    with pytest.raises(KeyboardInterrupt):
        download(tmp_path, server[0], originals)
    assert list(tmp_path.iterdir()) == []


def test_unreachable_mirror_is_named(tmp_path: Path, originals: dict[str, Original]) -> None:
    with pytest.raises(
        UserError, match=r"cannot be fetched.*apt-get install dataset-fashion-mnist"
    ):
        download(tmp_path, f"file://{tmp_path}/absent", originals)


def test_endless_answer_is_cut_off(
    tmp_path: Path,
    server: tuple[str, list[str]],
    originals: dict[str, Original],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(full, "_MAX_BYTES", 100)
    with pytest.raises(UserError, match="larger than 100 bytes"):
        download(tmp_path, server[0], originals)


def test_file_urls_work_as_mirror(
    tmp_path: Path, files: dict[str, bytes], originals: dict[str, Original]
) -> None:
    mirror, target = tmp_path / "mirror", tmp_path / "target"
    mirror.mkdir()
    for name, data in files.items():
        (mirror / f"{name}.gz").write_bytes(data)
    assert download(target, mirror.as_uri(), originals) == target
    assert len(load_full("dev", target, SMALL, originals).labels) == 40


def test_other_data_in_the_folder_is_refused(tmp_path: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (tmp_path / f"{name}.gz").write_bytes(data)
    with pytest.raises(UserError, match="is not Fashion-MNIST's"):
        load_full("test", tmp_path, SMALL)


def test_message_names_every_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "absent"))
    monkeypatch.setattr(full, "DEBIAN", tmp_path / "debian")
    with pytest.raises(
        UserError, match=r"apt-get install dataset-fashion-mnist.*--data-dir.*suite fetch"
    ) as caught:
        open_garments("train")
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=str(tmp_path)):
        find_folder(tmp_path)


def test_search_order(
    tmp_path: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [tmp_path / name for name in ("given", "cache", "debian")]
    for folder in folders:
        folder.mkdir()
        for name, data in files.items():
            (folder / f"{name}.gz").write_bytes(data)
    given, cache, debian = folders
    monkeypatch.setenv(FOLDER_VARIABLE, str(cache))
    monkeypatch.setattr(full, "DEBIAN", debian)
    assert find_folder(given) == given
    assert find_folder() == cache
    (cache / "t10k-images-idx3-ubyte.gz").unlink()
    assert find_folder() == debian


def test_cache_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert full.cache_folder() == tmp_path / "mamba-token-suite" / "fashion-mnist"


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_debian_holds_the_published_labels() -> None:
    """Debian's gzip differs from the authors' only in its header: with name and time put back, the MD5 is theirs."""
    name = "t10k-labels-idx1-ubyte"
    packed = (DEBIAN / f"{name}.gz").read_bytes()
    header = (
        b"\x1f\x8b\x08\x08"
        + (1504176627).to_bytes(4, "little")
        + b"\x00\x03"
        + name.encode()
        + b"\0"
    )
    assert hashlib.md5(header + packed[10:]).hexdigest() == ORIGINALS[name].md5
