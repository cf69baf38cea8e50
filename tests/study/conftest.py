"""Small parts that need no torch, and a way to load a study from text."""

import textwrap

import pytest

from harness.errors import StudyError
from harness.registry import BACKBONES, DATASETS, MINERS, OBJECTIVES, REGULARIZERS, SAMPLERS
from harness.study import Study


class Pull:
    takes = "triplets"
    proxy_table = None

    def __init__(
        self, *, margin: float = 0.2, beta: float = 1.2, steps: list[int] | None = None, note: str = ""
    ) -> None:
        pass


class Anchors:
    takes = "batch"
    proxy_table = "proxies"

    def __init__(self, num_classes: int, *, scale: float = 3.0) -> None:
        pass


class Whole:
    takes = "batch"
    proxy_table = None

    def __init__(self, *, margin: float = 0.1) -> None:
        pass


class Nearby:
    def __init__(self, *, temperature: float = 1.0) -> None:
        pass


class Anyone:
    pass


class Spread:
    needs = frozenset({"tuples"})

    def __init__(self, *, probability: float = 0.2) -> None:
        pass


class ProxySpread:
    needs = frozenset({"proxies"})

    def __init__(self, *, strength: float) -> None:
        pass


class Dots:
    def __init__(self, data_root: str, *, size: int = 4) -> None:
        pass


class Box:
    def __init__(self, data_root: str, *, file: str) -> None:
        pass


class Tiny:
    def __init__(self, *, embedding_dim: int = 8) -> None:
        pass


class Pairs:
    def __init__(self, labels: object, batch_size: int, *, samples_per_class: int = 2) -> None:
        pass


FAKES = {
    OBJECTIVES: {"pull": Pull, "anchors": Anchors, "whole": Whole},
    MINERS: {"nearby": Nearby, "anyone": Anyone},
    REGULARIZERS: {"spread": Spread, "proxy_spread": ProxySpread},
    DATASETS: {"dots": Dots, "box": Box},
    BACKBONES: {"tiny": Tiny},
    SAMPLERS: {"pairs": Pairs},
}

HEAD = """\
schema: 1
name: small
question: What is it?
run:
  dataset: dots
  backbone: tiny
  sampler: pairs
"""
"""Seven lines; a run lacks only its objective. Further lines of `run` may follow, indented by two."""


@pytest.fixture(autouse=True)
def _fakes(monkeypatch):
    for registry, parts in FAKES.items():
        for name, part in parts.items():
            monkeypatch.setitem(registry._parts, name, part)


@pytest.fixture
def head():
    """How the test studies begin."""
    return HEAD


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Loads `HEAD` and what follows, from a file `small.yaml` of the current folder."""
    monkeypatch.chdir(tmp_path)

    def load_text(text, *, head=HEAD, **how):
        # Text that starts at the margin of `run` goes on with it; text that is deeper is meant for the top level.
        deeper = text.startswith("\n    ")
        (tmp_path / "small.yaml").write_text(head + (textwrap.dedent(text) if deeper else text))
        return Study.load("small.yaml", **how)

    return load_text


@pytest.fixture
def refused(load):
    """The text of the StudyError that loading gives."""

    def text_of_refusal(text, **how):
        with pytest.raises(StudyError) as caught:
            load(text, **how)
        return str(caught.value)

    return text_of_refusal


@pytest.fixture
def flats(load):
    """The values at some paths, one tuple a run; a path that a run does not have gives None."""

    def values(text, *paths, **how):
        runs = [run.flat() for run in load(text, **how).runs()]
        return [tuple(run.get(path) for path in paths) if len(paths) > 1 else run.get(paths[0]) for run in runs]

    return values
