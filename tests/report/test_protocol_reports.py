"""Batch samplers, parameters and selection rules, on numbers whose answers are worked out by hand."""

import pytest
from settings_database import evidence_of, recall

from harness.report.analyses import batch_samplers, parameters, selection
from harness.report.style import styled


def drawn(section):
    """Every figure of a section, so that it is known to be drawable."""
    with styled():
        return [drawing.draw() for drawing in section.drawings]


# Batch samplers -------------------------------------------------------------------------------------------------------

SAMPLERS = (
    {"sampler.samples_per_class": 2},
    {"sampler.samples_per_class": 8},
    {"sampler": "random", "sampler.samples_per_class": None},
)


def sampled():
    """Two objectives at levels of 0.5 and 0.8, which SPC-2 reaches, SPC-8 falls short of and SPC-R tops by a tenth."""
    return evidence_of(
        [
            ({**sampler, "objective": objective}, seed, recall(level * factor + 0.01 * seed))
            for objective, level in (("margin", 0.5), ("triplet", 0.8))
            for sampler, factor in zip(SAMPLERS, (1.0, 0.9, 1.1), strict=True)
            for seed in range(2)
        ]
    )


def test_samplers_have_the_names_of_the_paper():
    names = batch_samplers.sampler_names(
        {
            "a": {"sampler": "class_balanced", "sampler.samples_per_class": 4},
            "b": {"sampler": "frechet_matching", "sampler.samples_per_class": 2},
            "c": {"sampler": "greedy_coreset", "sampler.as_published": False},
            "d": {"sampler": "greedy_coreset", "sampler.as_published": True},
            "e": {"sampler": "pairs_of_ours"},
        }
    )
    assert list(names.values()) == ["SPC-4", "FRD", "GC as published=False", "GC as published=True", "pairs_of_ours"]


def test_performance_is_relative_to_the_mean_of_all_samplers_of_an_objective():
    shares = batch_samplers.relative(sampled())
    assert set(shares["sampler"]) == {"SPC-2", "SPC-8", "SPC-R"}
    row = shares[(shares["recipe"] == "triplet") & (shares["sampler"] == "SPC-R") & (shares["seed"] == 1)].iloc[0]
    assert row["relative"] == pytest.approx((0.88 + 0.01) / 0.805)
    summary = batch_samplers.summarize(shares).set_index("sampler")
    assert summary.loc["SPC-8", "mean"] == pytest.approx((0.455 / 0.505 + 0.725 / 0.805) / 2)
    assert (summary["n"] == 2).all()  # recipes, not runs


def test_samplers_are_compared_with_two_samples_a_class_seed_by_seed():
    gains = batch_samplers.differences(batch_samplers.relative(sampled())).set_index(["recipe", "sampler"])
    assert gains.loc[("margin", "SPC-8"), "gain"] == pytest.approx(-0.05)
    assert gains.loc[("triplet", "SPC-R"), "gain"] == pytest.approx(0.08)
    assert gains.loc[("triplet", "SPC-R"), "high"] == pytest.approx(0.08)  # both seeds differ by the same
    assert ("margin", "SPC-2") not in gains.index


def test_the_section_of_samplers_says_who_is_best_and_can_be_drawn():
    section = batch_samplers.analyze(sampled())
    assert "SPC-R has the highest relative R@1" in section.text[0]
    assert [table.name for table in section.tables] == [
        "batch_samplers",
        "batch_samplers_gains",
        "batch_samplers_runs",
    ]
    assert len(drawn(section)) == 1


def test_one_sampler_alone_is_nothing_to_compare():
    evidence = evidence_of([({}, 0, recall(0.5)), ({"objective": "triplet"}, 0, recall(0.6))])
    assert "two samplers" in batch_samplers.analyze(evidence).text[0]


# Parameters -----------------------------------------------------------------------------------------------------------

CHANGES = (
    ({}, 1.0),
    ({"backbone.embedding_dim": 16}, 0.8),
    ({"training.batch_size": 56}, 1.1),
    ({"backbone": "resnet18"}, 1.2),
    ({"backbone.embedding_dim": 16, "training.batch_size": 56}, 0.5),
)


def varied():
    """Objectives at 0.4 and 0.6, times what a changed setting does; seed 1 was not run with the smaller batch."""
    return evidence_of(
        [
            ({**settings, "objective": objective}, seed, recall(level * factor * (1 + 0.1 * seed)))
            for objective, level in (("margin", 0.4), ("triplet", 0.6))
            for settings, factor in CHANGES
            for seed in range(2)
            if not (seed == 1 and "training.batch_size" in settings)
        ]
    )


