"""README.md: short, its commands in one piece, and its Python runs as it stands."""

import re

import numpy as np
import pytest
from pages import ROOT, blocks, run

import fastprep
from fastprep.h5 import write_images

README = ROOT / "README.md"


def test_the_quick_start_runs_as_it_stands_and_the_network_learns(tmp_path, monkeypatch, capsys):
    pytest.importorskip("keras")
    monkeypatch.chdir(tmp_path)
    names = {}
    run(README, blocks(README, "python")[:1], names)
    history = names["model"].history.history
    assert len(history["accuracy"]) == 3
    assert history["accuracy"][-1] > 0.9


def test_validation_and_testing_run_as_they_stand(tmp_path, monkeypatch, rng, capsys):
    keras = pytest.importorskip("keras")
    monkeypatch.chdir(tmp_path)
    for name in ("train", "val", "test"):
        write_images(f"{name}.h5", rng.integers(0, 256, (6, 240, 250, 3), dtype=np.uint8), rng.integers(0, 2, 6))
    model = keras.Sequential([keras.Input((227, 227, 3)), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    names = {"fastprep": fastprep, "model": model}
    run(README, [(line, text.replace("epochs=75", "epochs=1")) for line, text in blocks(README, "python")[1:]], names)
    assert names["probabilities"].shape == (6, 2)


def test_the_two_commands_are_each_one_line():
    commands = [text for _, text in blocks(README, "sh") if "venv" in text]
    assert [len(text.splitlines()) for text in commands] == [1, 1]
    demo, tests = commands
    assert demo.startswith("python3 -m venv .venv && ")
    assert demo.endswith(" -m fastprep.train --demo\n")
    assert re.match(r"python3 -m venv .* pytest", tests)  # .ci/run runs the line that matches this


def test_it_is_read_in_a_few_minutes():
    assert len(README.read_text().split()) <= 900
