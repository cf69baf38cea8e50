"""A study: one YAML file, read and checked whole, becomes the runs that answer its question."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.errors import StudyError, did_you_mean
from harness.specs import RunSpec
from harness.store.labels import method_labels
from harness.study.conditions import Condition, Flat, explain_no_match, read_condition
from harness.study.layers import Applied, Plan, read_overrides, read_plan, read_value
from harness.study.mistakes import Mistakes, Origin, Place
from harness.study.pairs import check_pairs
from harness.study.resolve import Draft, Resolver
from harness.study.schema import Report, check_shape
from harness.study.source import Node, read_mapping
from harness.study.space import read_tune
from harness.study.tune import Tune
from harness.training.roles import sealed

MAX_RUNS = 20_000
MAX_COMPARISONS = 150_000
"""Of runs with values of `when` and `exclude`: seconds, which a person still waits for."""
FOLDER = Path("studies")


@dataclass(frozen=True)
class Study:
    """What one study file, under one profile, asks for."""

    name: str
    question: str
    report: Report
    profile: str | None
    profiles: tuple[str, ...]
    path: Path
    specs: tuple[RunSpec, ...]
    partial: bool = False  # whether `only` has left runs out
    questions: Mapping[str, tuple[str, ...]] = field(
        default_factory=dict
    )  # of a block -> its runs, also those left out
    tune: Tune | None = None  # what its methods are tuned on, before these runs are trained with what was chosen

    @classmethod
    def load(
        cls,
        study: str | Path,
        profile: str | None = None,
        overrides: Mapping[str, Any] | None = None,
        only: Mapping[str, Any] | None = None,
        data: str | Path | None = None,
    ) -> Study:
        """Read a study by path, or by name from the folder `studies`.

        `overrides` maps dotted paths to values that every run gets which has what is named (`--set`); `only` keeps the
        runs that match (`--only`). `data` is the folder of data sets and weights, whose digests are part of a run; else
        HARNESS_DATA names it, else it is `data`. Raises one StudyError that names every mistake.
        """
        path = find_study(study)
        mistakes = Mistakes(str(path))
        root = read_mapping(path, mistakes, "study", "`schema: 1`, `name:` and `run:`")
        if root is None:
            raise StudyError(mistakes.text())
        check_shape(root, mistakes)
        chosen = _choose_profile(root, profile, mistakes)
        plan = read_plan(root, chosen, read_overrides(overrides or {}, mistakes), mistakes)
        folder = Path(data or os.environ.get("HARNESS_DATA") or "data")
        specs, questions, tune = list_runs(plan, _read_only(only or {}, mistakes), mistakes, folder)
        _check_selection(plan, root, mistakes)
        if not mistakes and not only:  # else it is not known which methods there will be
            _check_baseline(plan.report.baseline, specs, [body for body in (chosen, root) if body], mistakes)
        mistakes.raise_if_any()
        question = root.value.get("question")
        profiles = tuple(root.value["profiles"].value) if "profiles" in root.value else ()
        return cls(
            name=root.value["name"].value,
            question=question.value.strip() if question else "",
            report=plan.report,
            profile=profile,
            profiles=profiles,
            path=path,
            specs=tuple(specs),
            partial=bool(only),
            questions=questions,
            tune=tune,
        )

    def runs(self) -> list[RunSpec]:
        """The runs, in the order of the file, each once; seeds of one combination stand together."""
        return list(self.specs)

    def about(self) -> dict[str, Any]:
        """What the database keeps of a study beside its runs, as plain JSON types: question, analyses, selection, and
        the questions of the blocks of its grid, in their order, each with the ids of its runs."""
        blocks = [{"question": question, "runs": list(runs)} for question, runs in self.questions.items()]
        return {"question": self.question, **self.report.model_dump(), "blocks": blocks}


def _check_baseline(baseline: str | None, specs: Sequence[RunSpec], bodies: list[Node], mistakes: Mistakes) -> None:
    """The baseline of the report is a method of the study, by the name that tables give it."""
    names = set() if baseline is None else set(method_labels(specs).values())
    if baseline is None or baseline in names:
        return
    said = [node for body in bodies if (node := body.find(["report", "baseline"])).plain() == baseline]
    place = said[0].place if said else Place(Origin(f"--set report.baseline={baseline}"))
    mistakes.add(place, f"no method of this study is named {baseline!r}{did_you_mean(baseline, names)}")


def find_study(study: str | Path) -> Path:
    """The file of a study that is given by path or by name."""
    path = Path(study)
    if path.suffix in (".yaml", ".yml") or path.parent != Path() or path.is_file():
        return path
    named = FOLDER / f"{study}.yaml"
    if not named.exists():
        known = [file.stem for file in FOLDER.glob("*.yaml")]
        raise StudyError(f"there is no study {str(study)!r}: no file {named}{did_you_mean(str(study), known)}")
    return named


Questions = dict[str, tuple[str, ...]]


def list_runs(
    plan: Plan, only: Condition | None, mistakes: Mistakes, data: Path
) -> tuple[list[RunSpec], Questions, Tune | None]:
    """The runs of a plan, the questions of its blocks and its tuning, with everything that is wrong recorded.

    The runs of a study that is tuned are final runs: nothing of them is measured on the test classes.
    """
    if plan.count() > MAX_RUNS:
        place = plan.blocks[0].place if len(plan.blocks) == 1 else replace(plan.blocks[0].place, line=0)
        mistakes.add(place, f"the grid has {plan.count():,} runs; a study has at most {MAX_RUNS:,}")
        return [], {}, None
    candidates = list(_candidates(plan, mistakes, data))
    kept = _without_excluded(candidates, plan, mistakes)
    wanted = [run for run in kept if only is None or only.holds(run.flat)]
    _check_all_pairs(kept, wanted, mistakes)
    if not mistakes and not kept:
        mistakes.add(Place(Origin(mistakes.study)), "the grid expands to no runs")
    elif not mistakes and only and not wanted:
        explain_no_match(only, [run.flat for run in kept], mistakes, "selects")
    tune = read_tune(plan.tune, [] if mistakes else [run.asked for run in kept], mistakes)
    unique = {(run.draft.key, run.seed): run for run in wanted}
    return [run.spec for run in unique.values()], {} if mistakes else _questions(kept), tune


def _check_selection(plan: Plan, root: Node, mistakes: Mistakes) -> None:
    if plan.tune is not None and plan.report.selection == "best_test":
        place = root.find(["report", "selection"]).place
        mistakes.add(place, "a study that is tuned keeps its test classes sealed, so no epoch is selected on them")


def _questions(runs: list[_Candidate]) -> Questions:
    """Question of a block -> the ids of its runs. A run that several blocks ask for stands under each question."""
    asked: dict[str, dict[str, None]] = {}
    for run in runs:
        if run.question:
            asked.setdefault(run.question, {})[run.spec.run_id] = None
    return {question: tuple(ids) for question, ids in asked.items()}


@dataclass(frozen=True)
class _Candidate:
    """A run that may be asked for."""

    draft: Draft
    seed: int
    question: str
    tuned: bool = False

    @property
    def asked(self) -> RunSpec:
        """The run as the file says it."""
        return replace(self.draft.spec, seed=self.seed)

    @property
    def spec(self) -> RunSpec:
        """The run itself."""
        return sealed(self.asked) if self.tuned else self.asked

    @property
    def flat(self) -> Flat:
        """What conditions look at."""
        return {**self.draft.flat, "seed": self.seed}


def _candidates(plan: Plan, mistakes: Mistakes, data: Path) -> Iterator[_Candidate]:
    """The runs of all blocks that their `when` lets through."""
    resolver, applied = Resolver(mistakes, data), Applied(plan.overrides, mistakes)
    resolver.check_alone(plan.run)
    for block in plan.blocks:
        drafts = []
        before = len(mistakes)
        for combination in block.combinations(plan.run, mistakes):
            sections = applied.over(combination)
            drafts.append(resolver.draft(sections, block.place, doubtful=block.doubtful))
        runs = [
            _Candidate(draft, seed, block.question, plan.tune is not None) for draft in drafts for seed in plan.seeds
        ]
        sound = len(mistakes) == before and not plan.overrides
        yield from _when(block.when, runs, mistakes, sound=sound)
    applied.tell_unused()


def _when(node: Node | None, runs: list[_Candidate], mistakes: Mistakes, *, sound: bool) -> list[_Candidate]:
    condition = read_condition(node, mistakes) if node else None
    if node is None or condition is None:
        return runs
    if not _affordable(node, condition.cost() * len(runs), mistakes):
        return []
    kept = [run for run in runs if condition.holds(run.flat)]
    if sound and not kept:
        explain_no_match(condition, [run.flat for run in runs], mistakes, "keeps")
    return kept


def _without_excluded(runs: list[_Candidate], plan: Plan, mistakes: Mistakes) -> list[_Candidate]:
    # With runs missing, or changed by a `--set`, it is no surprise when an exclusion finds nothing.
    sound = not mistakes and not plan.overrides
    comparisons = 0
    for node in plan.exclude:
        condition = read_condition(node, mistakes)
        if condition is None:
            continue
        comparisons += condition.cost() * len(runs)
        if not _affordable(node, comparisons, mistakes):
            return []
        kept = [run for run in runs if not condition.holds(run.flat)]
        if sound and len(kept) == len(runs):
            explain_no_match(condition, [run.flat for run in runs], mistakes, "excludes")
        runs = kept
    return runs


def _affordable(node: Node, comparisons: int, mistakes: Mistakes) -> bool:
    if comparisons > MAX_COMPARISONS:
        many = f"to look through all runs for this takes {comparisons:,} comparisons, of at most {MAX_COMPARISONS:,}"
        mistakes.add(node.label, f"{many}; name what is wanted in the grid rather than what is not")
    return comparisons <= MAX_COMPARISONS


def _check_all_pairs(kept: list[_Candidate], wanted: list[_Candidate], mistakes: Mistakes) -> None:
    needed = {id(run.draft) for run in wanted}
    for draft in {id(run.draft): run.draft for run in kept}.values():
        check_pairs(draft, mistakes, wanted=id(draft) in needed)


def _choose_profile(root: Node, name: str | None, mistakes: Mistakes) -> Node | None:
    node = root.value.get("profiles")
    profiles = node.value if node is not None and isinstance(node.value, dict) else {}
    if name is None:
        return None
    if name not in profiles:
        known = did_you_mean(name, profiles) or "; it has none"
        mistakes.add(Place(Origin(f"--profile {name}")), f"the study has no such profile{known}")
        return None
    return profiles[name] if isinstance(profiles[name].value, dict) else None


def _read_only(only: Mapping[str, Any], mistakes: Mistakes) -> Condition | None:
    """`--only PATH=VALUE`, all of which must hold."""
    nodes = {}
    for path, value in only.items():
        place = Place(Origin(f"--only {path}={value}"))
        nodes[path.removeprefix("run.")] = replace(read_value(value, place, mistakes), key=place)
    return read_condition(Node(nodes, next(iter(nodes.values())).place), mistakes) if nodes else None
