"""Programs of CUDA kernels that are compiled as C++: each thread of each block runs on the CPU, under sanitizers."""

import struct
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np

HOST = Path(__file__).parents[1] / "kernels"
# -fno-strict-aliasing: CUDA code reads numbers of one type from memory where others were stored.
FLAGS = ["-std=c++17", "-ffp-contract=off", "-fno-strict-aliasing", "-Wall", "-Wno-unknown-pragmas"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


class Launches:
    """Launches of the kernel that are compiled into one program and run together.

    The compiler takes longer than the program, and without optimisation a third of the time. For much work, set `optimization`.
    """

    optimization = "-O0"

    def __init__(self, folder):
        self.folder = folder
        self.sources, self.kernels, self.inputs, self.outs, self.checks = {}, [], [], [], []

    def add(self, launch, out, past=(0, 0), blocks=None, tails=None):
        """Add a launch; `past`: bytes between a multiple of 16 and where the images, or `out`, begin."""
        key = (launch.source, launch.options, launch.name)
        if key not in self.sources:
            self.sources[key] = f"kernel_{len(self.sources)}"
        self.kernels.append(f"case_{self.sources[key]}::run")
        self.outs.append(out)
        first, n_blocks = blocks or (0, launch.grid[0])
        self.inputs.append(struct.pack("3q", launch.block[0], first, n_blocks))
        checks = np.zeros(launch.n_out, np.uint32) if launch.spec.checks_finite else np.uint64(0)
        self.checks.append(checks)
        for k, argument in enumerate((*launch.arguments(out, checks)[:5], checks)):
            if np.ndim(argument) == 0 and isinstance(argument, np.generic):  # a null pointer
                self.inputs.append(struct.pack("3q", -1, 0, 0))
                continue
            n_bytes = int(np.prod(argument.shape)) * argument.dtype.itemsize
            tail = argument.tail if isinstance(argument, SimpleNamespace) else np.asarray(argument)
            self.inputs.append(struct.pack("3q", n_bytes, {0: past[0], 4: past[1]}.get(k, 0), tail.nbytes))
            self.inputs.append(b"" if k == 4 else np.ascontiguousarray(tail).tobytes())

    def run(self):
        """Run all launches, and return their results."""
        parts = []
        for (source, options, kernel), name in self.sources.items():
            parts += in_namespace(name, kernel, source, options, 6 if "-DCHECK_FINITE=1" in options else 5)
        parts.append(f"static void (*const CASES[])(void *const *) = {{{', '.join(self.kernels)}}};")
        (self.folder / "cases.h").write_text("\n".join(parts) + "\n")
        (self.folder / "input").write_bytes(b"".join(self.inputs))
        program, flags = self.folder / "program", [*FLAGS, *SANITIZERS, self.optimization]
        call("g++", *flags, f"-I{HOST}", f"-I{self.folder}", HOST / "cuda_host.cpp", "-o", program)
        call(program, self.folder / "input", self.folder / "output")
        stored = (self.folder / "output").read_bytes()
        results = []
        for out, checks in zip(self.outs, self.checks, strict=True):
            tail = getattr(out, "tail", out)
            results.append(np.frombuffer(stored[: tail.nbytes], tail.dtype).reshape(tail.shape))
            stored = stored[tail.nbytes :]
            if np.ndim(checks):
                checks[:] = np.frombuffer(stored[: checks.nbytes], np.uint32)
                stored = stored[checks.nbytes :]
        assert stored == b""
        return results


class ArrayProgram:
    """Launches of kernels whose arguments are arrays, in memory of exactly their size, and numbers."""

    def __init__(self, folder):
        self.folder, self.sources, self.launches = folder, {}, []

    def add(self, kernel, source, options, grid_and_block, arguments):
        """Add a launch; `arguments`: arrays, or those that earlier launches write as (launch, argument), and numbers of int32."""
        name = self.sources.setdefault((kernel, source, options, len(arguments)), f"kernel_{len(self.sources)}")
        self.launches.append((name, grid_and_block, arguments))
        return len(self.launches) - 1

    def run(self):
        """Run all launches; return the arguments of each as they are at the end."""
        parts = ['#include "cuda_host.h"']
        for (kernel, source, options, n_arguments), name in self.sources.items():
            parts += in_namespace(name, kernel, source, options, n_arguments)
        parts += ["int main(int, char **names)", "{", 'FILE *input = std::fopen(names[1], "rb");']
        given, numbers = [], {}  # arrays, and the number of each argument's
        for launch, (name, (grid, block), arguments) in enumerate(self.launches):
            for k, argument in enumerate(arguments):
                numbers[launch, k] = numbers[argument] if isinstance(argument, tuple) else len(given)
                if not isinstance(argument, tuple):
                    given.append(np.asarray(argument))
                    parts.append(f"void *a{len(given) - 1} = read_array(input, {given[-1].nbytes});")
            listed = ", ".join(f"a{numbers[launch, k]}" for k in range(len(arguments)))
            parts.append(f"{{ void *a[] = {{{listed}}}; launch(case_{name}::run, a, 0, {grid[0]}, {block[0]}); }}")
        parts.append('FILE *output = std::fopen(names[2], "wb");')
        parts += [f"std::fwrite(a{k}, 1, {array.nbytes}, output), std::free(a{k});" for k, array in enumerate(given)]
        parts += ["return std::fclose(input) || std::fclose(output);", "}"]
        (self.folder / "program.cpp").write_text("\n".join(parts))
        (self.folder / "input").write_bytes(b"".join(array.tobytes() for array in given))
        program = self.folder / "program"
        call("g++", *FLAGS, *SANITIZERS, f"-I{HOST}", self.folder / "program.cpp", "-o", program)
        call(program, self.folder / "input", self.folder / "output")
        stored, results = (self.folder / "output").read_bytes(), []
        for array in given:
            results.append(np.frombuffer(stored[: array.nbytes], array.dtype).reshape(array.shape))
            stored = stored[array.nbytes :]
        return [
            [results[numbers[launch, k]] for k in range(len(arguments))] for launch, (*_, arguments) in enumerate(self.launches)
        ]


def in_namespace(name, kernel, source, options, n_arguments):
    """Return the lines of C++ with a kernel and a function ``run``, which takes its arguments, in a namespace."""
    defined = [option[2:].split("=") for option in options if option.startswith("-D")]
    lines = [f"#define {key} {value}" for key, value in defined]
    lines += [f"#define {kernel} {name}", f"namespace case_{name} {{", source]
    given = ", ".join(f"Argument{{a[{k}]}}" for k in range(n_arguments))
    lines.append(f"static void run(void *const *a) {{ {kernel}({given}); }} }}")
    return lines + [f"#undef {key}" for key in [kernel, *(key for key, _ in defined)]]


def call(*command):
    """Run a command, which succeeds."""
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "ASAN_OPTIONS": "detect_leaks=0"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[:4000]
