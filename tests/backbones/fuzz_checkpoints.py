"""Arbitrary files for the loader of weights.

The result must be weights or a message of one line; nothing may run, and memory is bounded.

As a program (``python tests/backbones/fuzz_checkpoints.py EXAMPLES``) it takes that many of each
kind, under a limit on memory, and prints how many were loaded and refused.
"""

import io
import json
import pickle
import resource
import struct
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from backbones.checkpoints import load
from backbones.common.errors import UserError

FORBIDDEN = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.fork",
    "os.remove",
    "os.rename",
    "os.mkdir",
    "os.rmdir",
    "os.putenv",
    "os.chmod",
    "subprocess.Popen",
    "socket.",
    "pickle.find_class",
    "shutil.",
    "urllib.",
    "ftplib.",
    "webbrowser.",
    "ctypes.dlopen",
    "builtins.input",
)
MOST = 1 << 30  # bytes that all examples together may add
seen: list[str] = []
watching = False


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    """Note what a loader of weights has no business with."""
    if watching and (event.startswith(FORBIDDEN) or (event == "open" and writes(arguments))):
        seen.append(f"{event} {arguments!r}"[:200])


@cache
def install_watch() -> None:
    """Let Python tell `watch` of every event, once: a hook stays, and takes time, to the end."""
    sys.addaudithook(watch)


def writes(arguments: tuple[Any, ...]) -> bool:
    """Whether an `open` event is of a file that may be changed."""
    mode = arguments[1] if len(arguments) > 1 else None
    return isinstance(mode, str) and bool(set(mode) & set("wax+"))


def sample() -> dict[str, torch.Tensor]:
    """A few weights of several kinds."""
    return {
        "norm_f.weight": torch.arange(6.0),
        "head.weight": torch.ones(3, 4, dtype=torch.bfloat16),
        "head.bias": torch.zeros(3, dtype=torch.float64),
        "count": torch.tensor(7),
    }


