"""Compiles every cuda/*_kernel.cuh with nvcc for all GPUs that it knows; tells what kernels take.

    python cuda/compile_nvcc.py [STEM ...] [--gpu sm_75 ...]

Warnings are errors. Prints one line per kernel: registers, shared memory, stack and spills, the
most on any GPU. Exits with 1 if a file does not compile or holds no kernel, or a kernel of the
region layer or of a loss spills registers. Without the host's code, whose headers would be read
once for each GPU: that is the same for all, and compiled where the module is built.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ptxas_log import KernelUse, demangle, parse, spill_complaints, table

CUDA = Path(__file__).resolve().parent


def known_gpus(nvcc: str) -> list[str]:
    """The architectures that nvcc makes machine code for."""
    done = subprocess.run([nvcc, "--list-gpu-code"], capture_output=True, text=True, check=True)
    return sorted(done.stdout.split(), key=lambda gpu: int(gpu.removeprefix("sm_")))


def generate_code(gpus: list[str]) -> list[str]:
    """Options that make machine code for each GPU from what its generation has in common.

    That is what CMake's all-major gives to most GPUs, and twice as fast to compile as code for the
    features of each single one, of which no kernel uses any.
    """
    generations: dict[int, list[str]] = {}
    for gpu in gpus:
        generations.setdefault(int(gpu.removeprefix("sm_")) // 10, []).append(gpu)
    return [
        f"-gencode=arch={same[0].replace('sm_', 'compute_')},code=[{','.join(same)}]"
        for same in generations.values()
    ]


def compile_file(source: Path, command: list[str]) -> tuple[bool, str]:
    """Whether the file compiles, and what the compiler said."""
    with tempfile.TemporaryDirectory() as folder:
        # A header given to nvcc by itself is warned of: it says "#pragma once".
        including = Path(folder) / "kernel.cu"
        including.write_text(f'#include "{source}"\n')
        output = str(Path(folder) / "kernel.fatbin")
        done = subprocess.run(
            [*command, "-o", output, str(including)], capture_output=True, text=True, check=False
        )
    return done.returncode == 0, done.stdout + done.stderr


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stems", nargs="*", help="files, without _kernel.cuh; all if none")
    parser.add_argument("--gpu", nargs="+", help="architectures, such as sm_75; all if none")
    parser.add_argument("--nvcc", default="nvcc")
    parser.add_argument("--include", nargs="+", default=[], help="more folders of headers")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()

    sources = [CUDA / f"{stem}_kernel.cuh" for stem in options.stems]
    sources = sources or sorted(CUDA.glob("*_kernel.cuh"))
    gpus = options.gpu or known_gpus(options.nvcc)
    command = [options.nvcc, "-fatbin", "-std=c++17", "-Xptxas=-v", "-Werror=all-warnings"]
    command += ["-DDRML_KERNELS_ONLY"]
    command += generate_code(gpus)
    command += [f"-I{folder}" for folder in (CUDA.parent / "src", CUDA.parent, *options.include)]
    start = time.monotonic()
    with ThreadPoolExecutor(options.jobs) as pool:
        # Large files take longest: they start first, so that no core has one alone at the end.
        jobs = {
            source: pool.submit(compile_file, source, command)
            for source in sorted(sources, key=lambda path: path.stat().st_size, reverse=True)
        }
    uses: list[KernelUse] = []
    complaints: list[str] = []
    for source in sources:
        compiled, log = jobs[source].result()
        if not compiled:
            print(log, file=sys.stderr)
            complaints.append(f"{source.name}: does not compile")
            continue
        of_file = parse(log)
        if not of_file:
            complaints.append(f"{source.name}: holds no kernel; are its templates instantiated?")
            continue
        demangle(of_file)
        uses += of_file
        complaints += spill_complaints(source.name, of_file)
    print(table(uses))
    seconds = time.monotonic() - start
    print(f"\n{len(sources)} files, {', '.join(gpus)}: {seconds:.0f} s")
    for complaint in complaints:
        print(f"error: {complaint}", file=sys.stderr)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
