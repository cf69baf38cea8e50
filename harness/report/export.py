"""Frames and figures as files: CSV, Markdown, LaTeX (booktabs); SVG, PDF, PNG. The same input gives the same bytes."""

from __future__ import annotations

import html
import io
import re
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from harness.report.names import DASH, MINUS, RHO
from harness.report.section import Drawing, Table
from harness.report.style import CSS_VARIABLES

FIGURE_FORMATS = ("svg", "png", "pdf")
TABLE_FORMATS = ("csv", "md", "tex")


def write_table(table: Table, folder: Path) -> None:
    """The numbers as CSV; what people read as Markdown and LaTeX."""
    texts = {"csv": csv(table.numbers), "md": markdown(table.shown), "tex": latex(table)}
    for suffix, text in texts.items():
        (folder / f"{table.name}.{suffix}").write_text(text, encoding="utf-8", newline="\n")


def write_figure(drawing: Drawing, folder: Path) -> str:
    """SVG and PDF with a transparent ground, PNG on white; gives the text of the SVG."""
    figure = drawing.draw()
    text = svg(figure)
    (folder / f"{drawing.name}.svg").write_text(text, encoding="utf-8", newline="\n")
    figure.savefig(folder / f"{drawing.name}.pdf", metadata={"CreationDate": None})
    figure.savefig(folder / f"{drawing.name}.png", dpi=200, facecolor="white", metadata={"Software": None})
    return text


def csv(frame: pd.DataFrame) -> str:
    """Comma-separated values. A text that a spreadsheet would run as a formula gets an apostrophe in front."""
    return frame.map(_harmless).to_csv(index=False, lineterminator="\n")


def _harmless(cell: object) -> object:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@")) else cell


def markdown(frame: pd.DataFrame) -> str:
    """A pipe table."""
    lines = [[str(name) for name in frame.columns], ["---"] * len(frame.columns), *_cells(frame)]
    return "".join("| " + " | ".join(_markdown_cell(cell) for cell in line) + " |\n" for line in lines)


def latex(table: Table) -> str:
    """A booktabs table that compiles as it is; needs `\\usepackage{booktabs}`."""
    frame = table.shown
    head = " & ".join(_latex_cell(str(name)) for name in frame.columns)
    body = "\n".join("    " + " & ".join(_latex_cell(cell) for cell in line) + r" \\" for line in _cells(frame))
    return "\n".join(
        [
            r"\begin{table}",
            r"  \centering",
            rf"  \caption{{{_latex_cell(table.caption)}}}",
            rf"  \label{{tab:{table.name.replace('_', '-')}}}",
            rf"  \begin{{tabular}}{{{'l' * len(frame.columns)}}}",
            r"    \toprule",
            rf"    {head} \\",
            r"    \midrule",
            body,
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def svg(figure: Figure) -> str:
    """The figure as a stand-alone SVG file. From here on its layout stands, so that all formats look the same."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return _with_titles(buffer.getvalue())


def inline_svg(drawing: Drawing, text: str) -> str:
    """An SVG file as an `<svg>` element of the page: no prologue, ids of its own, colors by CSS variable."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="([^"]+)"', rf'id="{drawing.name}-\1"', text)
    text = re.sub(r'(xlink:href|href)="#([^"]+)"', rf'\1="#{drawing.name}-\2"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{drawing.name}-\1)", text)
    for color, variable in CSS_VARIABLES.items():
        text = text.replace(color, f"var({variable})")
    width = re.search(r'<svg[^>]*\bwidth="([\d.]+)pt"', text)
    points = float(width.group(1)) if width else 600.0
    label = html.escape(drawing.alt, quote=True)
    # 1 pt is 4/3 px: the drawing never grows beyond the size at which its text was set, and on a phone it scrolls
    # rather than shrink to less than three quarters, 9 px.
    style = f'style="max-width: {points * 4 / 3:.0f}px; min-width: {points:.0f}px"'
    head, rest = text.split(">", 1)
    head = re.sub(r'\s(?:width|height|version|xmlns(?::\w+)?)="[^"]*"', "", head)
    rest = rest.replace("xlink:href", "href")
    return f'{head} role="img" aria-label="{label}" {style}>{rest}'.strip()


def _with_titles(text: str) -> str:
    """Points marked by `style.tip` get their text as a `<title>` and a plain id."""
    counter = iter(range(1, 1_000_000))

    def replace(match: re.Match[str]) -> str:
        return f'<g id="tip-{next(counter)}"><title>{match.group(1)}</title>'

    return re.sub(r'<g id="tip:([^"]*)">', replace, text)


def _cells(frame: pd.DataFrame) -> list[list[str]]:
    return [["" if pd.isna(cell) else str(cell) for cell in line] for line in frame.itertuples(index=False)]


def _markdown_cell(text: str) -> str:
    return html.escape(text, quote=False).replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    MINUS: "$-$",
    DASH: "--",
    "π": r"$\pi$",
    RHO: r"$\rho$",
    "β": r"$\beta$",
    "Δ": r"$\Delta$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\n": " ",
}


def _latex_cell(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)
