"""What a reader may choose on the page: another metric, another selection rule; as texts, ready to be shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from harness.report.evidence import CELL, Evidence
from harness.report.names import METRICS, QUALITY, SELECTIONS, cell_text, metric
from harness.report.section import Table
from harness.report.statistics import Mean

NOTHING = Mean(float("nan"), None, None, None, 0)


def choices(evidence: Evidence, tables: Sequence[Table], anchors: set[str]) -> dict[str, Any]:
    """Plain JSON types: rules [name, title], metrics [title, whether it stands in the table at first], cells, and
    texts by rule, metric and cell (in those orders); empty where no table can be chosen for or there are no results.

    Only cells with an anchor on the page are told.
    """
    if not any(table.choose for table in tables):
        return {}
    measured = _measured(evidence)
    cells = evidence.cells()
    shown = [(cell, evidence_key) for cell, evidence_key in _keys(cells) if cell in anchors]
    names = _names(measured)
    done = dict(zip(cells["cell"], cells["done"], strict=True))
    return {
        "now": evidence.selection,
        "rules": [[rule, SELECTIONS[rule]] for rule in measured],
        "metrics": [[metric(name).title, int(name in QUALITY)] for name in names],
        "cells": [cell for cell, _ in shown],
        "texts": [_texts(evidence, frame, names, shown, done) for frame in measured.values()],
    }


def _measured(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Selection rule -> measurements of the test classes, for every rule that has any."""
    own = evidence.measurements[evidence.measurements["split"] == "test"]
    found = {evidence.selection: own} if len(own) else {}
    others = evidence.rules()
    for rule in SELECTIONS:
        if len(others) and rule not in found and (others["selection"] == rule).any():
            found[rule] = others[others["selection"] == rule]
    return {rule: found[rule] for rule in SELECTIONS if rule in found}


def _keys(cells: pd.DataFrame) -> list[tuple[str, tuple[str, str]]]:
    return [(row["cell"], (row[CELL[0]], row[CELL[1]])) for row in cells.to_dict("records")]


def _names(measured: dict[str, pd.DataFrame]) -> list[str]:
    """All metrics, the known ones first and in their order."""
    found = {str(name) for frame in measured.values() for name in frame["metric"]}
    known = [name for name in METRICS if name in found]
    return known + sorted(found - set(known))


def _texts(
    evidence: Evidence,
    frame: pd.DataFrame,
    names: list[str],
    shown: list[tuple[str, tuple[str, str]]],
    done: dict[str, int],
) -> list[list[str]]:
    own = replace(evidence, measurements=frame)
    texts = []
    for name in names:
        means = own.means(name, "test")
        texts.append([cell_text(means.get(key, NOTHING), name, done[cell]) for cell, key in shown])
    return texts
