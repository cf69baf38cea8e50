"""Bad and odd studies without end: generated from a grammar of everything a study can say, and shipped ones mutated."""

# ruff: noqa: E501 - tables of odd values are easier to look over with many in a line
from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

SHIPPED = Path(__file__).parent.parent.parent / "studies"

ODD_SCALARS = (
    "null", "~", "true", "no", "0", "-1", "1", "1.5", "1e-5", "1e999", "-.inf", ".nan", "0x7f", "0o17", "1_000", "0777",
    "9223372036854775807", "9223372036854775808", "99999999999999999999", "-9223372036854775809", "1e308", "5e-324",
    "2026-11-21", "2026-11-21T10:00:00Z", "12:30:45", "''", '""', '"\\0"', '"\\ud800"', '"\\U0001F600"', "'é'", "日本",
    "\u202eabc", "a\u0301", "../../etc/passwd", "/dev/zero", "a:b", "os:system", "pml:CircleLoss", "none", "margin", "[]",
    "{}", "[[]]", "[null]", "{name: margin}", "{name: }", "[1, 1]", "[margin, margin]", "!!python/object:os.system {}",
    "!!python/name:os.system", "!!int 1.5", "!!float 3", "!!str 3", "!!bool 1", "!!binary YQ==", "!!set {a}", "!mine x",
    "&a [*a]", "*a", "&a 1", "|\n  text", "- 1", "? a", "a: b: c", "[1, 2", "{a: 1", "'open", "%x", "@x", "`x", "\t1",
)  # fmt: skip
"""Values as they are written, most of them wrong nearly everywhere."""

KEYS = (
    "schema", "name", "question", "run", "seeds", "grid", "axes", "exclude", "report", "tune", "profiles", "zip", "when",
    "dataset", "backbone", "objective", "miner", "sampler", "regularizer", "training", "optimizer", "evaluation",
    "training.epochs", "training.batch_size", "training.augmentation", "optimizer.lr", "optimizer.name", "evaluation.test",
    "objective.beta", "objective.name", "backbone.embedding_dim", "sampler.samples_per_class", "beta", "margin", "epochs",
    "analyses", "selection", "equivalence", "baseline", "trials", "folds", "space", "metric", "pruner", "share", "points",
    "log", "uniform", "int", "choice", "quick", "paper", "name", "seed", "Schema", "naem", "objectiv", "<<", "a.b.c", ".",
    "1", "null", "''", '"\\0"', "[a]", "{a: 1}", "&k x", "*k", "!!int k", "日本", "x y", "training..epochs", "objective.",
)  # fmt: skip

PARTS = (
    "glyphs", "pack", "omniglot", "convnet", "mlp", "resnet50", "margin", "triplet", "multi_similarity", "proxy_nca",
    "contrastive", "random", "semihard", "distance_weighted", "smart", "class_balanced", "rho", "nir", "none", "recall",
    "retrieval", "density", "verdicts", "leaderboard", "last", "best_test", "map_at_r", "adam", "sgd", "tpe", "grid",
)  # fmt: skip


def values() -> SearchStrategy[str]:
    """Text in flow style that mostly is YAML."""
    scalars = st.one_of(
        st.sampled_from(ODD_SCALARS),
        st.sampled_from(PARTS),
        st.integers().map(str),
        st.integers(1, 40).map(str),
        st.floats().map(str),
        st.text(max_size=8).map(lambda text: "'" + text.replace("'", "''") + "'"),
    )
    return st.recursive(scalars, lambda inner: st.one_of(lists(inner), mappings(inner)), max_leaves=8)


def lists(inner: SearchStrategy[str]) -> SearchStrategy[str]:
    return st.lists(inner, max_size=4).map(lambda items: f"[{', '.join(items)}]")


def mappings(inner: SearchStrategy[str]) -> SearchStrategy[str]:
    pairs = st.tuples(st.sampled_from(KEYS), inner).map(": ".join)
    return st.lists(pairs, max_size=4).map(lambda items: f"{{{', '.join(items)}}}")


def sound(section: str, *right: str) -> SearchStrategy[str]:
    """A section that is right three times out of four, so that what is wrong elsewhere gets its turn."""
    wrong = st.one_of(values(), st.just(""))
    written = st.sampled_from(right) | st.sampled_from(right) | st.sampled_from(right) | wrong
    return written.map(lambda value: f"{section}: {value}\n" if value else "")


