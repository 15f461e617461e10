"""What a solver file may say: each field is honored, noted as without effect, or refused."""

from __future__ import annotations

import difflib
import math
import os
from pathlib import Path

from drml.device import ENVIRONMENT, check_device
from drml.errors import SolverError, UsageError
from drml.proto import caffe_pb2 as pb
from drml.prototxt import SolverFile

SOLVER_TYPES = ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam")
"""Caffe's solver types."""

# Which types read what only some do.
_READ_BY = {
    "delta": ("AdaGrad", "RMSProp", "AdaDelta", "Adam"),
    "momentum2": ("Adam",),
    "rms_decay": ("RMSProp",),
}
_LEAST = {
    "test_interval": 0,
    "display": 0,
    "average_loss": 1,
    "max_iter": 0,
    "iter_size": 1,
    "snapshot": 0,
}
_FINITE = ("momentum", "weight_decay", "clip_gradients", "delta", "momentum2", "rms_decay")


def _error(solver: SolverFile, field: str, message: str) -> SolverError:
    return SolverError(f"{solver.where(field)}: {field}: {message}")


def check_options(solver: SolverFile, own_type: str) -> list[str]:
    """Checks a solver file's fields by themselves; returns notes on fields that have no effect.

    Args:
        solver: the file.
        own_type: the type of the solver that is to train by it.

    Raises:
        SolverError: a value is out of range or asks for what does not exist here. The line names
            file and line, and the nearest name where one is misspelt.
    """
    param = solver.message
    _check_type(solver, own_type)
    _check_updates(solver, own_type)
    for field, least in _LEAST.items():
        if getattr(param, field) < least:
            raise _error(solver, field, f"must be {least} or more, not {getattr(param, field)}")
    for field in _FINITE:
        if not math.isfinite(getattr(param, field)):
            raise _error(solver, field, f"must be a finite number, not {getattr(param, field)}")
    for value in param.test_iter:
        if value < 1:
            raise _error(solver, "test_iter", f"must be 1 or more, not {value}")
    if param.regularization_type not in ("L1", "L2"):
        raise _error(
            solver, "regularization_type", f"must be L1 or L2, not '{param.regularization_type}'"
        )
    return _notes(solver, own_type)


def _where_type(solver: SolverFile) -> str:
    where = solver.where("type")
    return solver.where("solver_type") if where == solver.where() else where


def solver_type(solver: SolverFile) -> str:
    """The type that a solver file asks for; SGD where it does not say.

    Raises:
        SolverError: there is no such type; the nearest name is given.
    """
    name: str = solver.message.type
    if name in SOLVER_TYPES:
        return name
    by_lower_case = {known.lower(): known for known in SOLVER_TYPES}
    match = difflib.get_close_matches(name.lower(), by_lower_case, n=1)
    known = ", ".join(SOLVER_TYPES)
    hint = f"did you mean '{by_lower_case[match[0]]}'?" if match else f"known are {known}"
    raise SolverError(f"{_where_type(solver)}: unknown solver type '{name}'; {hint}")


def _check_type(solver: SolverFile, own_type: str) -> None:
    wanted = solver_type(solver)
    if solver.message.HasField("type") and wanted != own_type:
        raise SolverError(
            f"{_where_type(solver)}: the file asks for {wanted}, and {own_type}Solver was asked to "
            "train by it; get_solver takes the solver that the file asks for"
        )


def _check_updates(solver: SolverFile, own_type: str) -> None:
    """Checks what the updates of single types read; the first two checks are Caffe's own."""
    param = solver.message
    if own_type in ("AdaGrad", "RMSProp") and param.momentum != 0:
        raise _error(
            solver, "momentum", f"{own_type} has none; it must be 0, not {param.momentum:g}"
        )
    if own_type == "RMSProp" and not 0 <= param.rms_decay < 1:
        raise _error(
            solver, "rms_decay", f"must be 0 or more and less than 1, not {param.rms_decay:g}"
        )
    if own_type == "AdaDelta" and not 0 <= param.momentum <= 1:
        raise _error(solver, "momentum", f"must be 0 to 1 for AdaDelta, not {param.momentum:g}")
    for field in ("momentum", "momentum2") if own_type == "Adam" else ():
        value = getattr(param, field)
        if not 0 <= value < 1:
            raise _error(
                solver, field, f"must be 0 or more and less than 1 for Adam, not {value:g}"
            )
    if own_type in _READ_BY["delta"] and param.delta < 0:
        raise _error(solver, "delta", f"must be 0 or more, not {param.delta:g}")


def _notes(solver: SolverFile, own_type: str) -> list[str]:
    param = solver.message
    notes = [
        f"{solver.where(field)}: {field} is read by {' and '.join(types)} only"
        for field, types in _READ_BY.items()
        if param.HasField(field) and own_type not in types
    ]
    if param.HasField("layer_wise_reduce"):
        where = solver.where("layer_wise_reduce")
        notes.append(f"{where}: layer_wise_reduce has no effect on a single device")
    return notes


def choose_device(solver: SolverFile, device: str | None) -> str:
    """The device to train on: the one given, else DRML_DEVICE, else solver_mode and device_id.

    Caffe's solver_mode is GPU where a file does not set it; such a file trains on the CPU here.

    Raises:
        UsageError: there is no such device.
        SolverError: the file asks for a GPU that is not there.
    """
    param = solver.message
    wants_gpu = param.HasField("solver_mode") and param.solver_mode == pb.SolverParameter.GPU
    given = device or os.environ.get(ENVIRONMENT)
    if given:
        return check_device(given)
    if not wants_gpu:
        return "cpu"
    if param.device_id < 0:
        raise _error(solver, "device_id", f"must be 0 or more, not {param.device_id}")
    try:
        return check_device(f"cuda:{param.device_id}")
    except UsageError as error:
        raise _error(
            solver, "solver_mode", f"GPU, but {error}; set solver_mode: CPU or give --device cpu"
        ) from error


def snapshot_prefix(solver: SolverFile) -> str:
    """The prefix of snapshot files.

    A relative prefix starts at the working directory, or beside the solver's file where only there
    its folder exists. Where the file sets none, it is the solver's file without its extension, as
    in Caffe; a prefix that is a folder gets the name of the solver's file. A folder that does not
    exist is made by the first snapshot if the folder that it is in exists.

    Raises:
        SolverError: snapshots are to be written, and there is no such folder.
    """
    param = solver.message
    own = Path(solver.path)
    given = Path(param.snapshot_prefix) if param.snapshot_prefix else own.with_suffix("")
    beside = own.parent / given
    if not given.parent.is_dir() and beside.parent.is_dir():
        given = beside
    if given.is_dir():
        given = given / own.stem
    folder = given.parent
    if (param.snapshot or param.snapshot_after_train) and not folder.is_dir():
        where = f"{solver.where('snapshot_prefix')}: snapshot_prefix '{given}'"
        if folder.exists():
            raise SolverError(f"{where}: {folder} is not a folder")
        if not folder.parent.is_dir():
            raise SolverError(f"{where}: there is no folder {folder.parent}")
    return str(given)
