"""Every number that a family can give is explained, and the command line shows it."""

import json
import re

import pytest

from harness.cli.app import app
from harness.cli.parts import rows_of
from harness.registry import METRICS

EVERYTHING = {
    "retrieval": {"k": [1, 10, 1000], "both_divisors": True},
    "clustering": {},
    "density": {"structure": True},
    "spectrum": {"modes": [1, 10, -2]},
    "angles": {"count": 3},
}
"""Options under which a family gives all that it can give."""


def explains(key: str, name: str) -> bool:
    """Whether a definition is that of a number: `<k>` stands for any number."""
    return re.fullmatch(re.sub(r"<\w+>", r"\\d+", key), name) is not None


def test_no_family_is_forgotten_here():
    assert set(EVERYTHING) == set(METRICS.names())


@pytest.mark.parametrize("family", EVERYTHING)
def test_every_number_has_one_definition_and_every_definition_a_number(family):
    options = METRICS.check(family).options
    switches = {name for name, value in options.items() if value is False or value == []}
    assert switches <= set(EVERYTHING[family])  # an option that adds numbers is among those used here
    names = METRICS.build(METRICS.check(family, EVERYTHING[family])).names
    definitions = METRICS.get(family).definitions
    for name in names:
        assert sum(explains(key, name) for key in definitions) == 1, name
    for key in definitions:
        assert any(explains(key, name) for name in names), key


@pytest.mark.parametrize("family", EVERYTHING)
def test_a_definition_is_one_line_of_formula_and_source(family):
    for text in METRICS.get(family).definitions.values():
        formula, source = text.split("; ")
        assert formula
        assert source
        assert "\n" not in text


def told(capsys, *arguments) -> str:
    with pytest.raises(SystemExit) as caught:
        app(["parts", *arguments])
    assert not caught.value.code
    return capsys.readouterr().out


def test_the_command_line_explains_the_numbers_of_metrics_and_nothing_else(capsys):
    shown = told(capsys, "metrics")
    for family in METRICS.names():
        for name, text in METRICS.get(family).definitions.items():
            assert re.search(rf"^ +{re.escape(name)} +{re.escape(text)}$", shown, re.MULTILINE)
    assert shown.count("revision 1") == len(METRICS.names())
    assert "revision" not in told(capsys, "miners")


def test_json_has_revisions_and_definitions(capsys):
    rows = json.loads(told(capsys, "metrics", "--json"))
    assert {row["name"]: row["definitions"] for row in rows} == {
        name: METRICS.get(name).definitions for name in METRICS.names()
    }
    assert {row["revision"] for row in rows} == {1}


def test_a_family_of_somebody_else_needs_no_definitions(monkeypatch):
    class Foreign:
        names = ("mine",)

    monkeypatch.setitem(METRICS._parts, "foreign", Foreign)
    row = next(row for row in rows_of("metric") if row["name"] == "foreign")
    assert (row["revision"], row["definitions"]) == (1, {})
