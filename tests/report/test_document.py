"""The page, its files and its numbers, made from a study that never ran."""

import csv
import json
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from harness.errors import StoreError, StudyError
from harness.report import report_json, write_report
from harness.report.analyses import ORDER

HOSTILE = '<script>alert("x")</script>'


class Page(HTMLParser):
    """Tags, ids and links of a page; complains about an id that comes twice."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids, self.links, self.loads, self.tags, self.text = set(), [], [], [], []
        self.doubled = []
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        found = dict(attributes)
        if "id" in found:
            self.doubled += [found["id"]] if found["id"] in self.ids else []
            self.ids.add(found["id"])
        if tag == "a":
            self.links.append(found["href"])
        self.loads += [found[name] for name in ("src", "data", "srcset", "poster") if name in found]
        if tag in ("link", "use", "image"):
            self.loads.append(found.get("href") or found.get("xlink:href"))

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="session")
def folder(database, tmp_path_factory):
    out = tmp_path_factory.mktemp("report")
    write_report(database, "fair_comparison", out=out)
    return out


@pytest.fixture(scope="session")
def page(folder):
    return Page(folder / "index.html")


@pytest.fixture(scope="session")
def numbers(database):
    return report_json(database, "fair_comparison")


def test_the_page_loads_nothing_from_anywhere(page, folder):
    assert all(load.startswith(("#", "data:")) for load in page.loads)
    text = (folder / "index.html").read_text()
    assert "@import" not in text
    assert "url(http" not in text
    assert not [link for link in page.links if "//" in link]


def test_every_link_has_its_target(page, folder):
    assert len(page.links) > 100
    for link in page.links:
        assert link[1:] in page.ids if link.startswith("#") else (folder / link).is_file(), link


def test_inlined_figures_refer_to_parts_of_themselves_only(page):
    assert page.doubled == []
    assert {load[1:] for load in page.loads if load.startswith("#")} <= page.ids


def test_every_figure_and_table_comes_in_every_format(folder):
    for kind, formats in (("figures", {"svg", "png", "pdf"}), ("tables", {"csv", "md", "tex"})):
        names = {}
        for path in (folder / kind).iterdir():
            names.setdefault(path.stem, set()).add(path.suffix[1:])
            assert path.stat().st_size > 100, path
        assert len(names) >= 9
        runs = names.pop("runs", {"csv"})  # of all runs, for machines only
        assert runs == {"csv"}
        assert all(found == formats for found in names.values())


def test_every_analysis_is_a_file_and_every_file_an_analysis():
    from harness.study.schema import analyses

    assert sorted(ORDER) == analyses()


def test_holes_are_counted_and_named(page, numbers):
    text = " ".join(page.text)
    assert "2 of 3 (1 diverged)" in text
    assert "2 of 3 (1 pending)" in text
    assert "0 of 3 (3 out of memory)" in text
    assert "the loss became nan at step 31 of epoch 2" in text
    assert numbers["runs"] == {"total": 45, "done": 40, "failed": 4, "pending": 1}
    assert len(numbers["missing"]) == 5


def test_the_mean_of_a_cell_with_a_hole_is_over_the_other_seeds(database, numbers):
    row = next(
        r for r in numbers["analyses"]["leaderboard"]["tables"]["leaderboard_1"] if r["method"] == "triplet + random"
    )
    frame = database.measurements("fair_comparison", selection="last")
    values = frame.query("metric == 'recall_at_1' and split == 'test' and method == 'triplet + random'")["value"]
    assert row["recall_at_1_n"] == len(values) == 2
    assert row["recall_at_1_mean"] == pytest.approx(values.mean())


def test_the_leaderboard_is_sorted_and_the_method_without_a_number_stands_last(numbers):
    rows = numbers["analyses"]["leaderboard"]["tables"]["leaderboard_1"]
    means = [row["recall_at_1_mean"] for row in rows]
    assert means[-1] is None
    assert means[:-1] == sorted(means[:-1], reverse=True)


def test_the_numbers_are_valid_json_without_nan(numbers):
    json.dumps(numbers, allow_nan=False)
    assert set(numbers["analyses"]) == set(ORDER)


def test_the_selection_rule_changes_the_numbers_and_is_named(database, tmp_path, numbers):
    other = report_json(database, "fair_comparison", selection="best_test")
    one, two = (n["analyses"]["leaderboard"]["tables"]["leaderboard_1"][0] for n in (numbers, other))
    assert two["recall_at_1_mean"] == pytest.approx(one["recall_at_1_mean"] + 0.01)
    path = write_report(database, "fair_comparison", selection="best_test", out=tmp_path, analyses=["leaderboard"])
    assert "selected on test" in path.read_text()


def test_gains_are_the_mean_of_differences_seed_by_seed(database, numbers):
    rows = numbers["analyses"]["regularizers"]["tables"]["regularizers"]
    row = next(r for r in rows if r["method"].startswith("rho contrastive") and r["metric"] == "recall_at_1")
    assert row["base"] == "contrastive + distance_weighted"
    frame = (
        database.measurements("x", selection="last")
        .query("metric == 'recall_at_1'")
        .merge(database.runs("x")[["run_id", "seed"]])
    )
    values = frame.pivot_table(index="seed", columns="method", values="value")
    difference = values["rho contrastive + distance_weighted"] - values["contrastive + distance_weighted"]
    assert row["gain"] == pytest.approx(difference.mean())
    assert row["sd"] == pytest.approx(difference.std())


def test_our_methods_stand_beside_their_published_names(numbers):
    rows = numbers["analyses"]["saturation"]["tables"]["saturation_methods"]
    named = {row["method"]: row["published"] for row in rows}
    assert named["margin (beta=1.2) + distance_weighted"] == "Margin (D, beta=1.2)"
    assert named["triplet + semihard"] == "Triplet (S)"
    assert all(row["cub200_not_comparable"] for row in rows)


def test_the_model_behind_the_study_is_found_again(numbers):
    rows = numbers["analyses"]["density"]["tables"]["density_correlations"]
    row = next(r for r in rows if (r["source"], r["property"], r["methods"]) == ("glyphs, convnet-64", "rho", "plain"))
    assert row["pearson"] < -0.5
    assert row["pearson_high"] < 0


def test_csv_tables_hold_the_numbers_of_the_json(folder, numbers):
    with (folder / "tables" / "saturation_methods.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    expected = numbers["analyses"]["saturation"]["tables"]["saturation_methods"]
    assert [float(row["mean"]) for row in rows] == pytest.approx([row["mean"] for row in expected])


def test_latex_tables_are_booktabs_with_balanced_columns(folder):
    text = (folder / "tables" / "leaderboard_1.tex").read_text()
    assert r"\toprule" in text
    columns = text.split(r"\begin{tabular}{")[1].split("}")[0]
    lines = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {line.count(" & ") for line in lines} == {len(columns) - 1}
    assert r"distance\_weighted" in text
    assert r"$\pm$" in text


def test_writing_again_gives_the_same_bytes_and_touches_nothing_else(database, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    some = ["leaderboard", "metric_correlation", "regularizers"]
    write_report(database, "fair_comparison", out=tmp_path, analyses=some)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    write_report(database, "fair_comparison", out=tmp_path, analyses=some)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["figures", "index.html", "notes.txt", "tables"]


def test_a_report_that_breaks_off_leaves_the_old_one(database, tmp_path, monkeypatch):
    write_report(database, "fair_comparison", out=tmp_path, analyses=["leaderboard"])
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    full = OSError(28, "No space left on device")
    monkeypatch.setattr("harness.report.document.write_table", lambda *_: (_ for _ in ()).throw(full))
    with pytest.raises(StoreError, match="No space left on device"):
        write_report(database, "fair_comparison", out=tmp_path, analyses=["leaderboard", "cost"])
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert len(list(tmp_path.iterdir())) == 3


def test_a_folder_that_is_a_file_is_a_clear_error(database, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(StoreError, match="taken"):
        write_report(database, "fair_comparison", out=tmp_path / "taken", analyses=["leaderboard"])


def test_a_study_that_is_not_there_is_named_with_the_nearest(database, tmp_path):
    with pytest.raises(StudyError, match="did you mean 'fair_comparison'"):
        write_report(database, "fair_comparisn", out=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_selections_and_analyses_that_are_not_known_are_refused(database, tmp_path):
    with pytest.raises(StudyError, match="best_tset"):
        write_report(database, "fair_comparison", selection="best_tset", out=tmp_path)
    with pytest.raises(StudyError, match="densty"):
        write_report(database, "fair_comparison", analyses=["densty"], out=tmp_path)


def test_the_study_itself_may_choose_its_analyses_and_selection(make, tmp_path):
    database = make(seeds=2)
    database._studies["about"] = [{"analyses": ["cost"], "selection": "best_test"}]
    numbers = report_json(database, "fair_comparison")
    assert list(numbers["analyses"]) == ["cost", "estimate"]  # the latter because it was planned
    assert numbers["selection"] == "best_test"


def test_names_from_outside_are_text_and_never_markup(make, tmp_path):
    grid = [(f"evil:{HOSTILE}", "none", "none", None), ("=1+1|x", "none", "none", None)]
    database = make(study=HOSTILE, question=HOSTILE, grid=grid, holes={(1, 0): ("failed", "exception", HOSTILE)})
    some = ["leaderboard", "saturation", "convergence", "cost"]
    path = write_report(database, HOSTILE, out=tmp_path, analyses=some)
    text = path.read_text()
    assert HOSTILE not in text
    assert Page(path).tags.count("script") == 2  # the page's own, and the numbers it offers
    leaderboard = (tmp_path / "tables" / "leaderboard_1.csv").read_text()
    assert "'=1+1|x" in leaderboard
    assert HOSTILE not in (tmp_path / "tables" / "leaderboard_1.md").read_text()
    assert not [p for p in (tmp_path / "figures").glob("*.svg") if "<script" in p.read_text()]


def test_a_study_without_any_result_is_a_page_that_says_so(make, tmp_path):
    grid = [("triplet", "random", "none", None)]
    pending = {(0, seed): ("pending", None, None) for seed in range(2)}
    path = write_report(make(seeds=2, grid=grid, holes=pending), "fair_comparison", out=tmp_path)
    text = " ".join(Page(path).text)
    assert "No run has a result yet" in text
    assert "0 of 2 (2 pending)" in text


def test_a_study_without_any_run_is_a_page_too(make, tmp_path):
    database = make(seeds=1, grid=[("triplet", "random", "none", None)])
    for name in ("_runs", "_measurements", "_curves", "_spectra"):
        setattr(database, name, getattr(database, name).iloc[:0])
    assert "No run has a result yet" in write_report(database, "fair_comparison", out=tmp_path).read_text()


@pytest.mark.parametrize(
    ("missing", "text"),
    [
        ("_curves", "No run has a curve"),
        ("_spectra", "No run has a spectrum"),
        ("_measurements", "15 runs are done, but none has a test metric by the selection rule last"),
    ],
)
def test_what_was_not_measured_is_left_out_and_said(make, tmp_path, missing, text):
    database = make(seeds=1)
    setattr(database, missing, getattr(database, missing).iloc[:0])
    rest = [name for name in ORDER if name not in ("convergence", "spectra")]
    some = {"_curves": ["convergence"], "_spectra": ["spectra"]}.get(missing, rest)
    page = write_report(database, "fair_comparison", out=tmp_path, analyses=some).read_text()
    assert text in page


def test_one_method_with_one_seed_makes_a_report_without_intervals(make, tmp_path):
    database = make(seeds=1, grid=[("triplet", "random", "none", None)])
    text = write_report(database, "fair_comparison", out=tmp_path).read_text()
    assert "(n=1)" in text
    assert "nan" not in " ".join(Page(tmp_path / "index.html").text)


def test_data_sets_are_kept_apart(make):
    numbers = report_json(make(seeds=2, datasets=("glyphs", "omniglot")), "fair_comparison", analyses=["leaderboard"])
    tables = numbers["analyses"]["leaderboard"]["tables"]
    assert {row["setting"] for row in tables["leaderboard_1"]} == {"glyphs, convnet-64"}
    assert {row["setting"] for row in tables["leaderboard_2"]} == {"Omniglot, convnet-64"}
    assert all(row["recall_at_1_n"] == 2 for rows in tables.values() for row in rows)


def test_configurations_that_share_a_name_are_not_taken_for_seeds(make):
    database = make(seeds=2, grid=[("triplet", "random", "none", None)])
    again = database._runs.assign(run_id=lambda f: "b" + f["run_id"].str[1:])
    database._runs = pd.concat(
        [database._runs.assign(**{"optimizer.lr": 1e-3}), again.assign(**{"optimizer.lr": 1e-4})]
    )
    rows = report_json(database, "fair_comparison")["analyses"]["leaderboard"]["tables"]["leaderboard_1"]
    assert sorted(row["method"] for row in rows) == [
        "triplet + random (optimizer.lr=0.0001)",
        "triplet + random (optimizer.lr=0.001)",
    ]
    assert all(row["planned"] == 2 for row in rows)


def test_a_selection_rule_that_was_not_recorded_is_not_mistaken_for_missing_runs(database):
    numbers = report_json(database, "fair_comparison", selection="best_validation", analyses=["leaderboard"])
    assert "40 runs are done, but none" in numbers["analyses"]["leaderboard"]["text"][0]
