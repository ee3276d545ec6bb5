"""A script of this folder in a process of its own, with Keras on a given backend."""

import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

SUPPORT = Path(__file__).parent


@functools.cache
def _folder():
    return tempfile.TemporaryDirectory(prefix="compiled-by-jax-")  # which goes when the tests end


def compiled_once():
    """Return variables with which JAX compiles each program once, for all processes that are started with them."""
    return {
        "JAX_COMPILATION_CACHE_DIR": _folder().name,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


def results_of(script, backend, *arguments):
    """Return the JSON that a script prints as its last line; JAX has two devices there."""
    done = subprocess.run(
        [sys.executable, str(SUPPORT / script), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=550,
        check=False,
        env={
            **compiled_once(),
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "KERAS_BACKEND": backend,
            "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        },
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])
