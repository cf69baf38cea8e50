"""The page of a study: reads the evidence, runs the analyses, writes `index.html`, `figures/` and `tables/`.

The only file of the report that writes. Everything is made in a folder aside and moved into place at the end, the page
last, so that a report that was interrupted leaves the previous one readable.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from harness.errors import StoreError, StudyError, did_you_mean
from harness.report.analyses import ORDER
from harness.report.behind import all_runs
from harness.report.evidence import Evidence, Frames, read
from harness.report.export import csv, write_figure, write_table
from harness.report.names import SELECTIONS
from harness.report.page import counts, missing, page
from harness.report.section import Section
from harness.report.statistics import LEVEL
from harness.report.style import styled
from harness.report.wording import worded

ENTRIES = ("tables", "figures", "index.html")
"""What a report owns in its folder, in the order in which it is moved into place; nothing else there is touched."""


def write_report(
    database: Frames,
    study: str,
    *,
    profile: str | None = None,
    selection: str | None = None,
    out: Path | str,
    analyses: list[str] | None = None,
    results: Path | str | None = None,
) -> Path:
    """Write the report of a study to `out/index.html` and return that path.

    `selection` and `analyses` default to what the study says, then to the last epoch and to all analyses; where the
    study was planned, that is compared with what runs took, whether it says so or not. `results` is the folder of the
    runs, where intervals over test classes find each query; without it there are none. Raises StudyError for a study,
    selection or analysis that is not known, StoreError when `out` cannot be written.
    """
    evidence, chosen = _evidence(database, study, profile, selection, analyses, results)
    sections = worded(evidence, [ORDER[name](evidence) for name in chosen])
    with _aside(Path(out)) as folder:
        drawn = _write_files(evidence, sections, folder)
        (folder / "index.html").write_text(page(evidence, sections, drawn), encoding="utf-8", newline="\n")
    return Path(out) / "index.html"


def report_json(
    database: Frames,
    study: str,
    *,
    profile: str | None = None,
    selection: str | None = None,
    analyses: list[str] | None = None,
    results: Path | str | None = None,
) -> dict[str, Any]:
    """All numbers of the report as plain JSON types; None where there is no number."""
    evidence, chosen = _evidence(database, study, profile, selection, analyses, results)
    sections = worded(evidence, [ORDER[name](evidence) for name in chosen])
    return {
        "format": 1,
        "study": evidence.study,
        "profile": evidence.profile,
        "question": evidence.question,
        "selection": evidence.selection,
        "interval": {"type": "student_t", "level": LEVEL},
        "runs": counts(evidence),
        "missing": _records(missing(evidence)),
        "analyses": {
            section.name: {
                "title": section.title,
                "text": section.text,
                "tables": {table.name: _records(table.numbers) for table in section.tables},
            }
            for section in sections
        },
    }


def _evidence(
    database: Frames,
    study: str,
    profile: str | None,
    selection: str | None,
    analyses: list[str] | None,
    results: Path | str | None,
) -> tuple[Evidence, list[str]]:
    wishes = _wishes(database, study, profile)
    rule = selection or wishes.get("selection") or "last"
    if rule not in SELECTIONS:
        raise StudyError(f"selection {rule!r} is not known{did_you_mean(rule, SELECTIONS)}")
    chosen = analyses or wishes.get("analyses") or list(ORDER)
    for name in chosen:
        if name not in ORDER:
            raise StudyError(f"analysis {name!r} is not known{did_you_mean(name, ORDER)}")
    evidence = read(database, study, profile=profile, selection=rule, results=results)
    if analyses is None and len(evidence.estimates) and "estimate" not in chosen:
        chosen = [*chosen, "estimate"]  # whoever has planned a study wants to know how that came out
    if analyses is None and len(evidence.trials) and "tuning" not in chosen:
        chosen = [*chosen, "tuning"]  # no number of a tuned study stands without its budget and its looks at the test
    return evidence, chosen


def _wishes(database: Frames, study: str, profile: str | None) -> Mapping[str, Any]:
    """What the study file says about its report, as the database keeps it."""
    studies = database.studies()
    rows = studies[studies["study"] == study]
    if profile is not None:
        rows = rows[rows["profile"] == profile]
    return rows["about"].iloc[-1] or {} if len(rows) else {}


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): _plain(value) for key, value in row.items()} for row in frame.to_dict("records")]


def _plain(value: Any) -> Any:
    if hasattr(value, "item"):
        value = value.item()
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value if isinstance(value, str | int | float | bool | list | dict) else str(value)


def _write_files(evidence: Evidence, sections: list[Section], folder: Path) -> dict[str, str]:
    """All tables and figures, and the table of runs; gives name of figure -> text of its SVG."""
    drawn: dict[str, str] = {}
    (folder / "tables").mkdir()
    (folder / "figures").mkdir()
    (folder / "tables" / "runs.csv").write_text(csv(all_runs(evidence)), encoding="utf-8", newline="\n")
    for section in sections:
        for table in section.tables:
            write_table(table, folder / "tables")
        for drawing in section.drawings:
            with styled():
                drawn[drawing.name] = write_figure(drawing, folder / "figures")
    return drawn


@contextmanager
def _aside(out: Path) -> Iterator[Path]:
    """A folder inside `out` whose entries replace those of `out` when nothing went wrong; gone in any case."""
    folder: Path | None = None
    try:
        out.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".report-", dir=out))
        yield folder
        for entry in ENTRIES:
            _replace(folder / entry, out / entry, folder)
    except OSError as error:
        raise StoreError(f"the report cannot be written to {out}: {error.strerror or error}") from error
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _replace(new: Path, place: Path, aside: Path) -> None:
    """Files are replaced in one step; a folder is first moved away, because a full one cannot be replaced."""
    if new.is_dir() and place.exists():
        os.replace(place, aside / f"old-{place.name}")
    os.replace(new, place)
