"""The layers: each module of this folder registers the Caffe layer types that it implements.

A new layer is a new module here; `find` discovers it, so there is no list to keep.
"""

from __future__ import annotations

import importlib
import pkgutil

from drml.layers.base import Layer, registry

__all__ = ["Layer", "find", "known_types"]


def _load_all() -> None:
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")


def known_types() -> list[str]:
    """The layer types that a prototxt may name, sorted."""
    _load_all()
    return sorted(registry)


def find(type_name: str) -> type[Layer] | None:
    """The class of a layer type, or None when there is none of that name."""
    if type_name not in registry:
        _load_all()
    return registry.get(type_name)
