"""Embed: a learned row for each number of a word; Caffe's Embed layer."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from drml import _core
from drml._core import Tensor
from drml.blob import Array, Blob
from drml.in_order import copy_in_order, is_row_major
from drml.layers.base import Layer, register


def _fill_with_ones(array: Array) -> None:
    array.fill(1)


@register
class Embed(Layer):
    """y[...] = weights[x[...]] + bias, for x of any shape that holds row numbers.

    `embed_param`: num_output, the length of a row; input_dim, how many rows there are; bias_term
    (true); weight_filler, bias_filler. The top has the axes of x, then num_output. A number that is
    no row's is an error. There is no gradient of x.

    Parameter blobs: weights (input_dim, num_output), bias (num_output).
    """

    type = "Embed"
    param_field = "embed_param"
    supported = frozenset({"num_output", "input_dim", "bias_term", "weight_filler", "bias_filler"})
    numbered = (0,)

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        param = self.param
        self.num_output = int(param.num_output)
        for name in ("num_output", "input_dim"):
            if getattr(param, name) < 1:
                raise self.error(f"{name} must be 1 or more", f"embed_param.{name}")
        self.add_param((param.input_dim, self.num_output), param.weight_filler)
        device = self.context.device
        if param.bias_term:
            self.add_param((self.num_output,), param.bias_filler)
            self._ones = Blob(
                f"{self.name}/ones", (self.num_output,), device=device, fill=_fill_with_ones
            )
        # Tops of four axes lie channels-last on the CPU, and not in rows.
        self._rows = Blob(f"{self.name}/rows", device=device)

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        top[0].reshape(*bottom[0].shape, self.num_output)
        self._rows.reshape(bottom[0].count, self.num_output)

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        y = top[0].value
        in_rows = is_row_major(y)
        rows = y.view(self._rows.shape) if in_rows else self._rows.value
        _core.gather_forward(self.blobs[0].value, bottom[0].value, rows)
        if len(self.blobs) > 1:
            _core.scale_forward(rows, self._ones.value, self.blobs[1].value, rows, 1)
        if not in_rows:
            copy_in_order(rows, y)

    def _gradient_rows(self, dy: Tensor) -> Tensor:
        if is_row_major(dy):
            return dy.view(self._rows.shape)
        copy_in_order(dy, self._rows.grad)
        return self._rows.grad

    def can_backward_to(self, index: int) -> bool:
        return False

    def example(
        self, index: int, bottom: list[Blob], random: np.random.Generator
    ) -> npt.NDArray[np.generic] | None:
        return random.integers(0, self.param.input_dim, bottom[0].shape)

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        if propagate_down[0]:
            raise self.error("has no gradient for its bottom, which holds row numbers")
        rows = self._gradient_rows(top[0].grad)
        if self.propagate_to_params[0]:
            _core.gather_backward(rows, bottom[0].value, self.blobs[0].grad)
        if len(self.blobs) > 1 and self.propagate_to_params[1]:
            _core.scale_backward(rows, self._ones.value, rows, None, None, self.blobs[1].grad, 1)
