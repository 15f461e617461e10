"""Parameters of a net from and to files, binary or HDF5, by layer name as in Caffe."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING

from drml import hdf5_weights
from drml.blob import Array, Blob
from drml.errors import WeightsError
from drml.proto import caffe_pb2 as pb
from drml.weights import LayerArrays, arrays_of_layers, write_layers

if TYPE_CHECKING:
    from drml.net import Net

AnyPath = str | PathLike[str]


def load(net: Net, weights: AnyPath | pb.NetParameter) -> list[str]:
    """Loads parameters by layer name; see `Net.copy_from`.

    A blob that the file lacks is left out where it shares the values of another, as HDF5 files
    store these with their owner alone.

    Returns:
        Notes on layers that only the net or only the file has.

    Raises:
        WeightsError: the file cannot be read or does not fit; nothing is loaded.
    """
    what = "weights" if isinstance(weights, pb.NetParameter) else str(weights)
    found: list[tuple[Blob, Array]] = []
    wrong: list[str] = []
    strangers: list[str] = []
    missing = dict.fromkeys(net.params)
    owned = _owned(net)
    for name, arrays in read_weights(weights):
        if not arrays:
            continue
        if name not in net.params:
            strangers.append(name)
            continue
        missing.pop(name, None)
        blobs = net.params[name]
        needed = max((i + 1 for i, blob in enumerate(blobs) if id(blob) in owned), default=0)
        if not needed <= len(arrays) <= len(blobs):
            wrong.append(f"'{name}' has {len(arrays)} blobs in the file, {len(blobs)} here")
            continue
        for index, (blob, array) in enumerate(zip(blobs, arrays, strict=False)):
            if array is None:
                if id(blob) in owned:
                    wrong.append(f"{name}/{index} is not in the file")
            elif _same_shape(array.shape, blob.shape):
                found.append((blob, array))
            else:
                wrong.append(f"{name}/{index} is {array.shape} in the file, {blob.shape} here")
    if wrong:
        raise WeightsError(f"{what} does not fit {net.path}: {'; '.join(wrong)}")
    if not found:
        raise WeightsError(
            f"{what} holds weights of {_some(strangers) or 'no layer'}, and {net.path} has "
            f"parameters in {_some(list(net.params)) or 'no layer'}: no layer is in both"
        )
    for blob, array in found:
        blob.data = array.reshape(blob.shape)
    notes = []
    if strangers:
        notes.append(f"{what}: not in this net, left out: {_some(strangers)}")
    if missing := {name: None for name in missing if _owns_any(net, name, owned)}:
        notes.append(f"{what}: without weights, left as they were: {_some(list(missing))}")
    return notes


def save(net: Net, path: AnyPath, *, write_diff: bool = False, hdf5: bool = False) -> None:
    """Writes a net's parameters; see `Net.save`. With `hdf5`, as HDF5 whatever the name.

    Raises:
        WeightsError: the file cannot be written; an older one is untouched.
    """
    layers = net.members()
    diffs = [[blob.read_diff() for blob in blobs] for _, blobs in layers] if write_diff else None
    if not (hdf5 or hdf5_weights.has_hdf5_name(path)):
        values = [(param, [blob.read_data() for blob in blobs]) for param, blobs in layers]
        write_layers(path, net.name, values, diffs)
        return
    owned = _owned(net)
    stored = [
        (param.name, [blob.read_data() if id(blob) in owned else None for blob in blobs])
        for param, blobs in layers
    ]
    hdf5_weights.write_layers(path, stored, diffs)


def _owned(net: Net) -> set[int]:
    """The parameter blobs, by id, that share no other's values."""
    return {id(param.blob) for param in net.learnable}


def _owns_any(net: Net, layer: str, owned: set[int]) -> bool:
    return any(id(blob) in owned for blob in net.params[layer])


def read_weights(weights: AnyPath | pb.NetParameter) -> list[LayerArrays]:
    """The parameters of a file, binary or HDF5, or of a message: layers' names and arrays.

    Raises:
        WeightsError: the file cannot be read, or is no weights file.
    """
    if not isinstance(weights, pb.NetParameter) and hdf5_weights.is_hdf5(weights):
        return hdf5_weights.read_layers(weights)
    return arrays_of_layers(weights)


def _same_shape(file: tuple[int, ...], blob: tuple[int, ...]) -> bool:
    """Whether shapes agree; files of old write every blob with four axes, ones in front."""
    return file == blob or (
        len(file) == 4 and len(blob) < 4 and file == (1,) * (4 - len(blob)) + blob
    )


def _some(names: list[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown
