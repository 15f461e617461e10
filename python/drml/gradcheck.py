"""Checks the gradients of a net's kernels against differences of forward, layer by layer.

Each layer runs alone on random data. Its loss is sum(y * r) for random r, added up in float64 over
the outputs that changed, so the rounding of the others cannot hide anything. For an element x the
derivative comes from central differences at steps h and h / 2 and Richardson's extrapolation.

The kernels compute in float32, which limits what can be seen: h is a twentieth of the array's root
mean square, the differences carry a rounding error of about eps * |y| / h, and errors below about a
thousandth of the gradient stay unseen. A right kernel shows 1e-5 to 1e-3, a wrong sign or factor
shows 0.1 to 2. That kernels are exact to float32 is the tests' business: they compare with a
float64 reference.

An element is skipped where the function has a kink within the step (ReLU at zero, the maximum of a
pooling window changing place), which shows as differences that do not agree between the two steps,
and where the rounding error would be larger than the tolerance. A layer of which less than half of
the samples could be judged fails.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import zip_longest

import numpy as np
import numpy.typing as npt

from drml.blob import Array, Blob
from drml.layer_node import LayerNode
from drml.layers.base import Layer
from drml.net import Net

Doubles = npt.NDArray[np.float64]

_STEP = 0.05
_EPS = float(np.finfo(np.float32).eps)
# Sums within a kernel lose a few times what the rounding of their result does.
_ROUNDING = 4.0
_ATTEMPTS = 3


@dataclass(frozen=True)
class ArrayCheck:
    """The check of one bottom or parameter of a layer.

    Attributes:
        name: `bottom conv1` or `param 0`.
        max_error: greatest |kernel - differences| / scale over the elements judged, where scale is
            the largest of both and of the root mean square of the array's gradient.
        checked, skipped: number of elements judged, and of those that could not be.
        wanted: number of elements that should have been judged.
    """

    name: str
    max_error: float
    checked: int
    skipped: int
    wanted: int

    def passed(self, tolerance: float) -> bool:
        """Whether half of the elements or more were judged and all of them agree."""
        return 2 * self.checked >= self.wanted and self.max_error <= tolerance


@dataclass(frozen=True)
class LayerCheck:
    """The check of one layer: `arrays` is empty for a layer that has no gradient."""

    name: str
    type: str
    arrays: list[ArrayCheck] = field(default_factory=list)

    def passed(self, tolerance: float) -> bool:
        """Whether all arrays passed."""
        return all(array.passed(tolerance) for array in self.arrays)

    @property
    def worst(self) -> ArrayCheck:
        """The array with the greatest error."""
        return max(self.arrays, key=lambda array: array.max_error)


def check_net(
    net: Net, *, layer: str | None = None, samples: int = 10, seed: int = 0, tolerance: float = 1e-2
) -> Iterator[LayerCheck]:
    """Checks the layers of a net one after the other, or one of them.

    The net's blobs are not used; layers without bottoms are left out.

    Args:
        net: a net that has not run.
        layer: name of the only layer to check; it must exist.
        samples: elements to judge per bottom and learned parameter.
        seed: of the random data and of the choice of elements.
        tolerance: rounding errors above this share of the gradient make an element unfit.
    """
    for node in net.layers:
        if not node.bottom or (layer is not None and node.name != layer):
            continue
        # Each layer has its own numbers, whatever else is checked.
        rng = np.random.default_rng([seed, *node.name.encode()])
        yield _check_layer(node, samples, rng, tolerance)


def _check_layer(
    node: LayerNode, samples: int, rng: np.random.Generator, tolerance: float
) -> LayerCheck:
    learns = bool(node.layer.blobs)
    if type(node.layer).backward is Layer.backward or not (
        learns or any(node.layer.can_backward_to(index) for index in range(len(node.bottom)))
    ):
        return LayerCheck(node.name, node.type)
    alone = _LayerAlone(node, rng)
    arrays = [
        _check_array(alone, variable, samples, rng, tolerance) for variable in alone.variables()
    ]
    return LayerCheck(node.name, node.type, arrays)


@dataclass(frozen=True)
class _Variable:
    """An array that the layer's loss depends on, with the gradient that the kernels computed."""

    name: str
    values: Array
    gradient: Doubles


