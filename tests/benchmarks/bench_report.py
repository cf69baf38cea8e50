"""Times the report of a large study: seconds by phase, peak memory, size of the page.

    python tests/benchmarks/bench_report.py --seeds 100 [--methods 200] [--datasets 5] [--keep FOLDER]

With the numbers given the database has 100,000 runs x 30 metrics x 50 epochs, about 2 GB; `--keep` leaves it, and a
later call with the same folder reports from it again. The report is made in a process of its own, so that its peak
memory is not that of making the database. Seconds are told on the clock and of CPU, which others who use the machine
do not change.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import large_study

from harness.report import document
from harness.store.frames import Database

SECONDS, MEMORY, PAGE = 90.0, 2000.0, 5.0
"""What the report of 100,000 runs may take: CPU seconds, MB of memory and MB of page."""

Took = dict[str, list[float]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a line for each phase, then the sums."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--methods", type=int, default=200)
    parser.add_argument("--datasets", type=int, default=5)
    parser.add_argument("--keep", type=Path, help="a folder for the database and the report")
    parser.add_argument("--report", type=Path, help=argparse.SUPPRESS)  # the second process
    options = parser.parse_args(arguments)
    if options.report:
        report(options.report)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(exist_ok=True)
        path = folder / f"harness-{options.datasets}-{options.methods}-{options.seeds}.db"
        if not path.exists():
            _make(path, options)
        command = [sys.executable, __file__, "--report", str(path)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        print(done.stdout, end="", flush=True)


def _make(path: Path, options: argparse.Namespace) -> None:
    clock, cpu = time.perf_counter(), time.process_time()
    runs = large_study.make(path, methods=options.methods, datasets=options.datasets, seeds=options.seeds)
    spent = f"{time.perf_counter() - clock:7.2f} s  ({time.process_time() - cpu:.2f} s CPU)"
    print(f"{spent}  making a database of {runs} runs, {path.stat().st_size / 1e6:,.0f} MB", flush=True)


def report(path: Path) -> None:
    """Writes the report beside the database and prints what that took."""
    began = memory()
    took: Took = {}
    with watched(took), phase(took, "whole report"):
        page = document.write_report(Database(path), large_study.STUDY, out=path.parent / "report")
    whole = took.pop("whole report")
    for name, spent in took.items():
        print(line(name, spent))
    print(
        line("rest", [whole[0] - sum(each[0] for each in took.values()), whole[1] - sum(s[1] for s in took.values())])
    )
    print(line("whole report", whole))
    print(f"{memory():,.0f} MB of memory at most, {began:,.0f} MB before; {page.stat().st_size / 1e6:.2f} MB of page")


def line(name: str, spent: Sequence[float]) -> str:
    """`  12.34 s  (10.20 s CPU)  reading runs`, and the peak of memory until then where it is known."""
    peak = f", {spent[2]:,.0f} MB until then" if len(spent) > 2 else ""
    return f"{spent[0]:7.2f} s  ({spent[1]:.2f} s CPU)  {name}{peak}"


@contextmanager
def watched(took: Took) -> Iterator[None]:
    """The phases of a report, each counted where it is called: reading, analyses, drawing, tables, page."""
    kept = [(document, "read"), (document, "page"), (document, "all_runs"), (document, "write_table")]
    kept += [(document, "write_figure")]
    before = {name: getattr(module, name) for module, name in kept}
    names = {"read": "reading frames", "page": "page", "all_runs": "table of runs", "write_table": "writing tables",
             "write_figure": "drawing"}  # fmt: skip
    order = dict(document.ORDER)
    try:
        for module, name in kept:
            setattr(module, name, counted(took, names[name], before[name]))
        document.ORDER.update({name: counted(took, f"analysis {name}", analyze) for name, analyze in order.items()})
        yield
    finally:
        document.ORDER.update(order)
        for module, name in kept:
            setattr(module, name, before[name])


def counted(took: Took, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, with its time added to a phase."""

    def call(*arguments: Any, **options: Any) -> Any:
        with phase(took, name):
            return function(*arguments, **options)

    return call


@contextmanager
def phase(took: Took, name: str) -> Iterator[None]:
    """Adds the seconds on the clock and of CPU to a phase, with the peak of memory at its end."""
    clock, cpu = time.perf_counter(), time.process_time()
    yield
    before = took.get(name, [0.0, 0.0])
    took[name] = [before[0] + time.perf_counter() - clock, before[1] + time.process_time() - cpu, memory()]


def memory() -> float:
    """The most memory that this process has held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


if __name__ == "__main__":
    sys.exit(main())
