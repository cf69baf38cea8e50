"""What submissions leave behind: pickles, scripts and logs of jobs, of which only young or living ones are kept."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable
from pathlib import Path

OLD_S = 24 * 3600.0
"""A submission in whose folder nothing was written for so long is removed, if none of its jobs is left."""


def submissions_of(results: Path) -> Path:
    """Where the folders of all submissions for a results folder are."""
    return results / "workers" / "slurm"


def has_had_jobs(results: Path) -> bool:
    """Whether anything was ever submitted for a results folder: a machine may have squeue and yet no cluster."""
    return submissions_of(results).exists()


def remove_old_submissions(folders: Iterable[Path], living: Iterable[str], older_than_s: float = OLD_S) -> None:
    """Remove the folders of submissions that are over. `living` are the ids of all jobs that they may belong to."""
    arrays = {job.partition("_")[0] for job in living}
    for folder in folders:
        jobs = {path.name.partition("_")[0] for path in folder.glob("*_submission.sh")}
        if not jobs & arrays and time.time() - _last_written(folder) > older_than_s:
            shutil.rmtree(folder, ignore_errors=True)  # another launch may be at it, too


def _last_written(folder: Path) -> float:
    times = [path.lstat().st_mtime for path in (folder, *folder.iterdir())]
    return max(times)
