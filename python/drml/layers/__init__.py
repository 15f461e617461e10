"""The layers: each module of this folder registers the Caffe layer types that it implements.

A new layer is a new module here; `find` discovers it, so there is no list to keep.

For nets written in Python the types are attributes too: `layers.Convolution(...)` (net_spec.py).
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

from drml.layers.base import Layer, registry
from drml.nearest import nearest

__all__ = ["Layer", "find", "known_types", "unknown_type"]

UNSUPPORTED = ("LSTM", "LSTMUnit", "RNN", "Recurrent")
"""Types of Caffe that there are none of here."""


def _load_all() -> None:
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")


def _load(type_name: str) -> None:
    """Imports the module that is named as the type, or all of them where there is none such."""
    modules = {
        module.name.replace("_", ""): module.name for module in pkgutil.iter_modules(__path__)
    }
    if type_name.lower() in modules:
        importlib.import_module(f"{__name__}.{modules[type_name.lower()]}")
    if type_name not in registry:
        _load_all()


def known_types() -> list[str]:
    """The layer types that a prototxt may name, sorted."""
    _load_all()
    return sorted(registry)


def find(type_name: str) -> type[Layer] | None:
    """The class of a layer type, or None when there is none of that name."""
    if type_name not in registry:
        _load(type_name)
    return registry.get(type_name)


def unknown_type(type_name: str) -> str:
    """What to say of a type that `find` does not find; it names the nearest one."""
    if type_name in UNSUPPORTED:
        return f"layer type '{type_name}' is not supported: recurrent layers are left out"
    return f"unknown layer type '{type_name}'{nearest(type_name, known_types())}"


def __getattr__(name: str) -> Callable[..., Any]:
    # Layer types begin with a capital; the modules of this folder do not.
    if not name[:1].isupper():
        raise AttributeError(f"module 'drml.layers' has no attribute '{name}'")
    from drml.net_spec import layer_function

    return layer_function(name)
