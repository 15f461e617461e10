"""The parameters of a net: each blob once, with its multipliers; those of one name made one."""

from __future__ import annotations

from dataclasses import dataclass

from drml.blob import Blob
from drml.layers.base import Layer
from drml.proto import caffe_pb2 as pb


@dataclass
class Param:
    """A parameter blob of a net.

    Attributes:
        name: `layer/index` of the layer that owns it.
        blob: its value and gradient.
        lr_mult, decay_mult: what the solver multiplies its rate and weight decay by.
    """

    name: str
    blob: Blob
    lr_mult: float
    decay_mult: float
    lr_given: bool = False
    decay_given: bool = False


class ParamTable:
    """Collects the parameters of layers in order; `params` holds each one once."""

    def __init__(self) -> None:
        self.params: list[Param] = []
        self._owners: dict[str, Param] = {}

    def add(self, layer: Layer) -> None:
        """Takes up the parameter blobs of a layer that has been set up.

        A ParamSpec whose name was seen before makes the blob share the owner's value and gradient.

        Raises:
            NetError: more ParamSpecs than blobs, or sharing that contradicts the owner.
        """
        for param, blobs in layer.members():
            self._add(layer, param, blobs)

    def _add(self, layer: Layer, layer_param: pb.LayerParameter, blobs: list[Blob]) -> None:
        specs = layer_param.param
        if len(specs) > len(blobs):
            raise layer.error(
                f"param is given {len(specs)} times, but the layer has {len(blobs)} "
                "parameter blobs",
                f"param[{len(blobs)}]",
            )
        for index, blob in enumerate(blobs):
            spec = specs[index] if index < len(specs) else pb.ParamSpec()
            owner = self._owners.get(spec.name) if spec.name else None
            if owner is not None:
                self._share(layer, index, blob, spec, owner)
                continue
            param = Param(
                f"{layer_param.name}/{index}",
                blob,
                spec.lr_mult,
                spec.decay_mult,
                spec.HasField("lr_mult"),
                spec.HasField("decay_mult"),
            )
            self.params.append(param)
            if spec.name:
                self._owners[spec.name] = param

    @staticmethod
    def _share(layer: Layer, index: int, blob: Blob, spec: pb.ParamSpec, owner: Param) -> None:
        permissive = spec.share_mode == pb.ParamSpec.PERMISSIVE
        fits = blob.count == owner.blob.count if permissive else blob.shape == owner.blob.shape
        if not fits:
            raise layer.error(
                f"parameter '{spec.name}' has shape {blob.shape} here and {owner.blob.shape} "
                f"in {owner.name}",
                f"param[{index}]",
            )
        for what in ("lr", "decay"):
            field = f"{what}_mult"
            if not spec.HasField(field):
                continue
            value = getattr(spec, field)
            if getattr(owner, f"{what}_given") and getattr(owner, field) != value:
                raise layer.error(
                    f"parameter '{spec.name}' has {field} {value:g} here and "
                    f"{getattr(owner, field):g} in {owner.name}",
                    f"param[{index}].{field}",
                )
            setattr(owner, field, value)
            setattr(owner, f"{what}_given", True)
        blob.share_data(owner.blob)
        blob.share_diff(owner.blob)
