"""Build the C kernels and the Cython modules. All metadata is in pyproject.toml.

FASTRNN_OPENMP=0 builds without OpenMP, FASTRNN_BOUNDS=1 checks every memoryview index and every kernel's contract,
FASTRNN_SANITIZE=1 builds with ASan and UBSan, FASTRNN_EMULATE_AVX512=1 emulates the AVX-512 kernels (needs SIMDe's
headers).
"""

import os
import sys
import tempfile
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

SWITCHES = ("FASTRNN_OPENMP", "FASTRNN_BOUNDS", "FASTRNN_SANITIZE", "FASTRNN_EMULATE_AVX512")
SWITCHES_FILE = Path("build", "switches")  # what the last build had; changed switches make it newer than all modules
COMPILED = [path for folder in ("_core", "torch") for path in sorted(Path("fastrnn", folder).glob("*.pyx"))]
SOURCES = {  # the C files of each module besides its own
    "kernels": ["src/dispatch.c", *sorted(str(path) for path in Path("src/isa").glob("*.c"))],
    "memory": ["src/native/allocate.c"],
    "probe": ["src/native/caches.c", "src/native/probe.c"],
    "team": ["src/native/granted.c", "src/native/neighbours.c", "src/native/speeds.c"],
}
HEADERS = [str(path) for path in sorted(Path("src").rglob("*.h"))]

# No -ffast-math, at compile time or link time: it would flush subnormals in the whole process. No -march either: the
# sources name their instruction sets themselves. -g0 because Debian's and others' default is -g, ten times the size.
FLAGS = ["-O3", "-g0", "-std=gnu11", "-fno-math-errno", "-fno-trapping-math", "-fvisibility=hidden"]
LINK_FLAGS = []

switches = " ".join(f"{name}={os.environ.get(name, '')}" for name in SWITCHES)
switches_changed = not SWITCHES_FILE.exists() or SWITCHES_FILE.read_text() != switches


def switched_on(name):
    return os.environ.get(name, "0") not in ("", "0")


if switched_on("FASTRNN_SANITIZE"):
    FLAGS += ["-fsanitize=address,undefined", "-fno-omit-frame-pointer", "-g"]
    LINK_FLAGS += ["-fsanitize=address,undefined"]
if switched_on("FASTRNN_BOUNDS"):
    FLAGS += ["-DFR_CHECKED"]
if switched_on("FASTRNN_EMULATE_AVX512"):
    FLAGS += ["-DFR_EMULATE_AVX512"]


class BuildExtensions(build_ext):
    """Adds OpenMP to every extension where the compiler and its library have it; says so where they have not."""

    def build_extensions(self):
        flags = self.openmp_flags()
        if flags is None:
            print("fastrnn: building without OpenMP, every call will run on one thread", file=sys.stderr)
        for extension in self.extensions:
            extension.extra_compile_args = FLAGS + (flags or [])
            extension.extra_link_args = LINK_FLAGS + (flags or [])
        self.parallel = self.parallel or True  # True: as many compilers at once as there are cores
        super().build_extensions()

    def openmp_flags(self):
        if os.environ.get("FASTRNN_OPENMP") == "0":
            return None
        with tempfile.TemporaryDirectory() as folder:
            probe = Path(folder, "probe.c")
            probe.write_text("#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n")
            try:
                objects = self.compiler.compile([str(probe)], folder, extra_postargs=["-fopenmp"])
                self.compiler.link_executable(objects, str(Path(folder, "probe")), extra_postargs=["-fopenmp"])
            except Exception:  # whichever way the compiler fails, it has no OpenMP
                return None
        return ["-fopenmp"]


def extension(path):
    return Extension(
        ".".join(path.with_suffix("").parts),
        [str(path), *SOURCES.get(path.stem, ())],
        include_dirs=["src", numpy.get_include()],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
        depends=[*HEADERS, str(SWITCHES_FILE)],
    )


checked = switched_on("FASTRNN_BOUNDS")
directives = {"language_level": 3, "wraparound": False, "cdivision": True}
directives |= {"boundscheck": checked, "initializedcheck": checked}
modules = cythonize(
    [extension(path) for path in COMPILED],
    force=switches_changed,
    compiler_directives=directives,
)
if switches_changed:
    SWITCHES_FILE.parent.mkdir(exist_ok=True)
    SWITCHES_FILE.write_text(switches)
setup(cmdclass={"build_ext": BuildExtensions}, ext_modules=modules)
