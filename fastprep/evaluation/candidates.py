"""Models to test: found in run folders or .keras files, with what these say about training, and loaded."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprep.errors import ONE_INPUT, InputError, input_errors
from fastprep.evaluation.config import Config
from fastprep.loader import Loader
from fastprep.training import checkpoint, saved_model
from fastprep.training.config import Config as Training
from fastprep.training.foreign_code import check_named
from fastprep.training.several_labels import has_several
from fastprep.training.state import RunState

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
    val_indices : ndarray of int, or None
        Samples of the training file that the run was validated with; None if it had a file for that.
    part : ndarray of int, or None
        Samples to test with; None for all of them.
    """

    name: str
    path: Path
    facts: dict[str, Any] | None
    mean: Any
    val_indices: NDArray[np.int64] | None = None
    part: NDArray[np.int64] | None = None

    @property
    def several(self) -> bool | None:
        """Whether it was trained on several labels an image; None if that is not known."""
        return None if self.facts is None else self.facts.get("several_labels", False)


def find_model(config: Config, name: str) -> Path:
    """Return the file of the model of a run folder, or a .keras file itself.

    Raises
    ------
    InputError
        If there is none.
    """
    path = Path(name) / f"{config.which}.keras" if Path(name).is_dir() else Path(name)
    if not path.exists():
        problem = f"{name!r} has no {path.name}" if Path(name).is_dir() else f"there is no run, and no .keras file, {name!r}"
        raise InputError(problem + ("; --which last, perhaps" if (Path(name) / "last.keras").exists() else ""))
    return path


def find_candidate(config: Config, name: str) -> Candidate:
    """Return the model of a run folder, or of a .keras file."""
    path = find_model(config, name)
    try:
        state, arrays = checkpoint.read(path)
    except InputError:
        if config.mean == "run" and not zipfile.is_zipfile(path):
            way_out = "RUN is a folder of fastprep.train, or such a file"
            raise InputError(f"{str(path)!r} is no .keras file, which is a ZIP; {way_out}") from None
        if config.mean == "run":
            raise InputError(
                f"{name!r} does not say what training subtracted: say --mean file, compute, none, or a JSON"
            ) from None
        return Candidate(name, path, None, _mean(config))
    _check_facts(path, state)
    mean = arrays.get("mean") if config.mean == "run" else _mean(config)
    return Candidate(name, path, state["about"], mean, arrays.get("val_indices"))


def _mean(config: Config) -> Any:
    """Return the mean to subtract, other than that of a run, as for `Loader`; None also for one that is yet to be computed."""
    return None if config.mean in ("none", "compute") else config.mean


def _check_facts(path: Path, state: dict[str, Any]) -> None:
    """Check what a file says about the training of its model."""
    facts = state.get("about", {})
    for name, kind in _FACTS.items():
        value = facts.get(name)
        if not isinstance(value, kind) or (isinstance(value, list) and not all(isinstance(part, str) for part in value)):
            raise InputError(f"{str(path)!r} is damaged: what it says about training has a wrong {name!r}, {str(value)[:80]!r}")
    picked = facts.get("picked")  # which older runs do not say
    if picked is not None and not (isinstance(picked, list) and picked and all(type(channel) is int for channel in picked)):
        raise InputError(f"{str(path)!r} is damaged: what it says about training has a wrong 'picked', {str(picked)[:80]!r}")
    for name in ("several_labels", "standardize"):
        if not isinstance(value := facts.get(name, False), bool):
            raise InputError(f"{str(path)!r} is damaged: what it says about training has a wrong {name!r}, {value!r:.80}")


def run_of(candidate: Candidate) -> RunState | None:
    """Return how a run went, by its last save; None for a file in no run folder, and where that is missing or damaged."""
    last = Path(candidate.name) / "last.keras"
    if not Path(candidate.name).is_dir() or not last.exists():
        return None
    try:
        state, _ = checkpoint.read(last)
        return RunState.from_dict(state["course"], state.get("throughput"))
    except (InputError, KeyError, TypeError, AttributeError):
        return None


def common_fact(key: str, candidates: list[Candidate]) -> Any:
    """Return a fact that all models share; None if it is not known for any of them."""
    values = [(candidate.name, value) for candidate in candidates if candidate.facts and (value := candidate.facts[key])]
    for name, value in values[1:]:
        if value != values[0][1]:
            raise InputError(f"the models have different {key}: {values[0][1]!r} in {values[0][0]!r}, {value!r} in {name!r}")
    return values[0][1] if values else None


def have_several(config: Config, candidates: list[Candidate], loader: Loader) -> bool:
    """Tell whether the models predict several labels an image, as training did, or, if that is not known, as the labels are.

    Raises
    ------
    InputError
        If the models differ, an option contradicts them, or the labels leave it open.
    """
    trained = [candidate for candidate in candidates if candidate.several is not None]
    kinds = {True: "several labels an image", False: "one class an image"}
    asked = {"auto": None, "one": False, "several": True}[config.labels_per_image]
    for candidate in trained:
        if candidate.several != trained[0].several:
            found = (f"{kinds[bool(each.several)]} in {each.name!r}" for each in (trained[0], candidate))
            raise InputError(f"the models were trained on different labels: {', '.join(found)}")
        if asked not in (None, candidate.several):
            problem = f"{candidate.name!r} was trained on {kinds[bool(candidate.several)]}"
            raise InputError(f"--labels-per-image {config.labels_per_image}: {problem}; leave the option out")
    if trained:
        return bool(trained[0].several)
    return has_several(loader) if asked is None else asked


def load_model(config: Config, candidate: Candidate, several: bool = False) -> tuple[Any, tuple[int, int], bool]:
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
        trained = Training(model=facts["model"], labels_per_image="several" if several else "one")
        model = network.build_model(trained, (side, side, channels), facts["classes"])
        with input_errors(ValueError, KeyError, OSError):
            model.load_weights(candidate.path)
    if facts is not None:
        side = config.crop or facts["crop"]
        return model, (side, side), facts["logits"]
    shape = getattr(model, "input_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 4:
        way_out = f"; {ONE_INPUT}" if len(getattr(model, "inputs", None) or ()) > 1 else ""
        problem = f"must take images (height, width, channels), its input is {shape}{way_out}"
        raise InputError(f"{str(candidate.path)!r} {problem}")
    height, width = (config.crop, config.crop) if config.crop else shape[1:3]
    if height is None or width is None:
        raise InputError(f"{str(candidate.path)!r} takes images of any size: say --crop")
    return model, (height, width), network.gives_logits(model, (height, width, shape[3]), several=several)
