"""CUDA devices of this machine, as this build of drml sees them."""

from __future__ import annotations

from dataclasses import dataclass

from drml import _core


@dataclass(frozen=True)
class DeviceInfo:
    """A CUDA device.

    Attributes:
        name: as the driver calls it.
        compute_capability: major and minor version, such as (9, 0).
        total_bytes, free_bytes: its memory, all of it and what is free now.
    """

    name: str
    compute_capability: tuple[int, int]
    total_bytes: int
    free_bytes: int


def is_built() -> bool:
    """Whether this build of drml has the CUDA backend, whatever the machine has."""
    return hasattr(_core, "cuda_device_count")


def device_count() -> int:
    """How many CUDA devices nets can run on; 0 without the backend, a driver or a device."""
    count: int = _core.cuda_device_count() if is_built() else 0
    return count


def why_unavailable() -> str:
    """In a few words why there is no device; '' where there is one."""
    if not is_built():
        return "not built"
    reason: str = _core.cuda_why_unavailable()
    return reason


def device_info(index: int = 0) -> DeviceInfo:
    """Name, compute capability and memory of a device.

    Raises:
        ValueError: there is no such device, or this build has no code for it.
    """
    if not is_built():
        raise ValueError("this build of drml has no CUDA backend")
    info = _core.cuda_device_info(index)
    return DeviceInfo(info.name, (info.major, info.minor), info.total_bytes, info.free_bytes)
