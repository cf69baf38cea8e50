"""Whether non-isotropy regularization acts, epoch by epoch, and how runs with and without it converge."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd

from harness.report import published
from harness.report.analyses._nir_gains import PUBLISHED_NAMES, pairs
from harness.report.analyses._nir_names import Cell, short_names
from harness.report.evidence import CELL, Evidence, plain
from harness.report.figures.nir import convergence_panels, ratio_panels
from harness.report.names import number
from harness.report.section import Drawing, Table

RATIO = "nir_gradient_ratio"
ACTS = 1e-3
"""Below this share of the proxy loss's gradient on the embeddings, regularization does nothing that could be seen."""


def gradient_ratios(evidence: Evidence) -> pd.DataFrame:
    """One row a method and epoch: setting, method, name (short), epoch, ratio, lowest, highest, nll, n.

    `ratio` is the norm of the gradient of NIR on the embeddings over that of the proxy loss, a median over steps and
    then over seeds, with its lowest and highest seed; `nll` the median negative log-likelihood.
    """
    names = {RATIO: "ratio", "nir_nll_median": "nll"}
    chosen = plain(evidence.curves("train", tuple(names)))
    if chosen.empty:
        return pd.DataFrame()
    keys = [*CELL, "epoch"]
    wide = chosen.pivot_table(index=[*keys, "seed"], columns="metric", values="value", sort=False).rename(columns=names)
    grouped = wide.reset_index().groupby(keys, sort=False)
    spread = grouped["ratio"].agg(ratio="median", lowest="min", highest="max", n="count")
    frame, short = spread.assign(nll=grouped["nll"].median()).reset_index(), short_names(evidence)
    return pd.DataFrame(frame).assign(name=[short[key] for key in zip(frame["setting"], frame["method"], strict=True)])


def convergence(evidence: Evidence) -> pd.DataFrame:
    """One row a curve and epoch: source (a setting, or the paper's data set), objective, form (plain or nir), epoch,
    value. Of ours the mean over seeds of test R@1."""
    curves = evidence.curves("test", ("recall_at_1",))
    means = plain(curves.groupby([*CELL, "objective", "epoch"], sort=False)["value"].mean().reset_index())
    rows, shown, names = [], set(), short_names(evidence)
    for (setting, method), base in _meant(evidence).items():
        for name, form in ((base, "plain"), (method, method)):
            own = means[(means["setting"] == setting) & (means["method"] == name)]
            if (setting, name) not in shown and len(own):
                shown.add((setting, name))
                rows.append(
                    own[["objective", "epoch", "value"]].assign(source=setting, label=names[setting, name], form=form)
                )
    if not rows:
        return pd.DataFrame()
    ours = pd.concat(rows, ignore_index=True)
    ours["form"] = ours["form"].where(ours["form"] == "plain", "nir")
    return pd.concat([ours, *_published_curves(list(dict.fromkeys(ours["objective"])))], ignore_index=True)


def _meant(evidence: Evidence) -> dict[Cell, str]:
    """The pairs, but for control arms that take another condition than the own proxy."""
    options = {
        (c["setting"], c["method"]): evidence.configurations[c["run_id"]] for c in evidence.cells().to_dict("records")
    }
    conditions = {cell: told.get("regularizer.condition", "own_proxy") for cell, told in options.items()}
    return {cell: base for cell, base in pairs(evidence).items() if conditions[cell] == "own_proxy"}


def _published_curves(objectives: list[str]) -> list[pd.DataFrame]:
    table = published.published().query("paper == 'roth2022' and table == 'convergence figure'")
    table = table[table["metric"].str.fullmatch(r"recall_at_1_epoch_\d+")]
    found = []
    for objective in (name for name in objectives if name in PUBLISHED_NAMES):
        for suffix, form in (("", "plain"), ("+NIR", "nir")):
            rows = table[table["method"] == f"{PUBLISHED_NAMES.get(objective)}{suffix}"]
            epochs = rows["metric"].str.rpartition("_")[2].astype(int) + 1  # theirs count from 0
            source = "published: " + rows["dataset"].map(published.DATASETS)
            own = rows[["value", "method"]].rename(columns={"method": "label"})
            found.append(own.assign(epoch=epochs, source=source, objective=objective, form=form))
    return found


def ratio_table(evidence: Evidence, ratios: pd.DataFrame) -> Table:
    rows = []
    for (setting, _), curve in ratios.groupby(CELL, sort=False):
        texts = {name: f"{row['ratio']:.1e}" for name, row in _marks(curve).items()}
        last = curve.iloc[-1]
        told = {"Method": last["name"], "Setting": setting, "n": str(int(last["n"])), **texts}
        rows.append(told | {"last epoch that acts": _last_acting(curve), "median NLL at the end": number(last["nll"])})
    caption = (
        "Norm of the gradient of NIR on the embeddings, over that of the proxy loss, both weighted: median over the "
        f"steps of an epoch, then over n seeds. An epoch acts when it is at least {ACTS:g}."
    )
    return Table("nir_ratios", caption, ratios, evidence.with_setting(pd.DataFrame(rows).fillna("")))


def _marks(curve: pd.DataFrame) -> dict[str, dict[Any, Any]]:
    rows = curve.sort_values("epoch").to_dict("records")
    return {"first epoch": rows[0], "after a third": rows[len(rows) // 3], "last epoch": rows[-1]}


def _last_acting(curve: pd.DataFrame) -> str:
    acting = curve.loc[curve["ratio"] >= ACTS, "epoch"]
    return "none" if acting.empty else f"{int(acting.max())} of {int(curve['epoch'].max())}"


def ratio_text(ratios: pd.DataFrame) -> list[str]:
    silent: list[str] = []
    acting: list[str] = []
    for _, curve in ratios.groupby(CELL, sort=False):
        last = curve.sort_values("epoch").iloc[-1]
        (silent if last["ratio"] < ACTS else acting).append(f"{last['name']} ({last['ratio']:.0e})")
    text = []
    if silent:
        text.append(f"At the end of training NIR no longer acts on the embeddings in: {', '.join(silent)}.")
    if acting:
        text.append(f"It still does, with a gradient that is this share of the proxy loss's, in: {', '.join(acting)}.")
    return text


def ratio_drawing(ratios: pd.DataFrame) -> Drawing:
    caption = (
        "Does NIR act? Ratio of the gradient norms of NIR and of the proxy loss on the embeddings, both weighted, "
        "median over the steps of each epoch; line: median over seeds, band: lowest to highest seed. Dotted: "
        f"{ACTS:g}, below which nothing can be seen of it. Methods whose embeddings feel no flow are left out."
    )
    alt = "Curves of the ratio of gradient norms over epochs, logarithmic"
    return Drawing("nir_ratio", caption, partial(ratio_panels, ratios, ACTS), alt, "nir_ratios")


def convergence_drawing(curves: pd.DataFrame) -> Drawing:
    caption = (
        "Test R@1 after each epoch without NIR (blue) and with it (vermilion, one dash a method); ours are means over "
        "seeds, without the control arms that take another condition. The lower rows are points read from the "
        "published figure (Roth et al., 2022), epochs counted from 1."
    )
    alt = "Curves of test recall over epochs with and without regularization, ours and published"
    return Drawing("nir_convergence", caption, partial(convergence_panels, curves), alt)
