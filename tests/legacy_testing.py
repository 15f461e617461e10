"""Writes DRML's net in the long form of its authors: 195 layers for the region layer of 8 x 8.

Names and quirks follow the released files: tabs, blank lines inside repeated fields, a field per
line, `Batch` with `batch_param`, ReLU in place, lr_mult 0 for statistics, spaces around colons.
"""

from __future__ import annotations

from collections.abc import Sequence


def long_region(
    bottom: str,
    top: str,
    channels: int,
    grid: tuple[int, int],
    patch: tuple[int, int],
    *,
    norm: str = "Batch",
    order: Sequence[int] | None = None,
    by_type: bool = False,
    prefix: str = "_2",
    kernel: int = 3,
    in_place: bool = True,
    settings: str = "use_global_stats: false",
) -> str:
    """The layers from Box to Eltwise.

    Args:
        bottom, top: names of the blobs before and after it.
        channels: of both.
        grid: rows and columns of patches.
        patch: rows and columns of a patch.
        norm: type of the normalizing layers, Batch or BatchNorm.
        order: the patches, counted row by row, in the order of the branches; None: row by row.
        by_type: writes all normalizing layers, then all ReLUs, then all Convolutions.
        prefix: of the names of layers.
        kernel: of the convolutions.
        in_place: whether ReLUs work in place.
        settings: of the normalizing layers.
    """
    count = grid[0] * grid[1]
    order = list(order or range(count))
    corners = [(index // grid[1] * patch[0], index % grid[1] * patch[1]) for index in order]
    x = "\n".join(f"\t\txcoord : {column}\n" for _, column in corners)
    y = "\n".join(f"\t\tycoord : {row}\n" for row, _ in corners)
    tops = "\n".join(f'\ttop: "box{prefix}_{i + 1}"' for i in range(count))
    box = f"""layer {{
\tname: "box{prefix}"
\ttype: "Box"
\tbottom: "{bottom}"

{tops}
\tbox_param {{
\t\twidth: {patch[1]}

\t\theight: {patch[0]}
{x}
{y}
\t}}
}}
"""
    field = {"Batch": "batch_param", "BatchNorm": "batch_norm_param"}[norm]
    branches = []
    for i in range(count):
        name = f"{prefix}_{i + 1}"
        relu_top = f"bn{name}" if in_place else f"relu{name}"
        fixed = "\tparam {\n\t\tlr_mult: 0\n\t}\n" * 3
        branches.append(
            (
                f'layer {{\n\tname: "bn{name}"\n\ttype: "{norm}"\n\tbottom: "box{name}"\n'
                f'\ttop: "bn{name}"\n{fixed}\t{field} {{\n\t\t{settings}\n\t}}\n}}\n',
                f'layer {{\n\tname: "relu{name}"\n\ttype: "ReLU"\n\tbottom: "bn{name}"\n'
                f'\ttop: "{relu_top}"\n}}\n',
                f'layer {{\n\tname: "conv{name}"\n\ttype: "Convolution"\n\tbottom: "{relu_top}"\n'
                f'\ttop: "conv{name}"\n'
                "\tparam {\n\t\tlr_mult: 1\n\t\tdecay_mult: 1\n\t}\n"
                "\tparam {\n\t\tlr_mult: 2\n\t\tdecay_mult: 0\n\t}\n"
                f"\tconvolution_param {{\n\t\tnum_output: {channels}\n\t\tpad: {kernel // 2}\n"
                f"\t\tkernel_size: {kernel}\n\t\tstride: 1\n\n"
                '\t\tweight_filler {\n\t\t\ttype: "gaussian"\n\t\t\tstd: 0.05\n\t\t}\n'
                '\t\tbias_filler {\n\t\t\ttype: "constant"\n\t\t\tvalue: 0.1\n\t\t}\n'
                "\t}\n}\n",
            )
        )
    if by_type:
        written = [branch[part] for part in range(3) for branch in branches]
    else:
        written = [part for branch in branches for part in branch]
    bottoms = "\n".join(f'\tbottom: "conv{prefix}_{i + 1}"' for i in range(count))
    splice = f"""layer {{
\tname: "splice{prefix}"
\ttype: "Splice"
{bottoms}
\ttop: "splice{prefix}"
\tsplice_param {{
{x}
{y}
\t}}
}}
layer {{
\tname: "sum{prefix}"
\ttype: "Eltwise"
\tbottom: "splice{prefix}"
\tbottom: "{bottom}"
\ttop: "{top}"
\teltwise_param {{
\t\toperation: SUM
\t}}
}}
"""
    return box + "".join(written) + splice


def long_drml(short: str, region: str) -> str:
    """A net file with its Region layer replaced by the layers of a long form.

    Args:
        short: the text of a net with one Region layer, layers beginning in column 0.
        region: what `long_region` wrote.
    """
    parts = short.split("\nlayer {")
    index = next(i for i, part in enumerate(parts) if 'type: "Region"' in part)
    before, after = "\nlayer {".join(parts[:index]), "\nlayer {".join(parts[index + 1 :])
    return f"{before}\n{region}layer {{{after}"
