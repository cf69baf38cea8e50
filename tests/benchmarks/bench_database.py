"""Times the results database: collecting finished runs, asking how things stand, and what a run takes on disk.

    python tests/benchmarks/bench_database.py --runs 10000 --many 100000 [--db postgresql+psycopg://...]

`runs` runs like those of a paper (40 curves of 150 epochs, two selections, spectra and class scores) are collected into
an empty database; the rows that they give are then put into another by plain SQLAlchemy bulk inserts, the same batch a
transaction. `many` small runs, all finished and collected, are what 10 new ones are collected among, and what `status`
counts. Every time is told in seconds on the clock and of this process's CPU.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from sqlalchemy import create_engine

from harness.specs import Choice, ClassScores, Curve, Measurement, RunResult, RunSpec, Spectrum, Training
from harness.store import schema
from harness.store.database import BATCH, collect, record_study
from harness.store.engine import open_engine
from harness.store.results import result_text
from harness.store.rows import look
from harness.store.spool import RunFolder, run_folders
from harness.store.standing import standing

CURVES, EPOCHS, CLASSES, DIMS, BODIES = 40, 150, 100, 128, 20
PROVENANCE = {
    "version": "0.1.0",
    "commit": "0" * 40,
    "dirty": None,
    "python": "3.11.7",
    "system": "Linux 6.1",
    "host": "n1",
    "cpu": "a processor of some kind",
    "cores": 64,
    "command": "harness work --results results",
    "threads": "1",
    "data": "0" * 64,
    "weights": "0" * 64,
    "torch_deterministic": True,
    "gpu": "a device of some kind",
    "libraries": {f"library-{number}": f"{number}.{number}.0" for number in range(13)},
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a line for each question."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--many", type=int, default=10_000)
    parser.add_argument("--db", help="an empty server database to use in place of an SQLite file")
    options = parser.parse_args(arguments)
    if options.runs:
        with tempfile.TemporaryDirectory() as folder:
            collect_runs(Path(folder), options.runs, options.db)
    if options.many:
        with tempfile.TemporaryDirectory() as folder:
            look_at_many(Path(folder), options.many, options.db)


def collect_runs(folder: Path, runs: int, db: str | None) -> None:
    """From run folders to rows, beside the same rows by bulk inserts."""
    write_runs(folder, [spec_of(seed) for seed in range(runs)], bodies(CURVES, EPOCHS))
    url = db or f"sqlite:///{folder}/harness.db"
    with timed(f"collecting {runs} finished runs") as took:
        assert collect(url, folder) == runs
    count = rows_in(url)
    print(f"  {count / runs:.0f} rows a run, {count / took[0]:,.0f} rows/s")
    if not db:
        size = (folder / "harness.db").stat().st_size
        print(f"  {size / runs / 1000:.1f} KB a run on disk")
        plain = insert(f"sqlite:///{folder}/plain.db", bulk(folder))
        print(f"{plain[0]:7.2f} s  ({plain[1]:.2f} s CPU)  the same rows by plain bulk inserts")
        print(f"  {count / plain[0]:,.0f} rows/s; collecting takes {took[1] / plain[1]:.2f} times their CPU")


def look_at_many(folder: Path, many: int, db: str | None) -> None:
    """What stays small while the database grows."""
    specs = [spec_of(seed) for seed in range(many)]
    small = bodies(1, 3)
    url = db or f"sqlite:///{folder}/harness.db"
    write_runs(folder, specs, small)
    record_study(url, "many", None, specs)
    with timed(f"collecting {many} small runs"):
        collect(url, folder)
    write_runs(folder, [spec_of(many + seed) for seed in range(10)], small)
    with timed(f"collecting 10 new ones among {many}"):
        assert collect(url, folder) == 10
    with timed(f"collecting nothing new among {many}"):
        assert collect(url, folder) == 0
    for study in (None, "many"):
        with timed(f"status of {study or 'all studies'}, {many} runs"):
            assert standing(url, folder, study).counts["done"] >= many


def spec_of(seed: int) -> RunSpec:
    """A run that differs from the others by its seed."""
    return RunSpec(
        dataset=Choice("cub200"),
        backbone=Choice("resnet50", {"embedding_dim": DIMS, "frozen_batchnorm": True, "weights": "IMAGENET1K_V1"}),
        objective=Choice("margin", {"beta": 1.2, "margin": 0.2}),
        sampler=Choice("class_balanced", {"samples_per_class": 2}),
        miner=Choice("distance_weighted"),
        training=Training(epochs=EPOCHS),
        seed=seed,
    )


def bodies(curves: int, epochs: int) -> list[str]:
    """Some results, as text with `RUN` in place of the id; numbers like those of real curves, noise included."""
    return [_body(np.random.default_rng(number), curves, epochs) for number in range(BODIES)]


def _body(chance: np.random.Generator, curves: int, epochs: int) -> str:
    at = np.arange(1, epochs + 1)
    shapes = [(0.6, -0.4, 30, 0.004), (0.25, -0.2, 20, 0.003), (0.05, 2, 40, 0.01), (-2.3, 0.5, 20, 0.05)]
    made = []
    for number in range(curves):
        end, drop, pace, noise = shapes[number % len(shapes)]
        values = end + drop * np.exp(-at / pace) + chance.normal(0, noise, epochs)
        made.append(Curve("test" if number % 2 else "train", f"name_of_metric_{number}", at.tolist(), values.tolist()))
    chosen = [("last", epochs), ("best_test", max(1, epochs - 20))]
    result = RunResult(
        "RUN",
        "done",
        measurements=[Measurement(c.split, c.metric, rule, at, c.values[at - 1]) for rule, at in chosen for c in made],
        curves=made,
        spectra=[_spectrum(chance, split, *one) for one in chosen for split in ("train", "test")] if curves > 1 else [],
        class_scores=[_scores(chance, name, *one) for one in chosen for name in "abc"] if curves > 1 else [],
        cost={"train_seconds": 5000.5, "evaluate_seconds": 1000.25, "step_ms": 112.5, "peak_memory_mb": 9000.0},
        provenance=PROVENANCE,
    )
    return result_text(result)


def _spectrum(chance: np.random.Generator, split: str, rule: str, epoch: int) -> Spectrum:
    values = np.sort(chance.exponential(size=DIMS))[::-1]
    return Spectrum(split, rule, epoch, (values / values.sum()).tolist())


def _scores(chance: np.random.Generator, name: str, rule: str, epoch: int) -> ClassScores:
    scores = {f"{number:03d}.Name_of_Bird": float(chance.random()) for number in range(CLASSES)}
    return ClassScores("test", f"metric_{name}", rule, epoch, scores)


def write_runs(folder: Path, specs: Sequence[RunSpec], texts: Sequence[str]) -> None:
    """Run folders as workers leave them, but written at once."""
    attempt = {"begin": "2026-11-20T10:00:00.000+00:00", "end": "2026-11-20T12:00:00.000+00:00", "cause": "done"}
    attempt |= {"host": "n1", "device": "cuda:0", "pid": 1, "provenance": PROVENANCE}
    told = json.dumps({**attempt, "first_step": 0, "last_step": 7500})
    for number, spec in enumerate(specs):
        place = RunFolder(folder, spec.run_id)
        place.attempts_path.mkdir(parents=True)
        (place.path / "spec.json").write_text(json.dumps(spec.to_dict(), indent=1))
        (place.attempts_path / "20261120T100000-0123abcd.json").write_text(told)
        place.result_path.write_text(texts[number % len(texts)].replace("RUN", spec.run_id, 1))


def bulk(folder: Path) -> Iterator[dict[str, list[dict[str, object]]]]:
    """The rows of all runs, batch by batch, as collecting makes them."""
    shared: set[object] = set()
    folders = run_folders(folder)
    while some := list(itertools.islice(folders, BATCH)):
        batch: dict[str, list[dict[str, object]]] = {}
        for one in filter(None, (look(run, None) for run in some)):
            batch.setdefault("runs", []).append(one.run)
            batch.setdefault("attempts", []).extend(one.attempts)
            for name, rows in (one.result or {}).items():
                # Lists that runs share are there once.
                new = [row for row in rows if not name.endswith("_lists") or next(iter(row.values())) not in shared]
                shared |= {next(iter(row.values())) for row in new if name.endswith("_lists")}
                batch.setdefault(name, []).extend(new)
        yield batch


def insert(url: str, batches: Iterator[dict[str, list[dict[str, object]]]]) -> tuple[float, float]:
    """What anybody would write; gives the seconds on the clock and of CPU that the inserts alone took."""
    engine = create_engine(url)
    schema.metadata.create_all(engine)
    clock = cpu = 0.0
    for batch in batches:
        begun = time.perf_counter(), time.process_time()
        with engine.begin() as connection:
            for table in schema.metadata.sorted_tables:
                if batch.get(table.name):
                    connection.execute(table.insert(), batch[table.name])
        clock, cpu = clock + time.perf_counter() - begun[0], cpu + time.process_time() - begun[1]
    return clock, cpu


def rows_in(url: str) -> int:
    """All rows of all tables."""
    with open_engine(url, write=False).connect() as connection:
        tables = schema.metadata.sorted_tables
        return sum(connection.exec_driver_sql(f"select count(*) from {table.name}").scalar_one() for table in tables)


@contextmanager
def timed(what: str) -> Iterator[list[float]]:
    """Prints and gives the seconds on the clock and of this process's CPU."""
    took: list[float] = []
    clock, cpu = time.perf_counter(), time.process_time()
    yield took
    took += [time.perf_counter() - clock, time.process_time() - cpu]
    print(f"{took[0]:7.2f} s  ({took[1]:.2f} s CPU)  {what}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
