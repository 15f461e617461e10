"""Devices: where blobs live and layers run, `cpu` or a CUDA device, `cuda:N`."""

from __future__ import annotations

import os
import re

from drml import cuda
from drml.errors import UsageError
from drml.nearest import nearest

ENVIRONMENT = "DRML_DEVICE"
"""The environment variable that names the device where none is given."""


def default_device() -> str:
    """What DRML_DEVICE says, or `cpu`."""
    return os.environ.get(ENVIRONMENT) or "cpu"


def is_cuda(device: str) -> bool:
    """Whether `device` is one of CUDA's."""
    return device.startswith("cuda")


def full_name(device: str) -> str:
    """`cuda:0` for `cuda`; any other name as it is."""
    return "cuda:0" if device == "cuda" else device


def check_device(device: str) -> str:
    """The device under its full name, once it is certain that nets can run there.

    Raises:
        UsageError: one line: no such device, no CUDA in this build, no driver, a number too high,
            or a GPU that this build has no code for.
    """
    if device == "cpu":
        return device
    match = re.fullmatch(r"cuda(?::(\d{1,4}))?", device)
    if match is None:
        hint = nearest(device.lower(), ("cpu", "cuda")) or "; known are 'cpu' and 'cuda[:n]'"
        raise UsageError(f"unknown device {device[:80]!r}{hint}")
    if not cuda.is_built():
        raise UsageError(
            f"device '{device}': this build of drml has no CUDA backend; "
            "README tells how to build it, 'cpu' runs everywhere"
        )
    index = int(match[1] or 0)
    try:
        cuda.device_info(index)
    except (ValueError, RuntimeError, MemoryError) as error:
        raise UsageError(str(error)) from error
    return f"cuda:{index}"
