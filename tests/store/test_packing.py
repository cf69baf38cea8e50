"""Packed numbers are what their six digits say, in Python and in SQL, whatever their size."""

import math
import sqlite3

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from harness.store.lists import digest_of_list, epochs_key
from harness.store.packing import cut_sql, length_sql, number_sql, pack, unpack

numbers = st.floats(allow_nan=False, allow_infinity=False) | st.none() | st.integers(-1000, 1000).map(float)


def short(value):
    return float(f"{value:.6g}")


def packed(*lists):
    values = np.array([math.nan if value is None else value for each in lists for value in each], dtype=float)
    return pack(values, [len(each) for each in lists])


def unpacked(*lists):
    made = packed(*lists)
    values, lengths = unpack([each.text for each in made], [each.scale for each in made])
    return [part.tolist() for part in np.split(values, np.cumsum(lengths)[:-1])]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(numbers, max_size=6), min_size=1, max_size=4))
@example([[0.0999999, 0.1], [], [999999.5, -1e6, None], [1e300, 1.0], [5e-324, -1e-300], [0.0, -0.0]])
def test_every_number_keeps_six_digits_down_to_a_hundred_millionth_of_the_largest(lists):
    for before, after in zip(lists, unpacked(*lists), strict=True):
        largest = max((abs(value) for value in before if value is not None), default=0.0)
        for value, found in zip(before, after, strict=True):
            if value is None:
                assert math.isnan(found)
            elif abs(value) >= max(largest * 1e-7, 1e-280):
                assert found == pytest.approx(value, rel=5.1e-6, abs=0)
            else:
                assert abs(found - value) <= max(largest * 1e-12, 1e-280)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(1e-4, 900), min_size=1, max_size=6))
def test_numbers_of_usual_size_are_the_very_floats_of_their_six_digits(values):
    (found,) = unpacked(values)
    for value, after in zip(values, found, strict=True):
        # A number half-way between two of six digits may go either way.
        assert after in {short(value * (1 - 1e-15)), short(value), short(value * (1 + 1e-15))}


def test_a_number_takes_four_characters_that_need_no_quoting():
    (made,) = packed([0.433333, None, -2.5])
    assert len(made.text) == 12
    assert made.text[4:8] == "oooo"
    assert all("0" <= letter <= "o" for letter in made.text)


def test_sql_unpacks_what_python_packs(url):
    values = [0.433333, None, -2.5, 0.0, 123.456, -0.0001]
    (made,) = packed(values)
    dialect = "sqlite" if url.startswith("sqlite") else "postgresql"
    rows = [{"text": made.text, "index": index, "scale": made.scale} for index in range(len(values))]
    cut = cut_sql("cast(:text as varchar)", "cast(:index as integer)")
    query = (
        f"select {number_sql('part', 'cast(:scale as double precision)', dialect)} from (select {cut} as part) as parts"
    )
    with create_engine(url, poolclass=NullPool).connect() as connection:
        assert [connection.execute(text(query), row).scalar() for row in rows] == pytest.approx(values)
        count = text(f"select {length_sql('cast(:text as varchar)')}")
        assert connection.execute(count, {"text": made.text}).scalar() == len(values)


@pytest.mark.parametrize(
    ("epochs", "key"),
    [
        (range(1, 151), "1-150"),
        (range(5, 151, 5), "5-150:5"),
        ([5, 10, 15, 17], "5-15:5,17"),
        ([2, 4], "2,4"),
        ([7], "7"),
        ([], ""),
        ([3, 1, 2, 3], "3,1-3"),
    ],
)
def test_epochs_have_a_short_name(epochs, key):
    assert epochs_key(list(epochs)) == key


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 6), max_size=6), st.lists(st.integers(1, 6), max_size=6))
def test_no_two_lists_of_epochs_have_the_same_name(first, second):
    assert (epochs_key(first) == epochs_key(second)) == (first == second)


def test_a_long_name_ends_with_a_digest():
    key = epochs_key([n * n for n in range(1, 200)])
    assert len(key) <= 200
    assert key.endswith(digest_of_list([n * n for n in range(1, 200)]))


def test_sqlite_is_new_enough_for_the_views():
    assert sqlite3.sqlite_version_info >= (3, 9)
