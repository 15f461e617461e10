"""The scripts that read what nvcc and NVRTC print about kernels."""

from __future__ import annotations

import shutil

import pytest
from compile_nvcc import generate_code
from ptxas_log import KernelUse, demangle, parse, plain_name, spill_complaints, table

NVCC_LOG = """\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_ZN4drml4cuda19relu_forward_kernelElPKfPff' for 'sm_75'
ptxas info    : Function properties for _ZN4drml4cuda19relu_forward_kernelElPKfPff
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 36 registers, used 0 barriers, 380 bytes cmem[0]
ptxas info    : Compile time = 29.780 ms
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_ZN4drml4cuda19relu_forward_kernelElPKfPff' for 'sm_80'
ptxas info    : Function properties for _ZN4drml4cuda19relu_forward_kernelElPKfPff
    32 bytes stack frame, 44 bytes spill stores, 40 bytes spill loads
ptxas info    : Used 32 registers, used 1 barriers, 32 bytes cumulative stack size, 256 bytes smem
ptxas info    : Function properties for helper
    8 bytes stack frame, 1 bytes spill stores, 1 bytes spill loads
"""
NVRTC_LOG = """\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'sums' for 'sm_35'
ptxas info    : Function properties for sums
ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 40 registers, 256 bytes smem, 356 bytes cmem[0]
"""


def test_parse_nvcc() -> None:
    mangled = "_ZN4drml4cuda19relu_forward_kernelElPKfPff"
    assert parse(NVCC_LOG) == [
        KernelUse(mangled, "sm_75", registers=36, shared=0, stack=0, spills=0),
        KernelUse(mangled, "sm_80", registers=32, shared=256, stack=40, spills=86),
    ]


def test_parse_nvrtc() -> None:
    assert parse(NVRTC_LOG) == [KernelUse("sums", "sm_35", registers=40, shared=256)]
    assert parse("") == []


@pytest.mark.parametrize(
    ("demangled", "name"),
    [
        ("drml::cuda::relu_forward_kernel(long, float const*, float*)", "relu_forward_kernel"),
        (
            "void drml::cuda::region_forward_kernel<3>(drml::cuda::G, int)",
            "region_forward_kernel<3>",
        ),
        (
            "void drml::cuda::sum_kernel<drml::cuda::(anonymous namespace)::Of>(int)",
            "sum_kernel<Of>",
        ),
        ("void drml::cuda::flat_kernel<int (*)(int)>(int)", "flat_kernel<int (*)(int)>"),
        ("plain", "plain"),
    ],
)
def test_plain_name(demangled: str, name: str) -> None:
    assert plain_name(demangled) == name


@pytest.mark.skipif(shutil.which("c++filt") is None, reason="c++filt is not installed")
def test_table_takes_the_most_of_all_gpus() -> None:
    uses = parse(NVCC_LOG) + parse(NVRTC_LOG)
    demangle(uses)
    lines = [line.replace("|", " ").split() for line in table(uses).splitlines()]
    assert lines[2:] == [
        ["`relu_forward_kernel`", "36", "256", "40", "86"],
        ["`sums`", "40", "256", "0", "0"],
    ]


def test_spills_count_where_none_may_be() -> None:
    uses = [
        KernelUse("a", "sm_75", spills=8),
        KernelUse("b", "sm_75"),
        KernelUse("a", "sm_80", spills=4),
        KernelUse("a", "sm_90"),
    ]
    complaint = "region: a spills up to 8 bytes on sm_75, sm_80"
    assert spill_complaints("region", uses) == [complaint]
    assert len(spill_complaints("multi_sigmoid_cross_entropy_loss", uses)) == 1
    assert spill_complaints("local", uses) == []


def test_one_virtual_architecture_for_each_generation() -> None:
    assert generate_code(["sm_75", "sm_80", "sm_86", "sm_100", "sm_103"]) == [
        "-gencode=arch=compute_75,code=[sm_75]",
        "-gencode=arch=compute_80,code=[sm_80,sm_86]",
        "-gencode=arch=compute_100,code=[sm_100,sm_103]",
    ]
