"""What only a process of its own can find out: imports that may crash, hang or take the GPU.

`facts("torch")` runs this file once and gives what it printed, one JSON object. Whoever asks again gets the same.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import warnings
from functools import cache
from typing import Any

from harness.errors import EnvironmentLacks
from harness.programs import NoAnswer, ask, ended

LIMIT_S = 90.0
"""The first import of torch from a busy network file system takes a minute."""

_ONE_AT_A_TIME = {"torch": threading.Lock(), "faiss": threading.Lock()}


def facts(what: str) -> dict[str, Any]:
    """What `torch_facts` or `faiss_facts` finds in a fresh process.

    Raises EnvironmentLacks with the reason when that process fails, crashes or hangs.
    """
    with _ONE_AT_A_TIME[what]:
        found, reason = _outcome(what)
    if found is None:
        raise EnvironmentLacks(reason)
    return found


@cache
def _outcome(what: str) -> tuple[dict[str, Any] | None, str]:
    """The facts, or None and why there are none: a failure must not be waited for again by the next check."""
    # The modules that this process sees, and none that happens to lie in the working folder.
    paths = os.pathsep.join(path for path in sys.path if path)
    try:
        answer = ask([sys.executable, "-P", "-m", "harness.doctor.probe", what], LIMIT_S, {"PYTHONPATH": paths})
    except NoAnswer:
        return None, f"importing {what} has not ended within {LIMIT_S:g} s"
    except EnvironmentLacks as error:
        return None, str(error)
    if answer.code < 0:
        return None, f"the process that imports {what} and works with it is {ended(answer.code)}"
    if answer.code:
        return None, f"{what} cannot be imported: {answer.complaint}"
    return json.loads(answer.out.splitlines()[-1]), ""


# In the process of its own -------------------------------------------------------------------------------------------


def torch_facts() -> dict[str, Any]:
    """Versions, every GPU that torch sees, and why it sees none."""
    import torch

    return {
        "version": torch.__version__,
        "cuda": torch.version.cuda,
        "hip": torch.version.hip,
        "cudnn": _or_error(torch.backends.cudnn.version),
        "hub": torch.hub.get_dir(),
        "why_no_gpu": _or_error(torch.cuda.init),
        "gpus": [_gpu(number) for number in range(torch.cuda.device_count())],
        "torchvision": _or_error(_torchvision),
    }


def _or_error(find: Any) -> Any:
    """What a function gives, or `{"error": ...}`."""
    try:
        return find()
    except Exception as error:  # a probe reports whatever goes wrong
        return {"error": f"{error}".partition("\n")[0] or type(error).__name__}


def _gpu(number: int) -> dict[str, Any]:
    import torch

    properties = torch.cuda.get_device_properties(number)
    return {
        "name": properties.name,
        "capability": f"{properties.major}.{properties.minor}",
        "memory": _or_error(lambda: list(torch.cuda.mem_get_info(number))),  # bytes [free, total]
        "computes": _or_error(lambda: _computes(number)),
    }


def _computes(number: int) -> bool:
    """Whether a kernel of this build of torch runs on the GPU: one too old or too new is seen, but computes nothing."""
    import torch

    ones = torch.ones(64, 64, device=f"cuda:{number}")
    return bool((ones @ ones).eq(64).all().item())


def _torchvision() -> str:
    """The version, when its compiled operators work with this torch; those of another torch's do not register."""
    import torch
    import torchvision

    boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 2.1]])
    kept = torchvision.ops.nms(boxes, torch.tensor([0.5, 1.0]), 0.5).tolist()
    if kept != [1]:
        raise RuntimeError(f"torchvision.ops.nms keeps {kept} of two equal boxes")
    return str(torchvision.__version__)


def faiss_facts() -> dict[str, Any]:
    """The build, and whether it clusters beside torch in one process, in the order in which a run imports them."""
    import numpy as np
    import torch

    from harness.faiss_loader import faiss_shares_gpu, load_faiss
    from harness.metrics.clustering import kmeans

    faiss = load_faiss()
    shares = faiss_shares_gpu()
    rows = np.random.default_rng(0).normal(size=(512, 16)).astype(np.float32)
    rows[256:] += 100
    with warnings.catch_warnings(record=True) as complaints:
        warnings.simplefilter("always")
        if torch.cuda.is_available():
            _computes(0)
        clusters = kmeans(rows, 2, 10, 0, shares)
        if torch.cuda.is_available():
            _computes(0)
    return {
        "version": faiss.__version__,
        "gpu_build": hasattr(faiss, "StandardGpuResources"),
        "uses_gpu": shares,
        "right": {tuple(set(half.tolist())) for half in (clusters[:256], clusters[256:])} == {(0,), (1,)},
        "complaints": [str(complaint.message) for complaint in complaints],
    }


if __name__ == "__main__":
    print(json.dumps({"torch": torch_facts, "faiss": faiss_facts}[sys.argv[1]]()))
