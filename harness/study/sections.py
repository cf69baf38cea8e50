"""What is said about a run, section by section, and how one thing that is said is laid over another."""

from __future__ import annotations

from dataclasses import replace

from harness.specs import KINDS
from harness.study.mistakes import Mistakes
from harness.study.source import Node, describe

OptionPath = tuple[str, ...]
Sections = dict[str, Node]
"""Section -> mapping of its keys. A part is always a mapping with `name`."""


def overlay(path: OptionPath, node: Node, mistakes: Mistakes) -> Sections | None:
    """One value at a path as something to lay over a run; None, with the mistake recorded, if it cannot be."""
    for name in reversed(path[1:]):
        node = Node({name: node}, node.place, node.key)
    if path[0] in KINDS:
        node = _as_part(node)
        named: Node | None = node.value.get("name") if isinstance(node.value, dict) else node
        if named is not None and not isinstance(named.value, str):
            right = "is a name or a mapping with `name`"
            mistakes.add(named.place, f"{path[0]} {right}, not {describe(named.value)}")
            return None
    elif not isinstance(node.value, dict):
        mistakes.add(node.place, f"{path[0]} is a mapping of settings, not {describe(node.value)}")
        return None
    return {path[0]: node}


def _as_part(node: Node) -> Node:
    """`margin` is short for `{name: margin}`; nothing is short for `none`."""
    if isinstance(node.value, dict):
        name = node.value.get("name")
        if name is not None and name.value is None:
            return replace(node, value={**node.value, "name": replace(name, value="none")})
        return node
    name = replace(node, value="none") if node.value is None else node
    return replace(node, value={"name": name}) if isinstance(name.value, str) else node


def union(first: Sections, second: Sections) -> Sections:
    """Two things said about the same run; where both speak, the second wins."""
    both = {name: _merge(first[name], second[name]) for name in second if name in first}
    return {**first, **second, **both}


def lay_over(run: Sections, said: Sections) -> Sections:
    """As `union`, but a part of another name does not inherit the options of the one it replaces."""
    fresh = {name for name in said if name in run and name in KINDS and _renamed(run[name], said[name])}
    return union({name: node for name, node in run.items() if name not in fresh}, said)


def _renamed(old: Node, new: Node) -> bool:
    names = [node.value["name"].value for node in (old, new) if "name" in node.value]
    return len(names) == 2 and names[0] != names[1]


def _merge(first: Node, second: Node) -> Node:
    if not isinstance(first.value, dict) or not isinstance(second.value, dict):
        return second
    both = {name: _merge(first.value[name], second.value[name]) for name in second.value if name in first.value}
    return replace(second, value={**first.value, **second.value, **both})
