"""The command `measure`: every metric of anybody's embeddings, without any study."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.studies import JsonOption
from harness.errors import DataError, EnvironmentLacks, StudyError, did_you_mean
from harness.registry import METRICS

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


def measure(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An .npz or .parquet file, see below.")],
    metrics: Annotated[
        str, typer.Option("--metrics", help="Families, separated by commas.")
    ] = "retrieval,clustering,density,spectrum",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the k-means.")] = 0,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads (default: all).")] = None,
    device: Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, ...")] = "cpu",
    as_json: JsonOption = False,
) -> None:
    """Measure embeddings: recall_at_k, map_at_r, nmi, density, rho and all the others, exactly.

    The file is an .npz with the arrays `embeddings` [N, D] and `labels` [N], or a .parquet table with a column `label`
    and either a column `embedding` of lists or one column for each dimension.

    Example: harness measure embeddings.npz --json
    """
    families = [name.strip() for name in metrics.split(",")]
    for name in families:
        if name not in METRICS.names():
            raise StudyError(f"--metrics {name}{did_you_mean(name, METRICS.names())}")
    embeddings, labels = read_embeddings(file)

    import torch

    from harness.training.measure import as_tensor
    from harness.training.measure import measure as measure_embeddings

    if threads:
        torch.set_num_threads(threads)
    numbers = measure_embeddings(as_tensor(embeddings).to(device), as_tensor(labels), families, seed)
    if as_json:
        typer.echo(json.dumps(numbers))
        return
    for name, value in numbers.items():
        typer.echo(f"{name:20} {value:.6g}")


def read_embeddings(file: Path) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Embeddings [N, D] and labels int64 [N]; labels that are words are numbered in sorted order.

    Raises DataError that says what the file lacks. Pickled arrays are never loaded.
    """
    import numpy as np

    if not file.is_file():
        raise DataError(f"{file} is not there")
    if file.suffix not in (".npz", ".parquet"):
        raise DataError(f"{file}: only .npz and .parquet can be read")
    embeddings, labels = (_from_npz if file.suffix == ".npz" else _from_parquet)(file)
    if embeddings.ndim != 2 or len(embeddings) != labels.size:
        raise DataError(
            f"{file}: embeddings of shape {embeddings.shape} with labels of shape {labels.shape}; right would be "
            "[N, D] with [N]"
        )
    return embeddings, np.unique(labels.reshape(-1), return_inverse=True)[1].astype(np.int64)


def _from_npz(file: Path) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    from harness.arrays import read_arrays

    try:
        arrays = read_arrays(file)
    except DataError as error:
        raise DataError(f"{file}: {error}") from error
    missing = [name for name in ("embeddings", "labels") if name not in arrays]
    if missing:
        raise DataError(f"{file} has no array {missing[0]!r}; it has {', '.join(map(repr, arrays)) or 'none'}")
    return arrays["embeddings"], arrays["labels"]


def _from_parquet(file: Path) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    import pandas as pd

    try:
        table = pd.read_parquet(file)
    except ImportError as error:
        raise EnvironmentLacks(f"reading {file} needs pyarrow: `pip install pyarrow`") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read as .parquet: {error}") from error
    if "label" not in table:
        raise DataError(f"{file} has no column 'label'; it has {', '.join(map(str, table.columns[:8]))}")
    return _vectors(table, file), table["label"].to_numpy()


def _vectors(table: pd.DataFrame, file: Path) -> np.ndarray[Any, Any]:
    """One column `embedding` of lists, or one column a dimension."""
    import numpy as np

    if "embedding" not in table:
        return table.drop(columns="label").select_dtypes("number").to_numpy()
    lengths = {len(vector) for vector in table["embedding"]}
    if len(lengths) != 1:
        raise DataError(f"{file}: the lists of column 'embedding' have {len(lengths)} lengths; one would be right")
    return np.stack(table["embedding"].to_list())
