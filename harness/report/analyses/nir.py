"""Non-isotropy regularization: what it gains beside what was published, whether it acts, and what its controls say."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from harness.report import published
from harness.report.analyses._nir_arms import arms, arms_table, arms_text, short_names
from harness.report.evidence import CELL, Evidence
from harness.report.figures.nir import convergence_panels, ratio_panels
from harness.report.names import SELECTIONS, metric, number
from harness.report.section import Drawing, Section, Table
from harness.report.statistics import paired_difference

TITLE = "Does non-isotropy regularization help, and through what?"
QUALITY = ("recall_at_1", "nmi", "map_at_1000")
STRUCTURE = ("rho", "density", "uniformity", "gaussian_potential", "concentration_variance")
PUBLISHED_NAMES = {"proxy_anchor": "ProxyAnchor", "proxy_nca": "ProxyNCA", "soft_triple": "SoftTriplet"}
PUBLISHED_STRUCTURE = {
    "rho": "rho",
    "density": "density",
    "gaussian_potential": "uniformity_g2",
    "concentration_variance": "sigma2_kappa",
}
RATIO = "nir_gradient_ratio"
ACTS = 1e-3
"""Below this share of the proxy loss's gradient on the embeddings, regularization does nothing that could be seen."""


def analyze(evidence: Evidence) -> Section:
    """Paired gains, structure, convergence, the ratio of gradients over epochs, and a verdict for each control arm."""
    numbers = differences(evidence)
    ratios = gradient_ratios(evidence)
    controls = arms(evidence)
    if numbers.empty and ratios.empty and controls.empty:
        return Section("nir", TITLE, ["No run with the regularizer nir has results, or none has a plain counterpart."])
    text, tables, drawings = [], [], []
    if not numbers.empty:
        text += _gains_text(numbers)
        tables += [_gains_table(evidence, numbers), _structure_table(evidence, numbers)]
    if not ratios.empty:
        text += _ratio_text(ratios)
        tables.append(_ratio_table(evidence, ratios))
        drawings.append(_ratio_drawing(ratios))
    curves = convergence(evidence)
    if not curves.empty:
        drawings.append(_convergence_drawing(curves))
    if not controls.empty:
        text += arms_text(controls)
        tables.insert(0, arms_table(evidence, controls))
    return Section("nir", TITLE, text, tables, drawings)


def pairs(evidence: Evidence) -> dict[tuple[str, str], str]:
    """(setting, method with nir) -> the method that is the same but for it. Without a flow it is no NIR."""
    cells = [cell for cell in evidence.cells().to_dict("records") if cell["regularizer"] == "nir"]
    forms = {(c["setting"], c["method"]): evidence.configurations[c["run_id"]].get("regularizer.form") for c in cells}
    return {key: base for key, base in evidence.bases().items() if forms.get(key, "none") != "none"}


def differences(evidence: Evidence) -> pd.DataFrame:
    """One row a pair, metric and split.

    Columns: setting, objective, name and base_name (short), method, base, metric, split, plain and with_nir (means over
    the shared seeds), gain, low, high (Student-t 95% interval of the paired difference), n, and the published gain in
    that metric on each data set of the paper.
    """
    compared = [(name, "test") for name in QUALITY] + [
        (name, split) for split in ("train", "test") for name in STRUCTURE
    ]
    rows, names = [], short_names(evidence)
    for (setting, method), base in pairs(evidence).items():
        for name, split in compared:
            values = evidence.values(name, split)
            values = values[values["setting"] == setting]
            with_nir, plain = (_by_seed(values, one) for one in (method, base))
            difference = paired_difference(with_nir, plain)
            if not difference.n:
                continue
            objective = str(values.loc[values["method"] == method, "objective"].iloc[0])
            shared = sorted(set(with_nir) & set(plain))
            row: dict[str, Any] = {"setting": setting, "objective": objective, "name": names[setting, method]}
            row |= {"base_name": names[setting, base], "method": method, "base": base}
            row |= {"metric": name, "split": split, "plain": float(np.mean([plain[seed] for seed in shared]))}
            row |= {"with_nir": float(np.mean([with_nir[seed] for seed in shared])), "gain": difference.mean}
            row |= {"low": difference.low, "high": difference.high, "n": difference.n}
            rows.append(row | _published_gains(objective, name))
    return pd.DataFrame(rows)


