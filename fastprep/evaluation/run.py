"""One evaluation: it tests models on a file and writes a folder with the report."""

from __future__ import annotations

import dataclasses
import functools
import glob
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprep.cli.image_options import channels_of, check_mean_word, shape_of
from fastprep.cli.keras_startup import start_keras
from fastprep.cli.output import write_line
from fastprep.cli.progress import shown_progress
from fastprep.dataset import expand_paths
from fastprep.errors import InputError, MissingMeanError
from fastprep.evaluation import metrics
from fastprep.evaluation.candidates import Candidate, common_fact, find_candidate, find_model, have_several, load_model, run_of
from fastprep.evaluation.config import Config
from fastprep.evaluation.findings import Findings, calibrations_of, mistakes_of
from fastprep.evaluation.page import page_of
from fastprep.evaluation.part import mean_of_training, note_on_training_images, part_of_training, with_training_file
from fastprep.evaluation.report import Evaluated, compared, lines_of_comparisons, report_files, write_report
from fastprep.evaluation.score_table import table
from fastprep.evaluation.several_labels import THRESHOLD
from fastprep.h5 import check_no_folder, check_readable, read_file_names, source_files
from fastprep.loader import Loader
from fastprep.reports.page import FILE_NAME, write_page
from fastprep.system import check_creatable, check_replaceable, whole_folder
from fastprep.training.data import no_mean
from fastprep.training.file_checks import check_highest_label, check_labels, check_metadata, name_file
from fastprep.training.several_labels import check_rows
from fastprep.training.throughput import Meter
from fastprep.transforms import CenterCrop, Crop, TenCrop


def run(config: Config) -> Path:
    """Test as configured, and return the folder with the report.

    Raises
    ------
    InputError, DataError, ValueError, OSError
        If a file or an option is not suitable.
    """
    if not config.runs:
        raise InputError("name a run: python -m fastprep.evaluate RUN --data FILE")
    if config.compare and (len(config.runs) < 2 or config.labels == "none"):
        raise InputError("--compare needs two RUNs or more, and labels")
    check_mean_word(config.mean, ("run", "file", "compute", "none"))
    for name in config.runs:
        find_model(config, name)  # before the file that a run was trained on is looked for
    if config.data is None:
        config = with_training_file(config)
    candidates = [find_candidate(config, name) for name in config.runs]
    part = part_of_training(config, candidates)
    for candidate in candidates:
        candidate.part = part
    assert config.data is not None
    for path in expand_paths(config.data, "--data"):  # before a folder is looked for that it would name
        check_no_folder(path)
        check_readable(path)
    folder = _output_folder(config, candidates)
    old_files = report_files(folder) if folder.exists() else None
    for candidate in candidates if config.mean == "compute" else ():
        candidate.mean = mean_of_training(config, candidate)
    # problems with files are reported before Keras takes seconds to start
    labels, class_names, file_names, several = _inspect_data(config, candidates)
    start_keras()
    rows, meters, crop = _predict_all(config, candidates, several)
    classes = rows[next(iter(rows))][0].shape[1]
    if any(part.shape[1] != classes for parts in rows.values() for part in parts):
        raise InputError("the models must have the same classes")
    if labels is not None and not several:
        check_highest_label(labels, classes, repr(config.data), "classes of the model")
    if labels is not None and several and labels.shape[1] != classes:
        raise InputError(f"{config.data!r}: labels have {labels.shape[1]} columns, and the model has {classes} classes")
    if len(class_names) > classes:
        write_line(f"note: there are names of {len(class_names)} classes, and the model has {classes}; the first names are used")
    class_names = (*class_names[:classes], *map(str, range(len(class_names), classes)))
    models = [candidate.name for candidate in candidates]
    evaluated = Evaluated(rows, models, config.average, labels, class_names, file_names, part, several)
    comparisons = compared(evaluated) if config.compare else []
    notes, calibrations = note_on_training_images(config, candidates), calibrations_of(evaluated)
    mistakes = mistakes_of(evaluated, functools.partial(_open_some, config, candidates[0], crop))
    runs = {candidate.name: run for candidate in candidates if (run := run_of(candidate)) is not None}
    findings = Findings(config, comparisons, notes, meters, calibrations, **mistakes, runs=runs)
    with whole_folder(folder, replace=old_files) as temporary:
        facts: dict[str, Any] = {"data": config.data, "models": [str(c.path) for c in candidates]}
        facts |= {} if config.split == "all" else {"split": config.split}
        facts |= {"comparisons": comparisons} if config.compare else {}
        facts |= {"calibration_error": {kind: found.error for kind, found in calibrations.items()}} if calibrations else {}
        write_report(temporary, evaluated, facts)
        write_page(temporary / FILE_NAME, page_of(evaluated, findings))
    if several:
        write_line(f"several labels an image: {classes} classes, each predicted where its probability is above {THRESHOLD}")
    write_line(*table(evaluated), *lines_of_comparisons(comparisons), *notes)
    write_line(f"all in {folder}", f"to read: {folder / FILE_NAME}")
    return folder


def _output_folder(config: Config, candidates: list[Candidate]) -> Path:
    assert config.data is not None
    more = f"-of-{len(candidates)}" if len(candidates) > 1 else ""
    more = more if config.split == "all" else f"-{config.split}{more}"
    stem = Path(config.data).stem.replace("*", "").replace("?", "")
    folder = Path(config.out) if config.out is not None else candidates[0].path.parent / f"evaluation-{stem}{more}"
    try:
        check_replaceable(
            folder,
            asked=config.overwrite,
            is_own=lambda path: report_files(path) is not None,
            inputs=_inputs(config, candidates),
            folder=True,
        )
        check_creatable(folder)  # hours of predictions may come before the results are written
    except FileExistsError:
        raise InputError(f"{str(folder)!r} exists already; it is only replaced with --overwrite; --out names another") from None
    except OSError as error:
        existing = next(parent for parent in folder.absolute().parents if parent.is_dir())
        raise InputError(f"--out: {str(folder)!r} can't be made in {str(existing)!r}: {error.strerror}; name a folder") from None
    return folder


