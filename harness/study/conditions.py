"""Which runs stay: `when` of a block, `exclude` of the study and `--only` of the command line match runs the same way.

A condition is a mapping; all of it must hold. Its keys are paths as `RunSpec.flat` has them (`objective`,
`objective.beta`, `training.epochs`, `seed`) or the bare name of an option (`beta`), whichever part has it. Its values
are one value, a list of allowed ones, or a mapping (`{name: margin, beta: 0.6}`) of which every key must hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import did_you_mean
from harness.study.mistakes import Mistakes, Place
from harness.study.source import Node

Flat = Mapping[str, Any]


@dataclass(frozen=True)
class Test:
    """One key of a condition: the value at `path` is one of `allowed`."""

    path: str
    allowed: tuple[Any, ...]
    key: Place
    value: Place

    def values(self, run: Flat) -> list[Any]:
        """What the run has there; a bare name may be an option of several parts."""
        if self.path in run:
            return [run[self.path]]
        if "." in self.path:
            return []
        ending = f".{self.path}"
        return [value for path, value in run.items() if path.endswith(ending)]

    def holds(self, run: Flat) -> bool:
        """Whether the run has one of the allowed values."""
        return any(_same(value, allowed) for value in self.values(run) for allowed in self.allowed)


@dataclass(frozen=True)
class Condition:
    """What `when`, one entry of `exclude`, or `--only` asks of a run."""

    tests: tuple[Test, ...]
    place: Place

    def cost(self) -> int:
        """How many comparisons that takes for one run, at most."""
        return 1 + sum(len(test.allowed) for test in self.tests)

    def holds(self, run: Flat) -> bool:
        """Whether a run, as `RunSpec.flat` shows it, is meant."""
        return all(test.holds(run) for test in self.tests)


def read_condition(node: Node, mistakes: Mistakes) -> Condition | None:
    """A condition of the study file; None, with the mistake recorded, when it is none."""
    if not isinstance(node.value, dict) or not node.value:
        mistakes.add(node.place, "a condition is a mapping such as `{objective: margin, beta: 0.6}`")
        return None
    return Condition(tuple(test for key, child in node.value.items() for test in _tests(key, child)), node.label)


def _tests(path: str, node: Node) -> list[Test]:
    if isinstance(node.value, dict):
        inner = [(path if name == "name" else f"{path}.{name}", child) for name, child in node.value.items()]
        return [test for name, child in inner for test in _tests(name, child)]
    allowed = node.plain() if isinstance(node.value, list) else [node.value]
    return [Test(path, tuple("none" if value is None else value for value in allowed), node.label, node.place)]


def _same(value: Any, allowed: Any) -> bool:
    # True equals 1 in Python, but not to somebody who writes a study.
    if isinstance(value, bool) != isinstance(allowed, bool):
        return False
    return bool(("none" if value is None else value) == allowed)


def explain_no_match(condition: Condition, runs: Sequence[Flat], mistakes: Mistakes, verb: str) -> None:
    """Record why a condition matches none of the runs: an option that none has, a value that none has, or both at once.

    `verb` completes the sentence "this ... none of the runs".
    """
    paths = sorted(set[str]().union(*runs))
    bare = sorted({path.rpartition(".")[2] for path in paths})
    known = True
    for test in condition.tests:
        if test.path not in paths and ("." in test.path or test.path not in bare):
            mistakes.add(test.key, f"no run has {test.path!r}{did_you_mean(test.path, [*paths, *bare])}")
            known = False
    for test in condition.tests if known else ():
        if not any(test.holds(run) for run in runs):
            found = {str(value) for run in runs for value in test.values(run)}
            wanted = ", ".join(map(str, test.allowed))
            mistakes.add(test.value, f"no run has {test.path} {wanted}{did_you_mean(wanted, found)}")
            known = False
    if known:
        mistakes.add(condition.place, f"this {verb} none of the {len(runs)} runs: none has all of it at once")
