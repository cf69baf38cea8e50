"""What can go wrong, in the words of the person it happens to.

HarnessError                  every error that is meant for a person; its text is the whole message
├── StudyError                the study file, or what was asked of it, is wrong              (exit code 2)
├── OptionError               a part was given options it does not have or cannot take       (exit code 2)
├── DataError                 a data set is missing, empty, corrupt or too small             (exit code 2)
├── StoreError                a run folder or database cannot be read or written             (exit code 3)
├── EnvironmentLacks          a package, a device or a program is missing                    (exit code 3)
└── RunFailed                 one run cannot go on; carries the cause that the report counts (exit code 1)
    └── Diverged              the loss is no longer a finite number

`Interrupted` is not an error: a run was asked to stop and has kept its last checkpoint.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HarnessError(Exception):
    """Anything that is told to a person in one message, without a traceback."""

    exit_code = 3


class StudyError(HarnessError):
    """The study, the profile or a `--set` is wrong; nothing was started."""

    exit_code = 2


class OptionError(HarnessError):
    """Options of one part are wrong. `problems` maps the path of an option to what is wrong with it."""

    exit_code = 2

    def __init__(self, message: str, problems: dict[tuple[str, ...], str] | None = None) -> None:
        super().__init__(message)
        self.problems = problems or {}


class DataError(HarnessError):
    """The data is not what the study needs."""

    exit_code = 2


class StoreError(HarnessError):
    """The results folder or the database cannot be used."""


class EnvironmentLacks(HarnessError):
    """Something this machine would need is not there."""


class RunFailed(HarnessError):
    """A run ended without a result. `cause` is one word of `specs.CAUSES`."""

    exit_code = 1
    cause = "exception"


class Diverged(RunFailed):
    """The loss became nan or infinite."""

    cause = "diverged"


class Interrupted(Exception):
    """The run was asked to stop; its last checkpoint is kept and it may be continued."""


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """`; did you mean 'margin'?` or, without a near match, `; known: a, b, c` (or nothing)."""
    names = sorted(known)
    near = difflib.get_close_matches(given, names, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known: {', '.join(names)}" if names else ""
