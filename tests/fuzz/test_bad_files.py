"""Damaged packs, embeddings, evidence and run folders: one message each, and nothing in them is executed."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hammer import SECONDS, in_child
from odd_packs import WITNESS, huge_png, pickled

HERE = Path(__file__).parent
SEED = 20261121
LEFT = {"npz": "odd.npz", "zip": "odd.zip", "embeddings": "odd.npz", "evidence": "odd.npz", "results": "results"}


def hammered(kind: str, count: int, seed: int, folder: Path) -> None:
    """Give damaged files of a kind to their readers, and look that nothing came of it."""
    inside = folder / "inside"
    inside.mkdir()
    if kind == "results":
        tally = in_child(HERE / "hammer_results.py", str(count), str(seed), folder=inside)
    else:
        tally = in_child(HERE / "hammer_packs.py", kind, str(count), str(seed), folder=inside)
    print(kind, tally)
    assert tally.faults == []
    assert len(tally) == count
    assert min(tally.accepted, tally.refused) > count // 20
    assert tally.slowest < SECONDS
    assert [path.name for path in folder.iterdir()] == ["inside"]
    assert [path.name for path in inside.iterdir()] == [LEFT[kind]]
    assert not any(path.name == WITNESS for path in folder.rglob("*"))


def test_the_payload_would_make_a_file_if_it_were_unpickled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for opened in np.load(io.BytesIO(pickled()), allow_pickle=True):
        opened.close()
    assert (tmp_path / WITNESS).exists()


def test_the_huge_image_is_a_small_file():
    assert len(huge_png()) < 10_000


@pytest.mark.parametrize("kind", LEFT)
def test_damaged_files_are_told_in_one_message(tmp_path, kind):
    hammered(kind, 40, SEED, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", LEFT)
def test_1000_damaged_files_are_told_in_one_message(tmp_path, kind):
    hammered(kind, 1000, SEED + 1, tmp_path)
