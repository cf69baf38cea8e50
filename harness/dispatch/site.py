"""A site: how jobs are asked for on one SLURM cluster. Never part of a study, nor of a run's identity."""

from __future__ import annotations

from typing import Self

from pydantic import Field, field_validator, model_validator

from harness.specs import Settings

UNSET = "CHANGE_ME"
"""What stands in the site files that come with the project where only the user can know the value."""

SIGNAL_GRAIN_S = 90
"""SLURM looks at time limits every 30 s and may signal a minute early, so a job must last longer than this beside."""


class Site(Settings):
    """What a job asks for; one job is one worker, which trains run after run.

    parallel   workers that may run at a time; of more that are wanted, the others wait in the job array
    memory_gb  None: what the cluster gives
    signal_s   how many seconds before the time limit a worker is told to keep a checkpoint and queue again
    setup      shell lines before the worker starts, such as `module load cuda`
    python     the command that starts Python, such as `apptainer exec --nv harness.sif python3`; None: this Python
    extra      further options of sbatch without their dashes, such as `constraint: a100`
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    gpus: int = Field(1, ge=0)
    cpus: int = Field(8, ge=1)
    memory_gb: float | None = Field(None, gt=0)
    minutes: int = Field(ge=2)
    parallel: int = Field(8, ge=1)
    signal_s: int = Field(120, ge=10)
    setup: list[str] = Field(default_factory=list)
    python: str | None = None
    extra: dict[str, str | int | bool] = Field(default_factory=dict)

    @field_validator("partition", "account", "qos", "python")
    @classmethod
    def _is_set(cls, value: str | None) -> str | None:
        if value is not None and (not value.strip() or UNSET in value):
            raise ValueError("must be set to what your cluster calls it, or removed")
        return value

    @field_validator("setup", "extra")
    @classmethod
    def _is_set_inside(cls, value: list[str] | dict[str, str | int | bool]) -> list[str] | dict[str, str | int | bool]:
        if UNSET in str(value):
            raise ValueError(f"must be set to what is right on your cluster where it says {UNSET}, or removed")
        return value

    @model_validator(mode="after")
    def _has_time_to_end(self) -> Self:
        if self.signal_s + SIGNAL_GRAIN_S > self.minutes * 60:
            least = -(-(self.signal_s + SIGNAL_GRAIN_S) // 60)
            raise ValueError(
                f"minutes: a job of {self.minutes} minutes would be told to end, {self.signal_s} s before its limit, "
                f"as soon as it starts; {least} or more would be right, or a smaller signal_s"
            )
        return self
