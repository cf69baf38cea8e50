"""Names of methods and axes of a study."""

from dataclasses import replace

from store_samples import make_spec

from harness.specs import Choice, Training
from harness.store.labels import ALWAYS, method_labels, varying_paths


def names(*specs):
    labels = method_labels(specs)
    return [labels[spec.run_id] for spec in specs]


def test_what_varies_is_in_the_name_and_what_does_not_is_not():
    assert names(make_spec(margin=0.2)) == ["triplet"]
    assert names(make_spec(margin=0.2), make_spec(objective="margin", beta=1.2)) == ["triplet", "margin"]
    assert names(make_spec(margin=0.1), make_spec(margin=0.2)) == ["triplet (margin=0.1)", "triplet (margin=0.2)"]


def test_the_names_of_a_comparison_read_as_one_would_say_them():
    assert names(
        make_spec(objective="margin", miner="distance_weighted", beta=0.6, nu=0.0),
        make_spec(objective="margin", miner="distance_weighted", beta=1.2, nu=0.0),
        make_spec(objective="triplet", miner="semihard", regularizer=0.35),
        make_spec(objective="triplet", miner="semihard", regularizer=0.2),
        make_spec(objective="triplet", miner="semihard"),
        make_spec(objective="multi_similarity", miner=None),
    ) == [
        "margin (beta=0.6) + distance_weighted",
        "margin (beta=1.2) + distance_weighted",
        "rho(0.35) triplet + semihard",
        "rho(0.2) triplet + semihard",
        "triplet + semihard",
        "multi_similarity",
    ]


def test_a_regularizer_is_named_without_its_options_where_they_are_the_same_everywhere():
    assert names(make_spec(regularizer=0.35), make_spec()) == ["rho triplet", "triplet"]


def test_the_seed_is_never_in_a_name():
    assert names(*(make_spec(seed=seed) for seed in range(3))) == ["triplet"] * 3


def test_what_follows_from_the_data_set_alone_is_not_in_a_name():
    first, second = make_spec(epochs=2, margin=0.1), make_spec(epochs=5, margin=0.2)
    elsewhere = replace(second, dataset=Choice("sop"))
    assert names(first, elsewhere) == ["triplet", "triplet"]


def test_a_miner_is_named_where_an_objective_also_goes_without_one():
    assert names(make_spec(miner="semihard"), make_spec(miner=None), make_spec(objective="margin")) == [
        "triplet + semihard",
        "triplet",
        "margin",
    ]


def test_options_of_a_miner_are_named_where_they_vary():
    low, high = (replace(make_spec(), miner=Choice("distance_weighted", {"cutoff": cutoff})) for cutoff in (0.5, 0.7))
    assert names(low, high) == ["triplet + distance_weighted (cutoff=0.5)", "triplet + distance_weighted (cutoff=0.7)"]


def test_whatever_else_tells_runs_apart_stands_in_brackets_and_only_as_much_as_needed():
    plain = make_spec()
    sampled = replace(plain, sampler=Choice("greedy_coreset", {"pool": 8}))
    longer = replace(plain, training=Training(epochs=5))
    assert names(plain, sampled) == [
        "triplet [sampler=class_balanced]",
        "triplet [sampler=greedy_coreset]",
    ]
    assert names(plain, longer) == ["triplet [epochs=2]", "triplet [epochs=5]"]
    # Longer training that comes with another objective does not need to be told.
    assert names(plain, replace(longer, objective=Choice("margin", {}))) == ["triplet", "margin"]


def test_an_option_that_follows_from_those_before_it_is_not_in_a_name():
    def regularized(**options):
        return replace(make_spec(), regularizer=Choice("nir", options))

    assert names(
        regularized(form="released", weight_on="proxy", weight=0.01, detach=False),
        regularized(form="released", weight_on="proxy", weight=0.01, detach=True),
        regularized(form="paper", weight_on="nir", weight=0.1, detach=False),
        regularized(form="paper", weight_on="nir", weight=0.3, detach=False),
        regularized(form="none", weight_on="proxy", weight=0.01, detach=False),
    ) == [
        "nir(form=released, detach=false) triplet",
        "nir(form=released, detach=true) triplet",
        "nir(form=paper, weight=0.1) triplet",
        "nir(form=paper, weight=0.3) triplet",
        "nir(form=none) triplet",
    ]
    faster = replace(make_spec(), training=Training(epochs=5))
    assert names(faster, make_spec(), make_spec(objective="margin")) == [
        "triplet [epochs=5]",
        "triplet [epochs=2]",
        "margin",
    ]


def test_runs_that_differ_in_more_than_seed_and_data_set_never_share_a_name():
    specs = [
        replace(
            make_spec(seed=seed, objective=objective, miner=miner, regularizer=rho, epochs=epochs, **options),
            sampler=Choice("class_balanced", {"samples_per_class": per_class}),
            backbone=Choice(backbone, {"embedding_dim": 64}),
        )
        for seed in (0, 1)
        for objective, options in (("triplet", {"margin": 0.1}), ("triplet", {"margin": 0.2}), ("margin", {}))
        for miner in ("semihard", "random", None)
        for rho in (None, 0.1, 0.2)
        for epochs in (2, 3)
        for per_class in (2, 4)
        for backbone in ("convnet", "resnet50")
    ]
    labels = method_labels(specs)
    assert len(labels) == len(specs)
    for seed in (0, 1):
        of_seed = [labels[spec.run_id] for spec in specs if spec.seed == seed]
        assert len(set(of_seed)) == len(of_seed)
    assert len(set(labels.values())) == len(specs) / 2


def test_the_names_do_not_depend_on_the_order_of_the_runs():
    specs = [
        make_spec(seed=seed, margin=margin, epochs=epochs) for seed in (0, 1) for margin in (1, 2) for epochs in (2, 3)
    ]
    assert method_labels(specs) == method_labels(specs[::-1])


def test_axes_are_the_fixed_ones_and_what_varies_among_the_runs_that_have_it():
    assert varying_paths([make_spec(margin=0.2)]) == list(ALWAYS)
    specs = [
        make_spec(margin=0.2),
        make_spec(objective="margin", beta=0.6),
        make_spec(objective="margin", beta=1.2, seed=1),
    ]
    assert varying_paths(specs) == [*ALWAYS, "objective.beta"]
    lists = [replace(make_spec(), objective=Choice("x", {"at": at})) for at in ([1], [1, 2])]
    assert varying_paths(lists) == [*ALWAYS, "objective.at"]


def test_no_runs_have_no_names():
    assert method_labels([]) == {}
