"""One evaluation: it tests models on a file and writes a folder with the report."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprep.cli.keras_startup import start_keras
from fastprep.cli.output import write_line
from fastprep.cli.progress import shown_progress
from fastprep.dataset import image_mean
from fastprep.errors import InputError, MissingMeanError, input_errors
from fastprep.evaluation import metrics
from fastprep.evaluation.config import Config
from fastprep.evaluation.report import Evaluated, report_files, table, write_report
from fastprep.h5 import read_file_names, source_files
from fastprep.loader import Loader
from fastprep.system import check_creatable, check_replaceable, whole_folder
from fastprep.training import checkpoint, saved_model
from fastprep.training.config import Config as Training
from fastprep.training.data import no_mean
from fastprep.training.file_checks import check_highest_label, check_labels, check_metadata, name_file
from fastprep.training.foreign_code import check_named
from fastprep.transforms import CenterCrop, Crop, TenCrop

_FACTS: dict[str, Any] = {"model": str, "crop": int, "classes": int, "class_names": list, "channels": int, "logits": bool}
_FACTS |= {"channel_order": (str, type(None))}


@dataclass(eq=False)
class Candidate:
    """One model to test.

    Attributes
    ----------
    name : str
    path : Path
        The .keras file.
    facts : dict, or None
        Facts that training saved with it; None for a file from elsewhere.
    mean : ndarray, str or None
        Mean to subtract, as for `Loader`.
    """

    name: str
    path: Path
    facts: dict[str, Any] | None
    mean: Any


def run(config: Config) -> Path:
    """Test as configured, and return the folder with the report.

    Raises
    ------
    InputError, DataError, ValueError, OSError
        If a file or an option is not suitable.
    """
    if not config.runs:
        raise InputError("name a run: python -m fastprep.evaluate RUN --data FILE")
    candidates = [_find_candidate(config, name) for name in config.runs]
    folder = _output_folder(config, candidates)
    old_files = report_files(folder) if folder.exists() else None
    # problems with files are reported before Keras takes seconds to start
    labels, class_names, file_names = _inspect_data(config, candidates)
    start_keras()
    rows = _predict_all(config, candidates)
    classes = rows[next(iter(rows))][0].shape[1]
    if any(part.shape[1] != classes for parts in rows.values() for part in parts):
        raise InputError("the models must have the same classes")
    if labels is not None:
        check_highest_label(labels, classes, repr(config.data), "classes of the model")
    if len(class_names) > classes:
        write_line(f"note: there are names of {len(class_names)} classes, and the model has {classes}; the first names are used")
    class_names = (*class_names[:classes], *map(str, range(len(class_names), classes)))
    models = [candidate.name for candidate in candidates]
    evaluated = Evaluated(rows, models, config.average, labels, class_names, file_names)
    with whole_folder(folder, replace=old_files) as temporary:
        write_report(temporary, evaluated, {"data": config.data, "models": [str(c.path) for c in candidates]})
    write_line(*table(evaluated))
    write_line(f"all in {folder}")
    return folder


def _find_candidate(config: Config, name: str) -> Candidate:
    """Return the model of a run folder, or of a .keras file."""
    path = Path(name) / f"{config.which}.keras" if Path(name).is_dir() else Path(name)
    if not path.exists():
        problem = f"{name!r} has no {path.name}" if Path(name).is_dir() else f"there is no run, and no .keras file, {name!r}"
        raise InputError(problem + ("; --which last, perhaps" if (Path(name) / "last.keras").exists() else ""))
    if config.mean == "compute":
        mean: Any = image_mean(config.data, config.images, axes=config.axes)
    else:
        mean = None if config.mean == "none" else config.mean
    try:
        state, arrays = checkpoint.read(path)
    except InputError:
        if config.mean == "run":
            raise InputError(
                f"{name!r} does not say what training subtracted: say --mean file, compute, none, or a JSON"
            ) from None
        return Candidate(name, path, None, mean)
    _check_facts(path, state)
    return Candidate(name, path, state["about"], arrays.get("mean") if config.mean == "run" else mean)


def _check_facts(path: Path, state: dict[str, Any]) -> None:
    """Check what a file says about the training of its model."""
    facts = state.get("about", {})
    for name, kind in _FACTS.items():
        value = facts.get(name)
        if not isinstance(value, kind) or (isinstance(value, list) and not all(isinstance(part, str) for part in value)):
            raise InputError(f"{str(path)!r} is damaged: what it says about training has a wrong {name!r}, {str(value)[:80]!r}")


def _common_fact(key: str, candidates: list[Candidate]) -> Any:
    """Return a fact that all models share; None if it is not known for any of them."""
    values = [(candidate.name, value) for candidate in candidates if candidate.facts and (value := candidate.facts[key])]
    for name, value in values[1:]:
        if value != values[0][1]:
            raise InputError(f"the models have different {key}: {values[0][1]!r} in {values[0][0]!r}, {value!r} in {name!r}")
    return values[0][1] if values else None


def _output_folder(config: Config, candidates: list[Candidate]) -> Path:
    more = f"-of-{len(candidates)}" if len(candidates) > 1 else ""
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
        raise InputError(f"{str(folder)!r} exists already; it is only replaced with --overwrite") from None
    except OSError as error:
        existing = next(parent for parent in folder.absolute().parents if parent.is_dir())
        raise InputError(f"--out: {str(folder)!r} can't be made in {str(existing)!r}: {error.strerror}; name a folder") from None
    return folder


def _inputs(config: Config, candidates: list[Candidate]) -> Iterator[str]:
    """Yield the names of all files that an evaluation reads."""
    for path in glob.glob(config.data) or [config.data]:
        yield from source_files(path)
    yield from (str(candidate.path) for candidate in candidates)
    if config.mean not in ("run", "file", "compute", "none"):
        yield config.mean


def _inspect_data(
    config: Config, candidates: list[Candidate]
) -> tuple[NDArray[np.integer] | None, tuple[str, ...], list[str] | None]:
    """Check the file against the models; return its labels, the names of the classes and the names of its images."""
    classes = _common_fact("classes", candidates)
    class_names = tuple(_common_fact("class_names", candidates) or ())
    channels, channel_order = _common_fact("channels", candidates), _common_fact("channel_order", candidates)
    for candidate in candidates:
        size = config.crop or (candidate.facts or {}).get("crop")
        with _open_loader(config, candidate, None if size is None else CenterCrop(size), Loader, device="cpu") as loader:
            check_metadata(loader, class_names, channel_order, channels)
            class_names = class_names or loader.class_names
            labels = None if loader.labels is None else check_labels(loader, "; or say --labels none")
            if labels is not None and classes is not None:
                check_highest_label(labels, classes, name_file(loader), "classes of training")
            paths, counts = loader.files, [file["samples"] for file in loader._dataset.describe()]
    names = [read_file_names(path, count) for path, count in zip(paths, counts, strict=True)]
    return labels, class_names, [name for part in names for name in part] if all(names) else None


def _predict_all(config: Config, candidates: list[Candidate]) -> dict[str, list[NDArray[np.float64]]]:
    """Return the predictions of all models by kind of crops."""
    kinds: dict[str, type[CenterCrop | TenCrop]] = {"plain crop": CenterCrop, "ten-crop": TenCrop}
    kinds = {name: kind for name, kind in kinds.items() if config.crops == "both" or name.startswith(config.crops)}
    rows: dict[str, list[NDArray[np.float64]]] = {name: [] for name in kinds}
    for candidate in candidates:
        model, size, logits = _load_model(config, candidate)
        for name, kind in kinds.items():
            rows[name].append(_predict(config, candidate, model, name, kind(size), logits))
        del model
    return rows


def _load_model(config: Config, candidate: Candidate) -> tuple[Any, tuple[int, int], bool]:
    """Return a model, height and width of its crops, and whether it gives logits."""
    from fastprep.training import network

    facts = candidate.facts
    if config.model is not None:
        network.find_network(config.model)  # its layers are known from here on
    try:
        model = saved_model.load(candidate.path, trust=config.trust)
    except InputError:
        if facts is None or ":" not in facts["model"]:
            raise
        # the function of the network creates the user's own layers, which Keras does not find by itself
        check_named(facts["model"], config.model, candidate.path, trust=config.trust)
        side, channels = facts["crop"], facts["channels"]
        model = network.build_model(Training(model=facts["model"]), (side, side, channels), facts["classes"])
        with input_errors(ValueError, KeyError, OSError):
            model.load_weights(candidate.path)
    if facts is not None:
        side = config.crop or facts["crop"]
        return model, (side, side), facts["logits"]
    shape = getattr(model, "input_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 4:
        raise InputError(f"{str(candidate.path)!r} must take images (height, width, channels), its input is {shape}")
    height, width = (config.crop, config.crop) if config.crop else shape[1:3]
    if height is None or width is None:
        raise InputError(f"{str(candidate.path)!r} takes images of any size: say --crop")
    return model, (height, width), network.gives_logits(model, (height, width, shape[3]))


def _predict(config: Config, candidate: Candidate, model: Any, name: str, crop: Crop, logits: bool) -> NDArray[np.float64]:
    import fastprep

    with _open_loader(config, candidate, crop, fastprep.Loader) as loader, shown_progress() as show:
        stage = f"{candidate.name}, {name}"
        return metrics.predict_crops(
            model, loader, logits=logits, average=config.average, progress=lambda done: show(stage, done, loader.n_samples)
        )


def _open_loader(config: Config, candidate: Candidate, crop: Crop | None, kind: Any, device: str = "auto") -> Any:
    labels = None if config.labels == "none" else config.labels
    try:
        return kind(
            config.data,
            config.batch_size,
            crop,
            images=config.images,
            axes=config.axes,
            labels=labels,
            mean=candidate.mean,
            workers=config.workers,
            device=device,
        )
    except MissingMeanError as error:
        raise no_mean(error) from None
