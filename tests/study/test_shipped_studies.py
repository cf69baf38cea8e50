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
        ("fair_comparison", None, 26 * 3),
        ("fair_comparison", "quick", 26),
        ("fair_comparison", "paper", (23 + 23 + 21) * 5),
        ("omniglot", None, 15 * 2),
        ("omniglot", "quick", 4 * 2),
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