def generated() -> SearchStrategy[str]:
    """Whole studies, each section of which may be right, odd, missing or there twice."""
    run = "{dataset: glyphs, backbone: {name: convnet, embedding_dim: 8}, training: {epochs: 1, batch_size: 12}}"
    grid = (
        "[{objective: [margin, triplet], miner: random}]",
        "[{objective: {name: margin, beta: [0.6, 1.2]}, miner: random}]",
    )
    space = (
        "{trials: 2, space: {objective: {margin: {beta: {uniform: [0.6, 1.4]}}}, optimizer: {lr: {log: [1e-4, 1e-1]}}}}"
    )
    sections = st.tuples(
        sound("schema", "1"),
        sound("name", "odd"),
        sound("run", run, run.replace("glyphs", "{name: glyphs, classes: 20}")),
        sound(
            "grid",
            *grid,
            "[{zip: {objective.beta: [0.6, 1.2], training.epochs: [1, 2]}, objective: margin, miner: random}]",
        ),
        st.just("") | sound("seeds", "2", "[0, 7]"),
        st.just("") | sound("axes", "{training.batch_size: [12, 24]}", "{optimizer.lr: [1e-3, 1e-2]}"),
        st.just("") | sound("exclude", "[{objective: triplet}]", "[{beta: 0.6}]"),
        st.just("") | sound("report", "{equivalence: 0.5}", "{analyses: [verdicts]}"),
        st.just("") | st.just("") | sound("tune", space),
        st.just("") | sound("profiles", "{quick: {seeds: 1}}", "{quick: {run: {training.epochs: 2}}}"),
        st.just("") | st.just("") | st.tuples(st.sampled_from(KEYS), values()).map(lambda pair: ": ".join(pair) + "\n"),
    )
    return st.tuples(sections, st.randoms(use_true_random=False)).map(shuffled)


def shuffled(drawn: tuple[tuple[str, ...], random.Random]) -> str:
    sections, chance = list(drawn[0]), drawn[1]
    if chance.random() < 0.3:
        chance.shuffle(sections)
    return "".join(sections)


def generated_studies(count: int, number: int) -> list[str]:
    """So many generated studies, always the same ones for the same number."""
    found: list[str] = []

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(generated())
    def keep(text: str) -> None:
        found.append(text)

    keep()
    return found


# Mutations of the shipped studies ----------------------------------------------------------------------------------------


def mutated(text: str, chance: random.Random) -> str:
    """A study with one to three things changed that somebody, or something, could have got wrong."""
    for _ in range(chance.choice((1, 1, 2, 3))):
        text = chance.choice(MUTATIONS)(text, chance)
    return text


def on_a_line(change: Any) -> Any:
    def mutate(text: str, chance: random.Random) -> str:
        lines = text.split("\n")
        place = chance.randrange(len(lines))
        lines[place : place + 1] = change(lines[place], chance)
        return "\n".join(lines)

    return mutate


def on_a_word(change: Any) -> Any:
    def mutate(text: str, chance: random.Random) -> str:
        words = list(re.finditer(r"[\w.+-]+", text))
        if not words:
            return text
        word = chance.choice(words)
        return text[: word.start()] + change(word.group(), chance) + text[word.end() :]

    return mutate


def cut(text: str, chance: random.Random) -> str:
    return text[: chance.randrange(len(text) + 1)]


def without_a_stretch(text: str, chance: random.Random) -> str:
    begin = chance.randrange(len(text) + 1)
    return text[:begin] + text[begin + chance.randrange(60) :]


def with_a_letter(text: str, chance: random.Random) -> str:
    place = chance.randrange(len(text) + 1)
    return (
        text[:place] + chance.choice("[]{}:,&*!|>'\"%@`#-?\t\n\0\x07\x85\u2028\u202e\ufeff é\U0001f600") + text[place:]
    )


def with_a_flipped_bit(text: str, chance: random.Random) -> str:
    data = bytearray(text.encode() or b"x")
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return data.decode("latin-1") if chance.random() < 0.5 else data.decode("utf-8", "replace")


MUTATIONS = (
    on_a_line(lambda line, chance: []),
    on_a_line(lambda line, chance: [line, line]),
    on_a_line(lambda line, chance: [" " * chance.randrange(1, 5) + line]),
    on_a_line(lambda line, chance: [line.removeprefix("  ")]),
    on_a_line(lambda line, chance: [line.partition(":")[0] + ": " + chance.choice(ODD_SCALARS)]),
    on_a_line(lambda line, chance: [re.sub(r"[\w.]+:", lambda match: chance.choice(KEYS) + ":", line, count=1)]),
    on_a_word(lambda word, chance: chance.choice(ODD_SCALARS)),
    on_a_word(lambda word, chance: chance.choice(KEYS)),
    on_a_word(lambda word, chance: chance.choice(PARTS)),
    on_a_word(lambda word, chance: word[::-1]),
    on_a_word(lambda word, chance: word.upper()),
    on_a_word(lambda word, chance: f"[{word}, {word}]"),
    on_a_word(lambda word, chance: f"{{name: {word}}}"),
    on_a_word(lambda word, chance: word + word[-1] * chance.choice((1, 30, 3000))),
    on_a_word(lambda word, chance: chance.choice("&*!") + word),
    cut,
    without_a_stretch,
    with_a_letter,
    with_a_flipped_bit,
)


def mutated_studies(count: int, number: int) -> Iterator[str]:
    """So many mutations, the smaller studies more often than the large ones."""
    chance = random.Random(number)
    texts = [file.read_text(encoding="utf-8") for file in sorted(SHIPPED.glob("*.yaml"))]
    weights = [1 / len(text) for text in texts]
    for text in chance.choices(texts, weights, k=count):
        yield mutated(text, chance)


def odd_studies(count: int, number: int) -> list[str]:
    """Half of them generated, half mutated."""
    return [*generated_studies(count // 2, number), *mutated_studies(count - count // 2, number)]
