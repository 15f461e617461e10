"""Finds region layers in the long form in which DRML's authors wrote them, to run each as one.

    Box -> n x (BatchNorm or Batch, ReLU, Convolution) -> Splice -> Eltwise SUM with Box's bottom

is one Region layer, for any grid, order of patches and branches, and names. What does not match
exactly, or is read elsewhere in between, is left as it is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from drml.insert_splits import Top, count_readers
from drml.layers import find
from drml.proto import caffe_pb2 as pb
from drml.prototxt import LayerSource, NetFile, check_layer_fields

_NORMS = {"BatchNorm": "batch_norm_param", "Batch": "batch_param"}


@dataclass(frozen=True, slots=True, eq=False)
class Branch:
    """The layers of one patch."""

    norm: LayerSource
    relu: LayerSource
    convolution: LayerSource


@dataclass(frozen=True, slots=True, eq=False)
class RegionSource(LayerSource):
    """A Region layer that stands for layers of the file; `param` says what they compute.

    Attributes:
        members: the layers, in the order of the file.
        branches: those of each patch, the patches row by row.
    """

    members: tuple[LayerSource, ...]
    branches: tuple[Branch, ...]

    @property
    def box(self) -> LayerSource:
        """The layer that cuts the patches."""
        return self.members[0]


def fuse_regions(net_file: NetFile) -> tuple[NetFile, list[str]]:
    """The net with one Region layer in place of each long form of one.

    Args:
        net_file: the layers of one phase, before splits are inserted.

    Returns:
        The net, and notes on what was replaced and on the fields of the layers, a line each.

    Raises:
        NetError: a bottom that no layer makes.
        PrototxtError: a field that a replaced layer does not support.
    """
    graph = _Graph(net_file)
    layers: list[LayerSource] = []
    notes: dict[str, None] = {}
    index = 0
    while index < len(net_file.layers):
        source = net_file.layers[index]
        region = graph.match(index) if source.param.type == "Box" else None
        if region is None:
            layers.append(source)
            index += 1
            continue
        layers.append(region)
        index += len(region.members)
        for member in region.members:
            layer_class = find(member.param.type)
            assert layer_class is not None
            notes.update(dict.fromkeys(check_layer_fields(member, layer_class)))
        notes[
            f"{region.box.where()}: the {len(region.members)} layers '{region.box.param.name}' to "
            f"'{region.param.name}' run as one Region layer; --no-fuse runs them as written"
        ] = None
    return net_file.with_layers(layers), list(notes)


class _Graph:
    """Who reads what in a net."""

    def __init__(self, net_file: NetFile) -> None:
        self.layers = net_file.layers
        readers, self._source_of = count_readers(net_file)
        # A loss_weight counts as a reader, and is at no layer's bottom.
        self._reader_of = {
            top: reader for reader, top in self._source_of.items() if readers[top] == 1
        }

    def match(self, index: int) -> RegionSource | None:
        """The region layer that begins with the Box of this index, if there is one."""
        box = self.layers[index].param
        count = len(box.top)
        members = self.layers[index : index + 3 * count + 3]
        types = [source.param.type for source in members[-2:]]
        if (
            count == 0
            or len(members) < 3 * count + 3
            or types != ["Splice", "Eltwise"]
            or len(box.bottom) != 1
            or not all(_is_plain(source.param) for source in members)
        ):
            return None
        splice, eltwise = len(members) - 2 + index, len(members) - 1 + index
        if not self._adds(index, splice, eltwise):
            return None
        found: dict[int, Branch] = {}
        patches = _patches(box.box_param, count)
        places = _patches(
            self.layers[splice].param.splice_param, count, box.box_param.width, box.box_param.height
        )
        if patches is None or places is None:
            return None
        for position, patch in enumerate(patches.numbers):
            followed = self._follow((index, position), splice)
            if followed is None or places.numbers[followed[1]] != patch:
                return None
            found[patch] = followed[0]
        branches = tuple(found[patch] for patch in range(count))
        param = _region_param(members, branches, patches)
        if param is None:
            return None
        last = self.layers[eltwise]
        return RegionSource(param, last.path, last.place, tuple(members), branches)

    def _adds(self, box: int, splice: int, eltwise: int) -> bool:
        """Whether the Eltwise adds to Box's bottom what the Splice makes and nobody else reads."""
        param = self.layers[eltwise].param
        if len(param.bottom) != 2 or len(param.top) != 1 or len(self.layers[splice].param.top) != 1:
            return False
        added = {self._source_of[eltwise, 0], self._source_of[eltwise, 1]}
        settings = param.eltwise_param
        return (
            added == {(splice, 0), self._source_of[box, 0]}
            and (splice, 0) in self._reader_of
            and settings.operation == pb.EltwiseParameter.SUM
            and list(settings.coeff) in ([], [1.0, 1.0])
        )

    def _follow(self, top: Top, splice: int) -> tuple[Branch, int] | None:
        """The branch that begins with a top of the Box, and which bottom of the Splice it is."""
        chain: list[LayerSource] = []
        for wanted in (_NORMS, ("ReLU",), ("Convolution",)):
            reader = self._reader_of.get(top)
            if reader is None or reader[0] >= splice:
                return None
            source = self.layers[reader[0]]
            if source.param.type not in wanted or len(source.param.bottom) != 1:
                return None
            if len(source.param.top) != 1:
                return None
            chain.append(source)
            top = (reader[0], 0)
        reader = self._reader_of.get(top)
        if reader is None or reader[0] != splice:
            return None
        return Branch(*chain), reader[1]


