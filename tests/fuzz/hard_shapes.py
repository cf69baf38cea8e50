"""Studies that are hard to read rather than merely wrong: each is as large as a file may be where size is its weapon."""

# ruff: noqa: E501 - tables of odd values are easier to look over with many in a line
from __future__ import annotations

from harness.study.source import MAX_BYTES

HEAD = "schema: 1\nname: odd\nrun:\n  dataset: glyphs\n  backbone: convnet\n"
TAIL = "grid: [{objective: margin, miner: random}]\n"
TUNE = "tune:\n  trials: 4\n  space: {optimizer: {lr: "


def fill(piece: str, around: int = 1000) -> str:
    """As many copies of a piece, with its number where it says `{}`, as a study file can hold beside other text."""
    pieces, size = [], around
    while size + len(next_one := piece.replace("{}", str(len(pieces)))) < MAX_BYTES:
        pieces.append(next_one)
        size += len(next_one)
    return "".join(pieces)


def laughs(first: str, link: str, again: str, levels: int = 12) -> str:
    """Aliases of aliases: ten to the power of `levels` values once they are written out."""
    lines = [f"a0: &a0 {first}"]
    return "\n".join(lines + [link.format(i, ", ".join([again.format(i - 1)] * 10)) for i in range(1, levels)]) + "\n"


