"""What goes into the page: short drawings, labels that do not cover each other, and words for what is not there."""

import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Annotation

from harness.report import write_report
from harness.report.behind import all_runs, behind
from harness.report.evidence import read
from harness.report.export import csv, latex
from harness.report.figures.labels import key, place_labels
from harness.report.figures.scatter import labelled_decay
from harness.report.section import Table
from harness.report.style import panels, settle, styled
from harness.report.svg import TOLERANCE, inlined, simplified, svg

GRID = [
    ("triplet", "random", "none", None),
    ("margin", "distance_weighted", "none", 1.2),
    ("n_pair", "none", "none", None),
]
DIVERGED = ("failed", "diverged", "the loss became nan")
PENDING = ("pending", None, None)


def crowd(count):
    rng = np.random.default_rng(3)
    rho = 0.15 + 0.03 * rng.standard_normal(count)
    return pd.DataFrame(
        {
            "setting": "glyphs",
            "method": [f"a method with a long name, number {place}" for place in range(count)],
            "regularizer": "none",
            "base": "",
            "rho": rho,
            "recall_at_1": 0.64 + 0.01 * rng.standard_normal(count),
            "half_width": 0.01,
        }
    )


@pytest.mark.parametrize("count", [8, 26, 40])
def test_labels_of_a_crowded_scatter_cover_neither_points_nor_each_other(count):
    with styled():
        figure = labelled_decay(crowd(count))
        figure.draw_without_rendering()
    [axis] = figure.axes
    cloud = crowd(count)
    dots = axis.transData.transform(np.column_stack([cloud["rho"], cloud["recall_at_1"] * 100]))
    renderer = figure.canvas.get_renderer()
    texts = [artist for artist in axis.texts if artist.get_text()]
    boxes = [super(Annotation, text).get_window_extent(renderer) for text in texts]
    assert len(boxes) >= 0.9 * count
    for place, box in enumerate(boxes):
        assert not any(box.x0 < x < box.x1 and box.y0 < y < box.y1 for x, y in dots)
        assert not any(box.overlaps(other) for other in boxes[place + 1 :])
    if count > 10:
        told = [text.get_text() for text in axis.get_legend().get_texts()]
        assert [line.split()[0] for line in told] == [str(number) for number in range(1, count + 1)]


def test_few_points_bear_their_names_and_have_no_key():
    with styled():
        figure, [[axis]] = panels(1, 1, 5, 4)
        x, y = np.arange(5.0), np.arange(5.0)
        axis.plot(x, y, "o")
        names = [f"name {place}" for place in range(5)]
        assert key(axis, names) == names
        settle(figure)
        place_labels(axis, x, y, names)
    assert sorted(text.get_text() for text in axis.texts) == names
    assert axis.get_legend() is None


def test_a_shortened_line_stays_as_near_to_the_drawn_one_as_promised():
    x = np.linspace(0, 300, 2000)
    line = np.column_stack([x, 40 * np.sin(x / 20)])
    kept = line[simplified(line, TOLERANCE)]
    assert len(kept) < 200
    nearest = np.interp(x, kept[:, 0], kept[:, 1])
    assert np.abs(nearest - line[:, 1]).max() < 3 * TOLERANCE  # vertically; the promise is about the distance


def test_a_line_that_comes_again_in_every_panel_is_stored_once_and_where_it_belongs():
    with styled():
        figure, grid = panels(2, 2, 3, 2, sharex=True, sharey=True)
        x = np.linspace(0, 10, 400)
        for axis in (axis for line in grid for axis in line):
            axis.plot(x, np.sin(x * x / 4))
        settle(figure)
        text = svg(figure)
    root = ElementTree.fromstring(text)
    uses = [use for use in root.iter("{http://www.w3.org/2000/svg}use") if "#line-" in str(use.attrib)]
    assert len(uses) == 4
    assert len({use.get("{http://www.w3.org/1999/xlink}href") for use in uses}) == 1
    height = figure.get_figheight() * 72
    expected = [axis.transData.transform((0, 0)) * 72 / figure.dpi for line in grid for axis in line]
    found = [(float(use.get("x")), height - float(use.get("y"))) for use in uses]
    assert np.allclose(found, expected, atol=0.1)
    page = inlined("waves", 'sine "waves"', text)
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(re.findall(r'id="([^"]+)"', page))


