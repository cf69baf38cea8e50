"""The studies that come with the harness: they can be read, and ask for the runs that they promise."""

from collections import Counter
from pathlib import Path

import pytest

from harness.study import Study

STUDIES = Path(__file__).parents[2] / "studies"
SHIPPED = sorted(path.stem for path in STUDIES.glob("*.yaml"))


def load(name, profile=None):
    return Study.load(STUDIES / f"{name}.yaml", profile=profile)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_profile_can_be_read_and_the_name_is_that_of_the_file(name):
    study = load(name)
    assert study.name == name
    for profile in study.profiles:
        assert load(name, profile).runs()


@pytest.mark.parametrize("name", SHIPPED)
def test_a_study_opens_with_its_question(name):
    assert (STUDIES / f"{name}.yaml").read_text().startswith("# ")
    assert load(name).question.endswith("?")


@pytest.mark.parametrize(
    ("name", "profile", "count"),
    [
        ("fair_comparison", None, 27 * 3),
        ("fair_comparison", "quick", 27),
        ("fair_comparison", "paper", (23 + 23 + 21) * 5),
        ("density", None, 27 * 2),
        ("density", "paper", (23 + 23 + 21) * 5),
        ("batch_sampling", None, 7 * 2 * 3),
        ("batch_sampling", "paper", 7 * 3 * 2 * 5),
        ("training_parameters", None, 9 * 2 * 3),
        ("training_parameters", "paper", 22 * 2 * 2 * 5),
        ("rho_regularization", None, 15 * 3),
        ("rho_regularization", "paper", (5 + 1 + 5) * 3 * 5),
        ("toy_lines", None, 4 * 3),
        ("toy_lines", "paper", 4),
        ("omniglot", None, 15 * 2),
        ("omniglot", "quick", 4 * 2),
        ("tuned_comparison", None, 7 * 5),
        ("tuned_comparison", "quick", 7),
        ("tuned_comparison", "paper", 7 * 3 * 10),
        ("nir", None, (8 + 6 + 4 + 2) * 5),
        ("nir", "quick", 20),
        ("nir", "ablations", (2 + 3 + 4 + 7 + 4 + 2 + 4 + 3) * 3),
        ("nir", "fine_grained", 20 * 2 * 5),
        ("nir", "paper", (8 + 8 + 4 * 2 + 6 * 2 + 4 * 2 + 8) * 5),
    ],
)
def test_a_study_has_the_promised_number_of_different_runs(name, profile, count):
    runs = load(name, profile).runs()
    assert len(runs) == len({run.run_id for run in runs}) == count


def test_the_fair_comparison_is_fair():
    runs = load("fair_comparison").runs()
    same = [(run.dataset, run.backbone, run.sampler, run.training, run.optimizer, run.evaluation) for run in runs]
    assert all(protocol == same[0] for protocol in same)
    assert {run.seed for run in runs} == {0, 1, 2}


def test_the_paper_profile_has_the_paper_s_settings():
    flats = [run.flat() for run in load("fair_comparison", "paper").runs()]
    assert Counter(flat["dataset"] for flat in flats) == {"cub200": 23 * 5, "cars196": 23 * 5, "sop": 21 * 5}
    for flat in flats:
        assert flat["training.epochs"] == (100 if flat["dataset"] == "sop" else 150)
        assert flat["backbone.frozen_batchnorm"]
        settings = ("backbone", "backbone.embedding_dim", "backbone.weights", "optimizer.lr", "optimizer.weight_decay")
        assert [flat[path] for path in settings] == ["resnet50", 128, "IMAGENET1K_V1", 1e-5, 4e-4]
        assert (flat["training.batch_size"], flat["sampler.samples_per_class"]) == (112, 2)
        assert flat["evaluation.test"] == ["retrieval", "clustering", "density", "spectrum"]
        # Recall at the ranks that are published for CUB200-2011 and CARS196, and for Stanford Online Products.
        assert flat["evaluation.test.retrieval"]["k"] == [1, 2, 4, 8, 10, 100, 1000]
        assert flat["evaluation.every"] == 1
        assert flat["evaluation.clustering_every"] == (10 if flat["dataset"] == "sop" else 1)


