"""A script of this folder in a process of its own, with Keras on a given backend."""

import json
import os
import subprocess
import sys
from pathlib import Path

SUPPORT = Path(__file__).parent


def results_of(script, backend, *arguments):
    """Return the JSON that a script prints as its last line; JAX has two devices there."""
    done = subprocess.run(
        [sys.executable, str(SUPPORT / script), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=550,
        check=False,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "KERAS_BACKEND": backend,
            "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        },
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])