def _published_gains(objective: str, name: str) -> dict[str, float]:
    """`published_cub200` and so on: NIR minus plain as the paper has it; nan where it has none."""
    table = published.published().query("paper == 'roth2022'")
    table = table[table["table"].isin(["relative comparison", "embedding structure"])]
    theirs, wanted = PUBLISHED_NAMES.get(objective, ""), PUBLISHED_STRUCTURE.get(name, name)
    found = {}
    for dataset in published.DATASETS:
        rows = table[(table["dataset"] == dataset) & (table["metric"] == wanted)].set_index("method")["value"]
        known = theirs in rows.index and f"{theirs}+NIR" in rows.index
        found[f"published_{dataset}"] = float(rows[f"{theirs}+NIR"] - rows[theirs]) if known else np.nan
    return found


def gradient_ratios(evidence: Evidence) -> pd.DataFrame:
    """One row a method and epoch: setting, method, name (short), epoch, ratio, lowest, highest, nll, n.

    `ratio` is the norm of the gradient of NIR on the embeddings over that of the proxy loss, a median over steps and
    then over seeds, with its lowest and highest seed; `nll` the median negative log-likelihood.
    """
    names = {RATIO: "ratio", "nir_nll_median": "nll"}
    chosen = evidence.curves[(evidence.curves["split"] == "train") & evidence.curves["metric"].isin(names)]
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
    curves = evidence.curves[(evidence.curves["metric"] == "recall_at_1") & (evidence.curves["split"] == "test")]
    means = curves.groupby([*CELL, "objective", "epoch"], sort=False)["value"].mean().reset_index()
    rows, shown, names = [], set(), short_names(evidence)
    for (setting, method), base in pairs(evidence).items():
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


def _published_curves(objectives: list[str]) -> list[pd.DataFrame]:
    table = published.published().query("paper == 'roth2022' and table == 'convergence figure'")
    table = table[table["metric"].str.fullmatch(r"recall_at_1_epoch_\d+")]
    found = []
    for objective in objectives:
        for suffix, form in (("", "plain"), ("+NIR", "nir")):
            rows = table[table["method"] == f"{PUBLISHED_NAMES.get(objective)}{suffix}"]
            epochs = rows["metric"].str.rpartition("_")[2].astype(int) + 1  # theirs count from 0
            source = "published: " + rows["dataset"].map(published.DATASETS)
            own = rows[["value", "method"]].rename(columns={"method": "label"})
            found.append(own.assign(epoch=epochs, source=source, objective=objective, form=form))
    return found


def _by_seed(values: pd.DataFrame, method: str) -> dict[int, float]:
    chosen = values[values["method"] == method]
    return dict(zip(chosen["seed"].astype(int), chosen["value"].astype(float), strict=True))


def _gain(row: dict[Any, Any]) -> str:
    known = metric(row["metric"])
    text = _signed(row["gain"] * known.scale, known.digits)
    if row["high"] is None or not np.isfinite(row["high"]):
        return f"{text} (n={row['n']})"
    return f"{text} ± {(row['high'] - row['gain']) * known.scale:.{known.digits}f}"


def _signed(value: float, digits: int) -> str:
    text = number(value, digits)
    return f"+{text}" if np.isfinite(value) and value > 0 else text


def _theirs(row: dict[Any, Any]) -> str:
    """`+1.6, +2.8, +0.9`, the gains on the paper's data sets; a dash for each that it does not have."""
    known = metric(row["metric"])
    return ", ".join(_signed(row[f"published_{dataset}"] * known.scale, known.digits) for dataset in published.DATASETS)


def _gains_table(evidence: Evidence, numbers: pd.DataFrame) -> Table:
    rows = []
    quality = numbers[numbers["metric"].isin(QUALITY)]
    for (setting, _), group in quality.groupby(CELL, sort=False):
        first = group.iloc[0]
        row = {"Method": first["name"], "Setting": setting, "Against": first["base_name"], "n": str(group["n"].max())}
        for one in group.to_dict("records"):
            title = metric(one["metric"]).title
            row |= {title: _gain(one), f"{title}, published": _theirs(one)}
        rows.append(row)
    caption = (
        "Gain by NIR on the test classes, percent points: with minus without, paired by the n seeds that both have, ± "
        f"half of the Student-t 95% interval; {SELECTIONS[evidence.selection]}. Published gains (Roth et al., 2022) "
        f"are those on {', '.join(published.DATASETS.values())}; they have no interval, and of "
        "Proxy-Anchor the plain runs are known to have had another proxy rate and no warm-up."
    )
    return Table("nir_gains", caption, quality, evidence.with_setting(pd.DataFrame(rows).fillna("")))


