"""One evaluation: models and a file in, a folder with the report out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprep.cli.progress import shown_progress
from fastprep.cli.tensorflow_startup import start_tensorflow
from fastprep.dataset import image_mean
from fastprep.errors import InputError, MissingMeanError
from fastprep.evaluation import metrics
from fastprep.evaluation.config import Config
from fastprep.evaluation.report import Evaluated, table, write_report
from fastprep.h5 import read_file_names
from fastprep.loader import Loader
from fastprep.system import whole_folder
from fastprep.training import checkpoint
from fastprep.training.config import Config as Training
from fastprep.training.data import no_mean
from fastprep.transforms import CenterCrop, Crop, TenCrop


@dataclass(eq=False)
class Candidate:
    """One model to test.

    Attributes
    ----------
    name : str
    path : Path
        Of the .keras file.
    about : dict, or None
        What training wrote about it; None for a file from elsewhere.
    mean : ndarray, str or None
        To subtract, as for `Loader`.
    """

    name: str
    path: Path
    about: dict[str, Any] | None
    mean: Any


def run(config: Config) -> Path:
    """Test as configured, and return the folder that was written.

    Raises
    ------
    InputError, DataError, ValueError, OSError
        If a file or an argument is not what it should be.
    """
    if not config.runs:
        raise InputError("name a run: python -m fastprep.evaluate RUN --data FILE")
    candidates = [_find(config, run) for run in config.runs]
    folder = _folder(config, candidates)
    known = [candidate for candidate in candidates if candidate.about is not None]
    facts = {key: _agreed(key, known) for key in ("classes", "class_names", "channels", "channel_order")}
    labels, names = _look(config, candidates, facts)  # what is wrong with a file is said before TensorFlow takes its seconds
    start_tensorflow()
    kinds: dict[str, type[CenterCrop | TenCrop]] = {"plain crop": CenterCrop, "ten-crop": TenCrop}
    kinds = {name: kind for name, kind in kinds.items() if config.crops == "both" or name.startswith(config.crops)}
    rows: dict[str, list[NDArray[np.float64]]] = {name: [] for name in kinds}
    for candidate in candidates:
        model, size, logits = _load(config, candidate)
        for name, kind in kinds.items():
            rows[name].append(_predict(config, candidate, model, name, kind(size), logits))
        del model
    classes = rows[next(iter(rows))][0].shape[1]
    if any(part.shape[1] != classes for parts in rows.values() for part in parts):
        raise InputError("the models must have the same classes")
    if labels is not None and labels.max() >= classes:
        raise InputError(f"{config.data!r}: label {labels.max()} is not among the {classes} classes of the model")
    class_names = tuple(facts["class_names"] or ()) or tuple(map(str, range(classes)))
    models = [candidate.name for candidate in candidates]
    evaluated = Evaluated(rows, models, config.average, labels, class_names, names)
    with whole_folder(folder, overwrite=config.overwrite) as temporary:
        write_report(temporary, evaluated, {"data": config.data, "models": [str(c.path) for c in candidates]})
    print(table(evaluated))
    print(f"all in {folder}")
    return folder


def _find(config: Config, run: str) -> Candidate:
    path = Path(run) / f"{config.which}.keras" if Path(run).is_dir() else Path(run)
    if not path.exists():
        problem = f"{run!r} has no {path.name}" if Path(run).is_dir() else f"there is no run, and no .keras file, {run!r}"
        raise InputError(problem + ("; --which last, perhaps" if (Path(run) / "last.keras").exists() else ""))
    if config.mean == "compute":
        mean: Any = image_mean(config.data, config.images)
    else:
        mean = None if config.mean == "none" else config.mean
    try:
        state, arrays = checkpoint.read(path)
    except InputError:
        if config.mean == "run":
            raise InputError(
                f"{run!r} does not say what training subtracted: say --mean file, compute, none, or a JSON"
            ) from None
        return Candidate(run, path, None, mean)
    return Candidate(run, path, state["about"], arrays.get("mean") if config.mean == "run" else mean)


def _agreed(key: str, known: list[Candidate]) -> Any:
    """Return what all models say, if they say something; it is an error if they differ."""
    said = [(candidate.name, value) for candidate in known if (value := candidate.about[key])]  # type: ignore[index]
    for name, value in said[1:]:
        if value != said[0][1]:
            raise InputError(f"the models have different {key}: {said[0][1]!r} in {said[0][0]!r}, {value!r} in {name!r}")
    return said[0][1] if said else None


def _folder(config: Config, candidates: list[Candidate]) -> Path:
    more = f"-of-{len(candidates)}" if len(candidates) > 1 else ""
    stem = Path(config.data).stem.replace("*", "").replace("?", "")
    folder = Path(config.out) if config.out is not None else candidates[0].path.parent / f"evaluation-{stem}{more}"
    if folder.exists() and not config.overwrite:
        raise InputError(f"{str(folder)!r} exists already; it is only replaced with --overwrite")
    return folder


def _look(
    config: Config, candidates: list[Candidate], facts: dict[str, Any]
) -> tuple[NDArray[np.integer] | None, list[str] | None]:
    """Check the file against what is known of the models; return its labels and the names of its images."""
    for candidate in candidates:
        size = config.crop or (candidate.about or {}).get("crop")
        with _loader(config, candidate, None if size is None else CenterCrop(size), Loader, device="cpu") as loader:
            about = loader._dataset.metadata[0]
            if facts["channels"] is not None and loader.output_shape[2] != facts["channels"]:
                raise InputError(f"images have {loader.output_shape[2]} channels, of training {facts['channels']}")
            if None not in (about.channel_order, facts["channel_order"]) and about.channel_order != facts["channel_order"]:
                raise InputError(f"channel_order is {about.channel_order!r}, of training {facts['channel_order']!r}")
            if about.class_names and facts["class_names"] and list(about.class_names) != facts["class_names"]:
                found, wanted = ", ".join(about.class_names[:8]), ", ".join(facts["class_names"][:8])
                raise InputError(f"{config.data!r}: class_names are {found}, of training {wanted}")
            if not facts["class_names"] and about.class_names:
                facts["class_names"] = list(about.class_names)
            labels, paths = loader.labels, loader.files
            n = [about["samples"] for about in loader._dataset.describe()]
    texts = [read_file_names(path, count) for path, count in zip(paths, n, strict=True)]
    names = [name for part in texts for name in part] if all(texts) else None
    if labels is None:
        return None, names
    if labels.dtype.kind not in "iu" or labels.shape[1:] not in ((), (1,)):
        found = f"{labels.dtype} {labels.shape}"
        raise InputError(f"{config.data!r}: labels must be one integer for each image, found {found}; or say --labels none")
    labels = labels.reshape(-1)
    if labels.min() < 0 or (facts["classes"] is not None and labels.max() >= facts["classes"]):
        wrong = labels.min() if labels.min() < 0 else labels.max()
        raise InputError(f"{config.data!r}: label {wrong} is not among the {facts['classes']} classes of training")
    return labels, names


def _load(config: Config, candidate: Candidate) -> tuple[Any, tuple[int, int], bool]:
    """Return a model, height and width of its crops, and whether it gives logits."""
    import keras

    from fastprep.training import network

    about = candidate.about
    try:
        model = keras.models.load_model(candidate.path, compile=False)
    except Exception as error:  # of many kinds, for files of all kinds
        if about is None or ":" not in about["model"]:
            text = " ".join(str(error).split())[:400]
            raise InputError(f"{str(candidate.path)!r} can't be loaded: {text}") from error
        # layers of a user's own that Keras does not find by itself: their function makes them again
        side, channels = about["crop"], about["channels"]
        model = network.build_model(Training(model=about["model"]), (side, side, channels), about["classes"])
        model.load_weights(candidate.path)
    if about is not None:
        side = config.crop or about["crop"]
        return model, (side, side), about["logits"]
    shape = getattr(model, "input_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 4:
        raise InputError(f"{str(candidate.path)!r} must take images (height, width, channels), its input is {shape}")
    height, width = (config.crop, config.crop) if config.crop else shape[1:3]
    if height is None or width is None:
        raise InputError(f"{str(candidate.path)!r} takes images of any size: say --crop")
    return model, (height, width), network.gives_logits(model, (height, width, shape[3]))


def _predict(config: Config, candidate: Candidate, model: Any, name: str, crop: Crop, logits: bool) -> NDArray[np.float64]:
    import fastprep

    with _loader(config, candidate, crop, fastprep.Loader) as loader, shown_progress() as show:
        what = f"{candidate.name}, {name}"
        return metrics.predict_crops(
            model, loader, logits=logits, average=config.average, progress=lambda done: show(what, done, loader.n_samples)
        )


def _loader(config: Config, candidate: Candidate, crop: Crop | None, kind: Any, device: str = "auto") -> Any:
    labels = None if config.labels == "none" else config.labels
    try:
        return kind(
            config.data,
            config.batch_size,
            crop,
            images=config.images,
            labels=labels,
            mean=candidate.mean,
            workers=config.workers,
            device=device,
        )
    except MissingMeanError as error:
        raise no_mean(error) from None