def _is_plain(param: pb.LayerParameter) -> bool:
    """Whether the layer has nothing that a part of a layer cannot have."""
    return not (param.loss_weight or param.propagate_down or any(spec.name for spec in param.param))


@dataclass(frozen=True)
class _Patches:
    rows: int
    columns: int
    numbers: list[int]  # of the patches in the order of the file, counted row by row


def _patches(param: object, count: int, width: int = 0, height: int = 0) -> _Patches | None:
    """The grid that the corners of a Box or Splice make; None if they do not make one."""
    x, y = list(param.xcoord), list(param.ycoord)  # type: ignore[attr-defined]
    width, height = width or param.width, height or param.height  # type: ignore[attr-defined]
    if len(x) != count or len(y) != count or not width or not height:
        return None
    if any(place % width for place in x) or any(place % height for place in y):
        return None
    rows, columns = max(y) // height + 1, max(x) // width + 1
    numbers = [row // height * columns + column // width for row, column in zip(y, x, strict=True)]
    if rows * columns != count or len(set(numbers)) != count:
        return None
    return _Patches(rows, columns, numbers)


def _region_param(
    members: Sequence[LayerSource], branches: Sequence[Branch], patches: _Patches
) -> pb.LayerParameter | None:
    """What the branches compute, if they all compute the same."""
    norms = {_norm(branch.norm.param) for branch in branches}
    convolutions = {_convolution(branch.convolution.param) for branch in branches}
    slopes = {branch.relu.param.relu_param.negative_slope for branch in branches}
    if len(norms) != 1 or len(convolutions) != 1 or slopes != {0.0}:
        return None
    norm, convolution = norms.pop(), convolutions.pop()
    if norm is None or convolution is None:
        return None
    box, eltwise = members[0].param, members[-1].param
    param = pb.LayerParameter(name=eltwise.name, type="Region", bottom=box.bottom, top=eltwise.top)
    kernel, _, *learned = convolution
    for learns in learned:
        param.param.add(lr_mult=float(learns))
    region = param.region_param
    region.grid_h, region.grid_w = patches.rows, patches.columns
    region.kernel_size, region.pad = kernel, kernel // 2
    region.eps, region.moving_average_fraction, frozen = norm
    if frozen is not None:
        region.use_global_stats = frozen
    return param


def _norm(param: pb.LayerParameter) -> tuple[float, float, bool | None] | None:
    settings = getattr(param, _NORMS[param.type])
    if len(param.param) > 3 or any(spec.lr_mult != 0 for spec in param.param):
        return None
    frozen = settings.use_global_stats if settings.HasField("use_global_stats") else None
    return settings.eps, settings.moving_average_fraction, frozen


def _convolution(param: pb.LayerParameter) -> tuple[int, int, bool, bool] | None:
    """Kernel, outputs, and whether weights and bias are learned; None if it is no region's."""
    settings = param.convolution_param
    kernel = _size(settings, "kernel", None)
    if (
        kernel is None
        or kernel % 2 == 0
        or _size(settings, "pad", 0) != kernel // 2
        or _size(settings, "stride", 1) != 1
        or set(settings.dilation) > {1}
        or settings.group != 1
        or settings.axis not in (1, -3)
        or not settings.bias_term
        or len(param.param) > 2
    ):
        return None
    learned = [spec.lr_mult != 0 for spec in param.param] + [True, True]
    return kernel, settings.num_output, learned[0], learned[1]


def _size(settings: pb.ConvolutionParameter, name: str, default: int | None) -> int | None:
    """A size that is the same for rows and columns, and well given."""
    both = list(getattr(settings, "kernel_size" if name == "kernel" else name))
    pair = [f"{name}_h", f"{name}_w"]
    if any(settings.HasField(field) for field in pair):
        values = [getattr(settings, field) for field in pair]
        if both:
            return None
    else:
        values = both if both or default is None else [default]
    return values[0] if len(values) in (1, 2) and len(set(values)) == 1 else None
