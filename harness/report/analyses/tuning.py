"""Tuning: who had which budget, what it bought, what mattered in the search, and how often the test was looked at."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from harness.report.analyses._trials import expectations, importances, ledger, slices
from harness.report.evidence import UNEQUAL, Evidence
from harness.report.figures.tuning import draw_expectations, draw_importances, draw_slices
from harness.report.names import DASH, metric, number
from harness.report.section import Drawing, Section, Table
from harness.report.statistics import LEVEL, spearman

TITLE = "Tuning"


def analyze(evidence: Evidence) -> Section:
    """Ledger, expected highest score by budget, importances, slices, looks at the test set."""
    trials = evidence.trials
    if trials.empty:
        return Section("tuning", TITLE, ["Nothing was tuned: the study has no section `tune`, or no trial yet."])
    name = str(trials["metric"].iloc[0])
    budgets = ledger(trials)
    trials = pd.concat([trials[trials["method"] == method] for method in budgets["method"]], ignore_index=True)
    expected, shares, cuts = expectations(trials), importances(trials), slices(trials)
    text = [_budget_reading(evidence, budgets, name), _gain_reading(budgets, name), _looks_reading(evidence)]
    tables = [_ledger_table(budgets, name), _expectation_table(expected, name)]
    drawings = [_expectation_drawing(expected, budgets, name)]
    if len(shares):
        tables.append(_importance_table(shares))
        drawings.append(_importance_drawing(shares))
    tables.append(_slice_table(cuts, name))
    drawings.append(_slice_drawing(cuts, name))
    if len(evidence.looks):
        tables.append(_looks_table(evidence.looks))
    return Section("tuning", TITLE, text, tables, drawings)


# What it says ---------------------------------------------------------------------------------------------------------


def _budget_reading(evidence: Evidence, budgets: pd.DataFrame, name: str) -> str:
    counts = budgets["trials"]
    total = (
        f"{counts.sum()} trials in {budgets['runs'].sum()} runs took {number(budgets['hours'].sum(), 2)} worker-hours"
    )
    lost = budgets[["pruned", "failed"]].sum()
    rest = f" {lost['pruned']} trials were pruned and {lost['failed']} failed; they count like all others."
    judged = f"Judged by {metric(name).title} on training classes that were held out, {total}."
    if not evidence.equally_tuned:
        most, least = budgets.iloc[int(counts.argmax())], budgets.iloc[int(counts.argmin())]
        return (
            f"Budgets differ by more than {UNEQUAL:.0%}: {most['method']} had {most['trials']} trials, "
            f"{least['method']} {least['trials']}. What leads may lead because it was tuned longer, so this report "
            f"says of no method that it is ahead of all others. {judged}{rest}"
        )
    each = f"{counts.min()}" if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"
    lead = budgets.iloc[0]
    best = ""
    if np.isfinite(lead["chosen"]):
        best = f" The best score on held-out classes is that of {lead['method']}, {_score(lead['chosen'], name)}."
    return f"Each of the {len(budgets)} methods had {each} trials, the first with its defaults. {judged}{rest}{best}"


def _gain_reading(budgets: pd.DataFrame, name: str) -> str:
    both = budgets[np.isfinite(budgets["defaults"]) & np.isfinite(budgets["chosen"])]
    if both.empty:
        return "No method has a score for its defaults, so it cannot be told what tuning bought."
    gains = both["gain"] * metric(name).scale
    top = both.iloc[int(both["gain"].argmax())]
    before, after = both["defaults"].rank(ascending=False), both["chosen"].rank(ascending=False)
    moved = int((before != after).sum())
    order = spearman(both["defaults"].to_numpy(), both["chosen"].to_numpy())
    told = f" (rank correlation {number(order.value, 2)})" if order.value is not None else ""
    return (
        f"Against its defaults a method gained {number(gains.median())} points in the median and "
        f"{number(gains.max())} at most ({top['method']}). {moved} of {len(both)} methods have another rank than with "
        f"their defaults{told}. The highest of several noisy scores is too high by chance alone, so part of each gain "
        "is luck; only the final runs, with fresh seeds and on all training classes, say what is left of it."
    )


def _looks_reading(evidence: Evidence) -> str:
    looks = evidence.looks
    if looks.empty:
        return (
            "Looks at the test set: 0. It is sealed: no test metric of these runs was computed, so all other sections "
            "have no test numbers. `harness unseal` looks at it, on record."
        )
    choices = looks["choices"].nunique()
    changed = (
        f" The choices were changed between looks ({choices} different ones), so the later ones may have been made "
        "knowing test numbers."
        if choices > 1
        else ""
    )
    return f"Looks at the test set: {len(looks)}.{changed}"


def _score(value: float, name: str) -> str:
    return number(value * metric(name).scale, metric(name).digits) if np.isfinite(value) else DASH


# Tables ---------------------------------------------------------------------------------------------------------------


def _ledger_table(budgets: pd.DataFrame, name: str) -> Table:
    rows = budgets.to_dict("records")
    shown = pd.DataFrame(
        {
            "Method": budgets["method"],
            "Trials": budgets["trials"].astype(str),
            "Pruned": budgets["pruned"].astype(str),
            "Failed": [f"{row['failed']}{_bracketed(row['causes'])}" for row in rows],
            "Runs": budgets["runs"].astype(str),
            "Hours": [number(hours, 3) for hours in budgets["hours"]],
            f"Defaults, {metric(name).title}": [_score(value, name) for value in budgets["defaults"]],
            f"Chosen, {metric(name).title}": [_score(value, name) for value in budgets["chosen"]],
            "Gain": [_score(value, name) for value in budgets["gain"]],
            "Trial": [_whole(row["trial"]) for row in rows],
            "Epoch": [_whole(row["epoch"]) for row in rows],
            "Chosen values": [_values(row["values"]) for row in rows],
        }
    )
    caption = (
        "Budget and outcome of each method. Runs are folds that no earlier trial had trained; hours are those of a "
        f"worker, of its GPU where it has one. Scores are means over folds of {metric(name).axis} on held-out training "
        "classes, each at the epoch where the mean is highest; they choose and are no test numbers."
    )
    numbers = budgets.assign(values=[_values(row["values"]) for row in rows])
    return Table("tuning_ledger", caption, numbers, shown)


def _expectation_table(expected: pd.DataFrame, name: str) -> Table:
    scale, digits = metric(name).scale, metric(name).digits
    shown = pd.DataFrame(
        {
            "Method": expected["method"],
            "Trials": expected["trials"].astype(str),
            "Expected": [number(value * scale, digits) for value in expected["expected"]],
            f"{LEVEL:.0%} interval": [
                f"{number(low * scale, digits)} to {number(high * scale, digits)}"
                for low, high in zip(expected["low"], expected["high"], strict=True)
            ],
        }
    )
    caption = f"The highest {metric(name).axis} of so many trials: expected value and interval (Dodge et al., 2019)."
    return Table("tuning_budget", caption, expected, shown, folded=True)


def _importance_table(shares: pd.DataFrame) -> Table:
    shown = pd.DataFrame({"Method": shares["method"], "Option": shares["option"], "n": shares["n"].astype(str)})
    shown["Importance"] = [number(value, 2) for value in shares["importance"]]
    caption = "Share of the variance of scores that an option explains, by method (fANOVA); n finished trials."
    return Table("tuning_importances", caption, shares, shown, folded=True)


def _slice_table(cuts: pd.DataFrame, name: str) -> Table:
    shown = pd.DataFrame({"Method": cuts["method"], "Trial": cuts["trial"].astype(str), "State": cuts["state"]})
    shown["Option"] = cuts["option"]
    shown["Value"] = [_value(value) for value in cuts["value"]]
    shown[metric(name).axis] = [_score(value, name) for value in cuts["score"].astype(float)]
    caption = "Every trial, a line for each searched option."
    return Table("tuning_trials", caption, cuts, shown, folded=True)


def _looks_table(looks: pd.DataFrame) -> Table:
    numbers = looks[["look", "began", "ended", "choices", "runs"]]
    hosts = [str((by or {}).get("host", DASH)) for by in looks["by"]]
    shown = pd.DataFrame(
        {
            "Look": looks["look"].astype(str),
            "Began (UTC)": [str(text)[:19].replace("T", " ") for text in looks["began"]],
            "Ended": ["yes" if isinstance(text, str) else "interrupted" for text in looks["ended"]],
            "Choices": looks["choices"],
            "Runs": looks["runs"].astype(str),
            "Host": hosts,
        }
    )
    caption = "Every look at the sealed test classes; the same digest of choices means that nothing was tuned between."
    return Table("tuning_looks", caption, numbers.assign(host=hosts), shown)


def _bracketed(text: str) -> str:
    return f" ({text})" if text else ""


def _whole(value: Any) -> str:
    return DASH if value is None or not np.isfinite(float(value)) else str(int(value))


def _values(values: dict[str, Any]) -> str:
    return ", ".join(f"{name}={_value(value)}" for name, value in values.items())


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


# Figures --------------------------------------------------------------------------------------------------------------


def _expectation_drawing(expected: pd.DataFrame, budgets: pd.DataFrame, name: str) -> Drawing:
    caption = (
        f"The highest {metric(name).title} that so many trials of a method lead one to expect (line), with the central "
        f"{LEVEL:.0%} interval of that highest score (band); other methods faint, the defaults dotted. In closed form, "
        "as if trials were drawn independently from those that were made (Dodge et al., 2019): right for random "
        "search; for a search that learns, a picture of the scores it met. A failed trial counts as 0."
    )
    draw = partial(draw_expectations, expected, dict(zip(budgets["method"], budgets["defaults"], strict=True)), name)
    return Drawing("tuning_budget", caption, draw, "Lines: expected highest score by number of trials", "tuning_budget")


def _importance_drawing(shares: pd.DataFrame) -> Drawing:
    caption = (
        "Which searched option the score of a method depended on: share of the variance that it explains, by "
        "functional analysis of variance (Hutter et al., 2014, in Optuna). From few trials shares are rough."
    )
    draw = partial(draw_importances, shares)
    return Drawing("tuning_importances", caption, draw, "Bars: importance of searched options", "tuning_importances")


def _slice_drawing(cuts: pd.DataFrame, name: str) -> Drawing:
    caption = (
        f"{metric(name).axis} on held-out classes against each searched option. Square: the defaults. Vermilion: what "
        "was chosen. Hollow: pruned trials. The other options vary as well, so a cloud is no curve."
    )
    return Drawing(
        "tuning_slices",
        caption,
        partial(draw_slices, cuts, name),
        "Scatter plots: score by searched option",
        "tuning_trials",
    )
