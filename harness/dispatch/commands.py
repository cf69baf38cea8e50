"""Commands of SLURM, run with patience: what they print, or that the cluster does not answer."""

from __future__ import annotations

import shutil

from harness.errors import EnvironmentLacks
from harness.programs import NoAnswer, ask

PATIENCE_S = 30
"""How long a command may take; a controller that is away answers after about ten seconds."""


OF_SILENCE = ("Unable to contact", "timed out", "Connection refused", "communication", "Zero Bytes")
"""What a command says when it is the controller that is missing, and not what was asked that is wrong."""


class ClusterSilent(EnvironmentLacks):
    """SLURM did not answer, so that nothing is known: not the same as having no jobs, and often soon over."""


def check_installed() -> None:
    """Raises EnvironmentLacks where SLURM's commands are not there."""
    missing = [command for command in ("sbatch", "squeue", "scancel", "scontrol") if shutil.which(command) is None]
    if missing:
        raise EnvironmentLacks(
            f"there is no SLURM here: {', '.join(missing)} not found; use `--backend local`, or run this on a login "
            "node of the cluster"
        )


def is_silence(said: str) -> bool:
    """Whether a command failed because the controller does not answer."""
    return any(words in said for words in OF_SILENCE)


def said_by(*command: str) -> str:
    """What a command prints. Raises ClusterSilent when it fails or takes too long, EnvironmentLacks without SLURM."""
    try:
        answer = ask(command, PATIENCE_S)
    except NoAnswer as error:
        raise ClusterSilent(f"{command[0]} has not answered for {PATIENCE_S} s; is the controller up?") from error
    except EnvironmentLacks as error:
        raise EnvironmentLacks(f"there is no SLURM here: {error}") from error
    if answer.code:
        raise ClusterSilent(f"{' '.join(command[:2])} failed: {' '.join((answer.err or answer.out).split())}")
    return answer.out
