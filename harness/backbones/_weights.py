"""Ready weights: by name or from a file, and the digest by which a run knows the file.

A file is read whole, checked against its digest and only then understood; nothing in it is executed.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import AfterValidator
from pydantic_core import PydanticCustomError
from torch import Tensor, nn

from harness.errors import DataError, EnvironmentLacks, OptionError

State = dict[str, Tensor]


@dataclass(frozen=True)
class Source:
    """Where weights come from: `none`, a name of a library or a file below `data_root`, with its digest if known."""

    weights: str = "none"
    sha256: str = ""
    data_root: Path | None = None

    @property
    def file(self) -> Path | None:
        """The file, if it is one."""
        return (self.data_root or Path()) / self.weights if is_file(self.weights) else None


def is_file(weights: str) -> bool:
    """Whether the option `weights` means a file in the data folder."""
    return PurePath(weights).suffix in READERS


def ready_model(build: Callable[..., Any], kinds: Any, source: Source, classifier: tuple[str, ...]) -> Any:
    """A model of torchvision with no weights, with downloaded ones, or with those of a file.

    `classifier`: the beginnings of the names of what the features do not need, which weights may have or not.
    Raises EnvironmentLacks when they cannot be fetched, DataError when the file is not what the model needs.
    """
    model = build(weights=None)
    if source.file is not None:
        adopt(model, read_state(source.file, source.sha256), f"the weights {source.file}", classifier)
    elif source.weights != "none":
        adopt(model, _fetched(kinds[source.weights]), f"the weights {source.weights}", classifier)
    return model


def adopt(model: nn.Module, state: State, origin: str, classifier: tuple[str, ...]) -> None:
    """Give tensors to the parameters and buffers of their names; raises DataError unless they are all there and fit."""
    state = {name: value for name, value in state.items() if not name.startswith(classifier)}
    try:
        missing, unexpected = model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise DataError(f"{origin} do not fit {type(model).__name__}: {error}") from error
    # Files that were made for other libraries do not count batches, and the features do not need the count.
    missing = [name for name in missing if not name.endswith("num_batches_tracked") and not name.startswith(classifier)]
    if missing or unexpected:
        raise DataError(
            f"{origin} do not fit {type(model).__name__}: {len(missing)} arrays are missing "
            f"({', '.join(missing[:3])}), {len(unexpected)} are unknown ({', '.join(unexpected[:3])})"
        )


def _fetched(weights: Any) -> State:
    try:
        state: State = weights.get_state_dict(progress=False, check_hash=True)
        return state
    except Exception as error:  # whatever the network, the disk or the hash has to say
        raise EnvironmentLacks(
            f"the weights {weights} could not be fetched from {weights.url} ({error}); put that file into "
            f"{torch.hub.get_dir()}/checkpoints, or use `weights: none`"
        ) from error


# Options --------------------------------------------------------------------------------------------------------------


def named_or_file(*names: str) -> AfterValidator:
    """A check of the option `weights`: one of the names of a library, said explicitly, or a file in the data folder."""

    def check(weights: str) -> str:
        if PurePath(weights).is_absolute():
            raise PydanticCustomError("weights", "must be a path relative to the data folder")
        if weights not in names and not is_file(weights):
            kinds = ", ".join(READERS)
            raise PydanticCustomError("weights", f"must be {', '.join(names)} or a file in the data folder ({kinds})")
        return weights

    return AfterValidator(check)


def _digest(text: str) -> str:
    if text and not re.fullmatch("[0-9a-fA-F]{64}", text):
        raise PydanticCustomError("sha256", "must be the 64 hexadecimal digits that `sha256sum` prints")
    return text.lower()


Sha256 = Annotated[str, AfterValidator(_digest)]


def with_digest(options: Mapping[str, Any], data_root: Path) -> Mapping[str, Any]:
    """The options with the SHA-256 of a file of weights written in, so that it is part of the run's identity.

    A study that says it itself can be read where the file is not. Raises OptionError where the file is needed and not
    there, or is another one than the study says.
    """
    source = Source(options["weights"], options["weights_sha256"], data_root)
    if source.file is None:
        if source.sha256:
            raise _wrong("weights_sha256", f"weights_sha256 is for a file, and {source.weights!r} is none")
        return options
    try:
        found = file_sha256(source.file)
    except OSError as error:
        if source.sha256:
            return options
        raise _wrong("weights", _not_there(source, error)) from error
    if source.sha256 not in ("", found):
        raise _wrong("weights_sha256", _another(source.file, found, source.sha256))
    return {**options, "weights_sha256": found}


def _wrong(option: str, text: str) -> OptionError:
    return OptionError(text, {(option,): text})


def _not_there(source: Source, error: OSError) -> str:
    return (
        f"the weights {source.file} cannot be read ({(error.strerror or str(error)).lower()}), but their SHA-256 is "
        "part of the run's identity; name the right data folder by --data DIR or HARNESS_DATA, or say "
        "`weights_sha256: ...` here, so that the study can be read without the file"
    )


def _another(file: Path, found: str, wanted: str) -> str:
    return f"the weights {file} have the SHA-256 {found}, but weights_sha256 says {wanted}"


def file_sha256(file: Path) -> str:
    """The digest of a file in hex; a file that has not changed since is not read again. Raises OSError."""
    stat = file.stat()
    return _file_sha256(file, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=64)
def _file_sha256(file: Path, size: int, changed: int) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


# Files ----------------------------------------------------------------------------------------------------------------


def read_state(file: Path, sha256: str = "") -> State:
    """The tensors of a file by name.

    Raises DataError when it cannot be read, holds anything else, or has another digest than it should.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"the weights {file} cannot be read ({error})") from error
    found = hashlib.sha256(content).hexdigest()
    if sha256 not in ("", found):
        raise DataError(f"{_another(file, found, sha256)}; with other weights it would be another run")
    try:
        return READERS[file.suffix](content)
    except Exception as error:  # a damaged archive makes each of the readers raise nearly anything
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise DataError(f"the weights {file} cannot be read ({reason})") from error


def _from_npz(content: bytes) -> State:
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def _from_safetensors(content: bytes) -> State:
    from safetensors.torch import load

    state: State = load(content)
    return state


def _from_pickle(content: bytes) -> State:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a pickle that torch did not write; whether it is read is what counts
            loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # What torch says here advises to load the file without this protection.
        raise ValueError(
            "it is damaged or a pickle of more than tensors, which could execute code and is not loaded; right would "
            "be what `torch.save(model.state_dict(), ...)` writes, or a .safetensors file"
        ) from error
    state = loaded.get("state_dict", loaded) if isinstance(loaded, Mapping) else loaded
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError("it does not hold tensors by name; right would be the `state_dict()` of a model")
    return dict(state)


READERS: dict[str, Callable[[bytes], State]] = {
    ".npz": _from_npz,
    ".safetensors": _from_safetensors,
    ".pth": _from_pickle,
}
"""Suffix -> how such a file is read."""
