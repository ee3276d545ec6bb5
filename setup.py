"""Build script of fastprep's extensions; pyproject.toml has everything else about the package.

The flags are part of the promise that every processor gives the same bits: no fused multiply-add
(`-ffp-contract=off`), no code for the machine that compiles (`-march=native`), and no `-ffast-math`.
"""

from collections.abc import Sequence
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

COMPILE_ARGS = ["-O3", "-ffp-contract=off", "-fno-math-errno", "-Wall", "-Wextra", "-Wno-unused-parameter"]
KERNELS = Path("fastprep/kernels")
HEADERS = [
    "fastprep/_sink.pxd",
    "fastprep/encoded/_jpeg_part.h",
    *map(str, sorted(KERNELS.glob("*.pxd"))),
    *map(str, sorted(KERNELS.glob("*.h"))),
]
CROP = [str(path) for path in sorted(KERNELS.glob("_crop*.c"))]
WARP = [f"{KERNELS}/_blend.c", *(str(path) for path in sorted(KERNELS.glob("_warp*.c")))]


def extension(name: str, *sources: str, libraries: Sequence[str] = ()) -> Extension:
    path = "/".join(name.split("."))
    return Extension(name, [f"{path}.pyx", *sources], extra_compile_args=COMPILE_ARGS, depends=HEADERS, libraries=[*libraries])


def optional(name: str, extensions: list[Extension]) -> list[Extension]:
    """Let the build go on where the extension of this name can't be compiled."""
    for built in extensions:
        built.optional = built.name == name
    return extensions


setup(
    ext_modules=optional(
        "fastprep.encoded._libjpeg",  # needs libjpeg-turbo with its headers; without it simplejpeg decodes
        cythonize(
            [
                extension("fastprep._sink"),
                extension("fastprep.encoded._libjpeg", "fastprep/encoded/_jpeg_part.c", libraries=["jpeg"]),
                extension("fastprep.pipeline._buffers"),
                extension("fastprep.sampling._hashes"),
                extension("fastprep.h5._heap"),
                extension("fastprep.h5._read"),
                extension("fastprep.kernels._cpu", *CROP),
                extension("fastprep.kernels._cpu_warp", *CROP, *WARP),  # which runs the crop kernel, too
                extension("fastprep.kernels._cpu_standard", f"{KERNELS}/_standard.c"),
                extension("fastprep.kernels._tables"),
                extension("fastprep.kernels._masks", f"{KERNELS}/_mask.c"),
            ],
            language_level=3,
            compiler_directives={"boundscheck": False, "wraparound": False, "cdivision": True, "embedsignature": True},
        ),
    ),
)
