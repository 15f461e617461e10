"""Chooses the layers that apply to a phase, level and stages, by include and exclude rules."""

from __future__ import annotations

from collections.abc import Collection

from drml.errors import PrototxtError
from drml.proto import caffe_pb2 as pb
from drml.prototxt import LayerSource, NetFile


def filter_net(
    net_file: NetFile, phase: int, level: int = 0, stages: Collection[str] = ()
) -> NetFile:
    """The net with only the layers that apply, as Caffe's Net::FilterNet chooses them.

    A layer with include rules is kept if one of them is met, a layer with exclude rules if none is.

    Args:
        net_file: a net as it was read.
        phase: pb.TRAIN or pb.TEST; it overrides the `state` that the file may hold.
        level: the net's level; 0 means the level of the file's `state`.
        stages: the net's stages, beside those of the file's `state`.

    Raises:
        PrototxtError: a layer has both include and exclude rules.
    """
    state = net_file.message.state
    level = level or state.level
    stages = {*state.stage, *stages}
    return net_file.with_layers(
        [source for source in net_file.layers if _applies(source, phase, level, stages)]
    )


def _applies(source: LayerSource, phase: int, level: int, stages: Collection[str]) -> bool:
    include, exclude = source.param.include, source.param.exclude
    if include and exclude:
        raise PrototxtError(
            f"{source.label('exclude')}: include and exclude rules exclude each other; "
            "use one of the two"
        )
    if include:
        return any(_is_met(rule, phase, level, stages) for rule in include)
    return not any(_is_met(rule, phase, level, stages) for rule in exclude)


def _is_met(rule: pb.NetStateRule, phase: int, level: int, stages: Collection[str]) -> bool:
    """Whether all that the rule states holds; a rule that states nothing is met."""
    return (
        (not rule.HasField("phase") or rule.phase == phase)
        and (not rule.HasField("min_level") or level >= rule.min_level)
        and (not rule.HasField("max_level") or level <= rule.max_level)
        and all(stage in stages for stage in rule.stage)
        and not any(stage in stages for stage in rule.not_stage)
    )
