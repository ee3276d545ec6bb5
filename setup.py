"""Build script of fastprep's extensions; pyproject.toml has everything else about the package.

The flags are part of the promise that every processor gives the same bits: no fused multiply-add
(`-ffp-contract=off`), no code for the machine that compiles (`-march=native`), and no `-ffast-math`.
"""

import copy
import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

COMPILE_ARGS = ["-O3", "-ffp-contract=off", "-fno-math-errno", "-Wall", "-Wextra", "-Wno-unused-parameter"]
KERNELS = Path("fastprep/kernels")
HEADERS = ["fastprep/_sink.pxd", *map(str, sorted(KERNELS.glob("*.pxd"))), *map(str, sorted(KERNELS.glob("*.h")))]
CROP = [str(path) for path in sorted(KERNELS.glob("_crop*.c"))]
OWN_HEADERS = {
    "fastprep.encoded._libjpeg": ["fastprep/encoded/_jpeg_part.h"],
    "fastprep.h5._decode": ["fastprep/h5/_byte_order.h", "fastprep/h5/_filters.h"],
    "fastprep.h5._read": ["fastprep/h5/_byte_order.h"],
}
LIBRARIES = {"fastprep.encoded._libjpeg": ["jpeg"]}  # libjpeg-turbo; where its headers are missing, simplejpeg decodes
FILTERS = [f"fastprep/h5/_{name}.c" for name in ("bitshuffle", "blosc2", "byte_order", "filters", "lzf", "shuffle", "tiles")]
WARP = [f"{KERNELS}/_blend.c", *(str(path) for path in sorted(KERNELS.glob("_warp*.c")))]
PROCESSORS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def extension(name: str, *sources: str) -> Extension:
    path = "/".join(name.split("."))
    headers = [*HEADERS, *OWN_HEADERS.get(name, ())]
    libraries = LIBRARIES.get(name, [])
    return Extension(name, [f"{path}.pyx", *sources], extra_compile_args=COMPILE_ARGS, depends=headers, libraries=libraries)


class BuildAtOnce(build_ext):
    """Compiles as many extensions at a time as there are processors, and goes on where one that needs a library can't be."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.parallel = self.parallel or PROCESSORS
        for built in self.extensions:
            built.optional = built.name in LIBRARIES  # an argument of Extension, which cythonize would not pass on

    def build_extension(self, ext: Extension) -> None:
        alone = copy.copy(self)
        alone.build_temp = os.path.join(self.build_temp, ext.name)  # two extensions compile some files with the same names
        super(BuildAtOnce, alone).build_extension(ext)


if __name__ == "__main__":  # the processes that Cython starts import this file, too
    setup(
        cmdclass={"build_ext": BuildAtOnce},
        ext_modules=cythonize(
            [
                extension("fastprep.kernels._cpu_warp", *CROP, *WARP),  # which runs the crop kernel, too; the longest
                extension("fastprep.kernels._cpu", *CROP),
                extension("fastprep._sink"),
                extension("fastprep.encoded._libjpeg", "fastprep/encoded/_jpeg_part.c"),
                extension("fastprep.pipeline._buffers"),
                extension("fastprep.sampling._hashes"),
                extension("fastprep.h5._decode", *FILTERS),
                extension("fastprep.h5._heap"),
                extension("fastprep.h5._read", "fastprep/h5/_byte_order.c"),
                extension("fastprep.kernels._cpu_standard", f"{KERNELS}/_standard.c"),
                extension("fastprep.kernels._tables"),
                extension("fastprep.kernels._masks", f"{KERNELS}/_mask.c"),
            ],
            nthreads=PROCESSORS,
            language_level=3,
            compiler_directives={
                "boundscheck": False,
                "wraparound": False,
                "cdivision": True,
                "embedsignature": True,
                "freethreading_compatible": True,
            },
        ),
    )
