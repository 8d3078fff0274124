"""Disturbed runs (killed, full disk, damage, shared folder) end with the usual files."""

import os
import random
import resource
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from backbones.models.vim import Vim

Faults = dict[str, Any]
EVERY = ("write", "fsync", "replace")


def shard_files(scene: Any, name: str, kind: str = "shards") -> list[Path]:
    return sorted((scene.root / name / kind).rglob("*.parquet"))


def killed_until(scene: Any, kills: int, seed: int) -> int:
    """Kill runs at random instants after their first shard has begun; returns how often.

    Each run is resumed until it ends.
    """
    drawn, done, folder = random.Random(seed), 0, 0
    child = scene.start("timed")
    child.until_begun()
    started = time.monotonic()
    assert child.ended() == 0
    lasted = time.monotonic() - started
    while done < kills:
        folder, deaths, stretch = folder + 1, 0, 1.0
        while True:
            child = scene.start(f"run{folder}")
            # One that is resumed is killed at any time, also in what follows the last shard.
            if not deaths:
                child.until_begun()
            started, wait = time.monotonic(), drawn.uniform(0, lasted * stretch / 2)
            while time.monotonic() - started < wait and not child.over():
                time.sleep(0.001)
            over = child.over()
            os.kill(child.pid, signal.SIGKILL)
            code = child.ended()
            if over:
                assert code == 0, scene.output(f"run{folder}")
                break
            deaths += 1
            stretch *= 1.2  # so that one gets through on a machine that has become slower
        done += deaths
        scene.check(f"run{folder}", deaths)
    return done


def fault_everywhere(
    scene: Any, faults: Faults, strike: str, kinds: tuple[str, ...], code: int, step: int = 1
) -> int:
    """Cause a fault at the first, second, ... call of a run and resume it, until none is left.

    Returns how many runs had a fault.
    """
    number = 1
    while True:
        name = f"{strike}{number}"
        status = scene.run(name, faults["fault_at"](number, faults[strike], kinds))
        if status == 0:
            scene.check(name, 0)
            return number // step
        assert status == code, scene.output(name)
        assert scene.run(name) == 0, scene.output(name)
        scene.check(name, 1)
        number += step


def test_a_few_kills(scene: Any, faults: Faults) -> None:
    assert killed_until(scene, 1, seed=1) >= 1
    assert fault_everywhere(scene, faults, "die", EVERY, 137, step=43) > 1


@pytest.mark.slow
@pytest.mark.parametrize("scene", ["compare", "tune"], indirect=True)
def test_fifty_kills_at_drawn_instants(scene: Any) -> None:
    assert killed_until(scene, 50, seed=6) >= 50


@pytest.mark.slow
@pytest.mark.parametrize("scene", ["compare", "sensitivity"], indirect=True)
def test_a_kill_at_every_write_flush_and_replacement(scene: Any, faults: Faults) -> None:
    """Every file is written, flushed and renamed once, so there are at least three calls a file."""
    assert fault_everywhere(scene, faults, "die", EVERY, 137) > 3 * len(scene.truth) - 9


@pytest.mark.slow
def test_a_full_disk_at_every_write(scene: Any, faults: Faults) -> None:
    assert fault_everywhere(scene, faults, "no_space", ("write",), 2) > len(scene.truth) - 3
    output = scene.output("no_space1").splitlines()
    assert output[0] == "error: No space left on device: free some space, or choose another folder"


@pytest.mark.slow
def test_a_file_that_may_not_grow_so_large_stops_the_run_and_no_more(scene: Any) -> None:
    sizes = sorted(len(content) for content in scene.truth.values())
    limit = sizes[len(sizes) // 2]
    assert scene.run("cut", lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))) == 2
    assert "File too large: choose another folder" in scene.output("cut")
    assert not list((scene.root / "cut").rglob(".*.tmp"))
    assert scene.run("cut") == 0
    scene.check("cut", 1)


