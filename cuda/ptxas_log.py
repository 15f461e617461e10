"""What ptxas says of kernels under -v: registers, shared memory, stack and spills."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_ENTRY = re.compile(r"Compiling entry function '(\w+)' for '(\w+)'")
_REGISTERS = re.compile(r"Used (\d+) registers")
_SHARED = re.compile(r"(\d+) bytes smem")
_STACK = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")


@dataclass
class KernelUse:
    """What one kernel takes on one GPU.

    Attributes:
        kernel: its name, mangled as in the log until `demangle` has seen it.
        gpu: the architecture, such as sm_75.
        registers: per thread.
        shared: bytes of shared memory that the kernel declares; what a launch adds is not in it.
        stack: bytes of local memory per thread: spilled registers and arrays that are indexed.
        spills: bytes that are written to and read from it only because registers run out.
    """

    kernel: str
    gpu: str
    registers: int = 0
    shared: int = 0
    stack: int = 0
    spills: int = 0


def parse(log: str) -> list[KernelUse]:
    """The kernels of a compiler's log, in its order."""
    uses: list[KernelUse] = []
    for line in log.splitlines():
        if found := _ENTRY.search(line):
            uses.append(KernelUse(found[1], found[2]))
        elif not uses:
            continue
        elif found := _STACK.search(line):
            # A function that was not inlined has such a line as well, after its kernel's.
            stack, stores, loads = map(int, found.groups())
            uses[-1].stack += stack
            uses[-1].spills += stores + loads
        elif found := _REGISTERS.search(line):
            uses[-1].registers = int(found[1])
            shared = _SHARED.search(line)
            uses[-1].shared = int(shared[1]) if shared else 0
    return uses


def plain_name(demangled: str) -> str:
    """`region_forward_kernel<3>` of `void drml::cuda::region_forward_kernel<3>(float*)`."""
    name = demangled.replace("drml::cuda::", "").replace("drml::", "")
    name = name.replace("(anonymous namespace)::", "").removeprefix("void ")
    depth = 0
    for place, letter in enumerate(name):
        depth += {"<": 1, ">": -1}.get(letter, 0)
        if letter == "(" and depth == 0:
            return name[:place]
    return name


def demangle(uses: Sequence[KernelUse]) -> None:
    """Replaces mangled names by plain ones; c++filt comes with every g++."""
    names = "\n".join(use.kernel for use in uses)
    done = subprocess.run(["c++filt"], input=names, capture_output=True, text=True, check=True)
    for use, name in zip(uses, done.stdout.splitlines(), strict=True):
        use.kernel = plain_name(name)


def table(uses: Iterable[KernelUse]) -> str:
    """A Markdown table with one line per kernel: the most that it takes on any of its GPUs."""
    kernels: dict[str, list[KernelUse]] = {}
    for use in uses:
        kernels.setdefault(use.kernel, []).append(use)
    rows = [["kernel", "registers", "shared memory, bytes", "stack, bytes", "spills, bytes"]]
    for kernel, on_gpus in kernels.items():
        most = [
            max(getattr(use, what) for use in on_gpus)
            for what in ("registers", "shared", "stack", "spills")
        ]
        rows.append([f"`{kernel}`", *map(str, most)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def must_not_spill(stem: str) -> bool:
    """Whether a source holds kernels that are to keep everything in registers."""
    return stem.startswith("region") or "loss" in stem


def spill_complaints(stem: str, uses: Iterable[KernelUse]) -> list[str]:
    """A line for each kernel that spills where none may."""
    if not must_not_spill(stem):
        return []
    spills: dict[str, list[KernelUse]] = {}
    for use in uses:
        if use.spills:
            spills.setdefault(use.kernel, []).append(use)
    return [
        f"{stem}: {kernel} spills up to {max(use.spills for use in on_gpus)} bytes on "
        + ", ".join(use.gpu for use in on_gpus)
        for kernel, on_gpus in spills.items()
    ]
