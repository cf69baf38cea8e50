"""What is on record about how a run's numbers came about, one fact a line, by what kind of cause it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.specs import KINDS

CAUSES = {
    "classes": "which classes the numbers are about",
    "data": "the images and labels",
    "weights": "the weights that training begins from",
    "protocol": "revision of how all runs are trained and measured",
    "part revision": "what the code of a part computes",
    "setting": "what the study says",
    "harness": "version and state of the harness",
    "lab's parts": "code of parts that are not the harness's",
    "libraries": "versions of other software",
    "hardware": "machine, device and driver",
    "threads": "how many threads computed",
}
"""Cause -> what it is, the one that moves numbers most first: where several explain as much, it is told first."""

_HARNESS = ("version", "commit", "dirty")
_HARDWARE = ("device", "driver", "cuda", "cudnn", "cpu", "system")
_DATA = ("data_digest",)

Facts = dict[tuple[str, str], Any]
"""Cause and name -> value, such as ("libraries", "torch") -> "2.6.0"."""


def facts_of(spec: Mapping[str, Any], provenance: Mapping[str, Any]) -> Facts:
    """Everything that is on record about one run, but for its seed; what is not known is left out."""
    return {**_of_spec(spec), **_of_provenance(provenance)}


def _of_spec(spec: Mapping[str, Any]) -> Facts:
    found: Facts = {("protocol", "protocol"): spec.get("protocol")}
    for kind in KINDS:
        choice = spec.get(kind)
        found["setting", kind] = choice["name"] if choice else "none"
        if choice:
            found["part revision", kind] = choice.get("revision", 1)
        for option, value in (choice["options"] if choice else {}).items():
            cause = "weights" if kind == "backbone" and option.startswith("weights") else "setting"
            found[cause, f"{kind}.{option}"] = value
    for section in ("training", "optimizer", "evaluation", "tuned"):
        for name, value in (spec.get(section) or {}).items():
            found["setting", f"{section}.{name}"] = value
    return found


def _of_provenance(made: Mapping[str, Any]) -> Facts:
    classes = made.get("classes") or {}
    libraries = {"python": made.get("python"), **(made.get("libraries") or {})}
    found: Facts = {
        ("classes", "split_digest"): made.get("split_digest"),
        **{("classes", split): digest for split, digest in classes.items()},
        **{("data", name): made.get(name) for name in _DATA},
        ("weights", "loaded"): made.get("weights_digest"),
        **{("harness", name): made.get(name) for name in _HARNESS},
        **{("lab's parts", name): _code(code) for name, code in (made.get("parts") or {}).items()},
        **{("libraries", name): version for name, version in libraries.items()},
        **{("hardware", name): made.get(name) for name in _HARDWARE},
        ("threads", "threads"): made.get("threads"),
    }
    # A clean checkout has no digest of changes, which is a fact where its commit is known.
    clean = {("harness", "dirty"): "clean"} if made.get("commit") and not made.get("dirty") else {}
    return {name: value for name, value in found.items() if value is not None} | clean


def _code(code: Any) -> str:
    """A lab's part in one word: commit and digest."""
    if not isinstance(code, Mapping):
        return str(code)
    return " ".join(str(code[name]) for name in ("version", "commit", "dirty", "sha256") if code.get(name))