def hard_shapes() -> dict[str, str]:
    """Name -> text of a study."""
    return {
        "empty": "",
        "zeros": "\0" * 100,
        "open lists": HEAD + "grid: " + fill("["),
        "open lists by line": HEAD + "grid:\n" + fill(" [\n"),
        "open mappings": HEAD + "grid: " + fill("{a: "),
        "closed lists": HEAD + "grid: " + "[" * 300 + "]" * 300,
        "nested mapping": HEAD + "axes: {objective: " + "{a: " * 150 + "1" + "}" * 150 + "}\n" + TAIL,
        "nested option": HEAD + f"axes: {{objective.{'.'.join('a' * 5000)}: [1, 2]}}\n" + TAIL,
        "dashes": fill("- "),
        "questions": fill("? "),
        "colons": fill(":"),
        "bangs": "a: " + fill("!"),
        "percents": fill("%"),
        "quotes": "a: " + fill("'"),
        "documents": fill("---\n"),
        "comments": fill("# x\n") + HEAD + TAIL,
        "long key": HEAD + fill("x") + ": 1\n" + TAIL,
        "long name": HEAD.replace("odd", fill("x")) + TAIL,
        "long objective": HEAD + "grid: [{objective: " + fill("margin") + "}]\n",
        "long profile": HEAD + TAIL + "profiles: {" + fill("x")[:1000] + ": {}}\n",
        "many keys": HEAD + TAIL + fill("key{}: 1\n"),
        "many duplicates": HEAD + TAIL + fill("seeds: 1\n"),
        "many options of run": HEAD + fill("  objective.o{}: 1\n") + TAIL,
        "many axes": HEAD + TAIL + "axes:\n" + fill("  objective.o{}: 1\n"),
        "many keys of a block": HEAD + "grid:\n- objective: margin\n" + fill("  miner.o{}: 1\n"),
        "many mappings of an axis": HEAD + "grid:\n- objective: margin\n  miner: [" + fill("{a{}: 1}, ") + "]\n",
        "many parts": HEAD + "grid:\n- objective: [" + fill("part{}, ") + "margin]\n",
        "many blocks": HEAD + "grid:\n" + fill("- {objective: margin, miner: random, training.epochs: {}}\n"),
        "many same blocks": HEAD + "grid:\n" + fill("- {objective: margin, miner: random}\n"),
        "many values": HEAD
        + "grid:\n- {objective: margin, miner: random, objective.beta: ["
        + fill("1.{}, ")
        + "1]}\n",
        "many bad values": HEAD
        + "grid:\n- {objective: margin, miner: random, objective.beta: ["
        + fill("x, ")
        + "1]}\n",
        "many seeds": HEAD + "seeds: 20000\n" + TAIL,
        "many seeds by number": HEAD + "seeds: [" + fill("1{}, ") + "0]\n" + TAIL,
        "many runs": HEAD
        + "seeds: 200\ngrid: [{objective: margin, miner: random, objective.beta: ["
        + ", ".join(f"1.{i}" for i in range(100, 200))
        + "]}]\n",
        "too many runs": HEAD + "seeds: 100000\ngrid: [{objective: [margin, triplet], miner: random}]\n",
        "far too many runs": HEAD
        + "grid: [{objective: margin, miner: random, "
        + ", ".join(f"training.o{i}: [1, 2, 3, 4, 5, 6, 7, 8, 9]" for i in range(100))
        + "}]\n",
        "lists in lists": HEAD
        + "grid: [{objective: {name: margin, "
        + ", ".join(f"o{i}: [1, 2, 3, 4]" for i in range(60))
        + "}, miner: random}]\n",
        "long zip": HEAD
        + "grid:\n- zip: {objective: ["
        + fill("margin, ", MAX_BYTES // 2)
        + "], miner: ["
        + fill("random, ", MAX_BYTES // 2)
        + "]}\n",
        "many exclusions": HEAD + TAIL + "seeds: 1000\nexclude:\n" + fill("- {seed: 1{}}\n"),
        "many wrong exclusions": HEAD + TAIL + "exclude:\n" + fill("- {objective.b{}: 1}\n"),
        "many excluded values": HEAD + TAIL + "seeds: 1000\nexclude:\n- seed: [" + fill("1{}, ") + "]\n",
        "many conditions": HEAD
        + "seeds: 1000\ngrid:\n"
        + fill("- {objective: margin, miner: random, when: {seed: {}}}\n"),
        "many profiles": HEAD + TAIL + "profiles:\n" + fill("  p{}: {seeds: 2}\n"),
        "exclusion of none of many runs": HEAD + TAIL + "seeds: 20000\nexclude: [{seed: -1}]\n",
        "condition of none of many runs": HEAD
        + "seeds: 20000\ngrid: [{objective: margin, miner: random, when: {seed: -1}}]\n",
        "many bare exclusions": HEAD + TAIL + "seeds: 20000\nexclude: [" + "{beta: -1}, " * 12 + "{beta: 1.2}]\n",
        "many long exclusions": HEAD + TAIL + "seeds: 20000\nexclude: [{seed: [" + fill("1{}, ") + "]}]\n",
        "many analyses": HEAD + TAIL + "report:\n  analyses: [" + fill("verdict{}, ") + "]\n",
        "many metrics": HEAD + "  evaluation.test: [" + fill("m{}, ") + "]\n" + TAIL,
        "many choices": HEAD + TAIL + TUNE + "{choice: [" + fill("0.{}, ") + "1]}}}\n",
        "many points": HEAD + TAIL + "tune:\n  trials: 4\n  sampler: grid\n  space: {optimizer: {lr: "
        "{log: [1.0e-7, 1.0e-1], points: 9000000000000000000}}}\n",
        "many folds": HEAD + TAIL + TUNE + "{log: [1.0e-7, 1.0e-1]}}}\n  folds: 9000000000000000000\n",
        "many classes": HEAD.replace("glyphs", "{name: glyphs, classes: 9000000000}") + TAIL,
        "many laughing lists": laughs("[1, 1]", "a{0}: &a{0} [{1}]", "*a{0}") + HEAD + TAIL,
        "laughing merges": laughs("{x: 1}", "a{0}: &a{0}\n  <<: [{1}]", "*a{0}") + HEAD + TAIL,
        "laughing axes": HEAD
        + "axes:\n"
        + laughs("[1, 1]", "a{0}: &a{0} [{1}]", "*a{0}").replace("\na", "\n  a")
        + TAIL,
        "quiet laughs": HEAD + TAIL + "axes: {objective.beta: [" + "&a [1, 2, 3], " + fill("*a, ") + "]}\n",
        "alias of itself": HEAD + TAIL + "axes: &a {objective: *a}\n",
        "merge of itself": HEAD + TAIL + "axes: &a {<<: *a}\n",
        "many anchors": HEAD + TAIL + fill("k{}: &a{} 1\n"),
        "long number": HEAD + "seeds: " + fill("9") + "\n" + TAIL,
        "long fraction": HEAD + "  training.epochs: 0." + fill("9") + "\n" + TAIL,
        "long exponent": HEAD + "  optimizer.lr: 1e" + fill("9") + "\n" + TAIL,
        "long hexadecimal": HEAD + "seeds: 0x" + fill("f") + "\n" + TAIL,
        "infinite rate": HEAD + "  optimizer.lr: .inf\n" + TAIL,
        "part named by a number": HEAD + "axes: {objective.name: [0.5]}\ngrid: [{miner: random}]\n",
        "rate that is none": HEAD + "  optimizer.lr: .nan\n" + TAIL,
        "python object": HEAD + "  optimizer: !!python/object/apply:os.system [touch escaped]\n" + TAIL,
        "python name": HEAD + "  objective: !!python/name:os.system\n" + TAIL,
        "other people's module": HEAD + "grid: [{objective: 'colorsys:fly', miner: random}]\n",
        "module that is none": HEAD + "grid: [{objective: ':::', miner: random}]\n",
        "module above": HEAD + "grid: [{objective: '..os:system', miner: random}]\n",
        "module of zeros": HEAD + 'grid: [{objective: "a\\0b:c", miner: random}]\n',
        "builtin class": HEAD + "grid: [{objective: 'builtins:dict', miner: random}]\n",
        "builtin type": HEAD + "grid: [{objective: 'builtins:type', miner: random}]\n",
        "library that is none": HEAD + "grid: [{objective: 'pml:os', miner: 'pml:'}]\n",
        "backbone that is none": HEAD.replace("convnet", "'timm:../../etc'") + TAIL,
        "weights above": HEAD.replace("convnet", "{name: mobilenet_v2, weights: ../../etc/passwd.npz}") + TAIL,
        "weights of zeros": HEAD.replace("convnet", '{name: mobilenet_v2, weights: "a\\0.npz"}') + TAIL,
        "half a character": HEAD + 'grid: [{objective: "\\ud800", miner: random}]\n',
        "name with zeros": HEAD.replace("odd", '"a\\0b"') + TAIL,
        "letters right to left": HEAD + "grid: [{objective: \u202emargin, miner: r\u0430ndom}]\n",
        "byte-order mark": "\ufeff" + HEAD + TAIL,
        "other line ends": (HEAD + TAIL).replace("\n", "\r"),
        "next line characters": (HEAD + TAIL).replace("\n", "\x85"),
        "line separators": (HEAD + TAIL).replace("\n", "\u2028"),
        "directive": "%YAML 1.1\n---\n" + HEAD + "seeds: 0777\n" + TAIL,
        "directive of another version": "%YAML 9.9\n---\n" + HEAD + TAIL,
        "tag directive": "%TAG ! tag:yaml.org,2002:python/\n---\n" + HEAD + "seeds: !object 1\n" + TAIL,
        "dates": HEAD + "seeds: 2001-12-14t21:59:43.10-05:00\n" + TAIL,
        "binary": HEAD + "seeds: !!binary aGFybmVzcw==\n" + TAIL,
        "set": HEAD + "seeds: !!set {1, 2}\n" + TAIL,
        "ordered mapping": HEAD + "axes: !!omap [objective: margin]\n" + TAIL,
        "wrong integer": HEAD + "seeds: !!int x\n" + TAIL,
        "wrong number": HEAD + "seeds: !!float x\n" + TAIL,
        "wrong truth": HEAD + "seeds: !!bool perhaps\n" + TAIL,
        "wrong nothing": HEAD + "seeds: !!null something\n" + TAIL,
        "list as integer": HEAD + "seeds: !!int [1]\n" + TAIL,
        "integer as list": HEAD + "seeds: !!seq 1\n" + TAIL,
        "keys that are no text": HEAD + TAIL + "? [a, b]\n: 1\n? {a: 1}\n: 2\n1: 3\nnull: 4\n!!int x: 5\n",
        "merge of a number": HEAD + TAIL + "axes: {<<: 1}\n",
        "paths of dots": HEAD + "  ..: 1\n  training.: 1\n  .training: 1\n  training..epochs: 1\n" + TAIL,
        "reserved name": HEAD.replace("odd", "harness.db") + TAIL,
        "name above": HEAD.replace("odd", "../../odd") + TAIL,
    }