class _LayerAlone:
    """A layer on blobs of its own, filled with random numbers."""

    def __init__(self, node: LayerNode, rng: np.random.Generator) -> None:
        self._layer = node.layer
        self._node = node
        device = node.layer.context.device
        self._bottom = [Blob(blob.name, blob.shape, device=device) for blob in node.bottom]
        self._top = [
            self._bottom[node.bottom_names.index(name)]
            if name in node.bottom_names
            else Blob(name, blob.shape, device=device)
            for name, blob in zip(node.top_names, node.top, strict=True)
        ]
        self._layer.propagate_to_params = _learned(node)
        self._layer.reshape(self._bottom, self._top)
        self._inputs = [
            _random_bottom(node, index, rng).astype(np.float32)
            for index in range(len(self._bottom))
        ]
        self._make_parameters_vary(rng)
        self._position = self._layer.position
        # Set before each forward: statistics run up in it, and what is learned is varied here.
        self._parameters = [blob.read_data().copy() for blob in self._layer.blobs]
        # What a layer chooses by its inputs' values decides the shapes of its tops.
        self._direction = [rng.standard_normal(y.shape) for y in self.outputs()]
        if node.layer.is_loss:
            for direction in self._direction[1:]:
                # Further tops of a loss layer are for looking at: nothing flows back from them.
                direction[...] = 0

    def _make_parameters_vary(self, rng: np.random.Generator) -> None:
        """Gives learned parameters that are constant some spread: at zero much goes unseen."""
        for blob, learned in zip(self._layer.blobs, _learned(self._node), strict=True):
            values = blob.read_data()
            if learned and values.size and (values == values.flat[0]).all():
                blob.data = values + 0.1 * rng.standard_normal(values.shape, dtype=np.float32)

    def outputs(self) -> list[Array]:
        """The tops for the inputs and parameters as they are now."""
        for blob, values in zip(self._bottom, self._inputs, strict=True):
            blob.data = values
        for blob, values in zip(self._layer.blobs, self._parameters, strict=True):
            blob.data = values
        self._layer.position = self._position
        self._layer.forward(self._bottom, self._top)
        return [blob.read_data().copy() for blob in self._top]

    def loss_difference(self, above: list[Array], below: list[Array]) -> float:
        """sum((above - below) * r) over all tops."""
        return sum(
            float(np.sum((a.astype(np.float64) - b) * r))
            for a, b, r in zip(above, below, self._direction, strict=True)
        )

    def rounding(self, above: list[Array], below: list[Array]) -> float:
        """About what float32 can have lost in `loss_difference`."""
        squares = 0.0
        for a, b, r in zip(above, below, self._direction, strict=True):
            changed = a != b
            squares += float(np.sum((a[changed] * r[changed]) ** 2))
        return _ROUNDING * _EPS * float(np.sqrt(squares))

    def variables(self) -> list[_Variable]:
        """The bottoms and learned parameters, with the gradients that backward computes."""
        self.outputs()
        for blob, direction in zip(self._top, self._direction, strict=True):
            blob.diff = direction
        for blob in self._layer.blobs:
            blob.clear_diff()
        wanted = [self._layer.can_backward_to(index) for index in range(len(self._bottom))]
        self._layer.backward(self._top, wanted, self._bottom)
        found = [
            _Variable(f"bottom {blob.name}", values, blob.read_diff().astype(np.float64))
            for blob, values, asked in zip(self._bottom, self._inputs, wanted, strict=True)
            if asked and blob.count
        ]
        found += [
            _Variable(f"param {index}", values, blob.read_diff().astype(np.float64))
            for index, (blob, values) in enumerate(
                zip(self._layer.blobs, self._parameters, strict=True)
            )
            if _learned(self._node)[index] and blob.count
        ]
        return found


def _learned(node: LayerNode) -> list[bool]:
    specs = node.layer.layer_param.param
    return [
        index >= len(specs) or specs[index].lr_mult != 0 for index in range(len(node.layer.blobs))
    ]


def _random_bottom(
    node: LayerNode, index: int, rng: np.random.Generator
) -> npt.NDArray[np.generic]:
    shape = node.bottom[index].shape
    example = node.layer.example(index, node.bottom, rng)
    if example is not None:
        return example
    if node.layer.can_backward_to(index):
        return rng.standard_normal(shape)
    scores = node.bottom[0].shape
    if shape == scores:
        # A label per score: every elementwise loss takes -1, 0 and 1.
        return rng.integers(-1, 2, shape)
    return rng.integers(0, scores[1] if len(scores) > 1 else 1, shape)