def test_the_paper_profile_regularizes_with_the_paper_s_probabilities():
    flats = [run.flat() for run in load("fair_comparison", "paper").runs() if run.regularizer]
    found = {}
    for flat in flats:
        method = flat["objective"], flat.get("objective.beta")
        found.setdefault(flat["dataset"], {})[method] = flat["regularizer.probability"]
    methods = [("contrastive", None), ("margin", 0.6), ("margin", 1.2), ("triplet", None), ("snr", None)]
    assert found == {
        "cub200": dict(zip(methods, [0.4, 0.4, 0.35, 0.4, 0.3], strict=True)),
        "cars196": dict.fromkeys(methods, 0.35),
        "sop": dict.fromkeys(methods, 0.15),
    }


ARMS = [f"A{arm}" for arm in range(9)]


@pytest.mark.parametrize("profile", [None, "fine_grained", "paper"])
def test_each_control_arm_of_nir_has_a_question_of_its_own(profile):
    asked = [block["question"] for block in load("nir", profile).about()["blocks"]]
    assert sorted(question[:2] for question in asked if question[:2] in ARMS) == ARMS
    assert all(question.endswith("?") for question in asked)


@pytest.mark.parametrize("profile", [None, "fine_grained", "paper"])
def test_the_arms_of_nir_that_must_be_equal_differ_by_the_weight_alone(profile):
    study = load("nir", profile)
    specs = {run.run_id: run for run in study.runs()}
    arms = {b["question"][:2]: [specs[i] for i in b["runs"]] for b in study.about()["blocks"]}
    for scaled in arms["A3"]:
        weight = scaled.regularizer.options["weight"]
        assert (scaled.regularizer.options["form"], scaled.regularizer.options["weight_on"]) == ("none", "proxy")
        twins = [run for run in arms["A1"] if (run.dataset, run.backbone, run.seed) == told_apart(scaled)]
        assert len(twins) == 1
        assert scaled.objective == twins[0].objective
        assert scaled.optimizer.weight_decay == pytest.approx(weight * twins[0].optimizer.weight_decay, rel=1e-12)
        assert scaled.optimizer.eps == pytest.approx(weight * twins[0].optimizer.eps, rel=1e-12)
        assert scaled.optimizer.warmup_epochs == twins[0].optimizer.warmup_epochs


def told_apart(run):
    return run.dataset, run.backbone, run.seed


def test_the_paper_profile_of_nir_has_the_published_command_lines():
    found = Counter()
    for run in load("nir", "paper").runs():
        flat = run.flat()
        if run.seed or flat["training.batch_size"] != 90 or run.optimizer.lr != 1e-5:
            continue
        size = flat["dataset"], flat["backbone.embedding_dim"], flat["backbone.pooling"]
        flow = [flat.get(f"regularizer.{name}") for name in ("form", "weight", "lr_multiplier", "detach_embeddings")]
        rates = flat["objective.lr_multiplier"], flat["optimizer.warmup_epochs"], flat["training.epochs"]
        found[(*size, *flow, *rates)] += 1
    poolings = [(dim, pooling) for dim in (128, 512) for pooling in ("avg", "avg+max")]
    for dim, pooling in poolings:
        released = ("exp_nll", 0.0075, 50, False, 4000, 1, 100)
        assert found["cub200", dim, pooling, *released] == 1
        assert found["cars196", dim, pooling, "exp_nll", 0.01, *released[2:]] == 1
        assert found["sop", dim, pooling, "exp_nll", 0.3, 1, False, 4000, 5, 300] == 1
    for dataset in ("cub200", "cars196"):
        assert found[dataset, 128, "avg", None, None, None, None, 2000, 0, 100] >= 1