def stored(content: object, **options: Any) -> bytes:
    """The bytes that torch writes."""
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def zipped(member: bytes, compressed: bool = False) -> bytes:
    """A torch file of a pickle written by hand."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(
        buffer, "w", zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    ) as archive:
        archive.writestr("c/data.pkl", member)
        archive.writestr("c/version", "3\n")
        archive.writestr("c/data/0", b"\0" * 64)
    return buffer.getvalue()


def legacy(member: bytes) -> bytes:
    """A file of the form before zip of a pickle written by hand."""
    parts = (
        0x1950A86A20F9469CFC6C,
        1001,
        {"protocol_version": 1001, "little_endian": True, "type_sizes": {}},
    )
    return b"".join(pickle.dumps(part, 2) for part in parts) + member + pickle.dumps([], 2)


WHOLE = [
    stored(sample()),
    stored(sample(), _use_new_zipfile_serialization=False),
    stored({"model": sample(), "epoch": 3, "lr": [1e-3]}),
    save(sample()),
]
NAMES = (
    "os\nsystem",
    "posix\nsystem",
    "builtins\neval",
    "builtins\nexec",
    "builtins\n__import__",
    "__builtin__\neval",
    "builtins\nopen",
    "builtins\ngetattr",
    "builtins\nbytearray",
    "builtins\nset",
    "builtins\ncomplex",
    "subprocess\nPopen",
    "torch\nload",
    "torch.hub\nload",
    "torch\nFloatTensor",
    "torch.sparse\nFloatTensor",
    "torch\nFloatStorage",
    "torch.storage\nUntypedStorage",
    "torch\nSize",
    "torch\ndevice",
    "torch\nfloat32",
    "torch._utils\n_rebuild_tensor_v2",
    "torch._utils\n_rebuild_parameter",
    "torch._utils\n_rebuild_sparse_tensor",
    "torch._utils\n_rebuild_meta_tensor_no_storage",
    "torch._utils\n_rebuild_qtensor",
    "argparse\nNamespace",
    "collections\nOrderedDict",
    "collections\nCounter",
    "_codecs\nencode",
    "copyreg\n_reconstructor",
    "torch._tensor\n_rebuild_from_type_v2",
    "operator\nattrgetter",
    "functools\npartial",
    "pty\nspawn",
    "runpy\nrun_path",
    "webbrowser\nopen",
    "ctypes\nCDLL",
    "torch.serialization\n_get_layout",
)
small = st.integers(-3, 300)
large = st.integers(-(1 << 63), (1 << 63) - 1)


def _text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def _number(value: int) -> bytes:
    content = value.to_bytes(9, "little", signed=True)
    return b"\x8a" + bytes([len(content)]) + content


operations = st.one_of(
    st.sampled_from(NAMES).map(lambda name: b"c" + name.encode() + b"\n"),
    st.sampled_from(NAMES).map(lambda name: b"i" + name.encode() + b"\n"),
    st.sampled_from(["touch owned", "open('owned','w')", "storage", "0", "cpu", "owned"]).map(
        _text
    ),
    st.one_of(small, large, st.just(20_000_000_000)).map(_number),
    st.sampled_from(
        [
            bytes([code])
            for code in b"()t]}asue0.R\x81\x85\x86\x87\x88\x89NbQ2d1ol\x8f\x90\x91\x93\x94"
        ]
    ),
    st.binary(min_size=1, max_size=1).map(lambda place: b"q" + place),
    st.binary(min_size=1, max_size=1).map(lambda place: b"h" + place),
    st.sampled_from(
        [
            b"\x82\x01",
            b"\x83\x01\x02",
            b"\x84\x01\0\0\0",
            b"\x95" + b"\xff" * 8,
            b"\x8e" + b"\x7f" * 8,
        ]
    ),
)
programs = st.tuples(
    st.sampled_from([b"\x80\x02", b"\x80\x04", b""]), st.lists(operations, max_size=24)
).map(lambda parts: parts[0] + b"".join(parts[1]) + b".")
calls = st.tuples(st.sampled_from(NAMES), st.sampled_from(["touch owned", 20_000_000_000, 3])).map(
    lambda call: (
        b"\x80\x02c" + call[0].encode() + b"\n"
        + (_text(call[1]) if isinstance(call[1], str) else _number(call[1])) + b"\x85R."
    )
)  # fmt: skip
pickles = st.tuples(
    st.one_of(programs, calls),
    st.sampled_from([zipped, lambda member: zipped(member, True), legacy, lambda member: member]),
).map(lambda made: made[1](made[0]))


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A whole file with bits flipped, parts left out, doubled or blanked."""
    content = bytearray(draw(st.sampled_from(WHOLE)))
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(0, max(0, len(content) - 1)))
        length = draw(st.integers(1, 40))
        kind = draw(st.sampled_from(["flip", "cut", "drop", "double", "blank", "ones"]))
        if kind == "flip" and content:
            content[place] ^= 1 << draw(st.integers(0, 7))
        elif kind == "cut":
            del content[place:]
        elif kind == "drop":
            del content[place : place + length]
        elif kind == "double":
            content[place:place] = content[place : place + length]
        else:
            content[place : place + length] = (b"\0" if kind == "blank" else b"\xff") * length
    return bytes(content)


numbers = st.one_of(small, large, st.just(1 << 62), st.floats(), st.none(), st.text(max_size=3))
entries = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.one_of(
            st.sampled_from(["F32", "F64", "BF16", "I8", "BOOL", "F8_E4M3", "C64", "Q"]), numbers
        ),
        "shape": st.one_of(st.lists(numbers, max_size=4), numbers),
        "data_offsets": st.one_of(st.lists(numbers, min_size=2, max_size=2), numbers),
    },
)


