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
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from harness.errors import StoreError, StudyError, did_you_mean
from harness.report.analyses import ORDER
from harness.report.evidence import Evidence, Frames, read
from harness.report.export import FIGURE_FORMATS, TABLE_FORMATS, write_figure, write_table
from harness.report.names import QUALITY, SELECTIONS, metric, number
from harness.report.section import Section
from harness.report.statistics import LEVEL
from harness.report.style import styled
from harness.report.svg import inlined

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
    sections = [ORDER[name](evidence) for name in chosen]
    with _aside(Path(out)) as folder:
        drawn = _write_files(sections, folder)
        (folder / "index.html").write_text(_page(evidence, sections, drawn), encoding="utf-8", newline="\n")
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
    sections = [ORDER[name](evidence) for name in chosen]
    return {
        "format": 1,
        "study": evidence.study,
        "profile": evidence.profile,
        "question": evidence.question,
        "selection": evidence.selection,
        "interval": {"type": "student_t", "level": LEVEL},
        "runs": _counts(evidence),
        "missing": _records(_missing(evidence)),
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
    return evidence, chosen


def _wishes(database: Frames, study: str, profile: str | None) -> Mapping[str, Any]:
    """What the study file says about its report, as the database keeps it."""
    studies = database.studies()
    rows = studies[studies["study"] == study]
    if profile is not None:
        rows = rows[rows["profile"] == profile]
    return rows["about"].iloc[-1] or {} if len(rows) else {}


def _counts(evidence: Evidence) -> dict[str, int]:
    counts = {str(state): int(count) for state, count in evidence.runs["state"].value_counts().items()}
    return {"total": len(evidence.runs), "done": 0, "failed": 0, "pending": 0, **counts}


def _missing(evidence: Evidence) -> pd.DataFrame:
    """Runs without numbers: cell, setting, method, seed, run_id, state, cause, message."""
    runs = evidence.runs[evidence.runs["state"] != "done"]
    return runs[["cell", "setting", "method", "seed", "run_id", "state", "cause", "message"]]


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): _plain(value) for key, value in row.items()} for row in frame.to_dict("records")]


def _plain(value: Any) -> Any:
    if hasattr(value, "item"):
        value = value.item()
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value if isinstance(value, str | int | float | bool | list | dict) else str(value)


def _page(evidence: Evidence, sections: list[Section], drawn: Mapping[str, str]) -> str:
    environment = Environment(
        loader=PackageLoader("harness.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["inline_svg"] = lambda drawing: Markup(inlined(drawing.name, drawing.alt, drawn[drawing.name]))
    folder = Path(__file__).parent
    return environment.get_template("page.html.j2").render(
        evidence=evidence,
        selection=SELECTIONS[evidence.selection],
        counts=_counts(evidence),
        sections=sections,
        missing=_missing(evidence).fillna("").to_dict("records"),
        cells=_cells(evidence),
        style=Markup((folder / "page.css").read_text(encoding="utf-8")),
        script=Markup((folder / "page.js").read_text(encoding="utf-8")),
        figure_formats=FIGURE_FORMATS,
        table_formats=TABLE_FORMATS,
    )


def _cells(evidence: Evidence) -> list[dict[Any, Any]]:
    """What stands behind a cell of a table: its configuration and one line a run."""
    shown = [name for name in (*QUALITY, "density", "rho") if name in evidence.metrics("test")]
    values = evidence.measurements[evidence.measurements["split"] == "test"]
    table = values.pivot_table(index="run_id", columns="metric", values="value", aggfunc="last", sort=False)
    epochs = values.groupby("run_id")["epoch"].max().to_dict() if len(values) else {}
    cells = []
    for cell in evidence.cells().to_dict("records"):
        runs = evidence.runs[evidence.runs["cell"] == cell["cell"]].to_dict("records")
        lines = [_run_line(run, table, epochs, shown) for run in runs]
        configuration = {k: v for k, v in evidence.configurations[cell["run_id"]].items() if k != "seed"}
        cells.append(
            {**cell, "configuration": configuration, "runs": lines, "metrics": [metric(n).title for n in shown]}
        )
    return cells


def _run_line(
    run: Mapping[Any, Any], table: pd.DataFrame, epochs: Mapping[Any, Any], shown: list[str]
) -> dict[str, Any]:
    known = table.loc[run["run_id"]] if run["run_id"] in table.index else {}
    numbers = [number(known.get(name, math.nan) * metric(name).scale, metric(name).digits) for name in shown]
    reason = "" if _absent(run["cause"]) else f" ({str(run['cause']).replace('_', ' ')})"
    return {
        "run_id": run["run_id"],
        "seed": run["seed"],
        "state": f"{run['state']}{reason}",
        "epoch": epochs.get(run["run_id"], ""),
        "numbers": numbers,
    }


def _absent(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def _write_files(sections: list[Section], folder: Path) -> dict[str, str]:
    """All tables and figures; gives name of figure -> text of its SVG."""
    drawn: dict[str, str] = {}
    (folder / "tables").mkdir()
    (folder / "figures").mkdir()
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