def _inputs(config: Config, candidates: list[Candidate]) -> Iterator[str]:
    """Yield the names of all files that an evaluation reads."""
    assert config.data is not None
    for path in glob.glob(config.data) or [config.data]:
        yield from source_files(path)
    yield from (str(candidate.path) for candidate in candidates)
    if config.mean not in ("run", "file", "compute", "none"):
        yield config.mean


def _inspect_data(
    config: Config, candidates: list[Candidate]
) -> tuple[NDArray[np.integer] | None, tuple[str, ...], list[str] | None, bool]:
    """Check the file against the models; return its labels, the names of classes and images, and whether labels are several."""
    classes = common_fact("classes", candidates)
    class_names = tuple(common_fact("class_names", candidates) or ())
    channels, channel_order = common_fact("channels", candidates), common_fact("channel_order", candidates)
    for candidate in candidates:
        size = config.crop or (candidate.facts or {}).get("crop")
        crop = None if size is None else CenterCrop(size, resize=_resize(candidate))
        with _open_loader(config, candidate, crop, Loader, device="cpu") as loader:
            check_metadata(loader, class_names, channel_order, channels)
            class_names = class_names or loader.class_names
            several = have_several(config, candidates, loader)
            labels = None if loader.labels is None else _labels(loader, class_names, classes, several)
            if labels is not None and classes is not None and not several:
                check_highest_label(labels, classes, name_file(loader), "classes of training")
            paths, counts, part = loader.files, [file["samples"] for file in loader._dataset.describe()], candidate.part
    names = [read_file_names(path, count) for path, count in zip(paths, counts, strict=True)]
    every = [name for of_file in names for name in of_file] if all(names) else None
    return labels, class_names, every if every is None or part is None else [every[k] for k in part], several


def _labels(loader: Loader, class_names: tuple[str, ...], classes: int | None, several: bool) -> NDArray[np.integer]:
    """Return the class of each image; with several labels, rows of 0 and 1."""
    hint = "; or say --labels none"
    return check_rows(loader, classes, hint).astype(np.uint8) if several else check_labels(loader, hint, class_names)


def _predict_all(
    config: Config, candidates: list[Candidate], several: bool
) -> tuple[dict[str, list[NDArray[np.float64]]], dict[str, Meter], CenterCrop]:
    """Return the predictions of all models by kind of crops, how long each took, and the centre crop of the first model."""
    kinds: dict[str, type[CenterCrop | TenCrop]] = {"plain crop": CenterCrop, "ten-crop": TenCrop}
    kinds = {name: kind for name, kind in kinds.items() if config.crops == "both" or name.startswith(config.crops)}
    rows: dict[str, list[NDArray[np.float64]]] = {name: [] for name in kinds}
    meters: dict[str, Meter] = {}
    first: CenterCrop | None = None
    for candidate in candidates:
        model, size, logits = load_model(config, candidate, several)
        first = first or CenterCrop(size, resize=_resize(candidate))
        for name, kind in kinds.items():
            crop = kind(size, resize=_resize(candidate))
            predicted, meter = _predict(config, candidate, model, name, crop, logits=logits, several=several)
            rows[name].append(predicted)
            meters[f"{candidate.name}, {name}"] = meter
        del model
    assert first is not None
    return rows, meters, first


def _predict(
    config: Config, candidate: Candidate, model: Any, name: str, crop: Crop, **output: bool
) -> tuple[NDArray[np.float64], Meter]:
    import fastprep

    with _open_loader(config, candidate, crop, fastprep.Loader) as loader, shown_progress(config.quiet) as show:
        stage, began = f"{candidate.name}, {name}", time.perf_counter()
        rows = metrics.predict_crops(
            model, loader, average=config.average, progress=lambda done: show(stage, done, loader.n_samples), **output
        )
        return rows, Meter(time.perf_counter() - began, loader.stats()["wait_s"], len(rows))


def _open_some(config: Config, candidate: Candidate, crop: CenterCrop, numbers: NDArray[np.int64]) -> Loader:
    """Return a loader of some images, by their numbers in the file."""
    some = dataclasses.replace(candidate, part=numbers)
    return _open_loader(dataclasses.replace(config, labels="none"), some, crop, Loader, device="cpu")


def _resize(candidate: Candidate) -> int | None:
    """Return the length to which the shorter side of images is resized before they are cropped, as in training."""
    return (candidate.facts or {}).get("resize")


def _channels(config: Config, facts: dict[str, Any] | None) -> Any:
    """Return the channels to use: those that are asked for, or else those of training."""
    return channels_of(config.channels) if config.channels is not None else (facts or {}).get("picked")


def _open_loader(config: Config, candidate: Candidate, crop: Crop | None, kind: Any, device: str = "auto") -> Any:
    labels = None if config.labels == "none" else config.labels
    try:
        return kind(
            config.data,
            config.batch_size,
            crop,
            images=config.images,
            axes=config.axes,
            shape=shape_of(config.shape),
            channels=_channels(config, candidate.facts),
            labels=labels,
            indices=candidate.part,
            mean=candidate.mean,
            standardize=(candidate.facts or {}).get("standardize", False),
            workers=config.workers,
            device=device,
        )
    except MissingMeanError as error:
        raise no_mean(error) from None
