"""The page itself: sections, tables and figures become one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from harness.report.behind import behind
from harness.report.choices import choices
from harness.report.evidence import Evidence
from harness.report.export import FIGURE_FORMATS, TABLE_FORMATS
from harness.report.names import METRICS, SELECTIONS
from harness.report.section import Section, Table
from harness.report.svg import inlined

MOST_ROWS = 500
"""So many rows of a table are on the page; its files have them all."""

HERE = Path(__file__).parent


def page(evidence: Evidence, sections: Sequence[Section], drawn: Mapping[str, str]) -> str:
    """The text of `index.html`; `drawn` maps the name of a figure to the text of its SVG file."""
    environment = Environment(
        loader=PackageLoader("harness.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["inline_svg"] = lambda drawing: Markup(inlined(drawing.name, drawing.alt, drawn[drawing.name]))
    environment.filters["coded"] = _coded
    script = (HERE / "page.js").read_text(encoding="utf-8")
    runs = behind(evidence)
    anchors = {cell["cell"] for cell in runs["cells"]}
    tables = [table for section in sections for table in section.tables]
    lost = missing(evidence)
    return environment.get_template("page.html.j2").render(
        evidence=evidence,
        rule=SELECTIONS[evidence.selection],
        counts=counts(evidence),
        notice=_notice(evidence),
        full=[section for section in sections if section.tables or section.drawings],
        empty=[section for section in sections if not (section.tables or section.drawings)],
        rows={table.name: _rows(evidence, table, anchors) for table in tables},
        captions={table.name: _caption(table, SELECTIONS[evidence.selection]) for table in tables},
        titles={known.title for known in METRICS.values()},
        missing=lost.head(MOST_ROWS).fillna("").to_dict("records"),
        missing_total=len(lost),
        reasons=_reasons(lost),
        behind=runs,
        anchors=anchors,
        data=_data(choices(evidence, tables, anchors)),
        style=Markup((HERE / "page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        policy=_policy(script),
        figure_formats=FIGURE_FORMATS,
        table_formats=TABLE_FORMATS,
    )


def counts(evidence: Evidence) -> dict[str, int]:
    """Runs by state: total, done, failed, pending and what else there is."""
    states = {str(state): int(count) for state, count in evidence.runs["state"].value_counts().items()}
    return {"total": len(evidence.runs), "done": 0, "failed": 0, "pending": 0, **states}


def missing(evidence: Evidence) -> pd.DataFrame:
    """Runs without numbers: cell, setting, method, seed, run_id, state, cause, message."""
    runs = evidence.runs[evidence.runs["state"] != "done"]
    return runs[["cell", "setting", "method", "seed", "run_id", "state", "cause", "message"]]


def _notice(evidence: Evidence) -> str:
    """What a reader must know first of a study that is not complete."""
    told = counts(evidence)
    if not told["total"]:
        return "This study has no runs yet."
    if told["failed"] == told["total"]:
        return f"All {told['total']} runs failed, so there are no numbers. The reasons are listed below."
    if not told["done"]:
        return f"No run has a result yet: {told['failed']} of {told['total']} failed, the others are not finished."
    if told["done"] < told["total"]:
        return (
            f"Not complete: {told['done']} of {told['total']} runs are done. Every number rests on these alone and "
            "may change."
        )
    return ""


def _reasons(lost: pd.DataFrame) -> str:
    """`3 out of memory, 1 diverged, 5 pending`."""
    reasons = lost["cause"].where(lost["cause"].notna(), lost["state"]).value_counts()
    return ", ".join(f"{count} {str(reason).replace('_', ' ')}" for reason, count in reasons.items())


def _rows(evidence: Evidence, table: Table, anchors: set[str]) -> list[dict[str, Any]]:
    """Of each row: its texts, the cell behind it, and links to other cells; none to a cell that the page leaves out."""
    columns = [str(name) for name in table.shown.columns]
    behind_it = _cells_of(evidence, table, anchors)
    links = {columns.index(name): found for name, found in table.links.items() if name in columns}
    rows = []
    for place, line in enumerate(table.shown.head(MOST_ROWS).itertuples(index=False)):
        own = behind_it[place]
        told = {at: found[place] for at, found in links.items() if found[place] not in ("", f"#{own}")}
        others = {at: link for at, link in told.items() if link.removeprefix("#") in anchors}
        rows.append({"texts": line, "cell": own, "links": others})
    return rows


def _cells_of(evidence: Evidence, table: Table, anchors: set[str]) -> list[str]:
    """The cell behind each row of a table: by its own links, else by the method that it names; "" without one."""
    linked = next(iter(table.links.values()), None)
    if linked is not None:
        cells = [link.removeprefix("#") for link in linked]
    else:
        cells = _named_cells(evidence, table.shown)
    return [cell if cell in anchors else "" for cell in cells]


def _named_cells(evidence: Evidence, shown: pd.DataFrame) -> list[str]:
    methods = shown.get("Method")
    only = evidence.settings[0] if len(evidence.settings) == 1 else None
    settings = shown.get("Setting")
    if methods is None or (settings is None and only is None):
        return [""] * len(shown)
    runs = evidence.runs
    known = dict(zip(zip(runs["setting"], runs["method"], strict=True), runs["cell"], strict=True))
    where = [only] * len(shown) if settings is None else list(settings)
    return [known.get(key, "") for key in zip(where, methods, strict=True)]


def _caption(table: Table, rule: str) -> Markup:
    """The caption; where a reader may choose another selection rule, the rule is marked for the script."""
    caption = escape(table.caption)
    if not table.choose:
        return caption
    return Markup(str(caption).replace(str(escape(rule)), f'<span class="rule">{escape(rule)}</span>', 1))


def _coded(text: str) -> Markup:
    """A text of an analysis, with what it has between backquotes as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _data(value: dict[str, Any]) -> Markup:
    """JSON that no text in it can end or leave."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def _policy(script: str) -> str:
    """No request to anywhere, and no script but the one named by its digest."""
    digest = base64.b64encode(hashlib.sha256(f"\n{script}\n".encode()).digest()).decode()
    return (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
        f"script-src 'sha256-{digest}'"
    )
