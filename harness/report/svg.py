"""Figures as small SVG: what matplotlib writes, with short paths, shared styles and texts as text."""

from __future__ import annotations

import html
import io
import re
from itertools import count, product
from string import ascii_lowercase
from typing import Any
from xml.etree import ElementTree as tree

import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from numpy.typing import NDArray

from harness.report.style import CSS_VARIABLES

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
HREF = f"{{{XLINK}}}href"
FONTS = "'DejaVu Sans', Verdana, sans-serif"
"""DejaVu Sans, by which texts are laid out; then what is at hand and not wider."""

TOLERANCE = 0.1
"""How far a shortened line may leave the drawn one, in points: an eighth of a pixel of the page."""

LEGIBLE = 12.0
"""No text of the page is smaller, in CSS pixels."""
LARGEST = 1.9
"""CSS pixels a point at most; 4/3 is natural size."""

LONG = 600
"""Characters of a line that is worth looking for again."""

_NUMBER = re.compile(r"-?\d+\.\d+")
_LINE = re.compile(r"^(?:M[^A-Zz]+(?:L[^A-Zz]+)*)+$")


def svg(figure: Figure) -> str:
    """A figure whose layout stands as a stand-alone SVG file."""
    buffer = io.StringIO()
    canvas: Any = FigureCanvasSVG(figure)
    canvas.print_svg(buffer, metadata={"Date": None, "Creator": None})
    root = tree.fromstring(buffer.getvalue())
    _shorten(root)
    _repeat(root)
    _unwrap(root, _named(root))
    _share_styles(root)
    tree.register_namespace("", SVG)
    tree.register_namespace("xlink", XLINK)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + tree.tostring(root, encoding="unicode") + "\n"


