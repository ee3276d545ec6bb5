"""Build script of fastprep's extensions; pyproject.toml has everything else about the package.

The flags are part of the promise that every processor gives the same bits: no fused multiply-add
(`-ffp-contract=off`), no code for the machine that compiles (`-march=native`), and no `-ffast-math`.
"""

from Cython.Build import cythonize
from setuptools import Extension, setup

COMPILE_ARGS = ["-O3", "-ffp-contract=off", "-fno-math-errno", "-Wall", "-Wextra", "-Wno-unused-parameter"]
HEADERS = [
    "fastprep/_sink.pxd",
    *(f"fastprep/kernels/{name}.h" for name in ("_crop", "_crop_rows", "_crop_x86", "_crop_x86_lines")),
]
KERNEL = [f"fastprep/kernels/{name}.c" for name in ("_crop", "_crop_rows", "_crop_x86")]


def extension(name: str, *sources: str) -> Extension:
    path = "/".join(name.split("."))
    return Extension(name, [f"{path}.pyx", *sources], extra_compile_args=COMPILE_ARGS, depends=HEADERS)


setup(
    ext_modules=cythonize(
        [
            extension("fastprep._sink"),
            extension("fastprep.pipeline._buffers"),
            extension("fastprep.h5._read"),
            extension("fastprep.kernels._cpu", *KERNEL),
        ],
        language_level=3,
        compiler_directives={"boundscheck": False, "wraparound": False, "cdivision": True, "embedsignature": True},
    ),
)