def _structure_table(evidence: Evidence, numbers: pd.DataFrame) -> Table:
    structure = numbers[numbers["metric"].isin(STRUCTURE)]
    rows = []
    for row in structure.to_dict("records"):
        known = metric(row["metric"])
        shown = {"Method": row["name"], "Setting": row["setting"], "Statistic": f"{known.title}, {row['split']}"}
        shown |= {"without": number(row["plain"], known.digits), "with": number(row["with_nir"], known.digits)}
        rows.append(shown | {"difference": _gain(row), "published difference": _theirs(row), "n": str(row["n"])})
    caption = (
        "Structure of the embedding without and with NIR, means over the n shared seeds; differences paired, ± half of "
        "the Student-t 95% interval. The Gaussian potential is our reading of the published G2, the variance of "
        "concentration one reading of the published variance of class concentration, whose unit is not known; on which "
        f"classes those were measured is not known either. Published: {', '.join(published.DATASETS.values())}."
    )
    return Table("nir_structure", caption, structure, evidence.with_setting(pd.DataFrame(rows)), folded=True)


def _ratio_table(evidence: Evidence, ratios: pd.DataFrame) -> Table:
    rows = []
    for (setting, _), curve in ratios.groupby(CELL, sort=False):
        marks = {f"epoch {int(row['epoch'])}": row for row in _marks(curve)}
        texts = {name: f"{row['ratio']:.1e}" for name, row in marks.items()}
        last = curve.iloc[-1]
        told = {"Method": last["name"], "Setting": setting, "n": str(int(last["n"])), **texts}
        rows.append(told | {"last epoch that acts": _last_acting(curve), "median NLL at the end": number(last["nll"])})
    caption = (
        "Norm of the gradient of NIR on the embeddings, over that of the proxy loss, both weighted: median over the "
        f"steps of an epoch, then over n seeds. An epoch acts when it is at least {ACTS:g}."
    )
    return Table("nir_ratios", caption, ratios, evidence.with_setting(pd.DataFrame(rows).fillna("")))


def _marks(curve: pd.DataFrame) -> list[dict[Any, Any]]:
    """The first epoch, that after a third, and the last."""
    rows = curve.sort_values("epoch").to_dict("records")
    return [rows[place] for place in sorted({0, len(rows) // 3, len(rows) - 1})]


def _last_acting(curve: pd.DataFrame) -> str:
    acting = curve.loc[curve["ratio"] >= ACTS, "epoch"]
    return "none" if acting.empty else f"{int(acting.max())} of {int(curve['epoch'].max())}"


def _gains_text(numbers: pd.DataFrame) -> list[str]:
    recall = numbers[numbers["metric"] == "recall_at_1"].to_dict("records")
    lines = [
        f"{row['name']}: {_gain(row)} points of test R@1 against {row['base_name']}, n={row['n']}" for row in recall
    ]
    return [f"With NIR minus without, everything else equal. {'; '.join(lines)}."] if lines else []


def _ratio_text(ratios: pd.DataFrame) -> list[str]:
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


def _ratio_drawing(ratios: pd.DataFrame) -> Drawing:
    caption = (
        "Does NIR act? Ratio of the gradient norms of NIR and of the proxy loss on the embeddings, both weighted, "
        "median over the steps of each epoch; line: median over seeds, band: lowest to highest seed. Dotted: "
        f"{ACTS:g}, below which nothing can be seen of it. Methods whose embeddings feel no flow are left out."
    )
    alt = "Curves of the ratio of gradient norms over epochs, logarithmic"
    return Drawing("nir_ratio", caption, partial(ratio_panels, ratios, ACTS), alt, "nir_ratios")


def _convergence_drawing(curves: pd.DataFrame) -> Drawing:
    caption = (
        "Test R@1 after each epoch without NIR (blue) and with it (vermilion, one dash a method); ours are means over "
        "seeds. The lower rows are points read from the published figure (Roth et al., 2022), epochs counted from 1."
    )
    alt = "Curves of test recall over epochs with and without regularization, ours and published"
    return Drawing("nir_convergence", caption, partial(convergence_panels, curves), alt)
