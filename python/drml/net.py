"""Net: layers in the order of the file, the blobs between them, forward and backward.

The names are pycaffe's, and so is the behavior: phases, splits, in-place layers, shared parameters,
propagate_down, force_backward and loss weights follow Caffe's net.cpp.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from drml import _core, net_weights
from drml.backward_plan import plan_backward
from drml.blob import Array, Blob
from drml.cuda_graph import GraphedLayers
from drml.device import check_device, default_device, is_cuda
from drml.errors import NetError
from drml.fillers import Fill
from drml.filter import filter_net
from drml.fuse_regions import RegionSource, fuse_regions
from drml.fused_region import FusedRegion
from drml.insert_splits import insert_splits
from drml.layer_node import LayerNode
from drml.layers import Layer, find, unknown_type
from drml.layers.base import Context
from drml.nearest import nearest
from drml.proto import caffe_pb2 as pb
from drml.prototxt import LayerSource, NetFile, check_layer_fields, read_net
from drml.shared_params import Param, ParamTable
from drml.synthetic import replace_data_layers
from drml.weights import array_to_blob

Path_ = str | PathLike[str]


class Net:
    """A network of a prototxt, for one phase.

    Args:
        net: path of a prototxt, or one read already.
        weights: a .caffemodel to start from (see `copy_from`).
        phase: pb.TRAIN or pb.TEST; with `level` and `stages` it decides which layers apply.
        seed: fixes initial weights, dropout, and the order and augmentation of data.
        device: where to compute, `cpu` or `cuda:N`; None: drml.device.default_device().
        threads: background threads of each data layer.
        synthetic_data: replaces data layers by random inputs of the shapes that the file states, so
            that a net can be looked at and timed without its data.
        fuse: runs region layers that are written in the authors' long form, Box to Eltwise, as one
            layer each (see drml.fuse_regions); False: as written.

    Attributes:
        name: the net's name in the file.
        blobs: name -> Blob, in the order in which they appear.
        params: layer name -> its parameter blobs, layers without parameters left out.
        inputs, outputs: names of the blobs of Input layers, and of those that no layer reads.
        layers: the layers in order; layer_dict: the same by name.
        learnable: every parameter blob once, with its multipliers, in Caffe's order.
        loss: sum of loss_weight times loss over the last forward.
        notes: things in the file that have no effect here, a line each.

    Raises:
        PrototxtError: the file cannot be read.
        NetError: a layer is unknown, or its parameters or shapes do not fit.
    """

    def __init__(
        self,
        net: Path_ | NetFile,
        weights: Path_ | None = None,
        phase: int = pb.TEST,
        *,
        level: int = 0,
        stages: Sequence[str] = (),
        seed: int = 0,
        device: str | None = None,
        threads: int = 2,
        synthetic_data: bool = False,
        fuse: bool = True,
    ) -> None:
        file = net if isinstance(net, NetFile) else read_net(net)
        self.path = file.path
        self.phase = phase
        self.name: str = file.message.name
        self.notes: list[str] = []
        self.loss = 0.0
        self.blobs: OrderedDict[str, Blob] = OrderedDict()
        self.layers: list[LayerNode] = []
        self.inputs: list[str] = []
        self.device = check_device(device or default_device())
        self._context = Context(
            phase=phase,
            seed=seed,
            device=self.device,
            folder=Path(file.path).parent,
            threads=threads,
        )
        self._input_fills: dict[str, Fill] = {}
        self._graph: GraphedLayers | None = None
        try:
            file = filter_net(file, phase, level, stages)
            if synthetic_data:
                file, self._input_fills = replace_data_layers(file, self._context)
            if fuse:
                file, self.notes = fuse_regions(file)
            file = insert_splits(file)
            self._build(file)
            if weights is not None:
                self.copy_from(weights)
        except BaseException:
            self.close()
            raise

    # Building -----------------------------------------------------------------------------------

    def _build(self, file: NetFile) -> None:
        table = ParamTable()
        unread: OrderedDict[str, None] = OrderedDict()
        for source in file.layers:
            node = self._connect(source, unread)
            self.layers.append(node)
            node.setup()
            self._set_loss_weights(node)
            table.add(node.layer)
        self.outputs = list(unread)
        self.learnable: list[Param] = table.params
        self.layer_dict = OrderedDict((node.name, node) for node in self.layers)
        self.params = OrderedDict((param.name, blobs) for param, blobs in self.members() if blobs)
        plan_backward(self.layers, force=file.message.force_backward)

    def _connect(self, source: LayerSource, unread: OrderedDict[str, None]) -> LayerNode:
        """Makes a layer and finds or makes its blobs."""
        param = source.param
        layer_class = FusedRegion if isinstance(source, RegionSource) else find(param.type)
        if layer_class is None:
            raise NetError(
                f"{source.where('type')}: layer '{param.name}': {unknown_type(param.type)}"
            )
        new = check_layer_fields(source, layer_class)
        self.notes += [note for note in new if note not in self.notes]
        layer = layer_class(param, source, self._context)
        bottom_names, top_names = list(param.bottom), list(param.top)
        if layer.is_loss and not top_names:
            top_names = [f"{param.name}_loss"]
        _check_count(layer, "bottom", bottom_names, layer.bottoms)
        _check_count(layer, "top", top_names, layer.tops)
        if param.propagate_down and len(param.propagate_down) != len(bottom_names):
            raise layer.error(
                f"propagate_down is given {len(param.propagate_down)} times for "
                f"{len(bottom_names)} bottoms",
                "propagate_down",
            )
        for name in bottom_names:
            unread.pop(name, None)
        top = [
            self._make_top(layer, name, index, bottom_names) for index, name in enumerate(top_names)
        ]
        for name in top_names:
            unread[name] = None
        if param.type == "Input":
            self.inputs += top_names
        bottom = [self.blobs[name] for name in bottom_names]
        return LayerNode(len(self.layers), layer, bottom_names, top_names, bottom, top)

    def _make_top(self, layer: Layer, name: str, index: int, bottom_names: list[str]) -> Blob:
        if index < len(bottom_names) and name == bottom_names[index]:
            if not layer.in_place:
                raise layer.error(f"top '{name}' cannot be its bottom: give it its own name", "top")
            return self.blobs[name]
        if name in self.blobs:
            raise layer.error(f"top '{name}' is made by another layer already", "top")
        blob = Blob(name, device=self._context.device, fill=self._input_fills.get(name))
        self.blobs[name] = blob
        return blob

    def _set_loss_weights(self, node: LayerNode) -> None:
        given = node.layer.layer_param.loss_weight
        if given and len(given) != len(node.top):
            raise node.layer.error(
                f"loss_weight is given {len(given)} times for {len(node.top)} tops", "loss_weight"
            )
        if given:
            node.loss_weights = list(given)
        else:
            node.loss_weights = [0.0] * len(node.top)
            if node.layer.is_loss:
                node.loss_weights[0] = 1.0

    # Running ------------------------------------------------------------------------------------

    def _position(self, name: str | None, default: int) -> int:
        if name is None:
            return default
        names = [node.name for node in self.layers]
        if name not in names:
            raise NetError(f"{self.path}: no layer is named '{name}'{nearest(name, names)}")
        return names.index(name)

    def _blob(self, name: str) -> Blob:
        if name not in self.blobs:
            raise NetError(f"{self.path}: no blob is named '{name}'{nearest(name, self.blobs)}")
        return self.blobs[name]

    def _check_shape(self, what: str, name: str, value: npt.ArrayLike) -> None:
        shape = self.blobs[name].shape
        if np.shape(value) != shape:
            raise NetError(
                f"{self.path}: {what} '{name}' has shape {shape}, the array {np.shape(value)}"
            )

    def forward(
        self,
        blobs: Iterable[str] = (),
        start: str | None = None,
        end: str | None = None,
        **inputs: npt.ArrayLike,
    ) -> dict[str, Array]:
        """Runs the layers from `start` to `end` and returns the outputs.

        Args:
            blobs: names of further blobs to return.
            start, end: first and last layer to run; all of them by default.
            inputs: values of input blobs, of the blobs' shapes.

        Returns:
            Name -> copy of the value, for the outputs (the tops of `end`, if given) and `blobs`.
        """
        for name, value in inputs.items():
            if name not in self.inputs:
                raise NetError(
                    f"{self.path}: '{name}' is not an input{nearest(name, self.inputs)}; "
                    f"inputs: {', '.join(self.inputs) or 'none'}"
                )
            self._check_shape("input", name, value)
            self.blobs[name].data = value
        first = self._position(start, 0)
        last = self._position(end, len(self.layers) - 1)
        nodes = self.layers[first : last + 1]
        outputs = self.outputs if end is None else self.layers[last].top_names
        with self._naming_faults():
            self.run_layers(nodes)
            # Only here does the host wait for a device.
            self.loss = sum(
                weight * float(np.sum(top.read_data(), dtype=np.float64))
                for node in nodes
                for weight, top in zip(node.loss_weights, node.top, strict=True)
                if weight
            )
            names = dict.fromkeys([*outputs, *blobs])
            return {name: self._blob(name).read_data().copy() for name in names}

    def run_layers(self, nodes: Sequence[LayerNode] | None = None) -> None:
        """Runs layers, all of them by default; on CUDA they are only queued."""
        if nodes is None or nodes == self.layers:
            if self._graph is not None:
                self._graph.forward()
                return
            nodes = self.layers
        for node in nodes:
            node.forward()

    def wait(self) -> None:
        """Waits for the kernels of a CUDA device.

        Raises:
            NetError: a kernel found something wrong with its input.
        """
        if is_cuda(self.device):
            with self._naming_faults():
                _core.cuda_synchronize(self.device)

    @contextmanager
    def _naming_faults(self) -> Iterator[None]:
        """Names the layer of what kernels found wrong, which is told when results are read."""
        try:
            yield
        except ValueError as cause:
            if not is_cuda(self.device):
                raise
            raise self.layers[_core.cuda_fault_tag()].error(cause) from cause

    def backward(
        self,
        diffs: Iterable[str] = (),
        start: str | None = None,
        end: str | None = None,
        **top_diffs: npt.ArrayLike,
    ) -> dict[str, Array]:
        """Runs backward from layer `start` (the last) to `end` (the first).

        Parameter gradients are added to; see `clear_param_diffs`. The gradient of a loss is its
        loss_weight unless `top_diffs` gives another.

        Args:
            diffs: names of further blobs whose gradients to return.
            top_diffs: gradients to put on blobs before the run, of the blobs' shapes.

        Returns:
            Name -> copy of the gradient, for the inputs that have one and `diffs`.
        """
        last = self._position(start, len(self.layers) - 1)
        first = self._position(end, 0)
        for name, value in top_diffs.items():
            blob = self._blob(name)
            self._check_shape("blob", name, value)
            blob.diff = value
        for node in reversed(self.layers[first : last + 1]):
            node.set_loss_gradients(given=top_diffs)
            if node.need_backward:
                node.backward()
        computed = [name for name in self.inputs if self.blobs[name].has_grad]
        names = dict.fromkeys([*computed, *diffs])
        return {name: self._blob(name).read_diff().copy() for name in names}

    def use_cuda_graph(self) -> None:
        """Makes forward launch all kernels as one CUDA graph, which saves the time between them.

        The next forward records it, and so does each one after shapes have changed. Layers that
        read data stay outside. A part of the net, `start` to `end`, runs without it.

        Raises:
            NetError: the net is not on a CUDA device, or not of phase TEST.
        """
        if not is_cuda(self.device):
            raise NetError(f"{self.path}: a CUDA graph needs a CUDA device, not {self.device}")
        if self.phase != pb.TEST:
            raise NetError(f"{self.path}: a CUDA graph is for inference, phase TEST")
        self._graph = GraphedLayers(self.layers, self.device)

    def set_input_arrays(self, data: npt.ArrayLike, labels: npt.ArrayLike) -> None:
        """Gives the MemoryData layer, the first if there are several, arrays to serve.

        Args:
            data: (M, C, H, W), M a multiple of the batch size; a float32 array is not copied.
            labels: M numbers, of shape (M,) or (M, 1, 1, 1).

        Raises:
            NetError: there is no such layer, or the shapes do not fit.
        """
        from drml.layers.memory_data import MemoryData

        for node in self.layers:
            if isinstance(node.layer, MemoryData):
                node.layer.set_arrays(data, labels)
                return
        raise NetError(f"{self.path}: set_input_arrays is for nets with a MemoryData layer")

    def reshape(self) -> None:
        """Passes the shapes of the inputs, after `blobs[name].reshape(...)`, on to all layers."""
        for node in self.layers:
            node.reshape()

    def clear_param_diffs(self, *, later: bool = False) -> None:
        """Sets the gradients of all parameters to zero.

        Args:
            later: leaves the zeros to the backward pass that comes next, which may write gradients
                where it would add to them: `Blob.clear_diff_later`.
        """
        for param in self.learnable:
            if later:
                param.blob.clear_diff_later()
            else:
                param.blob.clear_diff()

    # Weights ------------------------------------------------------------------------------------

    def copy_from(self, weights: Path_ | pb.NetParameter) -> None:
        """Loads parameters by layer name, as Caffe's CopyTrainedLayersFrom.

        Layers of the file that the net does not have, and layers of the net that the file does not
        have, are left alone and told in `notes`.

        Args:
            weights: a .caffemodel, today's, V0, V1 or HDF5, or a message that holds one.

        Raises:
            WeightsError: no layer of the file has parameters here, or blobs differ in number or
                shape: all of them are listed, and nothing is loaded.
        """
        self.notes += net_weights.load(self, weights)

    def members(self) -> list[tuple[pb.LayerParameter, list[Blob]]]:
        """The layers as written, with splits, and their parameter blobs; fused ones one by one."""
        return [member for node in self.layers for member in node.layer.members()]

    def save(self, path: Path_, *, write_diff: bool = False) -> None:
        """Writes the parameters to a .caffemodel that stock Caffe reads; HDF5 if it ends in .h5.

        Raises:
            WeightsError: the file cannot be written; an older one is untouched.
        """
        net_weights.save(self, path, write_diff=write_diff)

    def load_hdf5(self, path: Path_) -> None:
        """Loads parameters as `copy_from`; pycaffe's name for a .caffemodel.h5."""
        self.copy_from(path)

    def save_hdf5(self, path: Path_, *, write_diff: bool = False) -> None:
        """Writes the parameters to a .caffemodel.h5, whatever its name, as pycaffe.

        Raises:
            WeightsError: the file cannot be written; an older one is untouched.
        """
        net_weights.save(self, path, write_diff=write_diff, hdf5=True)

    def to_proto(self, write_diff: bool = False) -> pb.NetParameter:
        """The layers as they run here, splits included, with their parameters.

        In place of a fused layer there are those that it stands for.
        """
        message = pb.NetParameter(name=self.name)
        for param, blobs in self.members():
            layer = message.layer.add()
            layer.CopyFrom(param)
            for blob in blobs:
                diff = blob.read_diff() if write_diff else None
                layer.blobs.append(array_to_blob(blob.read_data(), diff))
        return message

    def close(self) -> None:
        """Stops the background threads of data layers and closes their files."""
        for node in self.layers:
            node.layer.close()

    def __enter__(self) -> Net:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _check_count(layer: Layer, what: str, names: list[str], limits: tuple[int, int | None]) -> None:
    least, most = limits
    if least <= len(names) and (most is None or len(names) <= most):
        return
    if most is None:
        wanted = f"at least {least}"
    else:
        wanted = str(least) if least == most else f"{least} to {most}"
    raise layer.error(f"takes {wanted} {what}s, {len(names)} are given", what)
