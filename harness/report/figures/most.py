"""How much a figure shows of a study with hundreds of methods; tables and their CSV files have everything."""

from __future__ import annotations

import pandas as pd

ROWS = 40
"""Methods that are drawn one below the other."""
POINTS = 60
"""Points of a panel that are drawn each by itself, with a tip on the page; more are drawn at once."""
LINES = 10
"""Lines of a panel that are told apart by color, dash and marker."""


def best_rows(rows: pd.DataFrame, settings: int = 1) -> pd.DataFrame:
    """The first rows, which are the best, of each setting: as many as fit when all settings share a figure."""
    return rows.groupby("setting", sort=False).head(max(10, ROWS // settings))


def left_out(shown: int, every: int, what: str = "methods") -> str:
    """What a caption says of the others; empty when all are shown."""
    return f" The {shown} best of {every} {what}; the table has all." if shown < every else ""
