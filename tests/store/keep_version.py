"""Keeps a database of today's version as `data/version_<n>.sql`, for the test that upgrades every earlier one.

    python tests/store/keep_version.py

Run it before a change of the schema raises the version; the file is committed and never made again.
"""

import sqlite3
import sys
import tempfile
from pathlib import Path

from store_samples import make_failed, make_result, make_spec, run_it

from harness.specs import Curve
from harness.store import estimates, schema
from harness.store.database import collect, record_study

DATA = Path(__file__).parent / "data"


def main() -> None:
    """Writes the file and says where."""
    target = DATA / f"version_{schema.VERSION}.sql"
    if target.exists():
        sys.exit(f"{target} is there already, and is kept as it is")
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder), f"sqlite:///{folder}/harness.db")
        with sqlite3.connect(f"{folder}/harness.db") as connection:
            target.write_text("\n".join(connection.iterdump()) + "\n")
    print(target)


def fill(folder: Path, url: str) -> None:
    """Two runs that are done, one that failed and one that is open, in two studies."""
    specs = [make_spec(seed=seed, margin=margin) for margin in (0.1, 0.2) for seed in (0, 1)]
    curves = [
        Curve("test", "recall_at_1", [1, 2, 3, 4], [0.0123457, 0.25, 0.333333, 1.0]),
        Curve("test", "nmi", [2, 4], [0.5, 0.25]),
        Curve("train", "loss", [1, 2, 3, 4], [12.5, None, -0.000123456, 3.0]),
    ]
    for spec in specs[:2]:
        run_it(folder, spec, make_result(spec, recall=0.25 + 0.25 * spec.seed, curves=curves))
    run_it(folder, specs[2], make_failed(specs[2]))
    record_study(url, "fair", None, specs, {"question": "Which margin?"})
    record_study(url, "other", "paper", specs[:1], {"question": None})
    collect(url, folder)
    foreseen = estimates.Estimate(specs[3].run_id, 12.5, {"train_seconds": 12.5}, "measured", "cpu")
    estimates.record_estimates(url, "fair", None, [foreseen])


if __name__ == "__main__":
    main()
