"""Files of encoded images, as `build` and `convert` make them, in every command: a run on them is that on their pixels."""

import json
import sys
import types

import numpy as np
import pytest
from encoded_images import by_pillow, photograph
from optional_libraries import needs

pytest.importorskip("keras")

from small_run import NETWORK, command, outcome

import fastprep
from fastprep import build, convert, doctor, evaluate, show, train

pytestmark = needs("simplejpeg")

FORMS = ("built", "pixels", "png")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folders of train.h5 and val.h5: encoded by `build`, their pixels, these pixels without loss; and a run on each."""
    folder = tmp_path_factory.mktemp("made")
    rng = np.random.default_rng(8)
    for k in range(60):
        image = photograph(20 + k % 7, 30 - k % 5) // 2 + rng.integers(0, 128, (20 + k % 7, 30 - k % 5, 3), np.uint8)
        (folder / "images" / "abc"[k % 3]).mkdir(parents=True, exist_ok=True)
        (folder / "images" / "abc"[k % 3] / f"{k}.jpg").write_bytes(by_pillow(image, "JPEG"))
    words = ["--encoded", "--size", "12", "--quality", "80", "--split", "0.7", "0.3", "0"]
    assert build.main([str(folder / "images"), str(folder / "built"), *words]) == 0
    for name in ("train.h5", "val.h5"):
        assert convert.main([str(folder / "built" / name), str(folder / "pixels" / name)]) == 0
        assert convert.main([str(folder / "pixels" / name), str(folder / "png" / name), "--encode", "png"]) == 0
    (folder / "network_of_faults.py").write_text(NETWORK)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        for form in FORMS:
            # by default images are resized before they are cropped if they may have different sizes, and only then
            assert train.main(command(folder / form, "--out", str(folder / form / "run"), "--resize", "12")) == 0
        yield folder


def test_a_run_on_encoded_images_is_that_on_their_pixels_bit_for_bit(made):
    wanted = outcome(made / "pixels" / "run")
    assert len(wanted["history"]["loss"]) == 3
    for form in ("built", "png"):
        got = outcome(made / form / "run")
        for name, value in wanted.items():
            assert got[name] == value, name


def test_an_evaluation_on_encoded_images_is_that_on_their_pixels(made, tmp_path):
    results = []
    for form in FORMS:
        out = tmp_path / form
        words = ["--data", str(made / form / "val.h5"), "--out", str(out), "--model", "network_of_faults:network"]
        assert evaluate.main([str(made / form / "run"), *words]) == 0
        scores = json.loads((out / "summary.json").read_text())["scores"]
        with np.load(out / "probabilities.npz") as arrays:
            results.append((scores, {name: arrays[name].tolist() for name in arrays.files if arrays[name].dtype.kind == "f"}))
    assert results[0] == results[1] == results[2]
    assert results[0][1]


@pytest.mark.parametrize("form", FORMS)
def test_the_stored_mean_is_that_of_the_training_images(made, form):
    mean = fastprep.image_mean(made / form / "train.h5")
    for name in ("train.h5", "val.h5"):
        with fastprep.Loader(made / form / name, 4, None) as loader:
            np.testing.assert_array_equal(loader.mean, mean.astype("float32"))
            assert loader.channel_order == "RGB"
            assert loader.class_names == ("a", "b", "c")


@pytest.mark.parametrize("form", FORMS)
def test_parts_are_drawn_and_loaded(made, form):
    path = made / form / "train.h5"
    with fastprep.Loader(path, 4, None) as whole:
        labels = whole.labels
    parts = fastprep.split(labels, (0.5, 0.5), seed=3)
    with fastprep.Loader(path, len(labels), None, mean=None) as whole:
        x, _ = whole.batch(0, 0)
    for part in parts:
        with fastprep.Loader(path, len(part), None, mean=None, indices=part) as loader:
            np.testing.assert_array_equal(loader.batch(0, 0)[0], x[part])
            np.testing.assert_array_equal(loader.batch(0, 0)[1], labels[part])


def test_show_tells_what_is_inside_and_draws_it(made, tmp_path, capsys):
    words = ["--sheet", str(tmp_path / "sheet.png"), "--crops", str(tmp_path / "crops.png")]
    for form, said in {"pixels": "contiguous", "built": "the first as JPEG", "png": "the first as PNG"}.items():
        assert show.main([str(made / form / "train.h5"), *(words if form == "png" else [])]) == 0
        assert said in capsys.readouterr().out
    assert {file.name for file in tmp_path.iterdir()} == {"sheet.png", "crops.png"}


def test_doctor_measures_a_file_that_convert_has_encoded(made, capsys):
    assert doctor.main([str(made / "png" / "train.h5"), "--batch-size", "8", "--rounds", "1"]) == 0
    assert "the first as PNG" in capsys.readouterr().out


@pytest.mark.parametrize(("form", "n_lines"), [("png", 1), ("pixels", 0)])
def test_doctor_says_where_encoded_images_are_decoded(made, capsys, form, n_lines):
    assert doctor.main([str(made / form / "train.h5"), "--batch-size", "8", "--rounds", "1"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  decoding")]
    assert len(lines) == n_lines
    assert all("on the CPU" in line for line in lines)


@pytest.mark.parametrize(("compiled", "said"), [(None, "JPEGs whole, by simplejpeg"), (print, "only the part that a crop needs")])
def test_doctor_says_whether_parts_of_jpegs_can_be_decoded(monkeypatch, compiled, said):
    monkeypatch.setattr(doctor, "part_decoder", lambda: compiled)
    assert said in doctor._decoding(None)
    assert "GPU" not in doctor._decoding(None)


def test_doctor_says_whether_jpegs_can_be_decoded_on_the_gpu(monkeypatch):
    module = types.SimpleNamespace(__version__="0.9.0")
    monkeypatch.setitem(sys.modules, "nvidia", types.SimpleNamespace(nvimgcodec=module))
    assert 'Loader(decode="device") has nvImageCodec' in doctor._decoding("a GPU")
    module.__version__ = "0.3.1"
    assert "on the GPU not: " in doctor._decoding("a GPU")
    assert "0.9 or later, and 0.3.1 is installed" in doctor._decoding("a GPU")
