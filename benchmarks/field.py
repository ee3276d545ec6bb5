"""The whole field on one job: images of 256x256x3 uint8 to crops, mean subtracted, float32, in host memory.

Crops are of 227 pixels, at random or ten of each image, or random-resized ones of 224. Those of 224 are a job with JPEG files,
too, of 500x375 pixels.

Every contender is a process (`peers/`), for their libraries don't get on in one environment. They are prepared one after the
other, each checks its own pixels, and then rounds are interleaved: in each round every contender runs one epoch, alone.
benchmarks/README.md says how to install them and how to run this.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import platform
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
import report

PEERS = Path(__file__).parent / "peers"
sys.path.insert(1, str(PEERS))
import boxes  # noqa: E402 - the contenders' modules lie beside them
import jpegs  # noqa: E402

CONTENDERS = (
    *(report.MEMSET, report.ANCHOR, "numpy_h5py:mmap", "fastprep_loader:pread", "fastprep_loader:mmap", "tutorial", "tf_data"),
    *("keras_layers", "torch_v2", "ffcv_raw", "dali_cpu:h5py", "dali_cpu:mmap", "grain_threads", "spdl_threads", "mds_streaming"),
    *("pillow_numpy", "albumentations_cv2"),
)
"""Scripts of `peers/`, those with several ways followed by one of them."""

WITH_JPEGS = tuple(f"jpeg_{name}" for name in ("bare", "fastprep", "by_hand", "tf_data", "torch", "ffcv", "dali", "spdl"))
"""Those for the job whose images are JPEG files."""


class Failure(Exception):
    """A contender ended, or did not answer in time."""


class Contender:
    """A process of `peers/`; a context manager."""

    def __init__(self, key: str, python: str, arguments: list[str], cores: int, folder: Path, timeout: float) -> None:
        self.key, self.timeout = key, timeout
        self.errors = folder / f"{key.replace(':', '-')}.log"
        script, _, variant = key.partition(":")
        command = [python, str(PEERS / f"{script}.py"), *arguments, *(["--variant", variant] if variant else [])]
        # temporary files where they are deleted whatever happens; and what is measured is host memory, with a GPU or without
        environment = os.environ | {"TMPDIR": str(folder), "CUDA_VISIBLE_DEVICES": ""}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with self.errors.open("wb") as errors, _on(cores):  # inherited, before any library counts cores
            self.process = subprocess.Popen(command, **pipes, stderr=errors, env=environment, bufsize=0)
        self.unread = b""

    def __enter__(self) -> Contender:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def answer(self) -> dict:
        """Return what the next line of its standard output says.

        Raises
        ------
        Failure
            If there is none.
        """
        end = time.monotonic() + self.timeout
        while b"\n" not in self.unread:
            if not select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))[0]:
                self.process.kill()
                raise Failure(f"no answer within {self.timeout:.0f} s")
            part = self.process.stdout.read(1 << 16)
            if not part:
                lines = self.errors.read_text(errors="replace").strip().splitlines()
                raise Failure(f"ended with status {self.process.wait()}: {lines[-1] if lines else 'without a word'}")
            self.unread += part
        line, _, self.unread = self.unread.partition(b"\n")
        return json.loads(line)

    def epoch(self) -> dict:
        """Run one; return its images and seconds."""
        with contextlib.suppress(BrokenPipeError):  # the answer says why
            self.process.stdin.write(b"go\n")
        return self.answer()


@contextlib.contextmanager
def _on(cores: int):
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(allowed)[:cores])
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def write_images(path: str | os.PathLike[str], n_images: int, resized: bool = False) -> None:
    """Write a contiguous file of noise, which makes every crop of an image another one; labels are the images' numbers.

    For random-resized crops it has gradients instead, which tell where a result comes from.
    """
    generator = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        images = file.create_dataset("images", (n_images, 256, 256, 3), np.uint8)
        for number in range(n_images):
            noise = None if resized else generator.integers(0, 256, images.shape[1:], dtype=np.uint8)
            images[number] = boxes.gradients(number) if resized else noise
        file["labels"] = np.arange(n_images)


def measure(args: argparse.Namespace, folder: Path, path: Path, n_images: int, threads: int, mirror: str, crops: str) -> dict:
    """Return one table: every contender's rounds, and who was left out."""
    batch = args.ten_batch if crops == "ten" else args.batch
    arguments = [str(path), "--threads", str(threads), "--mirror", mirror, "--crops", crops, "--batch", str(batch)]
    pythons = dict(name.split("=", 1) for name in args.python)
    contenders = WITH_JPEGS if crops == "jpeg" else CONTENDERS
    keys = [key for key in contenders if not args.only or {key, key.partition(":")[0]} & set(args.only)]
    table = {"threads": threads, "mirror": mirror, "crops": crops, "batch": batch, "images": n_images}
    with contextlib.ExitStack() as stack:
        running, entries, left_out = {}, {}, []

        def leave_out(key, reason, failed):
            running.pop(key, None)
            name = entries.pop(key, {}).get("name", key)
            left_out.append({"key": key, "name": name, "reason": reason, "failed": failed})
            _say(f"{name} left out: {reason}")

        for key in keys:
            python = pythons.get(key.partition(":")[0], sys.executable)
            contender = stack.enter_context(Contender(key, python, arguments, threads, folder, args.timeout))
            try:
                entries[key] = {"key": key, "rounds": []} | contender.answer()
                if not entries[key].pop("ready"):
                    leave_out(key, entries[key]["reason"], failed=False)
                    continue
                contender.epoch()  # primes it
            except Failure as error:
                leave_out(key, f"{error}", failed=True)
                continue
            running[key] = contender
            _say(f"{entries[key]['name']} is ready")
        for turn in range(args.rounds):
            order = list(running)
            first = turn % max(1, len(order))  # so that nobody always comes after the same one
            for key in order[first:] + order[:first]:
                try:
                    entries[key]["rounds"].append(running[key].epoch())
                except Failure as error:
                    leave_out(key, f"{error}", failed=True)
            _say(f"round {turn + 1} of {args.rounds}")
    return table | {"contenders": list(entries.values()), "left_out": left_out}


