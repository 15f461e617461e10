"""The networks of prototxt/, which are part of the installed package."""

from __future__ import annotations

from pathlib import Path


def network(name: str) -> Path:
    """The path of a network file such as `drml.prototxt`, installed or in a checkout."""
    here = Path(__file__).resolve().parent
    installed = here / "prototxt" / name
    return installed if installed.exists() else here.parents[1] / "prototxt" / name
