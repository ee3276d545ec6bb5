"""What fastprep does on a GPU, as one table: bits, speed beside the device's own limits and other ways, fit, and the waits.

    python benchmarks/gpu.py --json gpu.json

Each section is a process of its own with a limit (`gpu_sections/`), so that one that fails or hangs does not end the others.
TensorFlow is not needed. benchmarks/README.md says what each line means.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from gpu_sections import SECTIONS, Section, table
from gpu_sections.rows import Job
from tyro.conf import FlagCreatePairsOff, arg

from fastprep import __version__
from fastprep.cli.command import Command
from fastprep.cli.help import flowing, wrapped_description
from fastprep.cli.output import safe_output, write_line
from fastprep.errors import DeviceUnavailableError, InputError
from fastprep.kernels.device import Gpu
from fastprep.system import whole_file

BENCHMARKS = Path(__file__).resolve().parent
NAMES = tuple(SECTIONS)


@flowing
@dataclass(frozen=True)
class Config:
    """Print a table of what fastprep does on a GPU: bits, speed, training and waits.

    The exit status is 0 if every section came to its end, or was left out because a library is missing, and all is as it must be.
    """

    sections: Annotated[tuple[Literal[*NAMES], ...], arg(metavar="NAME")] = NAMES
    """Sections to run, in this order."""
    device: Annotated[int, arg(metavar="N")] = 0
    """Number of the CUDA device; the sections see no other one."""
    rounds: Annotated[int, arg(metavar="N")] = 7
    """Number of timings, all in turn; medians and spreads are shown."""
    limit: Annotated[float | None, arg(metavar="SECONDS")] = None
    """Time that each section may take. Default: a limit of its own, 60 to 240 s."""
    json: Annotated[str | None, arg(metavar="FILE")] = None
    """New file for everything that was measured; it is written after each section. Default: none."""
    dry_run: bool = False
    """Run on the tests' stand-in for a GPU, with tiny sizes, to find mistakes in the sections. The numbers mean nothing."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command, and return its exit status; see `fastprep.cli.command.Command.run`."""
    words = sys.argv[1:] if argv is None else argv
    marked, name = FlagCreatePairsOff[Config], "python benchmarks/gpu.py"  # type: ignore[valid-type]
    with safe_output():
        config = tyro.cli(marked, args=words, prog=name, description=wrapped_description(Config))
    return Command("gpu.py", errors=(InputError, DeviceUnavailableError)).run(lambda: _run(config))


def _run(config: Config) -> int:
    _check(config)
    document: dict[str, Any] = {
        "command": " ".join(["python benchmarks/gpu.py", *sys.argv[1:]]),
        "date": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "fastprep": __version__,
        "is_dry": config.dry_run,
        "rounds": config.rounds,
        "sections": [],
    }
    with tempfile.TemporaryDirectory(prefix="fastprep-gpu-") as folder:
        job, devices = Job(folder, config.rounds, config.dry_run), visible(config)
        for name in dict.fromkeys(config.sections):
            section = SECTIONS[name]
            limit_s = section.limit_s if config.limit is None else config.limit
            document["sections"].append(measure(command_of(section, job), section, limit_s, devices))
            write_line(*table.lines_of(document["sections"][-1]), flush=True)
            if config.json is not None:
                _save(document, config.json)
    write_line(*table.summary(document))
    return 0 if table.is_good(document) else 1


def _check(config: Config) -> None:
    """Refuse what can't work before anything is measured."""
    if config.rounds < 1:
        raise InputError(f"--rounds must be at least 1, got {config.rounds}")
    if config.limit is not None and not config.limit > 0:
        raise InputError(f"--limit must be more than 0 seconds, got {config.limit:g}")
    if config.device < 0:
        raise InputError(f"--device must be the number of a CUDA device, from 0, got {config.device}")
    if config.json is not None and os.path.lexists(config.json):
        raise InputError(f"--json names {config.json!r}, which exists already: move it away, or choose another name")
    if config.dry_run:
        if not (BENCHMARKS.parent / "tests" / "support" / "fake_cupy.py").exists():
            raise InputError("--dry-run needs the folder `tests` of fastprep's source beside `benchmarks`")
        if config.device:
            raise InputError(f"--dry-run has one device, cuda:0, got --device {config.device}")
        return
    try:
        Gpu(config.device)
    except DeviceUnavailableError as error:
        raise DeviceUnavailableError(f"no GPU to measure: {error}; --dry-run tries the sections without one") from error


def visible(config: Config) -> str:
    """Return the value of CUDA_VISIBLE_DEVICES that shows the sections one device, or none in a dry run."""
    if config.dry_run:
        return "-1"
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    return str(config.device) if shown is None else shown.split(",")[config.device].strip()


def command_of(section: Section, job: Job) -> list[str]:
    """Return the command of a section's process."""
    return [sys.executable, "-m", "gpu_sections", section.name, json.dumps(job.as_json())]


def measure(command: Sequence[str], section: Section, limit_s: float, devices: str) -> dict[str, Any]:
    """Run the process of a section until it ends or its time is over.

    Parameters
    ----------
    command : sequence of str
    section : Section
    limit_s : float
        Seconds.
    devices : str
        CUDA_VISIBLE_DEVICES of the process.

    Returns
    -------
    dict
        name; status, as in `table`; reason, unless it is done; seconds; limit_s; rows, those before a failure included.
    """
    folders = [BENCHMARKS, BENCHMARKS.parent / "tests", BENCHMARKS.parent / "tests" / "support"]
    paths = [*map(str, folders), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    environment = {
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # the loaders need memory of the device, too
        "TF_CPP_MIN_LOG_LEVEL": "2",
        **os.environ,
        **section.environment,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "CUDA_VISIBLE_DEVICES": devices,
    }
    began = time.perf_counter()
    status, out, errors = _output_of(command, environment, limit_s)
    messages = [json.loads(line) for line in out.splitlines() if line.startswith("{") and line.endswith("}")]
    result = {"name": section.name, **_end(status, messages, errors, limit_s)}
    rows = [message["row"] for message in messages if "row" in message]
    return {**result, "seconds": time.perf_counter() - began, "limit_s": limit_s, "rows": rows}


def _output_of(command: Sequence[str], environment: dict[str, str], limit_s: float) -> tuple[int | None, str, str]:
    """Return exit status, standard output and standard error of a process; None for the status if its time was over."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, **pipes, text=True, errors="replace", env=environment, start_new_session=True)
    try:
        out, errors = process.communicate(timeout=limit_s)
        return process.returncode, out, errors
    except subprocess.TimeoutExpired:
        _kill(process)
        return None, *process.communicate()
    finally:
        _kill(process)  # after Ctrl-C, and whatever it has started and not ended


def _end(status: int | None, messages: list[dict[str, Any]], errors: str, limit_s: float) -> dict[str, str]:
    """Return how a section ended, by its last message or else by its exit status, and why."""
    end = messages[-1] if messages else {}
    if status is None:
        return {"status": table.STOPPED, "reason": f"at its limit of {limit_s:g} s"}
    if "done" in end:
        return {"status": table.DONE, "reason": ""}
    if "left_out" in end:
        return {"status": table.LEFT_OUT, "reason": end["left_out"]}
    last = (errors.strip().splitlines() or ["nothing on standard error"])[-1][:400]
    return {"status": table.FAILED, "reason": end.get("failed", f"it ended with status {status}: {last}")}


def _kill(process: subprocess.Popen) -> None:
    """End a process with all that it has started; it is alone in its session."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _save(document: dict[str, Any], path: str) -> None:
    with whole_file(path) as temporary:
        Path(temporary).write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