def test_each_changed_factor_is_held_against_the_base_seed_by_seed():
    changes = parameters.relative_changes(varied()).set_index(["recipe", "factor"])
    row = changes.loc[("margin", "dimension")]
    assert (row["value"], row["base_value"], row["n"]) == ("16", "64", 2)
    assert [row["change"], row["low"], row["high"]] == pytest.approx([-0.2] * 3)
    assert changes.loc[("triplet", "batch size"), "n"] == 1
    assert changes.loc[("triplet", "batch size"), "change"] == pytest.approx(0.1)
    assert changes.loc[("margin", "backbone"), ["value", "base_value"]].tolist() == ["resnet18", "convnet"]


def test_a_protocol_that_differs_in_two_factors_is_left_out():
    changes = parameters.relative_changes(varied())
    assert len(changes) == 2 * 3
    assert changes["change"].min() == pytest.approx(-0.2)


def test_the_base_is_the_protocol_with_the_most_neighbors():
    one, two, three = ({"lr": {"optimizer.lr": lr}, "dimension": {"d": dim}} for lr, dim in ((1, 8), (2, 8), (2, 9)))
    assert parameters.base_of([one, two, three]) == two
    assert parameters.base_of([one]) is None
    assert parameters.base_of([one, three]) is None


def test_options_of_the_same_part_are_told_by_what_differs():
    base = {"backbone": {"backbone": "convnet", "backbone.width": 32, "backbone.depth": 3}}
    other = {"backbone": {"backbone": "convnet", "backbone.width": 16, "backbone.depth": 3}}
    assert parameters.told(other, base, "backbone") == "convnet width=16"
    assert parameters.told(base, other, "backbone") == "convnet width=32"


def test_the_section_of_parameters_holds_settings_against_objectives_and_can_be_drawn():
    section = parameters.analyze(varied())
    assert "20.0" in section.text[0]
    assert "the best base is 50.0 % above the worst; 0 of the 6 changes" in section.text[1]
    assert len(drawn(section)) == 1
    assert "one factor" in parameters.analyze(evidence_of([({}, 0, recall(0.5))])).text[0]


# Selection rules ------------------------------------------------------------------------------------------------------


def selected():
    """Two methods, two seeds: test gains 2 and 4 points over the last epoch of the first, none of the second."""
    gaps = {("margin", 0): 0.02, ("margin", 1): 0.04, ("triplet", 0): 0.0, ("triplet", 1): 0.0}
    return evidence_of(
        [
            (
                {"objective": name},
                seed,
                recall(0.5) | recall(0.5 + gap, "best_test") | recall(0.5 - gap, "best_validation"),
            )
            for (name, seed), gap in gaps.items()
        ]
    )


def test_the_optimism_is_the_mean_over_methods_of_their_runs_differences():
    total = selection.overall(selection.optimism(selection.by_rule(selected()))).set_index("selection")
    assert total.loc["last", "mean"] == pytest.approx(0.015)
    assert total.loc["last", "n"] == 2
    assert total.loc["last", "runs"] == 4
    assert total.loc["last", "largest"] == pytest.approx(0.03)
    assert total.loc["best_validation", "mean"] == pytest.approx(0.03)
    # Two methods with 0.03 and 0: the half width is 12.706 * 0.0212 / sqrt(2).
    assert total.loc["last", "high"] - 0.015 == pytest.approx(12.706 * 0.03 / 2, rel=1e-3)


def test_what_was_selected_on_test_is_marked():
    section = selection.analyze(selected())
    shown = section.tables[1].shown
    assert "best test †" in shown.columns
    assert "last" in shown.columns
    assert shown["† minus last"].iloc[0].startswith("+3.00")
    assert "selected on the test classes" in section.text[-1]
    assert "selected on the test classes" in section.tables[1].caption
    assert len(drawn(section)) == 1


def test_rules_that_agree_are_said_to_agree():
    runs = [({"objective": name}, 0, recall(0.5) | recall(0.5, "best_test")) for name in ("margin", "triplet")]
    assert "same epoch" in selection.analyze(evidence_of(runs)).text[0]
    assert "two selection rules" in selection.analyze(evidence_of([({}, 0, recall(0.5))])).text[0]
