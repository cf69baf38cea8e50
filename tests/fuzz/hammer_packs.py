"""Reads damaged packs, embeddings and evidence: hammer_packs.py npz | zip | embeddings | evidence COUNT SEED."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
from hammer import hammer, tell
from odd_packs import arrays, images, npy, odd_archives

from harness.cli.measure import read_embeddings
from harness.datasets.pack import Pack
from harness.training.evidence import read_evidence

EVIDENCE = {
    "run_id": np.array("0" * 16), "epoch": np.array(1), "query_labels": np.arange(4), "query_indices": np.arange(4),
    "query.recall_at_1": np.ones(4), "classes": np.arange(2), "class.map_at_r": np.ones(2), "spectrum": np.ones(3),
    "embeddings": np.ones((4, 3), np.float16), "labels": np.arange(4), "indices": np.arange(4), "scale": np.array(2.0),
}  # fmt: skip


def read_pack(file: Path) -> None:
    """As a run does: the labels first, then images."""
    source = Pack(Path.cwd(), file=file.name).source()
    for position in (0, len(source.labels) - 1):
        source.read(position)


READERS = {
    "npz": (arrays, ".npz", read_pack),
    "zip": (images, ".zip", read_pack),
    "embeddings": (arrays, ".npz", read_embeddings),
    "evidence": (lambda: [(f"{name}.npy", npy(array)) for name, array in EVIDENCE.items()], ".npz", read_evidence),
}


def main() -> None:
    members, suffix, reader = READERS[sys.argv[1]]
    file = Path("odd" + suffix)

    def read(content: bytes) -> None:
        file.write_bytes(content)
        reader(file)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of members that an archive has twice, made on purpose
        count, number = int(sys.argv[2]), int(sys.argv[3])
        cases = ((f"{number}/{i}", content) for i, content in enumerate(odd_archives(members(), count, number)))
        tell(hammer(cases, read))


if __name__ == "__main__":
    main()
