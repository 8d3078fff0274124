"""Files given as weights."""

import argparse
import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from bad import Bad, written
from safetensors.torch import save_file

from backbones import create_model

ROLES = ("student", "teacher")
LINE = "plan --backbones vim_nano --methods mtr --images 3 --threads 1 --checkpoint ROOT/c"
AGAIN = "download (it|or copy it) again"
PLAIN = "ask its author for plain weights"


class Payload:
    """Unpickling this would run a command."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch owned",)


def weights(**changed: Any) -> dict[str, Any]:
    """The state of a vim_nano with some tensors changed, or left out where None."""
    state = dict(create_model("vim_nano").state_dict()) | {
        key.replace("__", "."): v for key, v in changed.items()
    }
    return {name: tensor for name, tensor in state.items() if tensor is not None}


def saved(
    content: Callable[[], object], name: str = "c", **options: Any
) -> Callable[[Path], object]:
    def make(root: Path) -> None:
        torch.save(content(), root / name, **options)

    return make


def tensors(content: Callable[[], dict[str, Any]]) -> Callable[[Path], object]:
    def make(root: Path) -> None:
        save_file(content(), root / "c")

    return make


def header(
    content: bytes, length: int | None = None, data: bytes = b""
) -> Callable[[Path], object]:
    """A safetensors file with this header."""
    return written(
        "c", struct.pack("<Q", len(content) if length is None else length) + content + data
    )


def _zipped(member: bytes) -> Callable[[Path], object]:
    def make(root: Path) -> None:
        with zipfile.ZipFile(root / "c", "w") as archive:
            archive.writestr("c/data.pkl", member)
            archive.writestr("c/version", "3\n")
            archive.writestr("c/byteorder", "little")

    return make


def _tar(root: Path) -> None:
    with tarfile.open(root / "c", "w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            content = pickle.dumps(Payload())
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def called(name: str, argument: bytes, mark: bytes = b"c") -> bytes:
    """A pickle that calls `name` with one argument, written out by hand."""
    module, _, attribute = name.rpartition(".")
    return b"\x80\x02" + mark + f"{module}\n{attribute}\n".encode() + argument + b"\x85R."


def _extension() -> bytes:
    """A pickle that names its code by a number of the extension registry."""
    return b"\x80\x02\x82\xf0X\x0b\x00\x00\x00touch owned\x85R."


def _built() -> bytes:
    """A pickle that sets the state of an object (BUILD)."""
    return b"\x80\x02cargparse\nNamespace\n)\x81}X\x09\x00\x00\x00__class__cos\nsystem\nsb."


TEXT = b"X\x0b\x00\x00\x00touch owned"
HUGE = b"\x8a\x05" + (20_000_000_000).to_bytes(5, "little")
SHAPE = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}


def _head(**entries: Any) -> bytes:
    return json.dumps(entries).encode()


def _pipe(root: Path) -> None:
    os.mkfifo(root / "c")


def _link(to: str) -> Callable[[Path], object]:
    return lambda root: (root / "c").symlink_to(to)


def _sparse() -> dict[str, Any]:
    return weights(norm_f__weight=torch.zeros(64).to_sparse())


def _quantised() -> dict[str, Any]:
    return weights(norm_f__weight=torch.quantize_per_tensor(torch.zeros(64), 0.1, 0, torch.qint8))


def _eighth() -> dict[str, Any]:
    return weights(norm_f__weight=torch.zeros(64).to(torch.float8_e4m3fn))


def _meta() -> dict[str, Any]:
    return weights(norm_f__weight=torch.empty(64, device="meta"))


def _repeated() -> dict[str, Any]:
    return weights(norm_f__weight=torch.zeros(1).expand(1 << 38))


def _without_end() -> dict[str, Any]:
    whole = torch.zeros(1 << 16)
    return weights(**{f"copy{number}": whole for number in range(100)})


def _disks(root: Path) -> None:
    """A zip that says it lies on several disks."""
    saved(weights)(root)
    content = (root / "c").read_bytes()
    place = content.rindex(b"PK\x06\x07") + 4
    (root / "c").write_bytes(content[:place] + b"\xff\0\0\0" + content[place + 4 :])


ROWS = [
    Bad(
        "checkpoint: a zip of several disks", LINE, "damaged zip: download or copy it again", _disks
    ),
    Bad("checkpoint: nothing there", LINE, "does not exist: give a file"),
    Bad(
        "checkpoint: a folder",
        LINE,
        "is a folder: name the file in it",
        lambda root: (root / "c").mkdir(),
    ),
    Bad("checkpoint: empty", LINE, "is empty.*download", written("c", b"")),
    Bad("checkpoint: a pipe", LINE, "is a pipe or a device: copy the weights into a file", _pipe),
    Bad(
        "checkpoint: endless zeros",
        LINE,
        "is a pipe or a device: copy the weights",
        _link("/dev/zero"),
    ),
    Bad("checkpoint: a link to nothing", LINE, "does not exist: give a file", _link("nowhere")),
    Bad("checkpoint: a text", LINE, AGAIN, written("c", "hello\n" * 100)),
    Bad("checkpoint: a page", LINE, AGAIN, written("c", "<!DOCTYPE html><html>404</html>")),
    Bad(
        "checkpoint: a pointer",
        LINE,
        "git lfs pull",
        written("c", "version https://git-lfs.github.com/spec/v1\n"),
    ),
    Bad(
        "checkpoint: half a zip",
        LINE,
        "damaged zip: download or copy it again",
        written("c", b"PK\x03\x04" + b"\0" * 500),
    ),
    Bad("checkpoint: a foreign zip", LINE, AGAIN, _zipped(b"")),
    Bad("checkpoint: code in a pickle", LINE, PLAIN, written("c", pickle.dumps(Payload(), 2))),
    Bad(
        "checkpoint: code in protocol 4",
        LINE,
        f"{PLAIN}|{AGAIN}",
        written("c", pickle.dumps(Payload(), 4)),
    ),
    Bad(
        "checkpoint: code in protocol 0",
        LINE,
        f"{PLAIN}|{AGAIN}",
        written("c", pickle.dumps(Payload(), 0)),
    ),
    Bad("checkpoint: code in a zip", LINE, PLAIN, saved(lambda: {"model": Payload()})),
    Bad(
        "checkpoint: code beside weights",
        LINE,
        PLAIN,
        saved(lambda: {"model": weights(), "args": Payload()}),
    ),
    Bad(
        "checkpoint: code in the old form",
        LINE,
        PLAIN,
        saved(lambda: {"model": Payload()}, _use_new_zipfile_serialization=False),
    ),
    Bad("checkpoint: code in a tar", LINE, f"{PLAIN}|{AGAIN}", _tar),
    Bad("checkpoint: eval", LINE, "asks to run eval", _zipped(called("builtins.eval", TEXT))),
    Bad(
        "checkpoint: eval by its old name",
        LINE,
        "asks to run eval",
        _zipped(called("__builtin__.eval", TEXT)),
    ),
    Bad("checkpoint: subprocess", LINE, PLAIN, _zipped(called("subprocess.Popen", TEXT))),
    Bad(
        "checkpoint: an instance",
        LINE,
        f"{PLAIN}|{AGAIN}",
        _zipped(b"(X\x0b\x00\x00\x00touch ownedios\nsystem\n."),
    ),
    Bad("checkpoint: torch.load", LINE, f"{PLAIN}|{AGAIN}", _zipped(called("torch.load", TEXT))),
    Bad("checkpoint: torch.hub", LINE, PLAIN, _zipped(called("torch.hub.load", TEXT))),
    Bad("checkpoint: the extension registry", LINE, AGAIN, _zipped(_extension())),
    Bad("checkpoint: a state that is set", LINE, PLAIN, _zipped(_built())),
    Bad(
        "checkpoint: getattr",
        LINE,
        "asks to run getattr",
        _zipped(called("builtins.getattr", TEXT)),
    ),
    Bad(
        "checkpoint: 20 GB of nothing",
        LINE,
        "asks to run bytearray",
        _zipped(called("builtins.bytearray", HUGE)),
    ),
    Bad(
        "checkpoint: 20 GB of nothing, bare",
        LINE,
        PLAIN,
        written("c", called("builtins.bytearray", HUGE)),
    ),
    Bad(
        "checkpoint: an empty tensor of 80 GB",
        LINE,
        PLAIN,
        _zipped(called("torch.FloatTensor", HUGE)),
    ),
    Bad(
        "checkpoint: one number for a trillion", LINE, "save its tensors in full", saved(_repeated)
    ),
    Bad("checkpoint: one storage for all", LINE, "save its tensors in full", saved(_without_end)),
    Bad("checkpoint: sparse", LINE, "give dense, unquantised weights", saved(_sparse)),
    Bad("checkpoint: quantised", LINE, "give dense, unquantised weights", saved(_quantised)),
    Bad(
        "checkpoint: floats of eight bits",
        LINE,
        "give weights in fp16, bf16, fp32 or fp64",
        saved(_eighth),
    ),
    Bad("checkpoint: without data", LINE, "give dense, unquantised weights", saved(_meta)),
    Bad(
        "checkpoint: a list",
        LINE,
        "holds a list, not weights: give a state dict",
        saved(lambda: [1, 2]),
    ),
    Bad("checkpoint: no weights", LINE, "it is empty.*give a state dict", saved(dict)),
    Bad("checkpoint: settings alone", LINE, "'lr' is no tensor.*give", saved(lambda: {"lr": 1})),
    Bad("checkpoint: a namespace", LINE, "holds a Namespace", saved(argparse.Namespace)),
    Bad(
        "checkpoint: a number as a name",
        LINE,
        "1 keys surplus .*: choose the backbone that these weights belong to",
        saved(lambda: {1: torch.zeros(1)}),
    ),
    Bad(
        "checkpoint: without a head",
        LINE,
        r"has no head.*--backbones 'vim_nano\[classes=N\]'",
        saved(lambda: weights(head__weight=None, head__bias=None)),
    ),
    Bad(
        "checkpoint: NaN",
        LINE,
        "NaN or infinite values in 'norm_f.weight': take an earlier",
        saved(lambda: weights(norm_f__weight=torch.full((64,), float("nan")))),
    ),
    Bad(
        "checkpoint: a part missing",
        LINE,
        r"1 keys missing \(norm_f.weight\)",
        saved(lambda: weights(norm_f__weight=None)),
    ),
    Bad(
        "checkpoint: a part too many",
        LINE,
        "1 keys surplus",
        saved(lambda: weights(more=torch.zeros(1))),
    ),
    Bad(
        "checkpoint: another shape",
        LINE,
        "choose the model that these weights belong to",
        saved(lambda: weights(norm_f__weight=torch.zeros(32))),
    ),
    Bad(
        "checkpoint: whole numbers",
        LINE,
        "give unquantised weights",
        saved(lambda: weights(norm_f__weight=torch.zeros(64, dtype=torch.int8))),
    ),
    Bad(
        "checkpoint: complex numbers",
        LINE,
        "give unquantised weights",
        saved(lambda: weights(norm_f__weight=torch.zeros(64, dtype=torch.complex64))),
    ),
    Bad(
        "checkpoint: a head of no dimension",
        LINE,
        "another shape.*: choose the model",
        saved(lambda: weights(head__weight=torch.zeros(()))),
    ),
    Bad(
        "checkpoint: averaged alone",
        LINE.replace("vim_nano", "'vim_nano[ema=false]'"),
        "has no plain weights .*: leave out ema=false",
        saved(lambda: {"model_ema": weights()}),
    ),
    Bad(
        "checkpoint: plain alone",
        LINE.replace("vim_nano", "'vim_nano[ema=true]'"),
        "has no averaged weights .*: leave out ema=true",
        saved(lambda: {"model": weights()}),
    ),
    Bad(
        "checkpoint: ema as a word",
        LINE.replace("vim_nano", "'vim_nano[ema=on]'"),
        "cannot take ema=on: give true or false",
        saved(weights),
    ),
    Bad(
        "checkpoint: names with and without a prefix",
        LINE,
        "has both 'cls_token' and 'module.cls_token': keep one of them",
        saved(lambda: weights() | {f"module.{name}": one for name, one in weights().items()}),
    ),
    Bad(
        "checkpoint: a student and its teacher",
        LINE,
        "has the model under 'student.' and under 'teacher.': save one",
        saved(lambda: {f"{of}.{name}": one for of in ROLES for name, one in weights().items()}),
    ),
    Bad("safetensors: a header too long", LINE, AGAIN, header(b"{}", 1 << 60)),
    Bad("safetensors: a header beyond the end", LINE, AGAIN, header(b"{}", 1000)),
    Bad("safetensors: no JSON", LINE, AGAIN, header(b"{" * 64)),
    Bad("safetensors: a depth", LINE, AGAIN, header(b'{"a":' * 20_000)),
    Bad("safetensors: a list", LINE, AGAIN, header(b"{]")),
    Bad("safetensors: overlapping", LINE, AGAIN, header(_head(a=SHAPE, b=SHAPE), data=b"\0" * 16)),
    Bad(
        "safetensors: a hole",
        LINE,
        AGAIN,
        header(_head(a=SHAPE, b=SHAPE | {"data_offsets": [32, 48]}), data=b"\0" * 48),
    ),
    Bad(
        "safetensors: backwards",
        LINE,
        AGAIN,
        header(_head(a=SHAPE | {"data_offsets": [16, 0]}), data=b"\0" * 16),
    ),
    Bad("safetensors: cut", LINE, AGAIN, header(_head(a=SHAPE), data=b"\0" * 8)),
    Bad(
        "safetensors: an absurd shape",
        LINE,
        AGAIN,
        header(_head(a=SHAPE | {"shape": [1 << 40, 1 << 40]})),
    ),
    Bad(
        "safetensors: a negative shape",
        LINE,
        AGAIN,
        header(_head(a=SHAPE | {"shape": [-2, -2]}), data=b"\0" * 16),
    ),
    Bad(
        "safetensors: an unknown type",
        LINE,
        AGAIN,
        header(_head(a=SHAPE | {"dtype": "Q7"}), data=b"\0" * 16),
    ),
    Bad("safetensors: no tensors", LINE, "it is empty.*give a state dict", header(b"{}      ")),
    Bad(
        "safetensors: NaN",
        LINE,
        "NaN or infinite values",
        tensors(lambda: weights(norm_f__weight=torch.full((64,), float("nan")))),
    ),
    Bad(
        "safetensors: of another model",
        LINE,
        "1 keys surplus .*: choose the backbone that these weights belong to",
        tensors(lambda: {"a": torch.zeros(2)}),
    ),
]
