"""One build: a folder of images in, HDF5 files out."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import threading
import time
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from fastprep._version import __version__
from fastprep.building import labels, report, scan, write
from fastprep.building.config import DEFAULT_SIDE, RESULT_BYTES, WORK, Config, check
from fastprep.building.decode import DECODER, ChannelOrder, OutOfReachError, UnreadableError
from fastprep.building.decode_cache import Cache
from fastprep.building.encode import decoder
from fastprep.building.forms import encoding, form, open_cache, pixel_bytes, reader, retried
from fastprep.building.memory import MIB
from fastprep.building.own_files import is_of_a_build
from fastprep.building.scan import SourceFile
from fastprep.building.split import SPLITS, shuffled, stratify
from fastprep.building.staging import check as check_work_folder
from fastprep.building.staging import finishing, is_finished, key_of, locked, publish, remove
from fastprep.cli.output import write_line, write_message, write_prose
from fastprep.cli.progress import shown_progress
from fastprep.command_lines import command_line, path_word
from fastprep.errors import InputError
from fastprep.system import Progress, check_replaceable, usable_processors


def run(config: Config) -> None:
    """Build the files as configured, from the beginning or from where an earlier build was interrupted.

    Raises
    ------
    InputError, DataError, OSError
        If an option or a file is not what it should be.
    """
    began = time.perf_counter()
    check(config)
    out = Path(config.out)
    work = out / WORK
    found = scan.find(config.images, out)
    _classify(config, found)
    if config.labels is None:
        report.check_classes(found, labels.class_names(found))
    images = [file for file in found if file.status == scan.IMAGE]
    # without classes nobody trains on the file, and people look for a name in the list of predictions
    candidates = shuffled(images, config.seed) if config.labels is None else sorted(images, key=lambda file: file.name)
    keys = _keys(config, candidates)
    check_work_folder(work)

    def check_target(names: Sequence[str]) -> None:
        _check_target(config, found, names)

    if not is_finished(work, keys[1]):
        check_target(write.NAMES)
    with locked(work):
        if is_finished(work, keys[1]):
            publish(work, write.NAMES, check_target)
            write_line(f"{out}: the files of the build that was interrupted at its end now have their names")
            return
        made = _make(config, found, candidates, work, keys)
        publish(work, write.NAMES, check_target)
    _report(config, found, made, time.perf_counter() - began)


def _make(config: Config, found: list[SourceFile], candidates: list[SourceFile], work: Path, keys: tuple[str, str]) -> write.Made:
    """Decode the images that are not decoded yet, and write the files."""
    order: ChannelOrder = "RGB" if config.channels == "rgb" else "L"
    with contextlib.ExitStack() as stack:
        decoded = open_cache(config, candidates, work, keys[0], order)
        stack.callback(lambda: None if decoded.records else remove(work))
        stack.callback(decoded.close)
        progress = stack.enter_context(shown_progress(config.quiet))
        if decoded.was_stale:
            warn("an interrupted build of other images, or with other settings, was found there; beginning anew")
        n_before = len(decoded.records)
        for done in decoded.check():
            progress("checking what is decoded", done, n_before)
        _check_space(config, candidates, len(decoded.records))
        _decode(config, candidates, decoded, order, progress)
        used = [file for file in candidates if file.status == scan.USED]
        names = labels.class_names(used)
        if config.labels is None:
            report.check_classes(found, names)
            if not config.split_folders:
                stratify(used, config.split)
        _check_splits(config, used)
        for note in report.notes(found, names, report.mark_twins(candidates, decoded.records)):
            warn(note)
        with finishing(work, keys[1]) as folder:
            return write.assemble(
                folder,
                found,
                candidates,
                decoded,
                size=config.side,
                channel_order=order,
                class_names=names,
                attributes=_attributes(config),
                gzip_level=config.gzip_level if config.compression == "gzip" else None,
                progress=progress,
            )


def _classify(config: Config, found: list[SourceFile]) -> None:
    if config.labels == "none":
        labels.without_classes(found)
    elif config.csv is not None:
        warn(labels.by_csv(found, config.csv, config.file_column, config.label_column))
    elif config.pattern is not None:
        labels.by_pattern(found, config.pattern)
    else:
        labels.by_folder(found, config.split_folders)


def _keys(config: Config, candidates: Sequence[SourceFile]) -> tuple[str, str]:
    """Return a digest of everything that the decoded pixels depend on, and one of everything that the files depend on."""
    images = [(file.shown, file.n_bytes, file.mtime_ns) for file in candidates]
    root = os.path.realpath(config.images)
    encoder = [encoding(config), decoder()] if config.encoded else []
    decode = key_of(DECODER, root, config.side, config.channels, images, *_special(config.resize, "crop"), *encoder)
    classes = [(file.label, file.split) for file in candidates]
    return decode, key_of(decode, __version__, classes, _attributes(config), config.compression, config.gzip_level)


def _attributes(config: Config) -> dict[str, str]:
    """Return the attributes that say where a file comes from."""
    by = "list" if config.csv is not None else config.labels or config.pattern or "folder"
    shares = "folders" if config.split_folders else "test" if config.labels else config.split
    settings = {"size": config.side, "channels": config.channels, "classes": by, "split": shares, "seed": config.seed}
    if config.resize != "crop":
        settings["resize"] = config.resize
    if config.encoded:
        settings["encoded"] = encoding(config)
    software = f"fastprep {__version__}, {DECODER}{f', {decoder()}' if config.encoded else ''}"
    return {"source": scan.shown(config.images), "settings": json.dumps(settings), "software": software}


def _special(value: str, usual: str) -> list[str]:
    """Return a setting if it is not the usual one, so that what was decoded before there was a choice is still used."""
    return [] if value == usual else [value]


def _check_target(config: Config, found: Sequence[SourceFile], names: Sequence[str]) -> None:
    """Check that files of these names do not exist, or may be replaced: a build wrote them, and this one does not read them."""
    out = Path(config.out)
    existing = [name for name in write.NAMES if name in names and os.path.lexists(out / name)]
    if existing and not config.overwrite:
        raise InputError(f"{str(out)!r} holds {', '.join(existing)} already; they are replaced only with --overwrite")
    for name in existing:
        path = out / name
        n_bytes = os.lstat(path).st_size
        images = [file.path for file in found if file.n_bytes == n_bytes and file.status not in (scan.SKIPPED, scan.MISSING)]
        inputs = [*images, *([] if config.csv is None else [config.csv])]
        check_replaceable(path, asked=True, is_own=lambda path: is_of_a_build(path, out / WORK), inputs=inputs)


def _check_space(config: Config, candidates: Sequence[SourceFile], n_decoded: int) -> None:
    """Check that there is room for each image twice: decoded, and in its file. Files that are kept as they are need it once."""
    n, part = len(candidates), ", half of it only temporarily,"
    if config.side is None:
        needed, part = sum(file.n_bytes for file in candidates), ""
    elif config.encoded:
        return  # how large JPEGs become is not known before
    else:
        needed = pixel_bytes(config) * (n - n_decoded + (n if config.compression == "none" else 0))
    free = shutil.disk_usage(config.out).free
    if needed > free:
        raise InputError(f"{config.out!r} needs {needed / 1e6:,.0f} MB{part} but has {free / 1e6:,.0f} MB free")


def _check_splits(config: Config, used: Sequence[SourceFile]) -> None:
    existing = {file.split for file in used}
    if config.labels == "none":
        if not used:
            raise InputError("there is no image that can be read")
        return
    if "train" not in existing:
        raise InputError("there is no image for training")
    wanted = [split for split, share in zip(SPLITS, config.split, strict=True) if share and not config.split_folders]
    if missing := [split for split in wanted if split not in existing]:
        warn(f"there are too few images for {' and '.join(missing)}; no such file is written")


def _decode(config: Config, candidates: Sequence[SourceFile], decoded: Cache, order: ChannelOrder, progress: Progress) -> None:
    """Decode missing images in several threads; Pillow releases the GIL while it decodes and resizes."""
    ended, read = threading.Event(), reader(config, order)

    def decode(number: int) -> tuple[int, str | None]:
        path = candidates[number].path
        try:
            image = retried(path, lambda: read(path), ended)
        except OutOfReachError:
            raise
        except UnreadableError as error:
            return number, str(error)
        decoded.add(number, image)
        return number, None

    n = len(candidates)
    # resized images come on top of the memory for decoding, so there is one of them at a time where they are huge
    n_threads = config.workers or usable_processors()
    if config.side is not None:
        n_threads = min(n_threads, config.memory * MIB // (RESULT_BYTES * config.side**2))
    todo = [number for number in range(n) if number not in decoded.records]
    progress("decoding", n - len(todo), n)
    with warnings.catch_warnings(), _pool(n_threads, ended) as pool:
        warnings.simplefilter("ignore")  # by Pillow, about odd metadata; an unreadable image is an error
        for done, future in enumerate(_in_turn(pool, decode, todo, 4 * n_threads), n - len(todo) + 1):
            try:
                number, problem = future.result()
            except OutOfReachError as error:
                raise InputError(f"{error}; images that are decoded are kept: run the same command again to go on") from error
            if problem is not None:
                if config.strict:
                    raise InputError(f"{candidates[number].path!r}: {problem} (--strict)")
                candidates[number].status, candidates[number].why = scan.UNREADABLE, problem
            progress("decoding", done, n)
    for number, record in decoded.records.items():
        file = candidates[number]
        file.status, file.why, file.width, file.height = scan.USED, record.note, record.width, record.height


@contextlib.contextmanager
def _pool(n_threads: int, ended: threading.Event) -> Iterator[ThreadPoolExecutor]:
    """Open a pool whose threads, however this ends, finish their current image and no other; then `ended` is set."""
    pool = ThreadPoolExecutor(n_threads, thread_name_prefix="fastprep-decode")
    try:
        yield pool
    finally:
        ended.set()
        pool.shutdown(cancel_futures=True)


def _in_turn(pool: ThreadPoolExecutor, work, items: Sequence[int], ahead: int) -> Iterator[Future]:  # type: ignore[no-untyped-def]
    """Yield futures in order, with a bounded number of them under way, because there may be millions of images."""
    left = iter(items)
    pending = deque(pool.submit(work, item) for item in itertools.islice(left, ahead))
    while pending:
        yield pending.popleft()
        pending.extend(pool.submit(work, item) for item in itertools.islice(left, 1))


def _report(config: Config, found: list[SourceFile], made: write.Made, seconds: float) -> None:
    write_prose(report.outcome(found), *(report.cut_in_half(found) if config.side and config.resize == "crop" else []))
    for split, (n, n_bytes) in made.files.items():
        path = os.path.join(config.out, f"{split}.h5")
        classes = "no labels" if config.labels else f"{made.n_classes} classes"
        write_line(f"{path}: {n:,} images {form(config)}, {classes}, {n_bytes / 1e6:,.1f} MB")
    if config.encoded:
        n_images, n_bytes = (sum(values) for values in zip(*made.files.values(), strict=True))
        side = config.side or DEFAULT_SIDE
        as_pixels = f"as pixels of {side}x{side} they would take {n_images * pixel_bytes(config) / 1e6:,.1f} MB"
        write_prose(f"encoded, the images take {n_bytes / 1e6:,.1f} MB, labels and names included; {as_pixels}")
    letters = "RGB" if config.channels == "rgb" else "L"
    for word, values in (("mean", made.mean), ("std", made.std)):
        if values is None:
            continue
        by_letter = ", ".join(f"{letter} {value:.2f}" for letter, value in zip(letters, values, strict=True))
        write_line(f"{word} of training: {by_letter}")
    write_line(f"{os.path.join(config.out, 'report.csv')} accounts for every file; {seconds:.1f} s")
    write_line(*_next_steps(config, made))


def _next_steps(config: Config, made: write.Made) -> list[str]:
    """Return the commands for the files, for people."""
    files = {split: path_word(os.path.join(config.out, f"{split}.h5")) for split in made.files}
    if config.labels == "none":
        return [f"to predict: {command_line('evaluate', ('RUN', '--data', files['test'], '--labels', 'none'))}"]
    val = ("--val", files["val"]) if "val" in files else ("--val-split", "0.2")
    return [
        f"to look: {command_line('show', (files['train'], '--sheet', 'sheet.png'))}",
        f"to train: {command_line('train', ('--train', files['train'], *val))}",
    ]


def warn(text: str) -> None:
    """Print a message for people on standard error."""
    write_message(f"fastprep.build: {text}")
