"""Where queries search a gallery: only retrieval tells them apart, and what a run leaves says which image was which."""

import dataclasses

import numpy as np
import official_samples as samples
import pytest
import torch

from harness.datasets.in_shop import InShop
from harness.errors import DataError
from harness.images import checked
from harness.registry import DATASETS, METRICS
from harness.specs import Evaluation
from harness.training.bank import build_bank
from harness.training.data import open_data
from harness.training.evidence import read_evidence
from harness.training.execute import Context, execute
from harness.training.measure import measure, measure_all

ITEMS = {f"id_{number:08d}": ("train",) * size for number, size in enumerate([3, 1, 2, 4, 3], start=1)}
ITEMS |= {
    f"id_{number:08d}": ("query",) * queries + ("gallery",) * gallery
    for number, queries, gallery in [(11, 2, 2), (12, 1, 3), (13, 3, 1), (14, 2, 1), (15, 1, 1), (16, 2, 4)]
}


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A data folder with six test items, of which each has at least one query and one gallery image."""
    rows = [
        (f"img/WOMEN/Dresses/{item}/0{i}_1_front.jpg", item, kind)
        for item, kinds in ITEMS.items()
        for i, kind in enumerate(kinds)
    ]
    lines = [
        str(len(rows)),
        "image_name item_id evaluation_status",
        *(f"{p}  {item}  {kind}" for p, item, kind in rows),
    ]
    files = {path: samples.picture(number) for number, (path, _, _) in enumerate(rows)}
    files["list_eval_partition.txt"] = "\n".join(lines).encode()
    kinds = [kind for _, _, kind in rows]
    counts = {told: kinds.count(kind) for kind, told in (("train", "training"), ("query", "query"))}
    monkeypatch.setattr(InShop, "counts", counts | {"gallery": kinds.count("gallery")})
    return samples.write(tmp_path / "data", {f"in_shop/{name}": content for name, content in files.items()}).absolute()


@pytest.fixture
def shop_spec(mini_spec):
    """A run of two short epochs on the shop."""
    chosen = DATASETS.check("in_shop", {"side": 16, "crop": 12, "resize": 12})
    families = [METRICS.check(name) for name in ("retrieval", "clustering", "density", "spectrum")]
    spec = mini_spec(evaluation=Evaluation(test=families, train=families))
    training = spec.training.model_copy(update={"batch_size": 4})
    return dataclasses.replace(spec, dataset=chosen, training=training)


def recall_at_1(embeddings, labels, queries, gallery) -> list[bool]:
    """By the definition: whether the nearest gallery image of each query is of its class."""
    distances = [[float(((embeddings[q] - embeddings[g]) ** 2).sum()) for g in gallery] for q in queries]
    return [labels[gallery[int(np.argmin(row))]] == labels[q] for q, row in zip(queries, distances, strict=True)]


def test_a_run_ranks_the_gallery_for_each_query_and_measures_the_rest_on_all_test_images(shop, shop_spec, tmp_path):
    context = Context(data_root=shop, cache=tmp_path / "cache", evidence=tmp_path / "evidence.npz")
    result = execute(shop_spec, context)
    assert result.state == "done", result.traceback
    told = {m.metric: m.value for m in result.measurements if (m.selection, m.split) == ("last", "test")}
    kept = read_evidence(context.evidence)

    source = DATASETS.build(shop_spec.dataset, data_root=shop).source()
    in_gallery = source.gallery[kept.query_indices]
    assert kept.query_labels.tolist() == source.labels[~source.is_train].tolist()
    queries, gallery = np.flatnonzero(~in_gallery), np.flatnonzero(in_gallery)
    assert (len(queries), len(gallery)) == (11, 12)
    assert kept.labels.tolist() == kept.query_labels.tolist()  # all are in the sample of embeddings
    expected = recall_at_1(kept.embeddings.astype(float), kept.labels, queries, gallery)
    assert told["recall_at_1"] == pytest.approx(np.mean(expected), abs=1e-12)
    assert told["queries_excluded"] == 0

    scores = kept.per_query["recall_at_1"]
    assert np.isnan(scores[gallery]).all()
    assert scores[queries].tolist() == expected
    together = measure(kept.embeddings, kept.labels, ["density", "retrieval"])
    assert told["density"] == pytest.approx(together["density"], rel=1e-2)
    assert told["map_at_r"] != pytest.approx(
        together["map_at_r"], abs=1e-6
    )  # among all test images it is another number
    assert len(kept.spectrum) == min(23, kept.embeddings.shape[1])


def test_the_training_images_have_no_gallery_and_an_item_of_one_image_trains(shop, shop_spec, tmp_path):
    data = open_data(shop_spec.dataset, shop, tmp_path / "cache", torch.device("cpu"), "none")
    assert data.gallery("train") is None
    assert data.gallery("test").sum() == 12
    assert data.num_classes == 5
    assert torch.bincount(data.train_labels).tolist() == [3, 1, 2, 4, 3]
    assert data.split_digest == InShop(shop, side=16, crop=12).source().split_digest


def test_measuring_with_a_gallery_tells_every_sample_and_asks_other_families_as_ever():
    generator = torch.Generator().manual_seed(0)
    embeddings, labels = torch.randn(40, 5, generator=generator), torch.arange(40) % 8
    gallery = torch.rand(40, generator=generator) < 0.5
    families = [METRICS.build(METRICS.check(name)) for name in ("retrieval", "density")]
    measured = measure_all(embeddings, labels, families, 0, gallery)
    queries = (~gallery).nonzero().squeeze(1).tolist()
    expected = recall_at_1(embeddings.double(), labels.tolist(), queries, gallery.nonzero().squeeze(1).tolist())
    scores = measured.per_query["recall_at_1"]
    assert len(scores) == 40
    assert scores[queries].tolist() == expected
    assert np.isnan(scores[gallery.numpy()]).all()
    assert measured.values["density"] == measure_all(embeddings, labels, families[1:], 0).values["density"]


def test_the_rows_of_the_gallery_follow_when_bad_images_are_left_out(shop, tmp_path):
    images = sorted((shop / "in_shop").rglob("id_00000016/*.jpg"))
    images[0].write_bytes(b"")  # a query
    images[-1].write_bytes(b"")  # of the gallery
    source = InShop(shop, side=16, crop=12, on_bad_image="skip").source()
    with_both = np.array([str(image) not in {str(images[0]), str(images[-1])} for image in source.names])
    bank = build_bank(source, tmp_path / "cache")
    assert len(bank) == len(source) - 2
    assert bank.gallery.tolist() == source.gallery[with_both].tolist()
    with pytest.raises(DataError, match="the file is empty"):
        build_bank(InShop(shop, side=16, crop=12).source(), tmp_path / "cache")


@pytest.mark.parametrize(
    ("gallery", "message"),
    [
        ([True] + [False] * 11, "training images are in the gallery"),
        ([False] * 12, "none of the 6 queries has an image of its class among the 0 of the gallery"),
        ([False] * 6 + [True] * 3 + [False] * 3, "none of the 3 queries has an image of its class among the 3"),
        ([False] * 6 + [True] * 6, "none of the 0 queries"),
    ],
)
def test_a_gallery_in_which_nothing_can_be_found_is_refused(array_source, gallery, message):
    with pytest.raises(DataError, match=message):
        checked(array_source(gallery=np.array(gallery)))


def test_only_training_classes_may_have_one_image_and_only_where_the_data_set_says_so(array_source):
    lonely = np.array([0, 0, 1, 2, 2, 3, 3])
    changes = {"labels": lonely, "is_train": lonely < 2, "names": [str(i) for i in range(7)]}
    assert len(checked(array_source(**changes, lonely_training_classes=True))) == 7
    with pytest.raises(DataError, match="training class 'class 1' has only one image"):
        checked(array_source(**changes))
    swapped = changes | {"is_train": lonely >= 2}
    with pytest.raises(DataError, match="test class 'class 1' has only one image"):
        checked(array_source(**swapped, lonely_training_classes=True))
