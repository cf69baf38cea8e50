"""From the grid to combinations: a block is a product of axes, and in it a list is an axis, at any depth.

A value that is itself a list is nested once more: `optimizer.milestones: [[30, 60]]` is one list of two epochs. `zip`
pairs lists of equal length. What a block says is laid over `run`; its `question` is kept for the report.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import reduce

from harness.errors import did_you_mean
from harness.specs import KINDS
from harness.study.mistakes import Mistakes, Place
from harness.study.schema import SECTIONS
from harness.study.sections import OptionPath, Sections, lay_over, overlay, union
from harness.study.source import Node, describe


@dataclass(frozen=True)
class Axis:
    """Columns of values of which a run takes one row; more than one column when they are zipped."""

    columns: tuple[tuple[OptionPath, Node], ...]
    zipped: bool = False

    def count(self) -> int:
        """The number of alternatives, without making them."""
        if not self.zipped:
            return _count_choices(self.columns[0][1])
        return sum(math.prod(_count_variants(node) for _, node in row) for row in self._rows())

    def alternatives(self, mistakes: Mistakes) -> list[Sections]:
        """What each alternative says; one that makes no sense is recorded and left out."""
        if not self.zipped:
            path, node = self.columns[0]
            found = [overlay(path, replace(choice, key=node.key), mistakes) for choice in _choices(node)]
            return [sections for sections in found if sections is not None]
        return [sections for row in self._rows() for sections in self._zipped(row, mistakes)]

    def _rows(self) -> list[list[tuple[OptionPath, Node]]]:
        paths = [path for path, _ in self.columns]
        rows = zip(*([replace(v, key=n.key) for v in n.value] for _, n in self.columns), strict=True)
        return [list(zip(paths, row, strict=True)) for row in rows]

    def _zipped(self, row: list[tuple[OptionPath, Node]], mistakes: Mistakes) -> Iterator[Sections]:
        columns = [[overlay(path, variant, mistakes) for variant in _variants(node)] for path, node in row]
        for parts in itertools.product(*columns):
            said = [sections for sections in parts if sections is not None]
            if len(said) == len(parts):
                yield reduce(union, said, {})

    def without(self, path: OptionPath) -> Axis | None:
        """The axis when a `--set` decides what stands at `path`; None when nothing is left of it."""
        kept = [(own, _prune(node, path[len(own) :])) for own, node in self.columns if own[: len(path)] != path]
        return replace(self, columns=tuple(kept)) if kept else None


@dataclass(frozen=True)
class Block:
    """One block of the grid; `question`: what its runs are there to answer, if it says so.

    `doubtful`: keys of it were not understood, so what seems missing may be misspelt.
    """

    axes: tuple[Axis, ...]
    when: Node | None
    place: Place
    doubtful: bool
    question: str = ""

    def count(self) -> int:
        """The number of combinations, without making them."""
        return math.prod(axis.count() for axis in self.axes)

    def combinations(self, run: Sections, mistakes: Mistakes) -> Iterator[Sections]:
        """Everything that is said about each combination, laid over `run`."""
        alternatives = [axis.alternatives(mistakes) for axis in self.axes]
        for said in itertools.product(*alternatives):
            yield lay_over(run, reduce(union, said, {}))


def without(block: Block, paths: Iterable[OptionPath]) -> Block:
    """The block when a `--set` decides what stands at each of these paths."""
    axes: list[Axis] = list(block.axes)
    for path in paths:
        axes = [kept for axis in axes if (kept := axis.without(path))]
    return replace(block, axes=tuple(axes))


def read_run(node: Node | None, mistakes: Mistakes) -> Sections:
    """The section `run`: one value for every path; lists are plain values."""
    said: Sections = {}
    columns = _columns(node, mistakes, extra=()) if node else []
    _refuse_twice([Axis((column,)) for column in columns], mistakes)
    for path, value in columns:
        if path[0] in KINDS and len(path) == 1 and isinstance(value.value, list):
            mistakes.add(value.place, "in `run` a list is never an axis; move it to a block of `grid` or to `axes`")
            continue
        said = union(said, overlay(path, value, mistakes) or {})
    return said


def read_axes(node: Node, mistakes: Mistakes, *, extra: tuple[str, ...]) -> list[Axis]:
    """The axes of a block or of the section `axes`; `extra` are the keys that are none."""
    axes = [Axis((column,)) for column in _columns(node, mistakes, extra=(*extra, "zip"))]
    zips = node.value.get("zip")
    if zips is not None:
        groups = zips.value if isinstance(zips.value, list) else [zips]
        axes += [axis for group in groups if (axis := _read_zip(group, mistakes))]
    for axis in axes:
        _refuse_empty(axis, mistakes)
    return axes


def read_block(node: Node, shared: list[Axis], mistakes: Mistakes) -> Block:
    """One block of `grid`, with the axes that all blocks share."""
    before = len(mistakes)
    axes = [*read_axes(node, mistakes, extra=("when", "question")), *shared]
    _refuse_twice(axes, mistakes)
    question = _question(node.value.get("question"), mistakes)
    return Block(tuple(axes), node.value.get("when"), node.place.start, len(mistakes) > before, question)


def _question(node: Node | None, mistakes: Mistakes) -> str:
    if node is None:
        return ""
    if not isinstance(node.value, str) or not node.value.strip():
        mistakes.add(node.place, f"the question of a block is a text, not {describe(node.value)}")
        return ""
    return " ".join(node.value.split())


def _columns(node: Node, mistakes: Mistakes, *, extra: tuple[str, ...]) -> list[tuple[OptionPath, Node]]:
    columns = []
    for key, value in node.value.items():
        path = tuple(key.split("."))
        if key in extra:
            continue
        if path[0] not in SECTIONS:
            known = did_you_mean(path[0], (*SECTIONS, *extra))
            hint = "; seeds stand at the top level of the study" if path[0] in ("seed", "seeds") else known
            mistakes.add(value.label, f"{key!r} is not a section of a run{hint}")
        elif not all(path):
            mistakes.add(value.label, f"{key!r} has an empty step; a path looks like `training.epochs`")
        else:
            columns.append((path, value))
    return columns


def _read_zip(node: Node, mistakes: Mistakes) -> Axis | None:
    if not isinstance(node.value, dict) or not node.value:
        mistakes.add(node.place, "`zip` is a mapping of paths to lists of the same length")
        return None
    columns = _columns(node, mistakes, extra=())
    for path, value in columns:
        if not isinstance(value.value, list):
            mistakes.add(value.place, f"`zip` pairs lists; {'.'.join(path)!r} is {describe(value.value)}")
            return None
    lengths = {".".join(path): len(value.value) for path, value in columns}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        mistakes.add(node.label, f"`zip` pairs lists of the same length: {told}")
        return None
    return Axis(tuple(columns), zipped=True) if columns else None


def _refuse_empty(axis: Axis, mistakes: Mistakes) -> None:
    for _, node in axis.columns:
        for empty in _empty_lists(node):
            mistakes.add(empty.place, "an axis without values leaves no runs; an empty list as a value is `[[]]`")


def _empty_lists(node: Node) -> Iterator[Node]:
    if isinstance(node.value, dict):
        for child in node.value.values():
            yield from _empty_lists(child)
    elif isinstance(node.value, list):
        if not node.value:
            yield node
        for child in node.value:
            if isinstance(child.value, dict):
                yield from _empty_lists(child)


def _refuse_twice(axes: list[Axis], mistakes: Mistakes) -> None:
    """Two axes that decide the same option would make one of them a lie."""
    taken: dict[OptionPath, Place] = {}
    for path, node in (column for axis in reversed(axes) for column in axis.columns):
        own = _claims(path, node)
        for claim in own:
            # Also when one decides a mapping and the other something inside of it.
            clash = next((other for other in taken if other[: len(claim)] == claim[: len(other)]), None)
            if clash:
                mistakes.add(node.label, f"{'.'.join(claim)!r} is also set in line {taken[clash].line}; keep one")
                break
        taken |= dict.fromkeys(own, node.label)


def _claims(path: OptionPath, node: Node) -> set[OptionPath]:
    """The options that a column decides."""
    if isinstance(node.value, dict) and node.value:
        return {claim for name, child in node.value.items() for claim in _claims((*path, name), child)}
    if isinstance(node.value, list):
        mappings = [child for child in node.value if isinstance(child.value, dict)]
        claims = {claim for child in mappings for claim in _claims(path, child)}
        return claims if len(mappings) == len(node.value) else claims | {_whole(path)}
    return {_whole(path)}


def _whole(path: OptionPath) -> OptionPath:
    return (*path, "name") if len(path) == 1 and path[0] in KINDS else path


def _choices(node: Node) -> list[Node]:
    """The values of an axis: those of its list, each with the lists inside of it written out."""
    elements = node.value if isinstance(node.value, list) else [node]
    return [variant for element in elements for variant in _variants(element)]


def _variants(node: Node) -> list[Node]:
    if not isinstance(node.value, dict):
        return [node]
    names = list(node.value)
    products = itertools.product(*([replace(v, key=c.key) for v in _choices(c)] for c in node.value.values()))
    return [replace(node, value=dict(zip(names, values, strict=True))) for values in products]


def _count_choices(node: Node) -> int:
    elements = node.value if isinstance(node.value, list) else [node]
    return sum(_count_variants(element) for element in elements)


def _count_variants(node: Node) -> int:
    return math.prod(map(_count_choices, node.value.values())) if isinstance(node.value, dict) else 1


def _prune(node: Node, path: OptionPath) -> Node:
    """A value without what stands at `path` in it, or in any of the mappings of its list."""
    if not path:
        return node
    if isinstance(node.value, list):
        return replace(node, value=[_prune(child, path) for child in node.value])
    if not isinstance(node.value, dict) or path[0] not in node.value:
        return node
    rest = {name: child for name, child in node.value.items() if name != path[0]}
    if len(path) > 1:
        rest[path[0]] = _prune(node.value[path[0]], path[1:])
    return replace(node, value=rest)
