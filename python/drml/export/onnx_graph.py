"""Builds an ONNX graph node by node: names, constants, and an axis 0 that takes any batch size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

Shape = tuple[int, ...]

OPSET = 17
_IR_VERSION = 8
BATCH_AXIS = "batch"


class OnnxGraph:
    """Nodes and constants of a graph in the making. Values are known by their names.

    Attributes:
        fixed_by: the layer that mixes the images of a batch, so that the graph is for one batch
            size alone; None where it takes any.
    """

    def __init__(self) -> None:
        self.fixed_by: str | None = None
        self._layer = ""
        self._count = 0
        self._names: set[str] = set()
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def begin(self, layer: str) -> None:
        """Names the layer whose nodes follow."""
        self._layer = layer
        self._count = 0

    def fix_batch(self) -> None:
        """Says that the layer's nodes are right for the net's own batch size only."""
        self.fixed_by = self.fixed_by or self._layer

    def fresh(self, name: str) -> str:
        """The name, or one like it that nothing has yet."""
        found, number = name, 1
        while found in self._names:
            number += 1
            found = f"{name}@{number}"
        self._names.add(found)
        return found

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Adds a node with one output and returns the output's name."""
        return self.ops(kind, *inputs, outputs=1, **attributes)[0]

    def ops(self, kind: str, *inputs: str, outputs: int, **attributes: Any) -> list[str]:
        """Adds a node and returns the names of its outputs."""
        self._count += 1
        name = self.fresh(f"{self._layer}/{kind}_{self._count}")
        names = [self.fresh(f"{name}:{index}") for index in range(outputs)]
        self._nodes.append(helper.make_node(kind, list(inputs), names, name=name, **attributes))
        return names

    def constant(self, array: npt.ArrayLike, name: str = "") -> str:
        """Adds a float32 constant, or one of int64 for an array of integers."""
        values = np.asarray(array)
        kind = np.int64 if values.dtype.kind in "iu" else np.float32
        if not name:
            self._count += 1
            name = f"{self._layer}/constant_{self._count}"
        name = self.fresh(name)
        self._constants.append(
            numpy_helper.from_array(np.ascontiguousarray(values.astype(kind, copy=False)), name)
        )
        return name

    def number(self, value: float) -> str:
        """Adds one float32 number."""
        return self.constant(np.float32(value))

    def reshape(self, x: str, before: Shape, after: Shape) -> str:
        """Reshapes x, whatever its batch size where both shapes keep axis 0 to the batch."""
        if before == after:
            return x
        dims = list(after)
        if before and after and before[0] == after[0]:
            dims[0] = 0
        else:
            self.fix_batch()
        return self.op("Reshape", x, self.constant(np.array(dims, np.int64)))

    def rename(self, old: str, new: str) -> str:
        """Gives an output of the last nodes the name `new`, or one like it; returns the name."""
        new = self.fresh(new)
        for node in reversed(self._nodes):
            for names in (node.input, node.output):
                for index, name in enumerate(names):
                    if name == old:
                        names[index] = new
            if new in node.output:
                break
        return new

    def bytes(self) -> int:
        """Size of all constants."""
        return sum(len(constant.raw_data) for constant in self._constants)

    def model(
        self, name: str, inputs: Sequence[tuple[str, Shape]], outputs: Sequence[tuple[str, Shape]]
    ) -> onnx.ModelProto:
        """The finished graph as a model, with float32 inputs and outputs of these shapes."""
        graph = helper.make_graph(
            self._nodes,
            name or "net",
            [self._value(*pair) for pair in inputs],
            [self._value(*pair) for pair in outputs],
            self._constants,
        )
        return helper.make_model(
            graph,
            producer_name="drml",
            ir_version=_IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
        )

    def _value(self, name: str, shape: Shape) -> onnx.ValueInfoProto:
        dims: list[int | str] = list(shape)
        if dims and self.fixed_by is None:
            dims[0] = BATCH_AXIS
        return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, dims)
