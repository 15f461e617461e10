"""The CUDA emulator: right programs run right, wrong ones are reported (tests/emulator/)."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
EMULATOR = ROOT / "cuda" / "emulator"
PROGRAMS = ROOT / "tests" / "emulator"
FLAGS = {
    "": [],
    # Reports of object-size would come before those of AddressSanitizer, about the same.
    "address": [
        "-fsanitize=address,undefined",
        "-fno-sanitize=object-size",
        "-fno-sanitize-recover=undefined",
    ],
    "thread": ["-fsanitize=thread"],
}

pytestmark = [
    pytest.mark.cpu_only,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the emulator is for x86-64"),
    pytest.mark.skipif(shutil.which("g++") is None, reason="no g++"),
]


def environment(**variables: str) -> dict[str, str]:
    """That of a program: no preloaded library, no setting of the emulator but those given."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name != "LD_PRELOAD" and not name.startswith("DRML_EMULATOR_")
    }
    return kept | {"ASAN_OPTIONS": "detect_leaks=0"} | variables


class Builder:
    """Compiles programs with the emulator's sources, each source once for each set of flags."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.objects: dict[tuple[str, ...], Path] = {}

    def compile(self, source: Path, flags: list[str]) -> Path:
        key = (source.name, *flags)
        if key not in self.objects:
            target = self.folder / f"{len(self.objects)}_{source.stem}.o"
            self.objects[key] = target
            include = [EMULATOR, ROOT, PROGRAMS, Path(sys.prefix) / "include"]
            command = ["g++", "-std=c++17", "-O1", "-g", "-fopenmp", "-Wno-unknown-pragmas"]
            command += ["-DDRML_CUDA_EMULATOR", *(f"-I{path}" for path in include), *flags]
            command += ["-x", "c++", "-c", str(source), "-o", str(target)]
            subprocess.run(command, check=True)
        return self.objects[key]

    def __call__(
        self,
        name: str,
        sanitizer: str = "",
        *,
        faults: tuple[str, ...] = (),
        libraries: tuple[str, ...] = (),
    ) -> Path:
        """The program of tests/emulator/<name>.cu; `faults` are switches of fibers.cpp."""
        flags = FLAGS[sanitizer]
        sources = {PROGRAMS / f"{name}.cu": flags}
        for source in EMULATOR.glob("*.cpp"):
            if source.stem != "cublas" or libraries:
                sources[source] = flags
        sources[EMULATOR / "fibers.cpp"] = [*flags, *faults]
        program = self.folder / "_".join([name, sanitizer, *faults])
        if not program.exists():
            with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
                objects = [str(path) for path in pool.map(self.compile, sources, sources.values())]
            command = ["g++", "-fopenmp", *flags, *objects, "-o", str(program), *libraries]
            subprocess.run(command, check=True)
        return program


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    return Builder(tmp_path_factory.mktemp("emulator"))


@pytest.fixture(scope="module")
def sanitized(build: Builder) -> Callable[..., Path]:
    """Builds as `build` does; skips where programs with that sanitizer do not run."""
    usable: dict[str, str] = {}

    def build_sanitized(name: str, sanitizer: str, **options: tuple[str, ...]) -> Path:
        if sanitizer not in usable:
            source = build.folder / "empty.cpp"
            source.write_text("int main() {}\n")
            program = build.folder / f"empty_{sanitizer}"
            command = ["g++", *FLAGS[sanitizer], str(source), "-o", str(program)]
            result = subprocess.run(command, capture_output=True, text=True)
            if result.returncode == 0:
                result = subprocess.run(
                    [program], env=environment(), capture_output=True, text=True
                )
            usable[sanitizer] = result.stderr if result.returncode else ""
        if usable[sanitizer]:
            pytest.skip(f"-fsanitize={sanitizer} does not work here: {usable[sanitizer]}")
        return build(name, sanitizer, **options)

    return build_sanitized


def run(program: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, *arguments],
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=300,
    )


def check_clean(result: subprocess.CompletedProcess[str]) -> None:
    assert (result.stderr, result.returncode) == ("", 0), result.stdout + result.stderr


# Right programs ----------------------------------------------------------------------------------


def test_kernels_in_any_order(build: Builder) -> None:
    program = build("check")
    expected = run(program, "kernels")
    check_clean(expected)
    for order in ("fwd", "rev", "rnd:1", "rnd:2", "rnd:3"):
        for threads in ("1", "3"):
            variables = {"DRML_EMULATOR_ORDER": order, "DRML_EMULATOR_THREADS": threads}
            result = run(program, "kernels", **variables)
            check_clean(result)
            assert result.stdout == expected.stdout


@pytest.mark.parametrize("part", ["launches", "memory", "streams", "graphs"])
def test_runtime(build: Builder, part: str) -> None:
    result = run(build("check"), part, DRML_EMULATOR_MEMORY=str(1 << 20))
    check_clean(result)
    assert result.stdout == ""


@pytest.mark.parametrize("sanitizer", ["address", "thread"])
@pytest.mark.parametrize("part", ["kernels", "launches", "memory", "streams", "graphs"])
def test_no_false_alarm(sanitized: Callable[..., Path], part: str, sanitizer: str) -> None:
    program = sanitized("check", sanitizer)
    for order in ("fwd", "rev"):
        variables = {"DRML_EMULATOR_MEMORY": str(1 << 20), "DRML_EMULATOR_ORDER": order}
        check_clean(run(program, part, **variables))


def test_blas(build: Builder) -> None:
    if not (Path(sys.prefix) / "include" / "oneapi" / "dnnl" / "dnnl.h").exists():
        pytest.skip("no headers of oneDNN")
    library = str(Path(sys.prefix) / "lib")
    program = build("blas", libraries=(f"-L{library}", f"-Wl,-rpath,{library}", "-ldnnl"))
    check_clean(run(program))


# Machines to pretend -----------------------------------------------------------------------------


def devices(program: Path, **variables: str) -> dict[str, str]:
    result = run(program, "devices", **variables)
    check_clean(result)
    return dict(line.split(": ", 1) for line in result.stdout.splitlines())


def test_one_device(build: Builder) -> None:
    assert devices(build("check")) == {
        "count": "cudaSuccess 1",
        "driver": "cudaSuccess 13000",
        "device 1": "cudaErrorInvalidDevice",
        "device 0": "cudaSuccess",
        "memory": "cudaSuccess",
        "properties": "cudaSuccess CUDA emulator 7.5",
        "kernel": "cudaSuccess",
        "launch": "cudaSuccess",
    }


def test_two_devices(build: Builder) -> None:
    found = devices(build("check"), DRML_EMULATOR_DEVICES="2")
    assert found["count"] == "cudaSuccess 2"
    assert found["device 1"] == "cudaSuccess"


@pytest.mark.parametrize(
    ("count", "error"), [("0", "cudaErrorNoDevice"), ("-1", "cudaErrorInsufficientDriver")]
)
def test_no_device(build: Builder, count: str, error: str) -> None:
    found = devices(build("check"), DRML_EMULATOR_DEVICES=count)
    assert found.pop("count") == f"{error} 0"
    assert found.pop("driver") == ("cudaSuccess 13000" if count == "0" else "cudaSuccess 0")
    assert found.pop("properties") == f"{error}  0.0"
    assert set(found.values()) == {error}


def test_little_memory(build: Builder) -> None:
    found = devices(build("check"), DRML_EMULATOR_MEMORY="15")
    assert found["memory"] == "cudaErrorMemoryAllocation"


def test_foreign_architecture(build: Builder) -> None:
    found = devices(build("check"), DRML_EMULATOR_ARCH="20")
    assert found["memory"] == "cudaSuccess"
    assert found["properties"] == "cudaSuccess CUDA emulator 2.0"
    assert found["kernel"] == "cudaErrorNoKernelImageForDevice"
    assert found["launch"] == "cudaErrorNoKernelImageForDevice"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("ORDER", "up", "is none of fwd, rev and rnd:SEED"),
        ("DEVICES", "one", "is no number"),
    ],
)
def test_bad_environment(build: Builder, name: str, value: str, words: str) -> None:
    result = run(build("check"), "kernels", **{f"DRML_EMULATOR_{name}": value})
    assert result.returncode == -signal.SIGABRT
    assert result.stderr == f"CUDA emulator: DRML_EMULATOR_{name}={value} {words}\n"


# Wrong programs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["missing_barrier", "missing_warp_barrier", "plain_update"])
def test_race(sanitized: Callable[..., Path], fault: str) -> None:
    result = run(sanitized("faults", "thread"), fault)
    assert result.returncode != 0
    assert "WARNING: ThreadSanitizer: data race" in result.stderr
    assert fault in result.stderr


@pytest.mark.parametrize(
    ("fault", "report"),
    [
        ("global_bound", "heap-buffer-overflow"),
        ("shared_bound", "global-buffer-overflow"),
        ("dynamic_bound", "heap-buffer-overflow"),
        ("freed_memory", "heap-use-after-free"),
        ("host_access", "use-after-poison"),
        ("other_device", "use-after-poison"),
    ],
)
def test_foreign_memory(sanitized: Callable[..., Path], fault: str, report: str) -> None:
    result = run(sanitized("faults", "address"), fault, DRML_EMULATOR_DEVICES="2")
    assert result.returncode != 0
    assert f"ERROR: AddressSanitizer: {report}" in result.stderr


def test_unset_memory(build: Builder) -> None:
    result = run(build("faults"), "unset_memory")
    assert result.stdout.strip().endswith("nan")


@pytest.mark.parametrize(
    ("fault", "message", "thread"),
    [
        (
            "divergent_barrier",
            "divergent barrier: the thread waits at __syncthreads in line 52, others in line 48",
            32,
        ),
        (
            "early_return",
            "the thread waits at __syncthreads in line 58, but others of its block have "
            "returned (1)",
            0,
        ),
        ("foreign_mask", "lane 16 is not in its own mask 0000ffff", 16),
        (
            "absent_lane",
            "the thread reads lane 23, which does not take part (mask 0000ffff)",
            15,
        ),
        (
            "incomplete_mask",
            "deadlock: the thread waits for lanes ffffffff of its warp, which do not all come",
            0,
        ),
    ],
)
def test_diagnosis(build: Builder, fault: str, message: str, thread: int) -> None:
    result = run(build("faults"), fault)
    assert result.returncode == -signal.SIGABRT
    place = f"block (0, 0, 0), thread ({thread}, 0, 0)"
    assert result.stderr == f"CUDA emulator: {message}; {place}\n"


# The project's own kernels -----------------------------------------------------------------------


@pytest.mark.parametrize("sanitizer", ["address", "thread"])
@pytest.mark.parametrize("kernel", ["statistics", "forward"])
def test_region_is_clean(sanitized: Callable[..., Path], kernel: str, sanitizer: str) -> None:
    check_clean(run(sanitized("region", sanitizer), kernel))


@pytest.mark.parametrize(
    ("kernel", "barrier"), [("statistics", 1), ("statistics", 2), ("forward", 1), ("forward", 2)]
)
def test_region_needs_each_barrier(
    sanitized: Callable[..., Path], kernel: str, barrier: int
) -> None:
    fault = f"-DDRML_EMULATOR_DROP_BARRIER={barrier}"
    result = run(sanitized("region", "thread", faults=(fault,)), kernel)
    assert result.returncode != 0
    assert "WARNING: ThreadSanitizer: data race" in result.stderr


def test_region_needs_all_shared_memory(sanitized: Callable[..., Path]) -> None:
    fault = "-DDRML_EMULATOR_SHRINK_SHARED=4"
    result = run(sanitized("region", "address", faults=(fault,)), "forward")
    assert result.returncode != 0
    assert "ERROR: AddressSanitizer: heap-buffer-overflow" in result.stderr
