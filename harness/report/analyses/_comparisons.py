"""Test R@1 of every method of a setting against one of them, paired by seed, with the verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from harness.report.evidence import Evidence
from harness.report.names import DASH, number
from harness.report.queries import MOST_RUNS, class_difference
from harness.report.statistics import ClassInterval, Comparison, compare
from harness.report.statistics.sample_size import MOST

METRIC = "recall_at_1"
POINT = 0.01
"""A percent point, in the unit in which R@1 is stored."""


@dataclass(frozen=True)
class Question:
    """What is asked in a setting: all others against `reference`, which is one family of `family` comparisons."""

    setting: str
    reference: str
    kind: str  # "best" or "baseline"
    methods: int
    family: int


def against_best(evidence: Evidence, setting: str) -> Question | None:
    """The question "which are as good as the best?"; None where no two methods can be compared.

    Which method is best is itself read off the numbers, and the best of many is the luckiest, too. So the family is
    that of all pairs: whichever had come out best would have been compared with all others. In a simulation of 26
    equal methods with 5 seeds, a family of 25 called one of them worse in 16% of all studies, that of all pairs in 2%.
    """
    runs = _runs(evidence, setting)
    judged = _judged(runs)
    if len(judged) < 2:
        return None
    best = str(runs[runs["method"].isin(judged)].groupby("method", sort=False)["value"].mean().idxmax())
    return Question(setting, best, "best", len(judged), len(judged) * (len(judged) - 1) // 2)


def against_baseline(evidence: Evidence, setting: str) -> Question | None:
    """The question "which are better than the baseline?", which the study names before it has numbers; None without."""
    judged = _judged(_runs(evidence, setting))
    if evidence.baseline not in judged or len(judged) < 2:
        return None
    return Question(setting, str(evidence.baseline), "baseline", len(judged), len(judged) - 1)


def comparisons(evidence: Evidence, question: Question, *, classes: bool = False) -> pd.DataFrame:
    """One row for each other method with a number, best first; differences are of R@1 as stored, not in points.

    Columns: setting, reference, method, mean, n (shared seeds), difference (method minus reference), low, high (its
    Student-t 95% interval), sd, sign_flip_p, sign_flip_smallest, sign_flip_holm, worse, equal, better (probability that
    the true difference is below, inside or above the region), outside_holm (corrected p of "inside"), family, verdict,
    needed (runs), reason (for which there is no probability); with `classes` also class_low, class_high, classes,
    class_reason: the interval over test classes.
    """
    runs = _runs(evidence, question.setting)
    scores = runs.pivot(index="seed", columns="method", values="value")  # nan where a method lacks a seed
    means = scores.mean().drop(question.reference).sort_values(ascending=False, kind="stable")
    differences = scores[means.index].sub(scores[question.reference], axis=0).to_numpy(dtype=float).T
    judged = compare(list(differences), evidence.equivalence * POINT, question.family)
    rows = [
        {"setting": question.setting, "reference": question.reference, "method": method, "mean": mean, **_numbers(told)}
        for (method, mean), told in zip(means.items(), judged, strict=True)
    ]
    table = pd.DataFrame(rows, columns=_COLUMNS).assign(family=question.family)
    return table.assign(**_over_classes(evidence, runs, table)) if classes else table


def missing_methods(evidence: Evidence, question: Question) -> list[str]:
    """Methods of the setting without a single number."""
    runs = evidence.runs[evidence.runs["setting"] == question.setting]
    return [name for name in dict.fromkeys(runs["method"]) if name not in set(_runs(evidence, question.setting).method)]


def verdict_columns(evidence: Evidence, setting: str) -> dict[str, tuple[str, dict[str, str]]]:
    """best, baseline -> the title of a column, and method -> verdict in words; the reference is called by its role."""
    columns: dict[str, tuple[str, dict[str, str]]] = {}
    for question in filter(None, (against_best(evidence, setting), against_baseline(evidence, setting))):
        role = "baseline" if question.kind == "baseline" else "best" if evidence.equally_tuned else "highest"
        name = question.reference if question.kind == "baseline" else f"the {role}"
        words = {row["method"]: verdict_text(row) for row in comparisons(evidence, question).to_dict("records")}
        columns[question.kind] = f"R@1 against {name}", {**words, question.reference: f"the {role}"}
    return columns


def verdict_text(row: Mapping[Any, Any]) -> str:
    """`better`, `worse`, `practically equal`, or `not enough runs (about 9 needed)`."""
    if row["verdict"] != "not enough runs":
        return str(row["verdict"])
    if math.isfinite(row["needed"]):
        return f"not enough runs (about {int(row['needed'])} needed)"
    return f"not enough runs ({'n=' + str(row['n']) if row['reason'] else f'more than {MOST} needed'})"


def points(value: float, digits: int = 2) -> str:
    """A difference of R@1 in percent points, with its sign."""
    if not math.isfinite(value):
        return DASH
    text = number(value / POINT, digits)
    return f"+{text}" if value > 0 and float(text) != 0 else text


def _runs(evidence: Evidence, setting: str) -> pd.DataFrame:
    values = evidence.values(METRIC, "test")
    return pd.DataFrame(values[values["setting"] == setting])


def _judged(runs: pd.DataFrame) -> list[str]:
    """The methods with at least two runs; one run cannot show that it is no accident."""
    counts = runs["method"].value_counts(sort=False)
    return [str(name) for name, count in counts.items() if count >= 2]


_COLUMNS = [
    *("setting", "reference", "method", "mean", "n", "difference", "low", "high", "sd"),
    *("sign_flip_p", "sign_flip_smallest", "sign_flip_holm", "worse", "equal", "better", "outside_holm"),
    *("verdict", "needed", "reason"),
]


def _numbers(told: Comparison) -> dict[str, Any]:
    mean, flip, posterior = told.mean, told.sign_flip, told.posterior
    found = {
        "difference": mean.mean,
        "low": mean.low,
        "high": mean.high,
        "sd": mean.sd,
        "sign_flip_p": flip.p,
        "sign_flip_smallest": flip.smallest,
        "sign_flip_holm": told.sign_flip_holm,
        "worse": posterior.left,
        "equal": posterior.inside,
        "better": posterior.right,
        "outside_holm": told.outside_holm,
        "needed": told.needed,
    }
    numbers = {name: np.nan if value is None else value for name, value in found.items()}
    return {**numbers, "n": mean.n, "verdict": told.verdict, "reason": posterior.reason}


def _over_classes(evidence: Evidence, runs: pd.DataFrame, table: pd.DataFrame) -> dict[str, list[Any]]:
    found: list[ClassInterval] = []
    for row, read in zip(table.to_dict("records"), table["n"].cumsum(), strict=True):
        if evidence.results is None:
            found.append(ClassInterval(None, None, None, 0, "the folders of the runs are not at hand"))
        elif read > MOST_RUNS:
            found.append(ClassInterval(None, None, None, 0, f"not read: more than {MOST_RUNS} runs"))
        else:
            found.append(class_difference(evidence.results, *_paired(runs, row["method"], row["reference"])))
    return {
        "class_low": [np.nan if told.low is None else told.low for told in found],
        "class_high": [np.nan if told.high is None else told.high for told in found],
        "classes": [told.classes for told in found],
        "class_reason": [told.reason for told in found],
    }


def _paired(runs: pd.DataFrame, new: str, base: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The runs of both methods with a shared seed, in the order of seeds."""
    one, other = (runs[runs["method"] == name].set_index("seed") for name in (new, base))
    shared = sorted(set(one.index) & set(other.index))
    return one.loc[shared], other.loc[shared]
