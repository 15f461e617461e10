"""Compiles every cuda/*.cu with nvcc for all GPUs that it knows, and tells what the kernels take.

    python cuda/compile_nvcc.py [STEM ...] [--gpu sm_75 ...]

Warnings are errors. Prints one line per kernel: registers, shared memory, stack and spills, the
most on any GPU. Exits with 1 if a file does not compile, or a kernel of the region layer or of a
loss spills registers. cuBLAS's headers are the toolkit's, or those of the wheel nvidia-cublas.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import sysconfig
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


def cublas_include(nvcc: str) -> list[str]:
    """Options that lead to cuBLAS's headers where the toolkit has none."""
    version = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout
    release = re.search(r"release (\d+)", version)
    major = release[1] if release else ""
    site = Path(sysconfig.get_path("purelib")) / "nvidia"
    return [f"-I{site / folder / 'include'}" for folder in (f"cu{major}", "cublas")]


def compile_file(source: Path, command: list[str]) -> tuple[bool, str]:
    """Whether the file compiles, and what the compiler said."""
    with tempfile.TemporaryDirectory() as folder:
        output = str(Path(folder) / "out.o")
        done = subprocess.run(
            [*command, "-o", output, str(source)], capture_output=True, text=True, check=False
        )
    return done.returncode == 0, done.stdout + done.stderr


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stems", nargs="*", help="files to compile, without .cu; all if none")
    parser.add_argument("--gpu", nargs="+", help="architectures, such as sm_75; all if none")
    parser.add_argument("--nvcc", default="nvcc")
    parser.add_argument("--include", nargs="+", default=[], help="more folders of headers")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()

    sources = [CUDA / f"{stem}.cu" for stem in options.stems] or sorted(CUDA.glob("*.cu"))
    gpus = options.gpu or known_gpus(options.nvcc)
    command = [options.nvcc, "-c", "-std=c++17", "-Xptxas=-v", "-Werror=all-warnings"]
    command += ["-Xcompiler=-Wall,-Wextra"]
    command += generate_code(gpus)
    command += [f"-I{folder}" for folder in (CUDA.parent / "src", CUDA.parent, *options.include)]
    command += cublas_include(options.nvcc)

    # Large kernels take longest: they start first, so that no core is left with one at the end.
    def size(source: Path) -> int:
        return sum(path.stat().st_size for path in CUDA.glob(f"{source.stem}*.cu*"))

    start = time.monotonic()
    with ThreadPoolExecutor(options.jobs) as pool:
        jobs = {
            source: pool.submit(compile_file, source, command)
            for source in sorted(sources, key=size, reverse=True)
        }
    uses: list[KernelUse] = []
    complaints: list[str] = []
    for source in sources:
        compiled, log = jobs[source].result()
        if not compiled:
            print(log, file=sys.stderr)
            complaints.append(f"{source.stem}: does not compile")
            continue
        of_file = parse(log)
        demangle(of_file)
        uses += of_file
        complaints += spill_complaints(source.stem, of_file)
    print(table(uses))
    seconds = time.monotonic() - start
    print(f"\n{len(sources)} files, {', '.join(gpus)}: {seconds:.0f} s")
    for complaint in complaints:
        print(f"error: {complaint}", file=sys.stderr)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
