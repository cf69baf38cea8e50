"""What a device is, under which driver it runs, and the energy that it has used, as far as it tells."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

import torch

from harness.training.history import History

ENERGY = "gpu_energy_joules"
"""The item of a run's cost: of the whole GPU while the run trained, also where other runs shared it."""

_SUCCESS = 0


def about_device(device: torch.device) -> dict[str, Any]:
    """`device` as its maker calls it; of a GPU also `driver`, `cuda` and `cudnn`, where these are known."""
    if device.type != "cuda":
        return {"device": str(device)}
    told = {"driver": driver(), "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}  # type: ignore[no-untyped-call]
    return {"device": device_name(device), **{name: str(value) for name, value in told.items() if value is not None}}


def device_name(device: torch.device) -> str:
    """The device as its maker calls it."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def driver() -> str | None:
    """The version of the driver of NVIDIA GPUs; None without one."""
    library = nvml()
    if library is None:
        return None
    text = ctypes.create_string_buffer(80)
    if library.nvmlSystemGetDriverVersion(text, ctypes.c_uint(80)) != _SUCCESS:
        return None
    return text.value.decode(errors="replace") or None


@contextmanager
def metered(history: History, device: torch.device) -> Iterator[None]:
    """Adds the energy that the GPU uses meanwhile to the run's cost, where it tells."""
    before = energy_joules(device)
    try:
        yield
    finally:
        after = energy_joules(device)
        # The counter begins anew when the driver is loaded.
        if before is not None and after is not None and after >= before:
            history.spend(ENERGY, after - before)


def energy_joules(device: torch.device) -> float | None:
    """What a GPU has used since its driver was loaded; None for other devices, and for a GPU that does not tell."""
    if device.type != "cuda":
        return None
    library = nvml()
    handle = None if library is None else _handle(library, str(torch.cuda.get_device_properties(device).uuid))
    if library is None or handle is None:
        return None
    millijoules = ctypes.c_ulonglong()
    if library.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(millijoules)) != _SUCCESS:
        return None  # GPUs before Volta, and slices of one
    return millijoules.value / 1000


def _handle(library: Any, uuid: str) -> ctypes.c_void_p | None:
    # By its own name, since CUDA_VISIBLE_DEVICES gives devices other numbers than the driver does.
    handle = ctypes.c_void_p()
    for name in (uuid, f"GPU-{uuid}", f"MIG-{uuid}"):
        if library.nvmlDeviceGetHandleByUUID(name.encode(), ctypes.byref(handle)) == _SUCCESS:
            return handle
    return None


@cache
def nvml() -> Any:
    """NVIDIA's management library, which comes with the driver; None where there is none."""
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL("libnvidia-ml.so.1")
        if library.nvmlInit_v2() == _SUCCESS:
            return library
    return None
