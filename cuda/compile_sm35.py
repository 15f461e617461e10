"""Compiles every cuda/*_kernel.cuh for the Tesla K40 (sm_35), and tells what the kernels take.

    pip install nvidia-cuda-nvrtc-cu11==11.8.89
    python cuda/compile_sm35.py [STEM ...]

Toolkit 11.8 is the last that compiles for this GPU, the one of the paper. Its NVRTC, 60 MB that pip
installs, takes device code alone, which is why kernels stand in files of their own. Prints one line
per kernel; exits with 1 if a file does not compile without a warning, or a kernel of the region
layer or of a loss spills registers.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import sys
import time
from pathlib import Path

from ptxas_log import demangle, parse, spill_complaints, table

CUDA = Path(__file__).resolve().parent
LIBRARY = "cuda_nvrtc/lib/libnvrtc.so.11.2"
# NVRTC has no C library.
STDINT = b"""#pragma once
typedef signed char int8_t;
typedef unsigned char uint8_t;
typedef short int16_t;
typedef unsigned short uint16_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef long int64_t;
typedef unsigned long uint64_t;
"""


def load_nvrtc() -> ctypes.CDLL:
    """The library of the wheel."""
    spec = importlib.util.find_spec("nvidia")
    for folder in (spec and spec.submodule_search_locations) or []:
        if (path := Path(folder) / LIBRARY).exists():
            return ctypes.CDLL(str(path))
    sys.exit("NVRTC 11.8 is not installed: pip install nvidia-cuda-nvrtc-cu11==11.8.89")


def compile_file(nvrtc: ctypes.CDLL, source: Path, gpu: str) -> tuple[bool, str]:
    """Whether the file compiles, and what the compiler said."""
    program = ctypes.c_void_p()
    headers, names = (ctypes.c_char_p * 1)(STDINT), (ctypes.c_char_p * 1)(b"stdint.h")
    nvrtc.nvrtcCreateProgram(
        ctypes.byref(program), source.read_bytes(), source.name.encode(), 1, headers, names
    )
    options = [f"--gpu-architecture={gpu}", "--std=c++14", "--ptxas-options=-v"]
    options += ["--pre-include=stdint.h", "--define-macro=DRML_KERNELS_ONLY"]
    options += [f"--include-path={folder}" for folder in (CUDA, CUDA.parent, CUDA.parent / "src")]
    arguments = (ctypes.c_char_p * len(options))(*[option.encode() for option in options])
    status = nvrtc.nvrtcCompileProgram(program, len(options), arguments)
    size = ctypes.c_size_t()
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    return status == 0, log.value.decode()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stems", nargs="*", help="files, without _kernel.cuh; all if none")
    parser.add_argument("--gpu", default="sm_35")
    options = parser.parse_args()

    nvrtc = load_nvrtc()
    sources = [CUDA / f"{stem}_kernel.cuh" for stem in options.stems]
    uses = []
    complaints = []
    start = time.monotonic()
    for source in sources or sorted(CUDA.glob("*_kernel.cuh")):
        compiled, log = compile_file(nvrtc, source, options.gpu)
        of_file = parse(log)
        if not compiled or "warning" in log:
            print(log, file=sys.stderr)
            complaints.append(f"{source.name}: " + ("warnings" if compiled else "not compiled"))
            continue
        if not of_file:
            complaints.append(f"{source.name}: holds no kernel; are its templates instantiated?")
            continue
        demangle(of_file)
        uses += of_file
        complaints += spill_complaints(source.name, of_file)
    print(table(uses))
    print(f"\n{options.gpu}: {time.monotonic() - start:.0f} s")
    for complaint in complaints:
        print(f"error: {complaint}", file=sys.stderr)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
