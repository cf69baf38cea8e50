"""What an analysis gives: a section of text, tables and figures. Nothing here knows files or HTML."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pandas as pd
from matplotlib.figure import Figure


@dataclass(frozen=True)
class Table:
    """The same rows twice: `numbers` for machines (CSV, JSON), `shown` for people (page, Markdown, LaTeX).

    `links` maps a column of `shown` to one anchor of the page for each row.
    """

    name: str
    caption: str
    numbers: pd.DataFrame
    shown: pd.DataFrame
    links: Mapping[str, list[str]] = field(default_factory=dict)
    folded: bool = False  # a long table that only some readers want
    choose: bool = False  # its columns are metrics: the page offers others, and other selection rules


@dataclass(frozen=True)
class Drawing:
    """A figure that can be drawn, with its caption; `table` names the table that holds its numbers."""

    name: str
    caption: str
    draw: Callable[[], Figure]
    alt: str
    table: str = ""


@dataclass(frozen=True)
class Section:
    """One analysis. `text` are the findings, one paragraph each; they say so when there is nothing to show."""

    name: str
    title: str
    text: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    drawings: list[Drawing] = field(default_factory=list)