@st.composite
def headers(draw: st.DrawFn) -> bytes:
    """A safetensors file with an arbitrary header."""
    names = st.one_of(
        st.sampled_from(["a", "head.weight", "__metadata__", ""]), st.text(max_size=5)
    )
    text = json.dumps(
        draw(st.dictionaries(names, st.one_of(entries, numbers), max_size=4))
    ).encode()
    length = draw(st.one_of(st.just(len(text)), st.integers(0, (1 << 64) - 1)))
    return struct.pack("<Q", length) + text + draw(st.binary(max_size=64))


@st.composite
def odd_tensors(draw: st.DrawFn) -> bytes:
    """A whole file of tensors that are no plain weights, or are more than the file holds."""
    made: dict[Any, Any] = {}
    for name in draw(
        st.lists(st.sampled_from(["a", "head.weight", "norm_f.weight", 3]), min_size=1, unique=True)
    ):
        kind = draw(
            st.sampled_from(
                ["view", "repeat", "sparse", "meta", "scaled", "nan", "type", "empty", "number"]
            )
        )
        base = torch.zeros(12)
        made[name] = {
            "view": lambda base=base: base.as_strided(
                (2, 3), (draw(st.integers(0, 3)), 1), draw(st.integers(0, 3))
            ),
            "repeat": lambda base=base: base[:1].expand(1 << draw(st.integers(0, 40))),
            "sparse": lambda base=base: base.to_sparse(),
            "meta": lambda: torch.empty(1 << draw(st.integers(0, 50)), device="meta"),
            "scaled": lambda base=base: torch.quantize_per_tensor(base, 0.1, 0, torch.qint8),
            "nan": lambda: torch.tensor([float("nan"), float("inf")]),
            "type": lambda base=base: base.to(
                draw(
                    st.sampled_from(
                        [
                            torch.bool,
                            torch.int64,
                            torch.complex64,
                            torch.float8_e4m3fn,
                            torch.float16,
                        ]
                    )
                )
            ),
            "empty": lambda: torch.empty(0, 1 << 40),
            "number": lambda: draw(st.one_of(st.none(), st.integers(), st.text())),
        }[kind]()
    zipped_form = draw(st.booleans())
    return stored(
        draw(st.sampled_from([made, {"model": made}])), _use_new_zipfile_serialization=zipped_form
    )


KINDS: dict[str, st.SearchStrategy[bytes]] = {
    "bytes": st.binary(max_size=300),
    "damaged": damaged(),
    "pickles": pickles,
    "headers": headers(),
    "tensors": odd_tensors(),
}


def check(content: bytes, path: Path) -> str:
    """What became of a file: loaded, or refused in one line; AssertionError for anything else."""
    global watching
    path.write_bytes(content)
    watching, said = True, ""
    try:
        loaded = load.load(str(path), model_name="vim_nano")
        assert sum(tensor.nbytes for tensor in loaded.state.values()) <= load.SHARED * len(content)
    except UserError as error:
        said = str(error)
    finally:
        watching = False
    assert not seen, seen
    assert "\n" not in said
    assert not said or ": " in said
    return "refused" if said else "loaded"


def fuzz(kind: str, examples: int, folder: Path) -> Counter[str]:
    """How many of so many files of a kind were loaded and refused."""
    result: Counter[str] = Counter()
    path = folder / "c.pth"

    @settings(
        max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    @given(KINDS[kind])
    def run(content: bytes) -> None:
        result[check(content, path)] += 1

    typed: Callable[[], None] = run
    typed()
    return result


def main(examples: int) -> None:
    """Fuzz every kind in a process of bounded memory."""
    install_watch()
    with tempfile.TemporaryDirectory() as name:
        check(WHOLE[0], Path(name) / "c.pth")
        resource.setrlimit(resource.RLIMIT_DATA, (8 << 30, 8 << 30))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
        totals = {kind: dict(fuzz(kind, examples, Path(name))) for kind in KINDS}
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10) - before
        assert grown < MOST, grown
        assert {path.name for path in Path(name).iterdir()} <= {"c.pth"}
    print(json.dumps({"outcomes": totals, "grown": grown}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