def machine() -> dict:
    """Return what the figures depend on, besides the contenders' versions."""
    models = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--threads", type=int, nargs="+", default=[1], help="threads, and cores, of a contender; a table for each number")
    add("--mirror", choices=["none", "half"], nargs="+", default=["none"], help="random crops as they are, or half mirrored")
    add(
        "--crops",
        choices=["random", "ten", "resized", "jpeg"],
        nargs="+",
        default=["random"],
        help="ten: ten crops of each image; resized: random-resized; jpeg: random-resized, of JPEG files",
    )
    add("--rounds", type=int, default=5)
    add("--images", type=int, default=4096)
    add("--ten-images", type=int, default=1024, help="of an epoch with ten crops")
    add("--jpegs", type=int, default=512, help="JPEG files of an epoch")
    add("--batch", type=int, default=128, help="images of a batch")
    add("--ten-batch", type=int, default=16, help="images of a batch with ten crops: about as many bytes as 128 single ones")
    add(
        "--python",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="interpreter for a script of peers/ (default: this one)",
    )
    add("--only", nargs="+", metavar="NAME", help=f"some of: {', '.join((*CONTENDERS, *WITH_JPEGS))}")
    add("--timeout", type=float, default=600, help="seconds for preparing, and for an epoch")
    add("--json", metavar="FILE", help="write everything that was measured")
    add("--plot", metavar="PNG", help="draw the ratios to memset")
    add("--from", dest="saved", metavar="FILE", help="print, or draw, what --json wrote; measure nothing")
    add("--write", metavar="FILE", help="only write the images, for trying a script of peers/ by hand")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command; return 1 if a contender failed, other than by not being installed."""
    args = _parser().parse_args(argv)
    if args.write:
        write_images(args.write, args.images, args.crops == ["resized"])
        return 0
    if args.saved:
        document = json.loads(Path(args.saved).read_text())
    else:
        document = {"machine": machine(), "command": _command(args), "rounds": args.rounds, "tables": []}
        with tempfile.TemporaryDirectory(prefix="field-") as folder:
            kinds = [kind for kind in ("random", "resized", "jpeg") if kind in args.crops]
            jobs = [(n, mirror, kind) for kind in kinds for n in args.threads for mirror in args.mirror]
            jobs += [(n, "none", "ten") for n in args.threads if "ten" in args.crops]  # of which half are mirrored anyway
            for crops, of_kind in itertools.groupby(jobs, key=lambda job: job[2]):
                n_images = {"ten": args.ten_images, "jpeg": args.jpegs}.get(crops, args.images)
                path = Path(folder) / f"{crops}.h5"
                if crops == "jpeg":
                    jpegs.write(path, n_images)
                else:
                    write_images(path, n_images, crops == "resized")
                for job in of_kind:
                    _say("{} threads, {} mirrored, {} crops".format(*job))
                    document["tables"].append(measure(args, Path(folder), path, n_images, *job))
    if args.json:
        Path(args.json).write_text(json.dumps(document, indent=1) + "\n")
    print(report.text(document))
    if args.plot:
        report.plot(document, args.plot)
    return int(any(entry["failed"] for table in document["tables"] for entry in table["left_out"]))


def _command(args: argparse.Namespace) -> str:
    """Return the command without interpreters and files, which say nothing to others."""
    names = ["threads", "mirror", "crops", "rounds", "images", "ten_images", "jpegs", "batch", "ten_batch", "only"]
    given = {name: value for name in names if (value := getattr(args, name)) != _parser().get_default(name)}
    words = [f"--{name.replace('_', '-')} {' '.join(map(str, v)) if isinstance(v, list) else v}" for name, v in given.items()]
    return " ".join(["python benchmarks/field.py", *words])


if __name__ == "__main__":
    sys.exit(main())
