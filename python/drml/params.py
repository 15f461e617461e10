"""Constants of layers' fields, for nets written in Python: `params.Pooling.MAX` (net_spec.py)."""

from __future__ import annotations

from drml.net_spec import Constants


def __getattr__(name: str) -> Constants:
    if name.startswith("_"):
        raise AttributeError(f"module 'drml.params' has no attribute '{name}'")
    return Constants(name)
