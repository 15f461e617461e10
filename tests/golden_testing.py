"""Runs one layer on what stock Caffe was given, and compares with what stock Caffe computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from google.protobuf import text_format
from layer_testing import LayerRunner, relative_error

from drml.proto import caffe_pb2 as pb

TOLERANCE = 1e-5
"""Relative error of a whole float32 tensor."""

Arrays = dict[str, npt.NDArray[np.float32]]


def _numbered(arrays: Arrays, prefix: str, suffix: str = "") -> list[npt.NDArray[np.float32]]:
    """The arrays prefix0suffix, prefix1suffix... as far as they go."""
    found = []
    while (key := f"{prefix}{len(found)}{suffix}") in arrays:
        found.append(arrays[key])
    return found


def _check(what: str, got: npt.ArrayLike, wanted: npt.ArrayLike) -> None:
    error = relative_error(got, wanted)
    assert error < TOLERANCE, f"{what}: relative error {error:.2e}"


def run_golden(golden_dir: Path, name: str) -> None:
    """Forward and backward of `layers/<name>.prototxt`'s last layer against `layers/<name>.npz`.

    Compares tops of every run, bottom and parameter gradients, and parameters afterwards. A loss,
    whose top gradient the file does not state, gets its loss_weight, 1 by default.
    """
    net = pb.NetParameter()
    text_format.Parse((golden_dir / "layers" / f"{name}.prototxt").read_text(), net)
    layer = net.layer[-1]
    with np.load(golden_dir / "layers" / f"{name}.npz") as file:
        arrays: Arrays = dict(file)
    runs = [suffix for suffix in ("", "_0", "_1", "_2", "_3") if f"x0{suffix}" in arrays]
    assert runs, f"{name}.npz holds no input"

    runner = LayerRunner(
        text_format.MessageToString(layer),
        _numbered(arrays, "x", runs[0]),
        phase=pb.Phase.Value(str(arrays["phase"])),
        tops=len(layer.top),
    )
    params = _numbered(arrays, "param")
    assert [blob.shape for blob in runner.layer.blobs] == [param.shape for param in params]
    runner.set_params(*params)

    for suffix in runs:
        runner.set_inputs(*_numbered(arrays, "x", suffix))
        wanted = _numbered(arrays, "y", suffix)
        for index, (y, y_wanted) in enumerate(zip(runner.forward(), wanted, strict=True)):
            _check(f"y{index}{suffix}", y, y_wanted)

    propagate_down = [f"dx{index}" in arrays for index in range(len(layer.bottom))]
    if any(propagate_down):
        weights = list(layer.loss_weight) or [1.0] * len(layer.top)
        dys = _numbered(arrays, "dy") or [np.array(weight, np.float32) for weight in weights]
        dxs = runner.backward(*dys, propagate_down=propagate_down)
        for index, wanted_dx in enumerate(_numbered(arrays, "dx")):
            _check(f"dx{index}", dxs[index], wanted_dx)
        for index, wanted_dparam in enumerate(_numbered(arrays, "dparam")):
            _check(f"dparam{index}", runner.param_diffs()[index], wanted_dparam)
    for index, after in enumerate(_numbered(arrays, "param", "_after")):
        _check(f"param{index}_after", runner.layer.blobs[index].data, after)
