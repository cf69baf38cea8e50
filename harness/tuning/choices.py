"""What was chosen, in `results/<study>/tuned.yaml`: written whole, read back only as it was written."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from harness.errors import StudyError
from harness.specs import canonical_json
from harness.store.files import make_folder, told_as, write_atomically
from harness.study import Study
from harness.study.tune import Tune
from harness.tuning.search import Method

_HEAD = """\
# Written by `harness tune`: what was chosen for each method, on held-out training classes alone.
# `harness run` trains it; an edited file is refused, because its digest would no longer be that of the search.
"""


@dataclass(frozen=True)
class Chosen:
    """The choice for one method, which `key` tells from others; without `trial` none of its trials had a result."""

    method: str
    key: str
    trials: int
    trial: int | None
    score: float | None
    default_score: float | None
    epoch: int | None
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Choices:
    """The choices of a study; `asked` is the digest of what it asked for, `folds` the metric's place."""

    study: str
    profile: str | None
    metric: str
    asked: str
    methods: tuple[Chosen, ...]

    @property
    def digest(self) -> str:
        """64 bits of the SHA-256 over everything that was chosen, in hex: what a look at the test is frozen to."""
        return _digest(asdict(self))

    def of(self, key: str) -> Chosen | None:
        """The choice for a method."""
        return next((chosen for chosen in self.methods if chosen.key == key), None)


def choose(study: Study, methods: Sequence[Method]) -> Choices:
    """For each method the trial of the highest score."""
    assert study.tune is not None
    chosen = tuple(_chosen(method) for method in methods)
    return Choices(study.name, study.profile, study.tune.section.metric, asked_digest(study.tune), chosen)


def asked_digest(tune: Tune) -> str:
    """What tells one tune section from another."""
    return _digest(tune.to_dict())


def tuned_path(results: Path, study: str, profile: str | None) -> Path:
    """Where the choices of a study are: in the folder of its report."""
    return results / (study if profile is None else f"{study}-{profile}") / "tuned.yaml"


def write_choices(choices: Choices, results: Path) -> Path:
    """Write the file whole or not at all, and give its path."""
    path = tuned_path(results, choices.study, choices.profile)
    make_folder(path.parent)
    stream = io.StringIO()
    yaml = YAML(typ="safe")
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.dump({"digest": choices.digest, **_plain(choices)}, stream)
    write_atomically(path, _HEAD + stream.getvalue(), durable=True)
    return path


def read_choices(study: Study, results: Path) -> Choices:
    """What was chosen for a study.

    Raises StudyError where it was not tuned, or otherwise than it asks now, and where the file was edited or damaged.
    """
    assert study.tune is not None
    path = tuned_path(results, study.name, study.profile)
    again = f"run `harness tune` for {study.name!r} first"
    with told_as("read", path):
        text = path.read_text(encoding="utf-8") if path.exists() else None
    if text is None:
        raise StudyError(f"study {study.name!r} was not tuned yet: there is no {path}; {again}")
    choices, digest = _parsed(text, path)
    if choices.digest != digest:
        raise StudyError(f"{path} was edited: its choices are not those of its digest {digest}; {again}, or undo it")
    if choices.asked != asked_digest(study.tune):
        raise StudyError(f"{path} holds the choices of another section `tune` than the study has now; {again}")
    return choices


def _parsed(text: str, path: Path) -> tuple[Choices, str]:
    try:
        found = YAML(typ="safe").load(text)
        digest = str(found.pop("digest"))
        methods = tuple(Chosen(**chosen) for chosen in found.pop("methods"))
        return Choices(**found, methods=methods), digest
    except (YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise StudyError(f"{path} is no file of choices: {error}; delete it and run `harness tune` again") from error


def _chosen(method: Method) -> Chosen:
    best, first = method.best, method.trials[0] if method.trials else None
    return Chosen(
        method=method.label,
        key=method.final.run_id,
        trials=len(method.trials),
        trial=best.number if best else None,
        score=best.score if best else None,
        default_score=first.score if first and first.state == "complete" else None,
        epoch=best.epoch if best else None,
        values=dict(best.values) if best else {},
    )


def _plain(choices: Choices) -> dict[str, Any]:
    return {**asdict(choices), "methods": [asdict(chosen) for chosen in choices.methods]}


def _digest(value: Any) -> str:
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:16]
