"""Names that fit into a figure, and which cells are control arms of non-isotropy regularization."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from harness.report.evidence import Evidence, axes

Cell = tuple[str, str]
"""Setting and method."""


def short_names(evidence: Evidence) -> dict[Cell, str]:
    """Cell -> its arm, or objective and regularizer; with what tells it from others of its setting that share that."""
    told = {(row["setting"], row["method"]): row for row in evidence.cells().to_dict("records")}
    groups: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    arm_of = {cell: arm for arm, cells in cells_of_arms(evidence).items() for cell in cells}
    for cell, row in told.items():
        groups[cell[0], arm_of.get(cell) or _plain_name(row)].append(cell)
    names: dict[Cell, str] = {}
    for (_, name), cells in groups.items():
        telling = _telling([told[cell] for cell in cells], axes(evidence.runs))
        names |= {
            cell: f"{name} ({options})" if options else name for cell, options in zip(cells, telling, strict=True)
        }
    return names


def cells_of_arms(evidence: Evidence) -> dict[str, list[Cell]]:
    """Arm -> its cells, for the blocks of the grid whose question begins with `A0:` to `A8:`."""
    of_run = {row["run_id"]: (row["setting"], row["method"]) for row in evidence.runs.to_dict("records")}
    return {
        arm: list(dict.fromkeys(of_run[run] for run in evidence.questions[question] if run in of_run))
        for arm, question in questions_of_arms(evidence).items()
    }


def questions_of_arms(evidence: Evidence) -> dict[str, str]:
    """Arm -> the question of its block."""
    found = {question: re.match(r"(A\d+):", question) for question in evidence.questions}
    return {match.group(1): question for question, match in found.items() if match}


def _plain_name(row: Mapping[Any, Any]) -> str:
    return str(row["objective"]) if row["regularizer"] == "none" else f"{row['objective']} + {row['regularizer']}"


def _telling(rows: Sequence[Mapping[Any, Any]], names: Sequence[str]) -> list[str]:
    """For each row `form=nll, weight=0.1`: the first options, in order, by which it differs from the others."""
    for place, name in enumerate(names):
        values = [str(row[name]) for row in rows]
        if len(set(values)) == 1:
            continue
        texts: dict[int, str] = {}
        for value in dict.fromkeys(values):
            same = [index for index, one in enumerate(values) if one == value]
            deeper = _telling([rows[index] for index in same], names[place + 1 :])
            option = f"{name.partition('.')[2] or name}={value}"
            texts |= {index: f"{option}, {more}" if more else option for index, more in zip(same, deeper, strict=True)}
        return [texts[index] for index in range(len(rows))]
    return [""] * len(rows)