def _check_array(
    alone: _LayerAlone,
    variable: _Variable,
    samples: int,
    rng: np.random.Generator,
    tolerance: float,
) -> ArrayCheck:
    size = variable.values.size
    wanted = min(samples, size)
    spread = float(np.sqrt(np.mean(np.square(variable.values, dtype=np.float64))))
    step = _STEP * (spread or 1.0)
    floor = float(np.sqrt(np.mean(variable.gradient**2)))
    if not np.isfinite(floor):
        return ArrayCheck(variable.name, float("inf"), wanted, 0, wanted)
    base = alone.outputs()
    errors: list[float] = []
    flat = skipped = 0
    for position in _positions(variable.gradient, _ATTEMPTS * samples, rng):
        if len(errors) == wanted:
            break
        index = np.unravel_index(position, variable.values.shape)
        judged = _judge(alone, variable, index, step, floor, base, tolerance)
        if judged is None:
            skipped += 1
        elif judged.says_something:
            errors.append(judged.error)
        else:
            # Agrees, but that the loss does not depend on it tells little: others are drawn too.
            flat += 1
    return ArrayCheck(variable.name, max(errors, default=0.0), len(errors) + flat, skipped, wanted)


def _positions(gradient: Doubles, count: int, rng: np.random.Generator) -> list[int]:
    """Up to `count` random elements, every second one of those whose gradient is not zero.

    Where most gradients are zero, as below a maximum, elements drawn from all would show little.
    """
    everywhere = rng.choice(gradient.size, min(count, gradient.size), replace=False)
    present = np.flatnonzero(gradient)
    chosen = rng.choice(present, min(count, present.size), replace=False)
    pairs = zip_longest(chosen.tolist(), everywhere.tolist())
    mixed = dict.fromkeys(index for pair in pairs for index in pair if index is not None)
    return list(mixed)[:count]


@dataclass(frozen=True)
class _Judgement:
    """Relative error of one element's gradient, and whether either side is other than zero."""

    error: float
    says_something: bool = True


def _judge(
    alone: _LayerAlone,
    variable: _Variable,
    index: tuple[np.intp, ...],
    step: float,
    floor: float,
    base: list[Array],
    tolerance: float,
) -> _Judgement | None:
    """Compares one element's gradient with differences; None where these cannot judge it."""
    kernel = float(variable.gradient[index])
    whole = _differences(alone, variable.values, index, step, base)
    half = _differences(alone, variable.values, index, step / 2, base)
    slope = (4 * half.slope - whole.slope) / 3
    if not np.isfinite(slope):
        return _Judgement(float("inf"))
    if kernel == 0 == slope:
        return _Judgement(0.0, says_something=False)
    scale = max(abs(kernel), abs(slope), floor)
    # Richardson's formula weighs the noise of the half step by 4 / 3.
    noise = 4 / 3 * half.noise
    bend = abs(whole.slope - half.slope)
    # Where the function is smooth, one-sided slopes differ by f'' * step, which halves with it.
    corner = abs(whole.asymmetry - 2 * half.asymmetry)
    if max(noise, bend - noise, corner - 4 * noise) > tolerance * scale:
        return None
    return _Judgement(abs(kernel - slope) / scale)


@dataclass(frozen=True)
class _Differences:
    """Slope at one step, what one-sided slopes differ by, and the slope's rounding error."""

    slope: float
    asymmetry: float
    noise: float


def _differences(
    alone: _LayerAlone, values: Array, index: tuple[np.intp, ...], step: float, base: list[Array]
) -> _Differences:
    kept = values[index]
    values[index] = kept + np.float32(step)
    right = float(values[index]) - float(kept)
    above = alone.outputs()
    values[index] = kept - np.float32(step)
    left = float(kept) - float(values[index])
    below = alone.outputs()
    values[index] = kept
    forward = alone.loss_difference(above, base) / right
    backward = alone.loss_difference(base, below) / left
    return _Differences(
        alone.loss_difference(above, below) / (right + left),
        forward - backward,
        alone.rounding(above, below) / (right + left),
    )
