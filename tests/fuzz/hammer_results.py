"""Reads damaged run folders: hammer_results.py COUNT SEED."""

# ruff: noqa: E501 - tables of odd values are easier to look over with many in a line
from __future__ import annotations

import json
import logging
import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hammer import hammer, tell
from odd_packs import flipped, pickled, truncated

from harness.specs import Choice, ClassScores, Curve, Measurement, RunResult, RunSpec, Spectrum
from harness.store.database import collect
from harness.store.rebuild import rebuild
from harness.store.spool import RunFolder

ODD: tuple[Any, ...] = (
    None, True, -1, 0, 1.5, 1e308, 2**63, 2**64, -(2**70), "", "x" * 5000, "\0", "\ud800", "../../../escaped", [], {}, [[]], {"": 0},
    [None] * 50, {"a": {"b": {"c": 1}}}, "NaN", "2026-11-21", "'); drop table runs; --", 10**400, [1, [2, [3]]],
)  # fmt: skip

SPEC = RunSpec(
    dataset=Choice("glyphs", {"classes": 8}), backbone=Choice("convnet", {"embedding_dim": 8}),
    objective=Choice("triplet", {}), sampler=Choice("class_balanced", {}), miner=Choice("random"), seed=0,
)  # fmt: skip
RESULT = RunResult(
    SPEC.run_id, "done", measurements=[Measurement("test", "recall_at_1", "last", 2, 0.5)],
    curves=[Curve("test", "recall_at_1", [1, 2], [0.4, None])], spectra=[Spectrum("test", "last", 2, [0.7, 0.3])],
    class_scores=[ClassScores("test", "recall_at_1", "last", 2, {"a": 0.5})], cost={"train_seconds": 1.5},
    provenance={"commit": "abc", "machine": {"cpu": "x"}},
)  # fmt: skip
RUNS = Path("results")


def make() -> dict[str, bytes]:
    """The files of an honest run, by their names."""
    folder = RunFolder(RUNS, SPEC.run_id)
    folder.write_spec(SPEC)
    lease = folder.take(device="cpu", provenance={"version": "0.1.0"})
    assert lease is not None
    folder.write_progress({"epoch": 1}, lease)
    folder.publish(RESULT, lease)
    return {str(path.relative_to(folder.path)): path.read_bytes() for path in folder.path.rglob("*.json")}


def odd_value(value: Any, chance: random.Random) -> Any:
    """The same JSON with one thing in it replaced, removed, renamed or there twice."""
    if isinstance(value, dict) and value and chance.random() < 0.85:
        key = chance.choice(list(value))
        what = chance.random()
        rest = {name: child for name, child in value.items() if name != key}
        if what < 0.1:
            return rest
        if what < 0.2:
            return {**rest, chance.choice((key + "s", "", "\ud800", "format", "x" * 300)): value[key]}
        return {**value, key: odd_value(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.7:
        place = chance.randrange(len(value))
        return [*value[:place], odd_value(value[place], chance), *value[place : place + chance.randrange(3)]]
    return chance.choice(ODD)


def odd_file(content: bytes, chance: random.Random) -> bytes:
    what = chance.random()
    if what < 0.6:
        return json.dumps(odd_value(json.loads(content), chance)).encode()
    if what < 0.75:
        return flipped(content, chance)
    if what < 0.85:
        return truncated(content, chance)
    bare = (
        pickled(),
        b"",
        b"\xff\xfe{}",
        b"[" * 200_000,
        b"{}",
        b"null",
        b'{"a":' * 5000,
        b"9" * 5000,
        content * 2,
        b"\xef\xbb\xbf" + content,
    )
    return chance.choice(
        (*bare, content.replace(b"0.5", b"NaN"), content.replace(b"0.5", b"1e999"), content.replace(b"1", b"9" * 30))
    )


def odd_folders(files: dict[str, bytes], count: int, number: int) -> Iterator[tuple[str, dict[str, bytes]]]:
    chance = random.Random(number)
    for position in range(count):
        name = chance.choice([*files, "spec.json", "result.json", "result.json"])
        yield f"{number}/{position} {name}", {**files, name: odd_file(files[name], chance)}


def read(files: dict[str, bytes]) -> None:
    """As `harness status`, `explain`, `db collect` and `db rebuild` do."""
    folder = RunFolder(RUNS, SPEC.run_id)
    shutil.rmtree(RUNS)
    for name, content in files.items():
        (folder.path / name).parent.mkdir(parents=True, exist_ok=True)
        (folder.path / name).write_bytes(content)
    url = f"sqlite:///{RUNS}/harness.db"
    collected = collect(url, RUNS)
    assert collected in (0, 1)
    assert rebuild(url, RUNS).results == collected
    folder.state()
    folder.read_progress()
    folder.read_spec()
    folder.read_result()
    folder.attempts()


def main() -> None:
    logging.disable()
    tell(hammer(odd_folders(make(), int(sys.argv[1]), int(sys.argv[2])), read, refusal=(3,)))


if __name__ == "__main__":
    main()
