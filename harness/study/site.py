"""Reading a site file, `slurm/<site>.yaml`: as strict as a study, with every mistake at its place."""

from __future__ import annotations

from pathlib import Path

from harness.dispatch.site import Site
from harness.errors import StudyError
from harness.study.mistakes import Mistakes
from harness.study.schema import record
from harness.study.source import read_mapping


def read_site(path: Path) -> Site:
    """The site of a file. Raises one StudyError that names every mistake."""
    mistakes = Mistakes(str(path))
    root = read_mapping(path, mistakes, "site", "`minutes:` and `partition:`")
    site = record(Site, root, mistakes, where="a site") if root else None
    if not isinstance(site, Site):
        raise StudyError(mistakes.text())
    return site
