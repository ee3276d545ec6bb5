"""examples/engines: two processes of each engine, one of which is killed in the middle, and what they have trained on."""

import ast
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from optional_libraries import needs
from recorded_run import runs

import fastprep
from fastprep.h5 import write_images

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "examples" / "engines"
SUPPORT = ROOT / "tests" / "support"
TIMEOUT_S = 300
KILL = "[1, 0, 3]"  # rank, epoch and step; saves come after steps 1 and 3 of 0..4
OPTIONS = ["--size", "12", "--batch-size", "4", "--epochs", "2", "--every", "2"]
OF_JAX = {  # what takes least time to compile, and compiles it once for both ranks and runs
    "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    "JAX_PLATFORMS": "cpu",
}
OF_RAY = """
import json, runpy, sys
import ray

record, kill, script, *arguments = sys.argv[1:]

def install():
    import recorded_run
    recorded_run.install(record, json.loads(kill))

ray.init(num_cpus=2, include_dashboard=False, runtime_env={"worker_process_setup_hook": install})
sys.argv[:] = [script, *arguments]
runpy.run_path(script, run_name="__main__")
"""


@pytest.fixture
def path(tmp_path):
    """A file of 40 images, which two ranks with batches of 4 read in five steps."""
    rng = np.random.default_rng(5)
    write_images(tmp_path / "train.h5", rng.integers(0, 256, (40, 16, 16, 3)).astype("uint8"), np.arange(40) % 2)
    return tmp_path / "train.h5"


def environment(backend, more):
    path = os.pathsep.join([str(ROOT), str(SUPPORT), *filter(None, sys.path)])
    own = {"PYTHONPATH": path, "KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": "-1", "OMP_NUM_THREADS": "1"}
    return {**os.environ, **own, **more}


def start(words, backend, **more):
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, *map(str, words)], env=environment(backend, more), **streams)


def end_of(process):
    """Return what a process printed; it ended well."""
    printed, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, f"{printed}\n{errors}"
    return printed


def check_samples(path, record, killed_at=(0, 3), resumed_at=((0, 2),)):
    """Check what two ranks trained on, one of which was killed: the order of one process, and each sample once an epoch."""
    first, second = zip(*(runs(record, rank) for rank in range(2)), strict=True)
    began_at = second[0][0][:2]
    assert tuple(began_at) in resumed_at  # a save before the kill
    assert tuple(first[1][-1][:2]) == killed_at  # after a step that no save has
    kept = [[batch for batch in batches if batch[:2] < began_at] for batches in first]
    trained = [before + after for before, after in zip(kept, second, strict=True)]
    with fastprep.Loader(path, 8, None, shuffle=True, drop_remainder=True, device="cpu") as whole:  # of one process
        expected = [[epoch, step, sorted(whole.samples(epoch, step))] for epoch in range(2) for step in range(5)]
    assert [[*one[:2], sorted(one[2] + other[2])] for one, other in zip(*trained, strict=True)] == expected
    for epoch in range(2):
        assert sorted(sample for rank in trained for at, _, samples in rank if at == epoch for sample in samples) == list(
            range(40)
        )


@needs("jax", "keras")
def test_jax_two_processes_have_the_same_weights_and_go_on_after_one_was_killed(path, tmp_path):
    more = {**OF_JAX, "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled")}
    record, script = tmp_path / "record", FOLDER / "jax_data_parallel.py"
    options = ["--train", path, "--val", path, *OPTIONS, "--out", tmp_path / "saved.npz", "--world", 2]

    def both():
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            coordinator = f"localhost:{free.getsockname()[1]}"
        command = [SUPPORT / "recorded_run.py", record, KILL, script, *options, "--coordinator", coordinator]
        return [start([*command, "--rank", rank], "jax", **more) for rank in range(2)]

    ranks = both()
    try:
        ranks[1].communicate(timeout=TIMEOUT_S)
        assert ranks[1].returncode == -9
    finally:  # the other one would wait until JAX misses heartbeats for 100 s
        ranks[0].kill()
        ranks[0].communicate()
    ranks = both()
    try:
        lines = [end_of(process).splitlines()[-1] for process in ranks]
    finally:
        for process in ranks:
            process.kill()
    assert [line.partition(":")[0] for line in lines] == ["rank 0 of 2", "rank 1 of 2"]
    assert lines[0].partition(":")[2] == lines[1].partition(":")[2]  # metrics, and a hash of the weights
    assert re.search(r"val_accuracy .*, weights [0-9a-f]{12}$", lines[0])
    check_samples(path, record)


@needs("torch", "keras")
def test_torchrun_two_processes_have_the_same_weights_and_go_on_after_one_was_killed(path, tmp_path):
    record, script = tmp_path / "record", FOLDER / "torch_ddp.py"
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2]
    command = [
        *launch,
        SUPPORT / "recorded_run.py",
        record,
        KILL,
        script,
        "--train",
        path,
        *OPTIONS,
        "--out",
        tmp_path / "saved.pt",
    ]
    process = start(command, "torch")
    _, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 1
    assert "Signal 9 (SIGKILL)" in errors  # torchrun has ended the other rank
    printed = end_of(start(command, "torch"))
    assert "epoch 2: loss" in printed
    found = dict(re.findall(r"^rank (\d) of 2: weights ([0-9a-f]{12})$", printed, re.M))
    assert set(found) == {"0", "1"}
    assert len(set(found.values())) == 1
    check_samples(path, record)


@needs("ray", "torch", "keras")
def test_ray_train_starts_workers_again_after_one_was_killed(path, tmp_path):
    record, script = tmp_path / "record", FOLDER / "ray_train.py"
    kill = "[1, 1, 3]"  # of the second epoch: Ray Train may not yet have taken the checkpoint of a moment before
    command = ["-c", OF_RAY, record, kill, script, "--train", path, *OPTIONS, "--out", tmp_path / "runs"]
    printed = end_of(start(command, "torch", RAY_DEDUP_LOGS="0"))
    found = dict(re.findall(r"rank (\d) of 2: epoch 2, weights ([0-9a-f]{12})", printed))
    assert set(found) == {"0", "1"}
    assert len(set(found.values())) == 1
    assert f"'weights': '{found['0']}'" in printed.splitlines()[-1]
    check_samples(path, record, (1, 3), [(0, 2), (0, 4), (1, 0), (1, 2)])


def test_readme_and_docstrings_name_each_program():
    readme = (ROOT / "examples" / "README.md").read_text()
    programs = sorted(FOLDER.glob("*.py"))
    assert [path.stem for path in programs] == ["jax_data_parallel", "ray_train", "torch_ddp"]
    assert sorted(re.findall(r"^\| \[(engines/\w+\.py)\]\((engines/\w+\.py)\) \|", readme, re.M)) == [
        (f"engines/{path.name}", f"engines/{path.name}") for path in programs
    ]
    for path in programs:
        assert f"examples/engines/{path.name}" in ast.get_docstring(ast.parse(path.read_text()))