def torn(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    middle = len(content) // 3
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def empty(content: bytes) -> bytes:
    return b""


@pytest.mark.parametrize(
    ("damage", "kind"), [(torn, "tokens"), (flipped, "shards"), (empty, "shards")]
)
def test_damage_is_set_aside_and_made_again(scene: Any, damage: Any, kind: str) -> None:
    path = shard_files(scene, "truth", kind)[1]
    bad = damage(path.read_bytes())
    path.write_bytes(bad)
    begun = len(scene.log("truth"))
    assert scene.run("truth") == 0
    assert [line[0] for line in scene.log("truth")[begun:]] == ["begin", "kept"]
    assert scene.results("truth") == scene.truth
    aside = scene.root / "truth" / "set-aside" / path.relative_to(scene.root / "truth")
    assert aside.read_bytes() == bad
    assert scene.output("truth").count("set aside as") == 1


@pytest.mark.slow
def test_a_file_of_another_shard_cell_or_run_is_foreign(scene: Any) -> None:
    first, second, *_ = shard_files(scene, "truth")
    elsewhere = next(path for path in shard_files(scene, "truth") if path.parent != first.parent)
    scene.line = [*scene.line, "--shard-size", "5"]  # the same cells and images, cut otherwise
    assert scene.run("other") == 0
    scene.line = scene.line[:-2]
    other = scene.root / "other" / first.relative_to(scene.root / "truth")
    for foreign in (second, elsewhere, other):
        first.write_bytes(foreign.read_bytes())
        assert scene.run("truth") == 0
        assert scene.results("truth") == scene.truth
    stranger = first.with_name("00099.parquet")
    stranger.write_bytes(first.read_bytes())
    assert scene.run("truth") == 0
    assert scene.results("truth") == scene.truth
    assert scene.output("truth").count("set aside as") == 4


@pytest.mark.parametrize(
    "scene",
    [
        "compare",
        pytest.param("sensitivity", marks=pytest.mark.slow),
        pytest.param("tune", marks=pytest.mark.slow),
    ],
    indirect=True,
)
def test_two_processes_share_the_work(scene: Any, faults: Faults) -> None:
    def met() -> bool:
        return len({pid for what, pid, _ in scene.log("shared") if what == "here"}) == 2

    children = [scene.start("shared", faults["paused"](scene, "shared", met)) for _ in range(2)]
    assert [child.ended() for child in children] == [0, 0], scene.output("shared")
    scene.check("shared", 0)
    begun = Counter(pid for what, pid, _ in scene.log("shared") if what == "begin")
    assert set(begun) == {str(child.pid) for child in children}
    assert not (scene.root / "shared" / "locks").exists()


@pytest.mark.slow
def test_what_a_killed_process_held_goes_to_the_other(scene: Any, faults: Faults) -> None:
    go = scene.root / "go"
    one = scene.start("left", faults["paused"](scene, "left", lambda: False))
    one.until_begun()
    other = scene.start("left", faults["paused"](scene, "left", go.exists))
    other.until_begun()
    os.kill(one.pid, signal.SIGKILL)
    go.touch()
    assert (one.ended(), other.ended()) == (-9, 0), scene.output("left")
    scene.check("left", 1)


@pytest.mark.slow
def test_an_interruption_says_so(scene: Any, faults: Faults) -> None:
    child = scene.start("stopped", faults["paused"](scene, "stopped", lambda: False))
    child.until_begun()
    os.kill(child.pid, signal.SIGINT)
    assert child.ended() == 130, scene.output("stopped")
    assert "interrupted: rerun the command to resume" in scene.output("stopped")
    assert scene.run("stopped") == 0
    scene.check("stopped", 1)


@pytest.mark.slow
def test_half_written_files_of_the_dead_go_and_those_of_the_living_stay(
    scene: Any, faults: Faults
) -> None:
    go, half = scene.root / "go", scene.root / "tidy" / "cells" / ".x.json.1.tmp"
    children = []
    for _ in range(2):  # the second comes when the first may be writing
        children.append(scene.start("tidy", faults["paused"](scene, "tidy", go.exists)))
        children[-1].until_begun()
        half.parent.mkdir(exist_ok=True)
        assert half.exists() == (len(children) == 2)
        half.write_text("half")
    go.touch()
    assert [child.ended() for child in children] == [0, 0], scene.output("tidy")
    assert not half.exists()  # the last to end was alone
    half.write_text("half")
    assert scene.run("tidy") == 0
    assert scene.results("tidy") == scene.truth


def failing_from(image: int) -> Any:
    """A setup: the model fails on every image from `image` on, and says on which."""

    def setup() -> None:
        embed = Vim.embed

        def ill(self: Vim, images: Any, index: Any = None) -> Any:
            bad = [int(place) for place in index if place >= image] if index is not None else []
            if bad:
                raise ZeroDivisionError(f"image {min(bad)}")
            return embed(self, images, index)

        Vim.embed = ill  # type: ignore[method-assign]

    return setup


def test_the_first_failure_is_recorded_in_whatever_order_shards_are_done(scene: Any) -> None:
    def backwards() -> None:
        from suite.execution import local

        failing_from(5)()
        real = local.shards
        local.shards = lambda prepared: reversed(list(real(prepared)))  # type: ignore[attr-defined]

    assert scene.run("ill", failing_from(5)) == 1
    want = scene.results("ill")
    assert any(b"ZeroDivisionError before block 0: image 5" in content for content in want.values())
    assert scene.run("again", backwards) == 1
    assert scene.results("again") == want
    assert not (scene.root / "again" / "failures").exists()
    assert scene.run("again") == 0  # the cause is gone: what failed is tried again
    assert scene.results("again") == scene.truth
