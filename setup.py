"""Builds drml._core by CMake; everything else about the package stands in pyproject.toml."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pybind11
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent


def onednn_dir() -> str:
    """Folder of the oneDNN wheels' dnnl-config.cmake, or '' when they are not installed."""
    try:
        files = metadata.files("onednn-devel-cpu-gomp") or []
    except metadata.PackageNotFoundError:
        return ""
    for file in files:
        if file.name == "dnnl-config.cmake":
            return str(Path(file.locate()).resolve().parent)
    return ""


# Options of CMakeLists.txt that may stand in the environment; CMAKE_ARGS sets any other.
CMAKE_OPTIONS = ("DRML_CUDA", "DRML_CUDA_ARCHITECTURES", "DRML_CUBLAS_DIR")


class BuildWithNets(build_py):
    """Puts the networks of prototxt/ into the package."""

    def run(self) -> None:
        super().run()
        target = Path(self.build_lib) / "drml" / "prototxt"
        self.mkpath(str(target))
        for net in (ROOT / "prototxt").glob("*.prototxt"):
            self.copy_file(str(net), str(target / net.name))


class CMakeBuild(build_ext):
    """Runs CMake's configure, build and install steps for the extension."""

    def build_extension(self, ext: Extension) -> None:
        package = Path(self.get_ext_fullpath(ext.name)).resolve().parent
        build = Path(self.build_temp).resolve()
        configure = [
            "cmake",
            *("-S", str(ROOT), "-B", str(build)),
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
            f"-DDRML_ONEDNN_DIR={onednn_dir()}",
            f"-DCMAKE_INSTALL_PREFIX={package.parent}",
            *(f"-D{name}={os.environ[name]}" for name in CMAKE_OPTIONS if name in os.environ),
            *os.environ.get("CMAKE_ARGS", "").split(),
        ]
        jobs = str(len(os.sched_getaffinity(0)))
        subprocess.run(configure, check=True)
        subprocess.run(["cmake", "--build", str(build), "--parallel", jobs], check=True)
        subprocess.run(["cmake", "--install", str(build)], check=True)


setup(
    ext_modules=[Extension("drml._core", sources=[])],
    cmdclass={"build_ext": CMakeBuild, "build_py": BuildWithNets},
)
