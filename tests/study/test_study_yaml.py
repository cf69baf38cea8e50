"""Reading YAML: what it means, and one clear error for what cannot be read."""

import time

import pytest

from harness.errors import StudyError
from harness.study import Study

ONE_RUN = """
  objective: {name: pull, note: NOTE}
  miner: anyone
  optimizer: {lr: LR}
"""


def test_a_number_in_scientific_notation_is_a_number(flats):
    assert flats(ONE_RUN.replace("LR", "1e-5"), "optimizer.lr") == [1e-5]


@pytest.mark.parametrize("text", ["no", "on", "1:30", "2020-01-01", "yes"])
def test_words_and_times_stay_text(flats, text):
    assert flats(ONE_RUN.replace("NOTE", text).replace("LR", "1"), "objective.note") == [text]


def test_a_quoted_number_is_text_and_so_a_wrong_type(refused):
    assert "small.yaml:11:19: optimizer.lr: input should be a valid number, not '1e-5'" in refused(
        ONE_RUN.replace("LR", "'1e-5'")
    )


def test_anchors_and_merge_keys_are_written_out(flats):
    text = """
    grid:
      - objective: &pull {name: pull, margin: 0.5}
        miner: anyone
      - objective: {<<: *pull, beta: 0.6}
        miner: anyone
      - objective: {<<: [{beta: 0.7}, *pull], margin: 0.1}
        miner: anyone
    """
    assert flats(text, "objective.margin", "objective.beta") == [(0.5, 1.2), (0.5, 0.6), (0.1, 0.7)]


def test_a_mistake_inside_an_anchor_is_told_at_the_anchor(refused):
    text = "grid:\n  - objective: &o {name: pull, margn: 1}\n    miner: anyone\n  - {objective: *o, miner: nearby}\n"
    assert "1 mistake\n" in refused(text)
    assert "small.yaml:9:32: objective 'pull' has no option 'margn'; did you mean 'margin'?" in refused(text)


def test_every_duplicate_key_is_told(refused):
    message = refused("seeds: 1\nseeds: 2\ngrid: [{objective: whole, objective: pull}]")
    assert "2 mistakes" in message
    assert "small.yaml:9:1: the key 'seeds' is given twice; first in line 8" in message
    assert "small.yaml:10:27: the key 'objective' is given twice" in message


WHOLE_FILE = {
    "empty": ("", "the file is empty"),
    "only a comment": ("# nothing\n", "the file is empty"),
    "only null": ("~\n", "the file is empty"),
    "a list": (
        "- a\n- b\n",
        "small.yaml:1:1: a study is a mapping of keys such as `schema: 1`, `name:` and `run:`, not a list",
    ),
    "text": ("hello\n", "not 'hello'"),
    "a tab": ("run:\n\tdataset: dots\n", "small.yaml:2:1: this is not YAML: a tab stands where spaces must"),
    "two documents": ("a: 1\n---\nb: 2\n", "but found another document"),
    "an open bracket": ("a: [1, 2\n", "this is not YAML"),
    "two colons": ("a: b: c\n", "small.yaml:1:5: this is not YAML: a second `key: value` on one line"),
    "an unknown alias": ("a: *nobody\n", "found undefined alias 'nobody'"),
    "too deep": ("{a: " * 5000, "nested too deeply"),
    "a nul": ("a: b\0\n", "is a binary file"),
}


@pytest.mark.parametrize("case", WHOLE_FILE)
def test_a_file_that_is_no_study_gives_one_clear_mistake(refused, case):
    text, message = WHOLE_FILE[case]
    told = refused(text, head="")
    assert told.startswith("small.yaml: 1 mistake\nsmall.yaml")
    assert message in told


