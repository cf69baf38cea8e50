"""Frames and figures as files: CSV, Markdown, LaTeX (booktabs); SVG, PDF, PNG. The same input gives the same bytes."""

from __future__ import annotations

import html
import unicodedata
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf

from harness.report.names import DASH, MINUS
from harness.report.section import Drawing, Table
from harness.report.style import settle
from harness.report.svg import svg

FIGURE_FORMATS = ("svg", "png", "pdf")
TABLE_FORMATS = ("csv", "md", "tex")
DOTS = 200
"""Pixels an inch of a PNG."""


def write_table(table: Table, folder: Path) -> None:
    """The numbers as CSV; what people read as Markdown and LaTeX."""
    texts = {"csv": csv(table.numbers), "md": markdown(table.shown), "tex": latex(table)}
    for suffix, text in texts.items():
        (folder / f"{table.name}.{suffix}").write_text(text, encoding="utf-8", newline="\n")


def write_figure(drawing: Drawing, folder: Path) -> str:
    """SVG and PDF with a transparent ground, PNG on white; gives the text of the SVG.

    The figure is laid out once. Its canvases print it as it stands; `Figure.savefig` would draw it twice a format.
    """
    figure = drawing.draw()
    settle(figure)
    text = svg(figure)
    (folder / f"{drawing.name}.svg").write_text(text, encoding="utf-8", newline="\n")
    pdf: Any = FigureCanvasPdf(figure)
    pdf.print_pdf(folder / f"{drawing.name}.pdf", metadata={"CreationDate": None})
    figure.set_dpi(DOTS)
    figure.patch.set_facecolor("white")
    png: Any = FigureCanvasAgg(figure)
    png.print_png(folder / f"{drawing.name}.png", metadata={"Software": None})
    return text


def csv(frame: pd.DataFrame) -> str:
    """Comma-separated values. A text that a spreadsheet would run as a formula gets an apostrophe in front."""
    return frame.map(_harmless).rename(columns=_harmless).to_csv(index=False, lineterminator="\n")


def _harmless(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


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
    "\N{LATIN SUBSCRIPT SMALL LETTER S}": r"$_s$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{RIGHTWARDS ARROW}": r"$\to$",
    "\N{LESS-THAN OR EQUAL TO}": r"$\le$",
    "\N{GREATER-THAN OR EQUAL TO}": r"$\ge$",
    "\N{ALMOST EQUAL TO}": r"$\approx$",
    "\N{HORIZONTAL ELLIPSIS}": r"\ldots{}",
    "\N{DAGGER}": r"\dag{}",
    "\n": " ",
}


def _latex_cell(text: str) -> str:
    return "".join(_LATEX.get(character) or _greek(character) for character in text)


def _greek(character: str) -> str:
    """A Greek letter as its command, `\\rho`; any other character as it is."""
    words = unicodedata.name(character, "").replace("LAMDA", "LAMBDA").split()
    if len(words) != 4 or words[0] != "GREEK" or words[2] != "LETTER":
        return character
    return rf"$\{words[3].lower() if words[1] == 'SMALL' else words[3].title()}$"
