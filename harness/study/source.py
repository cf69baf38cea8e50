"""YAML as nodes that know where they stand, so that every mistake can be shown at its place.

The text is composed by ruamel.yaml by the rules of YAML 1.2 (`1e-5` is a number, `no` and `1:30` are text) and turned
at once into nodes of our own: nothing is constructed, no tag is executed, and marks survive merging.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, ReusedAnchorWarning, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode
from ruamel.yaml.scanner import RoundTripScanner

from harness.study.mistakes import Mistakes, Origin, Place

MAX_BYTES = 64_000
MAX_NODES = 20_000
MAX_DEPTH = 50
"""More than any study needs, and little enough that no file, with aliases of aliases or not, takes long to refuse."""

TOO_DEEP = f"lists and mappings are nested too deeply: more than {MAX_DEPTH} in each other"

_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True, eq=False)
class Node:
    """A value with its place: a scalar, a list of nodes or a dict of nodes. `key` is where its key stands."""

    value: Any
    place: Place
    key: Place | None = None

    def plain(self) -> Any:
        """The value as plain Python types."""
        if isinstance(self.value, dict):
            return {name: child.plain() for name, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value

    def find(self, path: Iterable[str | int]) -> Node:
        """The node at a path, or the last one on the way to it."""
        node = self
        for step in path:
            if isinstance(node.value, dict) and step in node.value:
                node = node.value[step]
            elif isinstance(node.value, list) and str(step).isdigit() and int(step) < len(node.value):
                node = node.value[int(step)]
            else:
                break
        return node

    @property
    def label(self) -> Place:
        """Where to point at when the thing itself is wrong rather than its value: its key."""
        return self.key or self.place


def read_mapping(path: Path, mistakes: Mistakes, what: str, keys: str) -> Node | None:
    """The top level of a file of keys; None, with the mistakes recorded, where it cannot be understood.

    `what` such as "study" and `keys` such as "`name:` and `run:`" say what the file should have been.
    """
    text = read_text(path, mistakes)
    if text is None:
        return None
    origin = Origin(str(path), tuple(text.splitlines()), in_file=True)
    root = parse(text, origin, mistakes)
    if mistakes and root is None:
        return None
    if root is None or root.value is None:
        mistakes.add(Place(origin), f"the file is empty; a {what} has at least {keys}")
        return None
    if not isinstance(root.value, dict):
        mistakes.add(root.place, f"a {what} is a mapping of keys such as {keys}, not {describe(root.value)}")
        return None
    return root


def read_text(path: Path, mistakes: Mistakes) -> str | None:
    """The file as text, or None with the reason why not."""
    whole = Place(Origin(str(path)))
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)  # not what `stat` says: a device or a pipe has no size
        size = max(path.stat().st_size, len(data))
    except (OSError, ValueError) as error:  # a name with a zero byte is a ValueError
        mistakes.add(whole, f"cannot be read: {(getattr(error, 'strerror', None) or str(error)).lower()}")
        return None
    if size > MAX_BYTES:
        mistakes.add(whole, f"has {size:,} bytes; a study has at most {MAX_BYTES:,}")
        return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        mistakes.add(whole, f"is not UTF-8 text: line {line} has the byte 0x{data[error.start]:02x}")
        return None
    if any(ord(letter) < 32 and letter not in "\t\n\r" for letter in text):
        mistakes.add(whole, "is a binary file, not YAML text")
        return None
    return text


def parse(text: str, origin: Origin, mistakes: Mistakes) -> Node | None:
    """YAML text as nodes; None for an empty text and, with the mistake recorded, for one that is not YAML."""
    try:
        yaml = YAML(typ="rt")
        yaml.Scanner = _ShallowScanner
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ReusedAnchorWarning)  # YAML allows it, and the nearest one before is meant
            composed = yaml.compose(text)
        return None if composed is None else _Converter(origin, mistakes).convert(composed)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(origin, mark.line + 1, mark.column + 1) if mark else Place(origin)
        mistakes.add(place, f"this is not YAML: {_in_words(error)}")
    except YAMLError as error:
        mistakes.add(Place(origin), f"this is not YAML: {' '.join(str(error).split())}")
    except RecursionError:
        mistakes.add(Place(origin), TOO_DEEP)
    except _TooLarge as error:
        mistakes.add(Place(origin), str(error))
    return None


def from_plain(value: Any, place: Place) -> Node:
    """Plain Python values as nodes that all stand at one place."""
    if isinstance(value, dict):
        return Node({str(name): replace(from_plain(child, place), key=place) for name, child in value.items()}, place)
    if isinstance(value, list | tuple):
        return Node([from_plain(child, place) for child in value], place)
    return Node(value, place)


def describe(value: Any) -> str:
    """What was given, in a few words."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return "nothing" if value is None else repr(value)


class _TooLarge(Exception):
    """The document has too many nodes once its aliases are written out."""