@pytest.mark.parametrize("data", [b"\x80\x04\x95", b"\xff\xfea\0:\0", b"name: caf\xe9\n"])
def test_bytes_that_are_not_utf8_are_refused(tmp_path, data):
    (tmp_path / "x.yaml").write_bytes(b"a: b\n" + data)
    with pytest.raises(StudyError, match=r"is not UTF-8 text: line 2 has the byte 0x"):
        Study.load(tmp_path / "x.yaml")


def test_a_byte_order_mark_and_windows_line_ends_are_accepted(tmp_path, load):
    load(ONE_RUN.replace("LR", "1"))
    text = (tmp_path / "small.yaml").read_text()
    (tmp_path / "small.yaml").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert Study.load("small.yaml").runs() == load(ONE_RUN.replace("LR", "1")).runs()


def test_a_bomb_of_aliases_is_refused_at_once(refused):
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    begin = time.monotonic()
    assert "more than 20,000 values once its aliases are written out" in refused("\n".join(lines), head="")
    assert time.monotonic() - begin < 5


def test_an_alias_of_itself_is_refused(refused):
    assert "small.yaml:8:7: this anchor contains an alias of itself" in refused("grid: &g [*g]")


@pytest.mark.parametrize(
    "value", ["!!python/object/apply:os.system [echo]", "!mine 3", "!!set {a, b}", "!!binary aGk="]
)
def test_tags_are_refused_and_not_executed(refused, value):
    message = refused(f"  objective: {{name: whole, margin: {value}}}")
    assert "1 mistake\n" in message
    assert "has no meaning in a study" in message


@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf", "1e999"])
def test_numbers_that_are_not_finite_are_refused(refused, value):
    message = refused(f"  optimizer: {{lr: {value}}}\n  objective: whole")
    assert "1 mistake\n" in message
    assert "is not a finite number" in message


def test_keys_that_are_not_text_are_refused(refused):
    message = refused("  objective: {name: whole, 3: 4, [a]: 5}")
    assert "2 mistakes" in message
    assert "small.yaml:8:28: a key is text" in message
    assert "small.yaml:8:34: a key is text" in message


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(StudyError, match=r"nope\.yaml: cannot be read: no such file or directory"):
        Study.load(tmp_path / "nope.yaml")
    with pytest.raises(StudyError, match="cannot be read: is a directory"):
        Study.load(tmp_path)


def test_a_huge_file_is_refused_unread(tmp_path):
    (tmp_path / "x.yaml").write_bytes(b"#" * 2_000_000)
    with pytest.raises(StudyError, match="has 2,000,000 bytes; a study has at most 64,000"):
        Study.load(tmp_path / "x.yaml")


def test_a_device_without_end_is_refused():
    with pytest.raises(StudyError, match="a study has at most 64,000"):
        Study.load("/dev/zero")


def test_more_mistakes_than_anybody_reads_are_not_all_looked_for(refused):
    told = refused("  objective: whole\n" + "".join(f"odd{i}: 1\n" for i in range(5000)))
    assert told.startswith("small.yaml: 101 mistakes\n")
    assert told.endswith("... and 51 more, at least")


def test_a_study_is_found_by_its_name(tmp_path, load):
    load("  objective: whole")
    (tmp_path / "studies").mkdir()
    (tmp_path / "small.yaml").rename(tmp_path / "studies" / "small.yaml")
    assert Study.load("small").name == "small"
    with pytest.raises(StudyError, match=r"there is no study 'smal'.*did you mean 'small'"):
        Study.load("smal")


@pytest.mark.parametrize("value", ["9" * 30, "9" * 400, "-" + "9" * 5000, "0x" + "f" * 20])
def test_whole_numbers_beyond_64_bits_are_refused(refused, value):
    message = refused(f"  objective: whole\n  training: {{epochs: {value}}}")
    assert "1 mistake\n" in message
    assert "is not a finite number of at most 64 bits" in message


def test_half_a_character_is_refused(refused):
    assert "half of a surrogate pair" in refused('  objective: {name: pull, note: "\\ud800"}\n  miner: anyone')
