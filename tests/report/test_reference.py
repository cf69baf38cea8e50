"""Published numbers beside ours: which may be compared, how far apart they are, and that none is out of reach."""

import math

import pytest
from settings_database import USUAL, evidence_of

from harness.report import published
from harness.report.analyses import reference
from harness.report.style import styled

PAPER = {
    "dataset": "cub200",
    "backbone": "resnet50",
    "backbone.embedding_dim": 128,
    "backbone.frozen_batchnorm": True,
    "objective": "margin",
    "objective.beta": 1.2,
}
R1 = ("test", "recall_at_1", "last")


def test_a_matching_cell_is_compared_in_units_of_the_interval_of_the_difference():
    runs = [(PAPER, seed, {R1: value}) for seed, value in enumerate((0.62, 0.63, 0.64))]
    rows = reference.comparisons(evidence_of(runs))
    rows = rows[(rows["not_comparable"] == "") & (rows["table"] == "Fig Detailed_Rel_Recall_Rho_CUB")]
    row = rows[rows["metric"] == "recall_at_1"].iloc[0]
    assert row["published"] == pytest.approx(0.6309, abs=5e-5)
    # Ours: sd 0.01, 4.303 * 0.01 / sqrt(3). Theirs: sd 0.0046 with ddof 0, 2.776 * 0.0046 / 2.
    ours, theirs = 4.3027 * 0.01 / math.sqrt(3), 2.7764 * 0.00460 / 2
    assert row["units"] == pytest.approx((0.63 - row["published"]) / math.hypot(ours, theirs), rel=2e-2)
    assert row["n"] == 3


def test_one_seed_has_a_difference_but_no_interval():
    rows = reference.comparisons(evidence_of([(PAPER, 0, {R1: 0.6})]))
    row = rows[(rows["not_comparable"] == "") & (rows["metric"] == "recall_at_1") & rows["published_half_width"].isna()]
    assert row["difference"].notna().all()
    assert row["units"].isna().all()


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"dataset": "glyphs"}, "data set glyphs, published cub200"),
        ({"backbone": "resnet18"}, "backbone resnet18, published resnet50"),
        ({"backbone.embedding_dim": 512}, "512 dimensions, published 128"),
        ({"backbone.frozen_batchnorm": False}, "batch norm learns, published frozen"),
    ],
)
def test_what_cannot_be_compared_has_its_reason(changed, told):
    run = {**USUAL, **PAPER, **changed}
    rows = published.rows_of(run)
    row = rows[rows["table"] == "Fig Detailed_Rel_Recall_Rho_CUB"].iloc[0].to_dict()
    assert published.obstacle(run, row) == told
    assert published.obstacle({**USUAL, **PAPER}, row) == ""


def test_backbone_and_dimension_must_be_stated_to_be_compared():
    run = {**USUAL, **PAPER}
    rows = published.rows_of(run)
    rows = rows[rows["dataset"] == "cub200"]
    reasons = {row["table"]: published.obstacle(run, row) for row in rows.to_dict("records")}
    assert reasons["README SOTA table CUB/Cars"] == "the published backbone is not stated"
    assert reasons["README section 4 Results"] == "the published dimension is not stated"
    assert reasons["sister-paper relative comparison"] == ""


def test_a_number_that_was_not_measured_here_says_so():
    rows = reference.comparisons(evidence_of([(PAPER, 0, {R1: 0.6})]))
    nmi = rows[(rows["metric"] == "nmi") & (rows["table"] == "S2SD rel_comp (baseline rows)")]
    assert set(nmi.loc[nmi["dataset"] == "cub200", "not_comparable"]) == {reference.NOT_HERE}


def test_the_section_counts_what_agrees_and_can_be_drawn():
    runs = [(PAPER, seed, {R1: value}) for seed, value in enumerate((0.62, 0.63, 0.64))]
    section = reference.analyze(evidence_of(runs))
    assert "can be compared" in section.text[0]
    assert section.tables[0].name == "reference"
    with styled():
        assert len([drawing.draw() for drawing in section.drawings]) == 1
    nothing = reference.analyze(evidence_of([({"objective": "cosface", "miner": "none"}, 0, {R1: 0.5})]))
    assert nothing.text == ["Nothing was published for any method here."]


def test_every_published_row_is_in_reach():
    """Of a method of ours, of a method that is not here, or a correlation, which two other analyses show."""
    frame = published.published()
    ours = {(method.paper, method.name) for method in (*published.METHODS, *published.ELSEWHERE)}
    reached = [(row["paper"], row["method"]) in ours for row in frame.to_dict("records")]
    others = len(published.of_no_method())
    correlations = int((frame["unit"] == "correlation").sum())
    assert len(frame) == 931
    assert sum(reached) + others + correlations == len(frame)
    shown = [published.metric_correlations(name).shape[0] * 5 // 2 for name in published.DATASETS]
    assert correlations == sum(shown) + sum(len(published.coefficients(name)) for name in published.DATASETS)


def test_every_name_in_the_table_of_methods_was_published():
    frame = published.published()
    names = set(zip(frame["paper"], frame["method"], strict=True))
    for method in (*published.METHODS, *published.ELSEWHERE):
        assert (method.paper, method.name) in names, method
        run = {
            "objective": method.objective,
            "miner": method.miner,
            "regularizer": method.regularizer,
            **method.options,
        }
        assert method.name in set(published.rows_of(run)["method"])
