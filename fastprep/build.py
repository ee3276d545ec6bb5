"""python -m fastprep.build: a folder of pictures -> train.h5, val.h5 and test.h5, with the mean inside."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import sys
import time
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import FlagCreatePairsOff, Positional, arg

from fastprep import account, assemble, classes, gather
from fastprep._version import __version__
from fastprep.decoded import Decoded
from fastprep.errors import InputError
from fastprep.gather import Found
from fastprep.h5 import DataError
from fastprep.helptext import flowing
from fastprep.interrupt import as_by_ctrl_c, status_of
from fastprep.pictures import DECODER, ChannelOrder, UnreadableError, read_picture
from fastprep.progress import Progress, shown_progress
from fastprep.split import SPLITS, check_shares, shuffled, stratify
from fastprep.workfolder import finishing, is_finished, key_of, locked, publish, remove

WORK = ".fastprep-build"


@flowing
@dataclass(frozen=True)
class Config:
    """Turn a folder of pictures into train.h5, val.h5 and test.h5, with the mean of the training pictures inside.

    Classes are the sub-folders of IMAGES, or come from --pattern or --csv. Each picture is turned upright by its EXIF, put on
    white where it is transparent, resized so that its shorter side has --size pixels, and cut to the square in its middle. OUT
    gets mean.json too, report.csv, which says of every file what became of it, and sizes.png, which shows how large the pictures
    were. Run the same command again to go on where an interrupted build stopped.
    """

    images: Annotated[Positional[str], arg(metavar="IMAGES")]
    """Folder of pictures: JPEG, PNG, WebP, BMP, TIFF, GIF (the first picture) or PNM."""
    out: Annotated[Positional[str], arg(metavar="OUT")]
    """Folder for the files; made if it is not there."""
    pattern: Annotated[str | None, arg(metavar="PATTERN")] = None
    """Class by file name: with "{class}.{}.jpg" dog.123.jpg is a dog; {} is anything. With a / in it, by the path in IMAGES."""
    csv: Annotated[str | None, arg(metavar="FILE")] = None
    """Class by a list: a column of paths below IMAGES, with or without ending, and one of classes."""
    file_column: Annotated[str | None, arg(metavar="NAME|NUMBER")] = None
    """With --csv: column of the files; by default the one named file, if another is named label, else the first."""
    label_column: Annotated[str | None, arg(metavar="NAME|NUMBER")] = None
    """With --csv: column of the classes; by default the one named label, if another is named file, else the second."""
    split: Annotated[tuple[float, float, float], arg(metavar="TRAIN VAL TEST")] = (0.8, 0.1, 0.1)
    """Shares of the pictures of each class. A share of 0 makes no file."""
    split_folders: bool = False
    """IMAGES is split already, into the folders train, val (or validation) and test, with the classes inside."""
    seed: int = 42
    """Of the split, and of the order in the files."""
    size: Annotated[int, arg(metavar="PIXELS")] = 256
    """Height and width of the pictures in the files."""
    channels: Literal["rgb", "grey"] = "rgb"
    """Channels to store: red, green, blue; or one of brightness."""
    compression: Literal["none", "gzip"] = "none"
    """none loads fastest. gzip stores each picture as a chunk of its own; noisy photographs hardly shrink."""
    gzip_level: Literal[1, 2, 3, 4, 5, 6, 7, 8, 9] = 4
    """1 is quick, 9 is small. With --compression gzip."""
    workers: Annotated[int | None, arg(metavar="N")] = None
    """Threads that decode. Default: one for each processor."""
    strict: bool = False
    """Stop at a picture that can't be read, instead of leaving it out."""
    overwrite: bool = False
    """Replace the files of an earlier build."""


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit status: 0, 2 for bad input, 130 when interrupted, 143 by SIGTERM, 129 by SIGHUP."""
    config = parse(sys.argv[1:] if argv is None else argv)
    with as_by_ctrl_c():
        try:
            _run(config)
        except KeyboardInterrupt as interrupt:
            work = Path(config.out) / WORK
            left = f"what is done lies in {str(work)!r}; run it again to go on" if work.exists() else "nothing was written"
            with contextlib.suppress(OSError):  # the terminal may be gone
                print(f"\nfastprep.build: interrupted; {left}", file=sys.stderr)
            return status_of(interrupt)
        except (InputError, DataError, OSError) as error:
            _say(" ".join(str(error).split()))
            return 2
    return 0


def parse(argv: list[str]) -> Config:
    """Read the command line."""
    return tyro.cli(FlagCreatePairsOff[Config], args=argv, prog="python -m fastprep.build")


def _run(config: Config) -> None:
    began = time.perf_counter()
    _check(config)
    out = Path(config.out)
    work = out / WORK
    found = gather.find(config.images, out)
    _classify(config, found)
    account.check_classes(found, classes.class_names(found))
    candidates = shuffled([one for one in found if one.status == gather.PICTURE], config.seed)
    keys = _keys(config, candidates)
    if not is_finished(work, keys[1]):
        _check_target(out, config.overwrite)
    with locked(work):
        if is_finished(work, keys[1]):
            publish(work, assemble.NAMES)
            print(f"{out}: the files of the build that was interrupted at its end have their names now")
            return
        made = _make(config, found, candidates, work, keys)
        publish(work, assemble.NAMES)
    _report(config, found, made, time.perf_counter() - began)


def _make(config: Config, found: list[Found], candidates: list[Found], work: Path, keys: tuple[str, str]) -> assemble.Made:
    """Decode what is not decoded yet, and make the files."""
    order: ChannelOrder = "RGB" if config.channels == "rgb" else "L"
    with contextlib.ExitStack() as stack:
        decoded = Decoded(work, keys[0], len(candidates), (config.size, config.size, len(order)))
        stack.callback(lambda: None if decoded.records else remove(work))
        stack.callback(decoded.close)
        progress = stack.enter_context(shown_progress())
        if decoded.was_stale:
            _say("an interrupted build of other pictures, or with other settings, lay there; beginning anew")
        n_before = len(decoded.records)
        for done in decoded.check():
            progress("checking what is decoded", done, n_before)
        _check_space(config, len(candidates), len(decoded.records))
        _decode(config, candidates, decoded, order, progress)
        used = [one for one in candidates if one.status == gather.USED]
        names = classes.class_names(used)
        account.check_classes(found, names)
        if not config.split_folders:
            stratify(used, config.split)
        _check_splits(config, used)
        for note in account.notes(found, names, account.mark_twins(candidates, decoded.records)):
            _say(note)
        with finishing(work, keys[1]) as folder:
            return assemble.assemble(
                folder,
                found,
                candidates,
                decoded,
                size=config.size,
                channel_order=order,
                class_names=names,
                attributes=_attributes(config),
                gzip_level=config.gzip_level if config.compression == "gzip" else None,
                progress=progress,
            )


def _check(config: Config) -> None:
    check_shares(config.split)
    if config.size < 1:
        raise InputError(f"--size must be at least 1, got {config.size}")
    if config.workers is not None and config.workers < 1:
        raise InputError(f"--workers must be at least 1, got {config.workers}")
    if sum((config.csv is not None, config.pattern is not None, config.split_folders)) > 1:
        raise InputError("one of --csv, --pattern and --split-folders at a time")
    if config.csv is None and (config.file_column or config.label_column):
        raise InputError("--file-column and --label-column go with --csv only")
    if os.path.exists(config.out) and not os.path.isdir(config.out):
        raise InputError(f"OUT: {config.out!r} is a file; the name of a folder is needed")


def _classify(config: Config, found: list[Found]) -> None:
    if config.csv is not None:
        _say(classes.by_csv(found, config.csv, config.file_column, config.label_column))
    elif config.pattern is not None:
        classes.by_pattern(found, config.pattern)
    else:
        classes.by_folder(found, config.split_folders)


def _keys(config: Config, candidates: Sequence[Found]) -> tuple[str, str]:
    """Return digests of all that the decoded pixels, and of all that the files depend on."""
    pictures = [(one.shown, one.n_bytes, one.mtime_ns) for one in candidates]
    root = os.path.realpath(config.images)
    decode = key_of(DECODER, root, config.size, config.channels, pictures)
    labels = [(one.label, one.split) for one in candidates]
    return decode, key_of(decode, __version__, labels, _attributes(config), config.compression, config.gzip_level)


def _attributes(config: Config) -> dict[str, str]:
    """Return what each file says of where it comes from."""
    by = "list" if config.csv is not None else config.pattern or "folder"
    shares = "folders" if config.split_folders else config.split
    settings = {"size": config.size, "channels": config.channels, "classes": by, "split": shares, "seed": config.seed}
    software = f"fastprep {__version__}, {DECODER}"
    return {"source": gather.shown(config.images), "settings": json.dumps(settings), "software": software}


def _check_target(out: Path, overwrite: bool) -> None:
    there = [name for name in assemble.NAMES if os.path.lexists(out / name)]
    if there and not overwrite:
        raise InputError(f"{str(out)!r} holds {', '.join(there)} already; they are only replaced when asked to (--overwrite)")


def _check_space(config: Config, n: int, n_there: int) -> None:
    """Compare the free space with what is needed: each picture once while it is decoded, and once in its file."""
    picture = config.size**2 * (3 if config.channels == "rgb" else 1)
    needed = picture * (n - n_there + (n if config.compression == "none" else 0))
    free = shutil.disk_usage(config.out).free
    if needed > free:
        raise InputError(
            f"{config.out!r} needs {needed / 1e6:,.0f} MB, half of them only for a while, but has {free / 1e6:,.0f} MB free"
        )


def _check_splits(config: Config, used: Sequence[Found]) -> None:
    there = {one.split for one in used}
    if "train" not in there:
        raise InputError("there is no picture for training")
    wanted = [split for split, share in zip(SPLITS, config.split, strict=True) if share and not config.split_folders]
    if missing := [split for split in wanted if split not in there]:
        _say(f"there are too few pictures for {' and '.join(missing)}; no such file is written")


def _decode(config: Config, candidates: Sequence[Found], decoded: Decoded, order: ChannelOrder, progress: Progress) -> None:
    """Decode what is missing, by several threads: Pillow lets the others run while it decodes and resizes."""

    def decode(place: int) -> tuple[int, str | None]:
        try:
            picture = read_picture(candidates[place].path, config.size, order)
        except UnreadableError as error:
            return place, str(error)
        decoded.add(place, picture)
        return place, None

    n, n_threads = len(candidates), config.workers or len(os.sched_getaffinity(0))
    todo = [place for place in range(n) if place not in decoded.records]
    progress("decoding", n - len(todo), n)
    with warnings.catch_warnings(), _pool(n_threads) as pool:
        warnings.simplefilter("ignore")  # of Pillow, about odd metadata; what can't be read is an error
        for done, future in enumerate(_in_turn(pool, decode, todo, 4 * n_threads), n - len(todo) + 1):
            place, problem = future.result()
            if problem is not None:
                if config.strict:
                    raise InputError(f"{candidates[place].path!r}: {problem} (--strict)")
                candidates[place].status, candidates[place].why = gather.UNREADABLE, problem
            progress("decoding", done, n)
    for place, record in decoded.records.items():
        one = candidates[place]
        one.status, one.why, one.width, one.height = gather.USED, record.note, record.width, record.height


@contextlib.contextmanager
def _pool(n_threads: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that, however this ends, finish the picture they are at and no other."""
    pool = ThreadPoolExecutor(n_threads, thread_name_prefix="fastprep-decode")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _in_turn(pool: ThreadPoolExecutor, work, items: Sequence[int], ahead: int) -> Iterator[Future]:  # type: ignore[no-untyped-def]
    """Yield futures in order, with a bounded number of them under way: there may be millions of pictures."""
    left = iter(items)
    pending = deque(pool.submit(work, item) for item in itertools.islice(left, ahead))
    while pending:
        yield pending.popleft()
        pending.extend(pool.submit(work, item) for item in itertools.islice(left, 1))


def _report(config: Config, found: list[Found], made: assemble.Made, seconds: float) -> None:
    print(account.outcome(found))
    for split, (n, n_bytes) in made.files.items():
        path = os.path.join(config.out, f"{split}.h5")
        print(f"{path}: {n:,} pictures of {config.size}x{config.size}, {made.n_classes} classes, {n_bytes / 1e6:,.1f} MB")
    letters = "RGB" if config.channels == "rgb" else "L"
    for word, values in (("mean", made.mean), ("std", made.std)):
        print(f"{word} of training: " + ", ".join(f"{letter} {value:.2f}" for letter, value in zip(letters, values, strict=True)))
    print(f"{os.path.join(config.out, 'report.csv')} says what became of every file; {seconds:.1f} s")


def _say(text: str) -> None:
    print(f"fastprep.build: {text}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
