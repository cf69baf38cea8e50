"""What pytorch-metric-learning offers as parts, named `pml:CircleLoss`: which classes, and which options they take.

Its constructors hand what they do not know up to their base classes, so the options of a class are the named parameters
along its method resolution order. Left out are those that take an object (a distance, a reducer, a regularizer), since
a study cannot write one. Most parameters have no annotation; the type of an option then follows from its default.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from harness.errors import EnvironmentLacks, OptionError, did_you_mean

MODULES = {"objective": "losses", "miner": "miners"}
SUPPLIED = {"num_classes": "num_classes", "embedding_size": "embedding_dim", "descriptors_dim": "embedding_dim"}
"""Required parameters that the harness knows, with its name for them."""
OBJECTS = {"distance", "reducer", "embedding_regularizer", "weight_regularizer", "weight_init_func", "mat_based_loss"}
OBJECTS |= {"loss", "losses", "miner", "miners", "weights"}
WITHOUT_USE = {"embedding_reg_weight", "weight_reg_weight", "collect_stats"}
"""Options of a regularizer that is not there, and of records that nobody reads."""
COUNTING = {"num", "n", "per", "centers"}
"""A parameter with one of these words in its name is a count, whatever its default is."""

Count = Annotated[int, Field(ge=1)]
# A default of 64 says little: margins and scales are written so too. 64.0 becomes 64, so that both are the same run.
Number = Annotated[int | float, AfterValidator(lambda value: int(value) if value == int(value) else value)]


@dataclass(frozen=True)
class Signature:
    """Parameters of a constructor: what the harness supplies (its name -> ours), and what a study may set."""

    supplied: dict[str, str]
    options: tuple[inspect.Parameter, ...]

    def as_part(self, *more: inspect.Parameter) -> inspect.Signature:
        """The signature as the registry reads it: what is supplied, then the options as keywords."""
        given = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in self.supplied.values()]
        return inspect.Signature([*given, *self.options, *more])


def peer(kind: str, name: str) -> type:
    """The class of that name.

    Raises OptionError with a suggestion when it is none that can be used, EnvironmentLacks without the package.
    """
    known = offered(kind)
    if name not in known:
        suggestion = did_you_mean(f"pml:{name}", [f"pml:{other}" for other in known])
        raise OptionError(
            f"{kind} 'pml:{name}' is not among the {MODULES[kind]} of pytorch-metric-learning that can be used by "
            f"name{suggestion}"
        )
    return known[name]


def offered(kind: str) -> dict[str, type]:
    """Every class that can be used by name: no base class, nothing that needs objects or cannot take labels."""
    classes = vars(_package(MODULES[kind])).items()
    return {name: found for name, found in sorted(classes) if inspect.isclass(found) and _usable(name, found)}


def uses(method: Any, name: str) -> bool:
    """Whether the code of a method names this: so it is known what a class refuses before there is an instance."""
    return name in getattr(getattr(method, "__code__", None), "co_names", ())


def signature_of(found: type) -> Signature:
    """The constructor of one of its classes, base classes included."""
    parameters = {parameter.name: parameter for parameter in _parameters(found)}
    required = {name for name, parameter in parameters.items() if parameter.default is parameter.empty}
    supplied = {name: SUPPLIED[name] for name in parameters if name in SUPPLIED and name in required}
    options = [p for name, p in parameters.items() if name not in supplied | dict.fromkeys(OBJECTS | WITHOUT_USE)]
    return Signature(supplied, tuple(_option(parameter) for parameter in options))


def _package(module: str) -> Any:
    try:
        return importlib.import_module(f"pytorch_metric_learning.{module}")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "pytorch_metric_learning":
            raise
        raise EnvironmentLacks(
            "parts named 'pml:...' need pytorch-metric-learning, which is not installed; pip install 'harness[pml]'"
        ) from error


def _usable(name: str, found: type) -> bool:
    # The last takes no labels: it expects a batch that is laid out as triplets.
    if name.startswith("Base") or name.endswith("Mixin") or name == "EmbeddingsAlreadyPackagedAsTriplets":
        return False
    needs = {p.name for p in _parameters(found) if p.default is p.empty}
    return not needs & OBJECTS and not uses(getattr(found, "compute_loss", None), "labels_not_supported")


def _parameters(found: type) -> Iterator[inspect.Parameter]:
    """Named parameters along the method resolution order, without those that a class sets for its base classes."""
    taken = {"self"}
    for owner in found.__mro__:
        if "__init__" not in vars(owner) or not owner.__module__.startswith("pytorch_metric_learning"):
            continue
        parameters = inspect.signature(owner.__init__, eval_str=True).parameters.values()  # type: ignore[misc]
        for parameter in parameters:
            named = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
            if named and parameter.name not in taken:
                taken.add(parameter.name)
                yield parameter
        taken |= _handed_up(owner) - set(SUPPLIED)
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            return


def _handed_up(owner: type) -> set[str]:
    """Keywords that the constructor of a class gives to `super().__init__`."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(owner.__init__)))  # type: ignore[misc]
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return {
        keyword.arg
        for call in calls
        if ast.unparse(call.func) == "super().__init__"
        for keyword in call.keywords
        if keyword.arg
    }


def _option(parameter: inspect.Parameter) -> inspect.Parameter:
    annotation = _type_of(parameter)
    if parameter.default is None:
        annotation = annotation | None
    return parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=annotation)


def _type_of(parameter: inspect.Parameter) -> Any:
    default, counts = parameter.default, COUNTING.intersection(parameter.name.split("_"))
    if parameter.annotation is not parameter.empty:
        return parameter.annotation
    if isinstance(default, bool | str):
        return type(default) | Count if counts else type(default)
    if counts:
        return Count
    if isinstance(default, float):
        return float
    return Number | list[float] if default is None else Number