def inlined(name: str, alt: str, text: str) -> str:
    """The file of a figure as an `<svg>` element of a page: ids and classes of its own, colors by CSS variable."""
    text = text[text.index("<svg") :]
    text = re.sub(r'\b(id|class)="([^"]+)"', rf'\1="{name}-\2"', text)
    text = re.sub(r'\bxlink:href="#([^"]+)"', rf'href="#{name}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", text)
    text = re.sub(r"(<style>|})\.(?=\w+{)", rf"\1.{name}-", text)
    for color, variable in CSS_VARIABLES.items():
        text = text.replace(color, f"var({variable})")
    head, rest = text.split(">", 1)
    head = re.sub(r'\s(?:width|height|version|xmlns(?::\w+)?)="[^"]*"', "", head)
    label = html.escape(alt, quote=True)
    return f'{head} role="img" aria-label="{label}" style="width:{_page_width(text):.0f}px">{rest}'.strip()


def _page_width(text: str) -> float:
    """CSS pixels: natural size, or as much larger as the smallest text needs to be legible."""
    width = re.search(r'<svg[^>]*\bwidth="([\d.]+)pt"', text)
    sizes = [float(size) for size in re.findall(r"font(?:-size)?:(?:\w+ )*([\d.]+)px", text)]
    scale = max(4 / 3, LEGIBLE / min(sizes)) if sizes else 4 / 3
    return (float(width.group(1)) if width else 600.0) * min(scale, LARGEST)


def _shorten(root: tree.Element) -> None:
    """Fewer points on long lines and fewer digits everywhere."""
    for element in root.iter():
        path = element.get("d")
        if path:
            element.set("d", _short_path(path))
        for name in ("x", "y", "transform", "width", "height"):
            value = element.get(name)
            if value:
                element.set(name, _NUMBER.sub(lambda match: _short(float(match[0]), 2), value))


def _short_path(path: str) -> str:
    flat = " ".join(path.split())
    if _LINE.match(flat) and flat.count("L") > 8:
        pieces = [np.array([point.split() for point in part.split("L")], dtype=float) for part in flat.split("M")[1:]]
        return "".join(_short_line(piece, pieces[0][0]) for piece in pieces)
    short = _NUMBER.sub(lambda match: _short(float(match[0]), 2), flat)
    return re.sub(r"\s*([A-Za-z])\s*", r"\1", short)


def _short_line(points: NDArray[np.float64], origin: NDArray[np.float64]) -> str:
    """Rounded as seen from the first point of the path, so that the same line elsewhere has the same digits."""
    kept = points[simplified(points, TOLERANCE)]
    rounded = origin.round(1) + (kept - origin).round(1)
    return "M" + "L".join(f"{_short(x, 1)} {_short(y, 1)}" for x, y in rounded)


def simplified(points: NDArray[np.float64], tolerance: float) -> NDArray[np.bool_]:
    """Which points [N,2] of a line to keep so that no left-out one is farther than `tolerance` from the new line.

    Douglas and Peucker (1973), with distances to the infinite line through the ends of a piece.
    """
    keep = np.zeros(len(points), dtype=bool)
    keep[[0, -1]] = True
    pieces = [(0, len(points) - 1)]
    while pieces:
        first, last = pieces.pop()
        inner = points[first + 1 : last] - points[first]
        if not len(inner):
            continue
        direction = points[last] - points[first]
        length = float(np.hypot(*direction))
        across = np.abs(inner[:, 0] * direction[1] - inner[:, 1] * direction[0])
        away = across / length if length else np.hypot(*inner.T)
        farthest = int(np.argmax(away))
        if away[farthest] > tolerance:
            keep[first + 1 + farthest] = True
            pieces += [(first, first + 1 + farthest), (first + 1 + farthest, last)]
    return keep


def _short(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _repeat(root: tree.Element) -> None:
    """A long line that comes again elsewhere, as the faint ones of small multiples do, is stored once."""
    known: dict[str, str] = {}
    for parent in list(root.iter()):
        for place, path in enumerate(list(parent)):
            line = path.get("d", "")
            if len(line) < LONG or not _LINE.match(line):
                continue
            x, y, shape = _moved_to_origin(line)
            if shape not in known:
                known[shape] = f"line-{len(known) + 1}"
                parent.insert(0, _definition(known[shape], shape))
                place += 1
            use = {HREF: f"#{known[shape]}", "x": x, "y": y, "style": path.get("style", "")}
            group = tree.Element(f"{{{SVG}}}g", {k: v for k, v in path.attrib.items() if k == "clip-path"})
            tree.SubElement(group, f"{{{SVG}}}use", use)
            parent.remove(path)
            parent.insert(place, group)


def _definition(name: str, line: str) -> tree.Element:
    definitions = tree.Element(f"{{{SVG}}}defs")
    tree.SubElement(definitions, f"{{{SVG}}}path", {"id": name, "d": line})
    return definitions


def _moved_to_origin(line: str) -> tuple[str, str, str]:
    """x and y of the first point, and the line as it is when that is the origin."""
    pieces = [[[float(n) for n in point.split()] for point in part.split("L")] for part in line.split("M")[1:]]
    x, y = pieces[0][0]
    moved = ("M" + "L".join(f"{_short(a - x, 1)} {_short(b - y, 1)}" for a, b in piece) for piece in pieces)
    return _short(x, 1), _short(y, 1), "".join(moved)


def _named(root: tree.Element) -> set[str]:
    """The ids that something refers to."""
    found = set()
    for element in root.iter():
        for value in element.attrib.values():
            found.update(re.findall(r"url\(#([^)]+)\)", value))
            if value.startswith("#"):
                found.add(value[1:])
    return found


def _unwrap(parent: tree.Element, named: set[str], tips: count[int] | None = None) -> None:
    """Drop metadata, ids that nobody refers to and groups that group nothing; a tip becomes the title of its group."""
    tips = tips or count(1)
    children: list[tree.Element] = []
    for child in list(parent):
        if child.tag in (f"{{{SVG}}}metadata",) or (child.tag.endswith("}defs") and not len(child)):
            continue
        _unwrap(child, named, tips)
        marked = child.get("id", "")
        if marked.startswith("tip:"):
            child.set("id", f"tip-{next(tips)}")
            title = tree.Element(f"{{{SVG}}}title")
            title.text = marked[4:]
            child.insert(0, title)
        elif marked and marked not in named:
            del child.attrib["id"]
        empty = child.tag == f"{{{SVG}}}g" and not child.attrib
        children += list(child) if empty else [child]
    for child in list(parent):
        parent.remove(child)
    parent.extend(children)
    for element in (parent, *children):
        element.tail = None
        if element.text is not None and not element.text.strip():
            element.text = None


def _share_styles(root: tree.Element) -> None:
    """A style that comes again becomes a class; fonts get their substitutes."""
    used: dict[str, list[tree.Element]] = {}
    for element in root.iter():
        style = element.get("style")
        if style and element.tag != f"{{{SVG}}}style":
            short = re.sub(r"\s*([;:])\s*", r"\1", style)
            short = short.replace("font-family:'DejaVu Sans';", "").replace("'DejaVu Sans'", FONTS)
            used.setdefault(short, []).append(element)
    names = ("".join(letters) for letters in product(ascii_lowercase, repeat=2))
    rules = []
    for style, elements in used.items():
        name = next(names)
        rules.append(f".{name}{{{style}}}")
        for element in elements:
            del element.attrib["style"]
            element.set("class", name)
    sheet = root.find(f".//{{{SVG}}}style")
    if sheet is not None:
        sheet.text = "".join(rules)
        sheet.attrib.clear()
        # matplotlib's rule for `*`, and the family that stood in every style
        root.attrib |= {"stroke-linejoin": "round", "stroke-linecap": "butt", "font-family": FONTS}
