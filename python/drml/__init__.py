"""drml: Deep Region and Multi-label Learning (CVPR 2016) and the Caffe nets around it, on CPUs.

`Net`, `TRAIN`, `TEST`, the solvers, `get_solver`, and `NetSpec`, `to_proto`, `layers`, `params` for
nets written in Python are pycaffe's; they are imported when first asked for.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from drml.errors import DrmlError
    from drml.net import Net
    from drml.net_spec import NetSpec, to_proto
    from drml.proto.caffe_pb2 import TEST, TRAIN
    from drml.solver import SGDSolver
    from drml.solvers import (
        AdaDeltaSolver,
        AdaGradSolver,
        AdamSolver,
        NesterovSolver,
        RMSPropSolver,
        get_solver,
    )
    from drml.user_layer import Layer

__all__ = [
    "TEST",
    "TRAIN",
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "DrmlError",
    "Layer",
    "NesterovSolver",
    "Net",
    "NetSpec",
    "RMSPropSolver",
    "SGDSolver",
    "__version__",
    "get_solver",
    "to_proto",
]

__version__ = "0.1.0"

if os.environ.get("DRML_EMULATE_CUDA") == "1":
    # The same module with CUDA's kernels run by the emulator, which tests build.
    sys.modules["drml._core"] = import_module("drml._core_emulated")

_HOMES = {
    "AdaDeltaSolver": "drml.solvers",
    "AdaGradSolver": "drml.solvers",
    "AdamSolver": "drml.solvers",
    "DrmlError": "drml.errors",
    "Layer": "drml.user_layer",
    "NesterovSolver": "drml.solvers",
    "Net": "drml.net",
    "NetSpec": "drml.net_spec",
    "RMSPropSolver": "drml.solvers",
    "SGDSolver": "drml.solver",
    "TEST": "drml.proto.caffe_pb2",
    "TRAIN": "drml.proto.caffe_pb2",
    "get_solver": "drml.solvers",
    "to_proto": "drml.net_spec",
}
_MODULES = ("layers", "params")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"drml.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'drml' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)
