"""Decoding, bank, normalization, weights and evaluation together, against numbers that were measured without them.

The networks were trained with the padding of TensorFlow, which sizes of 32 k + 1 match; so the images of 128 pixels are
enlarged by one or three, bicubically as in that measurement; bilinear enlarging costs half a point.
"""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import normalize

import harness
from harness.registry import BACKBONES, DATASETS
from harness.training.data import open_data

DATA = Path(os.environ.get("HARNESS_DATA") or "data")
WEIGHTS = {"mobilenet_v2": "mobilenet_v2_imagenet.npz", "squeezenet": "squeezenet1_0_imagenet.npz"}


def enlarged(pack, side, folder):
    """A pack with its images at another side."""
    source = DATASETS.build(DATASETS.check("pack", {"file": pack}), data_root=DATA).source()
    small = (Image.fromarray(source.read(row)) for row in range(len(source.labels)))
    images = [np.asarray(image.resize((side, side), Image.Resampling.BICUBIC)) for image in small]
    np.savez(folder / "enlarged.npz", images=np.stack(images), labels=source.labels, is_train=source.is_train)
    return DATASETS.check("pack", {"file": "enlarged.npz"})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "side", "pack", "recall"),
    [
        ("mobilenet_v2", 129, "cub100_128.zip", 0.688),
        ("mobilenet_v2", 129, "cars196_128.zip", 0.335),
        ("squeezenet", 131, "cars196_128.zip", 0.391),
    ],
)
def test_frozen_features_have_the_recall_that_was_measured_independently(name, side, pack, recall, tmp_path):
    weights = f"weights/{WEIGHTS[name]}"
    missing = [file for file in (pack, weights) if not (DATA / file).is_file()]
    if missing:
        pytest.skip(f"needs {' and '.join(missing)} in the folder HARNESS_DATA")
    choice = BACKBONES.completed(BACKBONES.check(name, {"weights": weights}), DATA)
    backbone = BACKBONES.build(choice, data_root=DATA).eval().to(memory_format=torch.channels_last)
    data = open_data(enlarged(pack, side, tmp_path), tmp_path, tmp_path / "banks", torch.device("cpu"), "none")
    with torch.inference_mode():
        batches = [normalize(backbone(data.bank.batch(rows, "test"))) for rows in data.test_index.split(128)]
    found = harness.measure(torch.cat(batches), data.test_labels, metrics=["retrieval"])["recall_at_1"]
    print(f"{name} {pack}: {found:.4f}")
    assert found == pytest.approx(recall, abs=0.005)
