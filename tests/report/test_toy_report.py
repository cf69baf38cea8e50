"""The report of the toy experiment: from angles in the database to circles."""

import numpy as np
import pytest
from settings_database import evidence_of

from harness.datasets.toy_lines import drawn
from harness.report.analyses import toy_lines
from harness.report.style import styled

POINTS = 3
TOY = {"dataset": "toy_lines", "dataset.points": POINTS, "dataset.draw": 0, "objective": "contrastive"}


def angles(start):
    """Both splits have four lines of three points, a tenth of a radian apart in the order of the data set."""
    told = {(split, f"angle_{k}", "last"): start + 0.1 * k for split in ("train", "test") for k in range(4 * POINTS)}
    return told | {("train", "arc", "last"): 1.1, ("test", "arc", "last"): 1.1, ("test", "recall_at_1", "last"): 0.5}


@pytest.fixture(scope="module")
def evidence():
    base, rho = {**TOY, "regularizer": "none"}, {**TOY, "regularizer": "rho"}
    runs = [(base, 0, angles(0.0)), (base, 1, angles(2.0)), (rho, 0, angles(1.0)), (rho, 1, angles(1.0))]
    questions = {"Base: what is kept?": [0, 1], "As published: what is kept?": [2, 3]}
    return evidence_of(runs, questions, [[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.6, 0.4]])


def test_the_embedding_of_the_first_seed_is_shown_line_by_line(evidence):
    shown = toy_lines.embedded(evidence, toy_lines.toy_runs(evidence))
    assert list(dict.fromkeys(shown["arm"])) == ["Base", "As published"]
    assert set(shown["seed"]) == {0}
    base = shown[shown["arm"] == "Base"]
    assert list(base["label"]) == list(drawn(POINTS, 0)[1])  # as the data set has them, training lines first
    assert np.allclose(base.loc[base["split"] == "train", "angle"], 0.1 * np.arange(12))


def test_arcs_and_singular_values_are_means_over_seeds(evidence):
    arms = toy_lines.summary(evidence, toy_lines.toy_runs(evidence)).set_index(["arm", "name"])
    assert arms.loc[("Base", "second"), "mean"] == pytest.approx(0.15)
    assert arms.loc[("Base", "second"), "n"] == 2
    assert arms.loc[("Base", "second"), "high"] - 0.15 == pytest.approx(12.706 * 0.05, rel=1e-3)
    assert arms.loc[("As published", "arc_train"), "mean"] == pytest.approx(1.1)


def test_the_section_names_each_arm_and_draws_data_arms_and_bars(evidence):
    section = toy_lines.analyze(evidence)
    assert "Base: the training points lie within 1.10 rad, the second singular value has 15 %" in section.text[0]
    with styled():
        [figure] = [drawing.draw() for drawing in section.drawings]
    titles = [axis.get_title(loc="left") for axis in figure.axes if axis.axison or axis.get_title(loc="left")]
    assert titles == ["the points", "Base", "As published", "singular values"]
    assert "R@1, test (%)" in section.tables[0].shown


def test_a_study_without_the_toy_says_so():
    assert "toy_lines" in toy_lines.analyze(evidence_of([({}, 0, {("test", "recall_at_1", "last"): 0.5})])).text[0]
