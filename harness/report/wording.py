"""The word that a report does not use of methods that were tuned unequally."""

from __future__ import annotations

import re
from dataclasses import replace

from harness.report.evidence import Evidence
from harness.report.section import Section

_OF_METHODS = re.compile(r"\b(b|B)est\b(?! (?:measured )?(?:epoch|test|validation|mean R@1|point))")
"""`best` where methods are meant; the best epoch of a run has nothing to do with budgets."""


def worded(evidence: Evidence, sections: list[Section]) -> list[Section]:
    """The sections, where budgets of trials differ without the word: what had more trials is ahead for that alone."""
    return sections if evidence.equally_tuned else [_without(section) for section in sections]


def _without(section: Section) -> Section:
    tables = [
        replace(
            table,
            caption=plain(table.caption),
            shown=table.shown.rename(columns=plain).map(
                lambda value: plain(value) if isinstance(value, str) else value
            ),
            links={plain(column): anchors for column, anchors in table.links.items()},
        )
        for table in section.tables
    ]
    drawings = [replace(drawing, caption=plain(drawing.caption)) for drawing in section.drawings]
    return replace(section, text=[plain(text) for text in section.text], tables=tables, drawings=drawings)


def plain(text: str) -> str:
    """`the best` of methods becomes `the highest`."""
    return _OF_METHODS.sub(lambda found: "Highest" if found[1] == "B" else "highest", text)