class _ShallowScanner(RoundTripScanner):
    """Gives up on `[[[[...` at once: the time that scanning takes grows with the square of the depth."""

    def fetch_flow_collection_start(self, *token: Any, **how: Any) -> None:
        if self.flow_level >= MAX_DEPTH:
            raise _TooLarge(TOO_DEEP)
        super().fetch_flow_collection_start(*token, **how)


class _Converter:
    """Turns the composed nodes of one document into ours, and finds duplicate keys and tags on the way."""

    def __init__(self, origin: Origin, mistakes: Mistakes) -> None:
        self.origin, self.mistakes = origin, mistakes
        self.count = 0
        self.open: set[int] = set()  # nodes that are being converted: meeting one again is an alias of itself

    def convert(self, node: Any) -> Node:
        self.count += 1
        if self.count > MAX_NODES:
            raise _TooLarge(f"the file has more than {MAX_NODES:,} values once its aliases are written out")
        if len(self.open) >= MAX_DEPTH:
            raise _TooLarge(TOO_DEEP)
        place = self._place(node)
        if id(node) in self.open:
            self.mistakes.add_unreadable(place, "this anchor contains an alias of itself")
            return Node(None, place)
        self.open.add(id(node))
        try:
            return Node(self._value(node, place), place)
        finally:
            self.open.discard(id(node))

    def _place(self, node: Any) -> Place:
        start, end = node.start_mark, node.end_mark
        width = end.column - start.column if end.line == start.line else 1
        return Place(self.origin, start.line + 1, start.column + 1, max(width, 1))

    def _value(self, node: Any, place: Place) -> Any:
        if isinstance(node, MappingNode) and node.tag == f"{_TAG}map":
            return self._mapping(node)
        if isinstance(node, SequenceNode) and node.tag == f"{_TAG}seq":
            return [self.convert(child) for child in node.value]
        if isinstance(node, ScalarNode):
            return self._scalar(node, place)
        self.mistakes.add_unreadable(place, f"the tag {node.tag} has no meaning in a study")
        return None

    def _mapping(self, node: MappingNode) -> dict[str, Node]:
        merged: dict[str, Node] = {}
        own: dict[str, Node] = {}
        for key, child in node.value:
            place = self._place(key)
            if key.tag == f"{_TAG}merge":
                merged = {**self._merge(child), **merged}
                continue
            name = key.value if isinstance(key, ScalarNode) and key.tag == f"{_TAG}str" else None
            if isinstance(name, str) and self._text(name, place) is None:
                continue
            if not isinstance(name, str):
                self.mistakes.add(place, "a key is text; put it in quotes if it looks like a number")
            elif name in own:
                self.mistakes.add(place, f"the key {name!r} is given twice; first in line {own[name].label.line}")
            else:
                own[name] = replace(self.convert(child), key=place)
        return {**merged, **own}

    def _merge(self, node: Any) -> dict[str, Node]:
        """What `<<: *anchor` or `<<: [*first, *second]` brings in; the first one that has a key wins."""
        found: dict[str, Node] = {}
        source = self.convert(node)
        for part in source.value if isinstance(source.value, list) else [source]:
            if isinstance(part.value, dict):
                found = {**part.value, **found}
            else:
                self.mistakes.add(part.place, "`<<` merges mappings only")
        return found

    def _scalar(self, node: ScalarNode, place: Place) -> Any:
        kind = str(node.tag).removeprefix(_TAG)
        text = node.value
        if kind in ("str", "timestamp"):
            return self._text(text, place)
        if kind == "null":
            return None
        if kind == "bool":
            return text.lower() == "true"
        if kind in ("int", "float"):
            return self._number(kind, text.replace("_", ""), place)
        self.mistakes.add_unreadable(place, f"the tag {node.tag} has no meaning in a study")
        return None

    def _text(self, text: str, place: Place) -> str | None:
        if any(ord(letter) < 32 and letter not in "\t\n\r" for letter in text):
            self.mistakes.add_unreadable(place, "a control character is no text of a study")
            return None
        try:
            text.encode()
            return text
        except UnicodeEncodeError:
            self.mistakes.add_unreadable(place, "half of a surrogate pair is not a character")
            return None

    def _number(self, kind: str, text: str, place: Place) -> int | float | None:
        try:
            if kind == "float":
                number: int | float = float(text)
            else:
                number = int(text, 0) if text.lstrip("+-")[:2].lower() in ("0x", "0o", "0b") else int(text)
        except ValueError:
            number = math.nan
        if math.isfinite(number) if isinstance(number, float) else abs(number) < 2**63:
            return number
        self.mistakes.add_unreadable(place, f"{text[:40]} is not a finite number of at most 64 bits")
        return None


def _in_words(error: MarkedYAMLError) -> str:
    problem = " ".join(str(error.problem or error.context).split())
    if "'\\t'" in problem:
        return "a tab stands where spaces must; indent with spaces"
    if problem == "mapping values are not allowed here":
        return "a second `key: value` on one line, or a wrong indent; put text that contains ': ' in quotes"
    context = " ".join(str(error.context).split()) if error.context else ""
    if problem.startswith("but "):
        return f"{context}, {problem}"
    return f"{problem} ({context})" if context else problem
