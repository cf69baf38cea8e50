"""The papers' own numbers: the analyses must find in them what the papers printed."""

import math

import pytest

from harness.report import published
from harness.report.analyses.density import correlations
from harness.report.analyses.saturation import spread
from harness.report.statistics import pearson

PRINTED = {  # Roth et al. (2020), figure of embedding metrics against R@1
    "cub200": {"pi_intra": 0.25, "pi_inter": -0.16, "density": 0.79, "rho": -0.80},
    "cars196": {"pi_intra": 0.39, "pi_inter": -0.08, "density": 0.65, "rho": -0.85},
    "sop": {"pi_intra": 0.36, "pi_inter": 0.17, "density": 0.22, "rho": -0.63},
}


@pytest.mark.parametrize("dataset", PRINTED)
@pytest.mark.parametrize("name", ["pi_intra", "pi_inter", "density", "rho"])
def test_the_analysis_finds_the_printed_coefficient_in_the_papers_points(dataset, name):
    table = correlations({dataset: published.points(dataset)})
    row = table[(table["property"] == name) & (table["methods"] == "plain")].iloc[0]
    assert row["n"] == (16 if dataset == "sop" else 18)
    assert round(row["pearson"], 2) == PRINTED[dataset][name] == published.coefficients(dataset)[name]


@pytest.mark.parametrize(
    ("dataset", "coefficient", "slope", "intercept"),
    [("cub200", -0.81, -0.1156, 0.6517), ("cars196", -0.86, -0.2187, 0.8458), ("sop", -0.63, -0.1164, 0.7788)],
)
def test_lines_and_coefficients_with_regularized_methods_are_the_derived_ones(dataset, coefficient, slope, intercept):
    table = correlations({dataset: published.points(dataset)}).query("property == 'rho'").set_index("methods")
    assert table.loc["all", "pearson"] == pytest.approx(coefficient, abs=0.006)
    assert table.loc["plain", "slope"] == pytest.approx(slope, abs=6e-5)
    assert table.loc["plain", "intercept"] == pytest.approx(intercept, abs=6e-5)


@pytest.mark.parametrize(
    ("dataset", "row"),
    [
        ("cub200", [0.98, 0.93, 0.86, 0.83, 0.76]),
        ("cars196", [1.00, 0.99, 0.92, 0.91, 0.85]),
        ("sop", [1.00, 1.00, 0.94, 0.94, 0.99]),
    ],
)
def test_the_printed_metric_correlations_come_back_as_a_symmetric_matrix(dataset, row):
    matrix = published.metric_correlations(dataset)
    assert list(matrix.loc["recall_at_1"].drop("recall_at_1")) == row
    assert (matrix == matrix.T).all(axis=None)
    assert matrix.notna().all(axis=None)


def test_three_sourced_nmi_are_too_few_to_recompute_the_printed_correlation():
    rows = published.published().query("dataset == 'cub200' and table == 'S2SD rel_comp (baseline rows)'")
    wide = rows.pivot(index="method", columns="metric", values="value")
    assert len(wide) == 3
    assert pearson(wide["nmi"].to_numpy(), wide["recall_at_1"].to_numpy()).value is None


def test_the_spread_of_the_papers_methods_is_the_derived_one(frames_of):
    table = spread(frames_of()).set_index("source")
    cub = table.loc["Roth et al. (2020): CUB200-2011"]
    assert (cub["n_methods"], cub["within_1"], cub["within_2"]) == (18, 8, 13)
    # The derived sd of methods, 1.25, 2.77 and 2.84 points, divides by n; ours divides by n - 1.
    for title, sd, n in (("CUB200-2011", 1.25, 18), ("CARS196", 2.77, 18), ("SOP", 2.84, 16)):
        found = table.loc[f"Roth et al. (2020): {title}", "sd_methods"]
        assert found * math.sqrt((n - 1) / n) * 100 == pytest.approx(sd, abs=0.006)


@pytest.fixture
def frames_of(make):
    from harness.report.analyses.saturation import methods
    from harness.report.evidence import read

    return lambda: methods(read(make(seeds=2), "fair_comparison"))


def test_every_published_row_names_its_source():
    frame = published.published()
    assert frame["source"].str.len().gt(10).all()
    assert set(frame["paper"]) == set(published.PAPERS)


def test_every_method_of_the_table_has_a_published_recall():
    for method in published.METHODS:
        assert any(len(published.values(dataset, method)) for dataset in published.DATASETS), method


def test_every_method_of_the_main_study_is_mapped():
    mapped = {method.name for method in published.METHODS if method.paper == "roth2020"}
    assert mapped == set(published.points("cub200")["method"])


def run(objective, miner="none", regularizer="none", **options):
    return {"objective": objective, "miner": miner, "regularizer": regularizer} | {
        f"objective.{name}": value for name, value in options.items()
    }


def test_margin_rows_are_told_apart_by_beta():
    assert published.method_of(run("margin", "distance_weighted", beta=1.2)).name == "Margin (D, beta=1.2)"
    assert published.method_of(run("margin", "distance_weighted", "rho", beta=0.6)).name == "R-Margin (D, beta=0.6)"
    assert published.method_of(run("margin", "distance_weighted", beta=0.9)) is None
    assert published.method_of(run("margin", "distance_weighted")) is None
    assert published.method_of(run("margin", "random", beta=1.2)) is None


def test_the_papers_miners_have_their_names_here():
    names = {miner: published.method_of(run("triplet", miner)).name for miner in ("random", "semihard", "softhard")}
    assert names == {"random": "Triplet (R)", "semihard": "Triplet (S)", "softhard": "Triplet (H)"}


def test_smart_mining_is_told_apart_by_loss_and_controller():
    def name(regularizer, mode, objective="triplet_ratio"):
        found = published.method_of(run(objective, "smart", regularizer) | {"miner.kappa_mode": mode})
        return found and found.name

    assert name("none", "fixed") == "Triplet + FANNG"
    assert name("global_loss", "decay") == "Triplet + FANNG + Global"
    assert name("global_loss", "ls") == "Triplet + FANNG + Global + Adaptive"
    assert name("none", "ls") is None  # the paper has no such row
    assert name("none", "fixed", objective="triplet") is None  # nor this loss
    assert published.method_of(run("triplet_ratio", "random_global", "global_loss")).name == "Triplet + Global"


def test_published_values_are_fractions_with_the_interval_of_five_seeds():
    method = published.method_of(run("margin", "distance_weighted", beta=1.2))
    row = published.values("cub200", method).iloc[0]
    assert row["value"] == pytest.approx(0.6309, abs=5e-5)
    # sd 0.46 with ddof 0: 2.776 * 0.46 / sqrt(4)
    assert row["half_width"] == pytest.approx(0.00638, abs=1e-4)


def test_a_paper_that_does_not_say_its_seeds_gets_no_interval():
    method = published.method_of(run("proxy_anchor"))
    assert math.isnan(published.values("cub200", method).iloc[0]["half_width"])


def test_a_difference_is_refused_unless_data_backbone_and_dimension_agree():
    run = {"dataset": "cub200", "backbone": "resnet50", "backbone.embedding_dim": 128}
    assert published.not_comparable(run, "cub200") == ""
    assert "dataset" in published.not_comparable(run, "sop")
    assert "512" in published.not_comparable({**run, "backbone.embedding_dim": 512}, "cub200")
    assert "not recorded" in published.not_comparable({"dataset": "cub200", "backbone": "resnet50"}, "cub200")
