"""The Region layer that stands for the layers of a long form, see drml.fuse_regions."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from drml.blob import Array, Blob, Shape
from drml.errors import NetError
from drml.fillers import Fill, make_filler
from drml.fuse_regions import RegionSource
from drml.layers.region import Region
from drml.proto import caffe_pb2 as pb
from drml.prototxt import LayerSource


class FusedRegion(Region):
    """A Region layer whose patches are branches that the file writes out.

    The parameters keep the names, the initial values and the order that they have where the
    branches run one by one: `members` gives each branch's own, which are parts of the layer's. The
    factor of the running statistics is one per patch.
    """

    factor_per_patch: ClassVar[bool] = True
    source: RegionSource

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        convolution = self.source.branches[0].convolution
        outputs = convolution.param.convolution_param.num_output
        if len(bottom[0].shape) == 4 and bottom[0].channels != outputs:
            raise NetError(
                f"{convolution.label('convolution_param.num_output')}: {outputs} outputs cannot be "
                f"added to the {bottom[0].channels} channels of '{self.layer_param.bottom[0]}'"
            )
        super().setup(bottom, top)
        self._members = [
            (param, self._blobs_of(source, param)) for source, param in self._params_of_members()
        ]

    def _params_of_members(self) -> list[tuple[LayerSource, pb.LayerParameter]]:
        """The members; running statistics say that they are not learned, as BatchNorm's do."""
        norms = {branch.norm for branch in self.source.branches}
        result = []
        for source in self.source.members:
            param = pb.LayerParameter()
            param.CopyFrom(source.param)
            while source in norms and len(param.param) < 3:
                param.param.add(lr_mult=0, decay_mult=0)
            result.append((source, param))
        return result

    def _blobs_of(self, source: LayerSource, param: pb.LayerParameter) -> list[Blob]:
        owners: list[Blob] = []
        patch = 0
        for number, branch in enumerate(self.source.branches):
            if source is branch.convolution:
                patch, owners = number, self.blobs[:2]
            elif source is branch.norm:
                patch, owners = number, self.blobs[2:]
        blobs = []
        for index, owner in enumerate(owners):
            shape = owner.shape[1:] or (1,)
            blob = Blob(
                f"{param.name}/{index}", shape, channels_last=False, device=self.context.device
            )
            blob.share_row(owner, patch)
            blobs.append(blob)
        return blobs

    def members(self) -> list[tuple[pb.LayerParameter, list[Blob]]]:
        return self._members

    def weight_filler(self, shape: Shape) -> Fill:
        return self._fillers("weight_filler", 0, shape)

    def bias_filler(self, shape: Shape) -> Fill:
        return self._fillers("bias_filler", 1, shape)

    def _fillers(self, field: str, index: int, shape: Shape) -> Fill:
        """Fills each patch as the convolution of its branch would fill its blob `index`."""
        fills: list[Callable[[Array], None]] = []
        for branch in self.source.branches:
            source = branch.convolution
            filler = getattr(source.param.convolution_param, field)
            try:
                fills.append(
                    make_filler(filler, shape, (self.context.seed, source.param.name, index))
                )
            except ValueError as error:
                raise NetError(f"{source.label(f'convolution_param.{field}')}: {error}") from error

        def fill(array: Array) -> None:
            for patch, fill_patch in zip(array, fills, strict=True):
                fill_patch(patch)

        return fill

    def check_grid(self, x: Blob) -> None:
        box = self.source.box.param.box_param
        covered = (self.grid[0] * box.height, self.grid[1] * box.width)
        if x.shape[2:] != covered:
            raise NetError(
                f"{self.source.box.label()}: its patches cover {covered[0]} x {covered[1]}, the "
                f"bottom '{self.layer_param.bottom[0]}' has shape {x.shape}"
            )