@pytest.mark.parametrize(
    ("holes", "notice"),
    [
        ({(i, s): DIVERGED for i in range(3) for s in range(2)}, "All 6 runs failed, so there are no numbers"),
        (
            {(i, s): PENDING if i else DIVERGED for i in range(3) for s in range(2)},
            "No run has a result yet: 2 of 6 failed",
        ),
        ({(0, 1): PENDING, (1, 0): DIVERGED}, "Not complete: 4 of 6 runs are done"),
    ],
)
def test_a_study_that_is_not_complete_says_so_first(make, tmp_path, holes, notice):
    page = write_report(
        make(seeds=2, grid=GRID, holes=holes), "fair_comparison", out=tmp_path, analyses=["leaderboard"]
    )
    text = page.read_text()
    assert notice in text
    assert text.index(notice) < text.index("<main>")
    assert "diverged" in text[text.index('id="missing"') :]


def test_what_all_runs_share_is_told_once(make):
    told = behind(read(make(seeds=2, grid=GRID), "fair_comparison"))
    assert told["shared"] == {
        "dataset": "glyphs",
        "backbone": "convnet",
        "sampler": "class_balanced",
        "regularizer": "none",
        "backbone.embedding_dim": 64,
    }
    assert all(not set(cell["configuration"]) & set(told["shared"]) for cell in told["cells"])
    assert [cell["configuration"]["objective"] for cell in told["cells"]] == ["triplet", "margin", "n_pair"]


def test_curves_of_runs_span_their_frame(make):
    [first, *_] = behind(read(make(seeds=2, grid=GRID, epochs=100), "fair_comparison"))["cells"]
    lines = first["curves"][0]["lines"]
    points = [[tuple(map(float, point.split(","))) for point in line.split()] for line in lines]
    assert len(points) == 2
    assert {len(line) for line in points} == {60}
    assert min(x for line in points for x, _ in line) == 0
    assert max(x for line in points for x, _ in line) == 300
    assert {min(y for line in points for _, y in line), max(y for line in points for _, y in line)} == {0, 80}


def test_a_study_of_very_many_runs_tells_some_on_the_page_and_all_in_the_file(make, tmp_path, monkeypatch):
    monkeypatch.setattr("harness.report.behind.MOST_RUNS", 4)
    monkeypatch.setattr("harness.report.page.MOST_ROWS", 2)
    page = write_report(make(seeds=2, grid=GRID), "fair_comparison", out=tmp_path, analyses=["leaderboard"])
    text = page.read_text()
    assert "The first 2 of 3 rows" in text
    assert "1 more cells are only there" in text
    assert not set(re.findall(r'href="#(cell-\d+)"', text)) - set(re.findall(r'<details id="(cell-\d+)"', text))
    assert len(pd.read_csv(tmp_path / "tables" / "runs.csv")) == 6


def test_the_table_of_runs_has_every_state_number_and_setting(make):
    runs = all_runs(read(make(seeds=2, grid=GRID, holes={(0, 1): DIVERGED}), "fair_comparison")).set_index("run_id")
    lost = runs[runs["state"] == "failed"].iloc[0]
    assert (lost["cause"], lost["message"]) == DIVERGED[1:]
    assert pd.isna(lost["test.recall_at_1"])
    assert runs[runs["state"] == "done"]["test.recall_at_1"].notna().all()
    assert set(runs["objective"]) == {"triplet", "margin", "n_pair"}


def test_texts_that_a_spreadsheet_would_run_are_made_harmless_and_numbers_stay_numbers():
    frame = pd.DataFrame({"=x": ["=1+1", "+2", "-3", "@sum", "\tx", "fine"], "value": [-1.5, 2, 3, 4, 5, 6]})
    lines = csv(frame).splitlines()
    assert lines[0] == "'=x,value"
    assert [line.split(",")[0] for line in lines[1:]] == ["'=1+1", "'+2", "'-3", "'@sum", "'\tx", "fine"]
    assert lines[1].endswith(",-1.5")


def test_latex_shows_hostile_and_greek_texts_as_they_are():
    frame = pd.DataFrame({"a_b & c": ["\\input{/etc/passwd}", "50% of $x^2$ ~ #1", "\N{GREEK SMALL LETTER LAMDA}"]})
    text = latex(Table("t", "caption", frame, frame))
    assert r"a\_b \& c" in text
    assert r"\textbackslash{}input\{/etc/passwd\}" in text
    assert r"50\% of \$x\textasciicircum{}2\$ \textasciitilde{} \#1" in text
    assert r"$\lambda$" in text
