"""The benchmark's results as a text table and a chart."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

from drml.text_table import align

Row = dict[str, Any]

TIMES_HEADER = (
    *("net", "mode", "contender", "batch", "threads", "ms per frame", "median", "spread"),
    *("drml / it", "peak MB", "of peak", "of memory"),
)


def best_peer(row: Row) -> str | None:
    """The quickest of a row's contenders but ours."""
    peers = {
        name: min(found["ms"])
        for name, found in row["contenders"].items()
        if name != "drml" and "ms" in found
    }
    return min(peers, key=peers.__getitem__) if peers else None


def ratio_to(row: Row, name: str) -> float:
    """Our least time over that of a contender."""
    return min(row["contenders"]["drml"]["ms"]) / min(row["contenders"][name]["ms"])


def _times_line(row: Row, name: str, found: Row) -> list[str]:
    key = [row["net"], row["mode"], name, str(row["batch"]), str(row["threads"])]
    peak = f"{found['peak_mb']:.0f}" if "peak_mb" in found else ""
    if "ms" not in found:
        return [*key, "differs", found["disagrees"], "", "", peak, "", ""]
    least, middle, most = min(found["ms"]), median(found["ms"]), max(found["ms"])
    frames = row["batch"]
    limits = row["limits"]
    ratio = "" if name == "drml" else f"{ratio_to(row, name):.2f}"
    if name == best_peer(row):
        ratio += " best"
    return [
        *key,
        f"{least / frames:.2f}",
        f"{middle / frames:.2f}",
        f"{(most - least) / least:.0%}",
        ratio,
        peak,
        f"{row['multiply_adds'] / (least / 1e3) / limits['multiply_adds']:.0%}",
        f"{row['bytes'] / (least / 1e3) / limits['copy']:.0%}",
    ]


def times_table(rows: list[Row]) -> str:
    """One line for each contender: least, median and spread over all rounds, and ratios."""
    lines = [
        _times_line(row, name, found) for row in rows for name, found in row["contenders"].items()
    ]
    return align(TIMES_HEADER, lines, left=3)


def profile_table(profiles: list[Row]) -> str:
    """One line for each layer that takes time, with its part of the machine's peak."""
    lines = []
    for profile in profiles:
        for layer in profile["layers"]:
            theirs = layer["onednn_forward_ms"]
            rate = layer["multiply_adds"] / layer["forward_ms"] * 1e3
            share = rate / profile["limits"]["multiply_adds"]
            lines.append(
                [
                    profile["net"],
                    layer["name"],
                    layer["type"],
                    f"{layer['forward_ms']:.2f}",
                    f"{theirs:.2f}" if theirs else "",
                    f"{layer['forward_ms'] / theirs:.2f}" if theirs else "",
                    f"{share:.0%}" if layer["multiply_adds"] else "",
                    f"{layer['backward_ms']:.2f}" if layer["backward_ms"] else "",
                ]
            )
    header = ("net", "layer", "type", "forward ms", "oneDNN", "ratio", "of peak", "backward ms")
    return align(header, lines, left=3)


def draw_chart(rows: list[Row], path: Path, title: str) -> None:
    """Bars of ms per frame, a panel for each net and mode, a group for each batch and threads."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = list(dict.fromkeys((row["net"], row["mode"]) for row in rows))
    names = list(dict.fromkeys(name for row in rows for name in row["contenders"]))
    modes = list(dict.fromkeys(mode for _, mode in panels))
    nets = list(dict.fromkeys(net for net, _ in panels))
    figure, axes = pyplot.subplots(
        len(modes),
        len(nets),
        figsize=(max(8, 4 * len(nets)), 3.2 * len(modes) + 0.9),
        squeeze=False,
    )
    colors = pyplot.get_cmap("tab10").colors
    for line, mode in zip(axes, modes, strict=True):
        for axis, net in zip(line, nets, strict=True):
            own = [row for row in rows if (row["net"], row["mode"]) == (net, mode)]
            for place, name in enumerate(names):
                bars = [
                    (group + 0.8 * place / len(names), min(found["ms"]) / row["batch"])
                    for group, row in enumerate(own)
                    if "ms" in (found := row["contenders"].get(name, {}))
                ]
                if bars:
                    left, heights = zip(*bars, strict=True)
                    axis.bar(left, heights, 0.8 / len(names), color=colors[place], align="edge")
            axis.set_title(f"{net}, {mode}", fontsize=10)
            axis.set_xticks(
                [group + 0.4 for group in range(len(own))],
                [f"{row['batch']} x{row['threads']}" for row in own],
            )
            axis.tick_params(labelsize=8)
            axis.spines[["top", "right"]].set_visible(False)
        line[0].set_ylabel("ms per frame, least", fontsize=9)
    for axis in axes[-1]:
        axis.set_xlabel("images of a batch x threads", fontsize=8)
    handles = [pyplot.Rectangle((0, 0), 1, 1, color=colors[place]) for place in range(len(names))]
    figure.suptitle(title, fontsize=10)
    figure.legend(handles, names, loc="lower center", ncol=min(5, len(names)), fontsize=8)
    figure.tight_layout(rect=(0, 0.06, 1, 1))
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
