"""Smart Mining (Harwood et al., 2017): triplets from the nearest neighbors of the whole training set."""

from __future__ import annotations

import warnings
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from harness.errors import Diverged, OptionError
from harness.miners._controller import Controller, Law, foreseen
from harness.miners._embeddings import is_collapsed, lists_collapsed, usable_rows
from harness.miners._members import Ints, Members
from harness.miners._neighbors import Search, Wanted, nearest
from harness.miners._planned import Plan, Planned
from harness.miners._selection import Lists, Selection, reach, select
from harness.miners._smart_numbers import (
    farthest_of,
    longer,
    mostly_random,
    numbers_of,
    plan_of,
    too_short,
    usual_neighbors,
)
from harness.miners._turns import Turns, epochs_a_pass
from harness.miners._validation import held_out, validation_error
from harness.registry import MINERS

Share = Annotated[float, Field(gt=0, le=1)]
ADAPTIVE = ("ls", "ls_anchored")


@MINERS.register("smart")
class Smart(Planned):
    """Per anchor the nearest negatives beyond kappa times the (squared) distance of its nearest positive, whole-set.

    Sampler and miner in one. Before each epoch from the third on, one pass embeds the training set, lists of nearest
    neighbors are searched, a controller chooses kappa, and Algorithm 1 of the paper (`_selection`) takes the triplets.

    FOUND in a translation of the paper: Algorithm 1, equation 6, the controller's equations 7 and 8, that two epochs go
    before, that mined and random triplets are mixed in a fixed proportion, and targets of 0.5 to 0.75 as the best.
    RECONSTRUCTED: `neighbors` (None: twice the 95th percentile of the class sizes, within 50 and 1,000), `per_anchor`
    (J), `share` (rho), `kappa` and `decay`, all that `_controller` says of the laws, and `min_recall`.

    kappa_mode      fixed, decay, ls (the paper's controller) or ls_anchored
    target          wanted share of triplets with a gradient; "val": the error 1 - R@1 on a tenth of the training
                    classes, which is then not trained on. RECONSTRUCTED; share 0.02 goes with it (FOUND)
    negative_order  which of several admissible negatives goes first: near_first is Algorithm 1
    refresh         epochs between two plans. Below 1 an epoch is only such a share of a pass over the training set, and
                    is mined for its own anchors: with 0.25, `training.epochs` and `warmup_epochs` count quarters. This
                    is also how curves are had within a pass, as they have one value an epoch and none a step
    margin          of the objective, to count active triplets: d(a,n) < d(a,p) + margin
    index, effort   auto, flat, hnsw, ivf or cagra, and efSearch, lists to look into, or itopk

    On paper, for d = 128 and k = 100 (ESTIMATE). One million samples: HNSW takes 6.0e-4 x 1e6 = 600 to 800 processor
    seconds; exact search 7.6e-9 x 1e12 = 7,600, or on a GPU, at 25,000 queries a second, 40 s; vectors are
    1e6 x 128 x 4 B = 0.5 GB, lists 1e6 x 100 x 8 B = 0.8 GB, the graph 1e6 x 24 x 2 x 4 B = 0.2 GB; selection is
    1e6 / 6e4 x 0.1 s = 2 s; the pass that embeds, at 2,000 images a second, 500 s. Ten millions: exact search is 100
    times that, 4,000 s even on a GPU, so CAGRA; or HNSW with 32 cores, 6.0e-4 x 1e7 / 32 = 190 to 350 s and 5 + 2 GB.
    Lists of all anchors would be 8 GB and the pass 5,000 s: `refresh: 0.1` mines a tenth of the anchors at
    a time, 0.8 GB, against an index of all; that the pass, too, embeds only a tenth anew is not built.
    """

    def __init__(
        self,
        labels: Tensor,
        batch_size: int,
        *,
        neighbors: Annotated[int, Field(ge=1, le=2048)] | None = None,
        per_anchor: PositiveInt = 1,
        share: Share = 0.8,
        negative_order: Literal["near_first", "far_first"] = "near_first",
        warmup_epochs: NonNegativeInt = 2,
        kappa_mode: Literal["fixed", "decay", "ls", "ls_anchored"] = "ls",
        kappa: Annotated[float, Field(gt=0)] = 2.0,
        decay: Share = 0.9,
        target: Annotated[float, Field(gt=0, lt=1)] | Literal["val"] = 0.6,
        window: Annotated[int, Field(ge=2)] = 8,
        forgetting: Share = 0.8,
        margin: PositiveFloat = 0.2,
        index: Literal["auto", "flat", "hnsw", "ivf", "cagra"] = "auto",
        effort: PositiveInt | None = None,
        min_recall: Annotated[float, Field(ge=0, le=1)] = 0.98,
        refresh: PositiveInt | Annotated[float, Field(gt=0, lt=1)] = 1,
    ) -> None:
        refuse_target(kappa_mode, target, share)
        super().__init__(labels, batch_size, per_anchor, share, margin)
        self.law = Law(kappa_mode, kappa, decay, share, window, forgetting)
        self.wanted = Wanted(index, effort, min_recall)
        self.target, self.far_first = target, negative_order == "far_first"
        self.warmup_epochs, self.refresh = warmup_epochs, refresh
        self.turns = Turns(epochs_a_pass(refresh))
        self.neighbors = neighbors or usual_neighbors(Members.by(self.labels).size)
        self.controller = Controller()
        self.pool: Ints = self.everybody
        self.validation: Ints = self.everybody[:0]
        self.random_error = 0.5  # of random triplets; RECONSTRUCTED for the case that no epoch goes before
        self.kept: Plan | None = None
        self.planned_at = 0  # the epoch for which `kept` was made
        self.doubled = self.reused = False
        self.collapsed = 0  # epochs on end
        self.adapting = False  # whether the error of the epoch under way counts for the controller
        self.thin = False  # whether more than half of its anchors have nothing mined
        self.numbers: dict[str, float] = {}
        self.flags: set[str] = set()

    @classmethod
    def completed(cls, options: dict[str, Any], data_root: Any) -> dict[str, Any]:
        """The options as they are, once they are known to make sense together. Raises OptionError."""
        epochs_a_pass(options["refresh"])
        refuse_target(options["kappa_mode"], options["target"], options["share"])
        return options

    @property
    def needs_embeddings(self) -> bool:
        """Not while epochs go before, nor where the last plan is still good."""
        return self._due(self.epoch_number + 1)

    def _due(self, epoch: int) -> bool:
        return epoch > self.warmup_epochs and (self.kept is None or epoch - self.planned_at >= self.refresh)

    def plan(self, generator: torch.Generator, embeddings: Tensor | None) -> Plan:
        """The triplets of an epoch. Raises Diverged where embeddings are not finite, or collapsed twice on end."""
        self._learn()
        self.turns.begin(self.epoch_number, len(self.everybody), generator)
        if self.epoch_number == 1 and self.target == "val":
            self.pool, self.validation = held_out(self.labels, generator)
        if self.epoch_number <= self.warmup_epochs:
            return self._chance(self.pool)
        if self.kept is None or self._due(self.epoch_number):
            return self._mined(generator, embeddings)
        self.adapting = False  # the kappa of a plan that is used again has told its error already
        return self.kept

    def _learn(self) -> None:
        """What the epoch before has shown: the error of random triplets, or that under the last kappa."""
        error = self.active_share()
        self.flags = set()
        if error is None:
            return
        if self.epoch_number <= self.warmup_epochs + 1:
            self.random_error = error
        elif self.adapting and not (self.thin and error >= self.numbers["target"]):
            # An epoch of mostly random triplets says little of kappa. But where too few are active, kappa is too
            # large, and without this it would stay so for ever: MEASURED on glyphs, 2.72 throughout.
            self.flags |= self.controller.observe(error, self.numbers["target"])

    def _mined(self, generator: torch.Generator, embeddings: Tensor | None) -> Plan:
        rows, samples = usable_rows(embeddings, self.pool)
        self.numbers = {"not_finite": float(len(self.pool) - len(samples))}
        self.adapting = False
        if is_collapsed(rows, generator):
            return self._collapse(samples)
        members = Members.by(self.labels[samples])
        anchors = members.anchors[self.turns.has(samples[members.anchors], self.epoch_number)]
        try:
            lists, search = nearest(rows, anchors, min(self.neighbors, len(rows) - 1), self.wanted, generator)
        except (RuntimeError, MemoryError):
            if self.kept is None or self.reused:
                raise
            self.flags.add("stale_plan")
            self.reused = True
            return self.kept
        if lists_collapsed(farthest_of(lists)):
            return self._collapse(samples)
        self.collapsed, self.reused = 0, False
        self.numbers["target"] = self._wanted_error(embeddings)
        with search.timed("select"):
            kappa = self._kappa(lists, anchors, members)
            chosen = select(lists, anchors, members, kappa, self.per_anchor, generator, self.far_first)
        self._note(chosen, search, kappa, lists.neighbors.shape[1])
        self.kept, self.planned_at = plan_of(chosen, samples, anchors), self.epoch_number
        return self.kept

    def _collapse(self, samples: Ints) -> Plan:
        self.collapsed += 1
        self.flags.add("collapsed")
        if self.collapsed > 1:
            raise Diverged(
                "the embeddings of the training set are as good as one point for the second epoch on end, so that "
                "nothing can be mined; a smaller optimizer.lr or a larger training.batch_size may help"
            )
        return self._chance(samples)

    def _chance(self, pool: Ints) -> Plan:
        """Random triplets of the anchors whose turn it is."""
        plan = self.chance(pool)
        return plan.only(self.turns.has(plan.anchor, self.epoch_number))

    def _wanted_error(self, embeddings: Tensor | None) -> float:
        if self.target != "val":
            return float(self.target)
        assert embeddings is not None
        error = validation_error(embeddings, self.labels, self.validation)
        self.numbers["validation_error"] = error
        return error

    def _kappa(self, lists: Lists, anchors: Ints, members: Members) -> float:
        farthest = reach(lists, anchors, members)

        def coverage(kappa: float) -> float:
            return float((farthest >= kappa).mean())

        target = self.numbers["target"]
        kappa = self.controller.next_kappa(self.law, target, coverage, self.random_error)
        if self.controller.infeasible and len(self.controller.history) == 0:
            best = foreseen(self.share, coverage(1.0), self.random_error)
            warnings.warn(
                f"a target of {target:.2f} is out of reach: with {coverage(1.0):.0%} of the anchors having a smart "
                f"negative and {self.random_error:.0%} of random triplets active, at most {best:.2f} would be; kappa "
                "begins at 1",
                stacklevel=2,
            )
            self.flags.add("target_infeasible")
        return kappa

    def _note(self, chosen: Selection, search: Search, kappa: float, width: int) -> None:
        """Numbers of a plan, and whether the next lists should be longer."""
        self.numbers |= numbers_of(chosen, search, kappa, width)
        self.flags |= search.flags
        self.seconds = search.seconds
        self.adapting, self.thin = self.law.mode in ADAPTIVE, mostly_random(chosen)
        lonely, separated = too_short(chosen, kappa)
        if separated and self.doubled:
            self.flags.add("saturated")
        if lonely or (separated and not self.doubled):
            self.doubled |= separated
            self.neighbors = longer(self.neighbors)

    def epoch_numbers(self) -> dict[str, float]:
        """What the epoch was planned with, and how its triplets did."""
        told = super().epoch_numbers() | self.numbers | {f"flag_{flag}": 1.0 for flag in sorted(self.flags)}
        fitted = {"alpha": self.controller.alpha, "beta": self.controller.beta}
        return told | {name: value for name, value in fitted.items() if value is not None}

    def state_dict(self) -> dict[str, Any]:
        """With the state of the controller and the plan, which may be used again."""
        plain = {name: getattr(self, name) for name in _PLAIN}
        return super().state_dict() | {
            "plain": plain,
            "flags": sorted(self.flags),
            "controller": self.controller.state(),
            "kept": self.kept.state() if self.kept else None,
            "pool": torch.from_numpy(self.pool),
            "validation": torch.from_numpy(self.validation),
            "order": torch.from_numpy(self.turns.order),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        super().load_state_dict(state)
        for name in _PLAIN:
            setattr(self, name, state["plain"][name])
        self.flags = set(state["flags"])
        self.controller = Controller.from_state(state["controller"])
        self.kept = Plan.from_state(state["kept"]) if state["kept"] else None
        self.pool, self.validation = state["pool"].cpu().numpy(), state["validation"].cpu().numpy()
        self.turns.order = state["order"].cpu().numpy()


_PLAIN = ("random_error", "neighbors", "planned_at", "doubled", "reused", "collapsed", "adapting", "thin", "numbers")


def refuse_target(mode: str, target: float | str, share: float) -> None:
    """Raises OptionError where the target cannot be reached whatever kappa is.

    INFERRED: mined triplets are active at most always; RECONSTRUCTED: half of the random ones at the beginning.
    """
    best = foreseen(share, 1.0, 0.5)
    if mode in ADAPTIVE and isinstance(target, float) and target > best:
        message = (
            f"a target of {target:g} cannot be held with a share of {share:g} mined triplets: at most {best:.2f} would "
            "be active; right would be a smaller `target` or a larger `share`"
        )
        raise OptionError(message, {("target",): message})
