"""Nets as the options --phase and --batch-size ask for them."""

from __future__ import annotations

from pathlib import Path

from drml.net import Net
from drml.proto import caffe_pb2 as pb
from drml.prototxt import NetFile, read_net

_DATA_FIELDS = ("data_param", "image_data_param", "hdf5_data_param", "memory_data_param")


def synthetic_net(
    net: Path | NetFile,
    phase: str,
    batch_size: int | None = None,
    *,
    weights: Path | None = None,
    seed: int = 0,
    device: str | None = None,
    fuse: bool = True,
) -> Net:
    """The net of a file, fed with random numbers of the shapes that the file states.

    Args:
        net: path of a net file, or one read already, whose batch size changes too.
        phase: `TRAIN` or `TEST`.
        batch_size: replaces the file's; None keeps it.
        weights: a .caffemodel; None keeps the fillers' initial weights.
        seed: of initial weights and dropout.
        device: where to compute; None: drml.device.default_device().
        fuse: as drml.net.Net's.
    """
    file = net if isinstance(net, NetFile) else read_net(net)
    if batch_size is not None:
        set_batch_size(file, batch_size)
    return Net(
        file,
        weights,
        pb.Phase.Value(phase),
        seed=seed,
        device=device,
        synthetic_data=True,
        fuse=fuse,
    )


def set_batch_size(file: NetFile, size: int) -> None:
    """Makes every data layer, Input and DummyData of `file` give batches of `size`.

    The batch is axis 0, as everywhere in Caffe. Of the shapes that Input and DummyData layers of a
    phase state, one whose axis 0 is not the first one's holds no batch but a matrix, say, and stays
    as it is. The file's message is changed.
    """
    batches: dict[tuple[bytes, ...], int] = {}
    for source in file.layers:
        param = source.param
        for field in _DATA_FIELDS:
            if param.HasField(field):
                getattr(param, field).batch_size = size
        rules = tuple(rule.SerializeToString() for rule in (*param.include, *param.exclude))
        dummy = param.dummy_data_param
        for shape in [*param.input_param.shape, *dummy.shape]:
            if shape.dim and shape.dim[0] == batches.setdefault(rules, shape.dim[0]):
                shape.dim[0] = size
        # Index by index, for an assignment to all would set a field that the file does not.
        for index, num in enumerate(dummy.num):
            if num == batches.setdefault(rules, num):
                dummy.num[index] = size
