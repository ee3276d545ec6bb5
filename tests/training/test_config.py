"""Configuration of a run: rules, the config.json of another run as a start, and errors before TensorFlow starts."""

import dataclasses
import json
import subprocess
import sys
import textwrap

import h5py
import numpy as np
import pytest

from fastprep import train
from fastprep.errors import InputError
from fastprep.loader import Loader
from fastprep.training import config as configuration
from fastprep.training import config_file, data, throughput
from fastprep.training.config import Config


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--early-stop", "0"], "--early-stop must be at least 1, got 0"),
        (["--save-every", "0"], "--save-every must be at least 1, got 0"),
        (["--momentum", "1"], "--momentum must be at least 0 and below 1, got 1.0"),
        (["--label-smoothing", "-0.1"], "--label-smoothing must be at least 0 and below 1, got -0.1"),
        (["--factor", "1"], "--factor must be above 0 and below 1, got 1.0"),
        (["--warmup", "-1"], "--warmup must be at least 0, got -1.0"),
        (["--weight-decay", "nan"], "--weight-decay must be at least 0, got nan"),
        (["--l2", "-1"], "--l2 must be at least 0, got -1.0"),
        (["--l2", "0", "--model", "some:network"], "--l2 goes with --model alexnet only, got --model some:network"),
        (["--pool-dropout", "1"], "--pool-dropout must be at least 0 and below 1, got 1.0"),
        (["--pool-dropout", "0", "--model", "a:b"], "--pool-dropout goes with --model alexnet only, got --model a:b"),
        (["--freeze", "3"], "--freeze keeps random weights for ever without --weights"),
        (["--weights", "nowhere.keras"], "No such file or directory: 'nowhere.keras'"),
        (["--out", "."], "--out: '.' exists already"),
    ],
)
def test_rules(make_file, options, message):
    path, _, _ = make_file()
    with pytest.raises(InputError) as caught:
        configuration.check(train.parse(["--train", str(path), "--val", str(path), *options]))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("words", "steps"),
    [([], None), (["--profile"], 300), (["--profile", "--quiet"], 300), (["--profile", "7"], 7), (["--profile=8"], 8)],
)
def test_a_profile_may_have_a_number_of_steps(words, steps):
    assert train.parse(["--train", "a.h5", "--val", "b.h5", *words]).profile == steps


def test_tensorboard_that_is_not_installed(make_file, monkeypatch):
    path, _, _ = make_file()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="--tensorboard needs a package that is not installed: pip install tensorboard"):
        configuration.check(Config(train=str(path), val=str(path), tensorboard=True))


def test_a_saved_configuration_is_a_beginning_and_the_command_line_wins(tmp_path):
    options = ["--train", "a.h5", "--val", "b.h5", "--epochs", "3", "--no-mirror", "--lr", "3e-05", "--early-stop", "2"]
    first = train.parse([*options, "--out", "somewhere", "--schedule", "step"])
    config_file.save(first, tmp_path / "config.json")
    again = train.parse(["--config", str(tmp_path / "config.json"), "--epochs", "9", "--mirror"])
    assert (again.train, again.epochs, again.mirror, again.lr) == ("a.h5", 9, True, 3e-05)
    assert (again.early_stop, again.schedule, again.out) == (2, "step", None)


def test_a_configuration_of_the_demo(tmp_path):
    config_file.save(Config(demo=True, train="x", val="y", crop=99), tmp_path / "config.json")
    again = train.parse([f"--config={tmp_path / 'config.json'}"])
    assert (again.demo, again.train, again.val, again.crop) == (True, None, None, 99)


@pytest.mark.parametrize("words", [["--demo", "--model", "alexnet"], ["--model=alexnet", "--demo"]])
def test_the_demo_trains_alexnet_if_asked(words):
    config = train.parse(words)
    assert (config.model, config.crop, config.epochs, config.l2, config.batchnorm_steps) == ("alexnet", 85, 24, 2e-5, 16)


def test_the_demo_trains_a_small_network_or_at_full_size_alexnet():
    quick = train.parse(["--demo", "--lr", "0.5"])
    assert (quick.model, quick.crop, quick.lr, quick.l2) == ("fastprep.model:small_cnn", 85, 0.5, None)
    full = train.parse(["--demo", "--full"])
    assert (full.model, full.crop, full.epochs, full.l2) == ("alexnet", 227, 40, 2e-5)


def test_a_demo_with_alexnet_is_resumed_as_it_was(tmp_path):
    first = train.parse(["--demo", "--model", "alexnet"])
    config_file.save(first, tmp_path / "config.json")
    again = train.parse(["--resume", str(tmp_path)])
    assert dataclasses.replace(again, resume=None) == first


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("[1]", "must hold an object of options, found list"),
        ("[" * 100_000, "is nested too deeply"),
        (" " * 2**20 + "{}", "must be a file of options of at most 1,048,576 bytes"),
        ('{"epohcs": 3}', "has unknown options: epohcs"),
        ('{"epochs": [3]}', "epochs must be text, a number, true, false or null, found [3]"),
    ],
)
def test_a_configuration_that_is_none(tmp_path, capsys, content, message):
    (tmp_path / "c.json").write_text(content)
    assert train.main(["--config", str(tmp_path / "c.json")]) == 2
    assert message in capsys.readouterr().err


# --- what the files hold


@pytest.fixture
def config(make_file):
    train_file, _, _ = make_file(n=9, name="train.h5")
    val_file, _, _ = make_file(n=6, name="val.h5")
    for path, n in ((train_file, 9), (val_file, 6)):
        with h5py.File(path, "r+") as file:
            file["labels"][...] = np.arange(n) % 3
    return Config(train=str(train_file), val=str(val_file), crop=10, batch_size=4)


def relabel(path, labels, **attributes):
    with h5py.File(path, "r+") as file:
        del file["labels"]
        file["labels"] = labels
        file["images"].attrs.update(attributes)


def test_what_is_seen(config):
    found = data.inspect_files(config)
    assert (found.classes, found.class_names, found.channel_order, found.input_shape) == (3, (), None, (10, 10, 3))
    assert found.counts.tolist() == [3, 3, 3]
    assert found.val_counts.tolist() == [2, 2, 2]
    assert found.notes == []


@pytest.mark.parametrize(
    ("shape", "val_shape", "crop"),
    [
        ((256, 256), (256, 256), 227),  # the tutorial's
        ((96, 96), (96, 96), 85),
        ((300, 128), (128, 300), 114),  # 113.5 of the shorter side
        ((256, 256), (200, 210), 200),  # no more than there is to validate
        ((1, 5), (3, 3), 1),
    ],
)
def test_crops_follow_the_size_of_the_images_unless_they_are_given(make_file, shape, val_shape, crop):
    train_file, _, _ = make_file(n=4, height=shape[0], width=shape[1], name="train.h5")
    val_file, _, _ = make_file(n=4, height=val_shape[0], width=val_shape[1], name="val.h5")
    for path in (train_file, val_file):
        relabel(path, np.arange(4) % 2)
    config = Config(train=str(train_file), val=str(val_file), batch_size=2)
    assert data.inspect_files(config).input_shape[:2] == (crop, crop)
    assert data.inspect_files(Config(**{**vars(config), "crop": 1})).input_shape[:2] == (1, 1)


def test_a_resumed_run_of_the_time_when_crops_and_steps_were_fixed_keeps_them(tmp_path):
    values = {"train": "a.h5", "val": "b.h5"}
    (tmp_path / "config.json").write_text(json.dumps(values))
    resumed = train.parse(["--resume", str(tmp_path)])
    assert (resumed.crop, resumed.batchnorm_steps, resumed.shuffle_window) == (227, 0, 2048)
    (tmp_path / "config.json").write_text(json.dumps({**values, "crop": 64, "batchnorm_steps": 3}))
    resumed = train.parse(["--resume", str(tmp_path)])
    assert (resumed.crop, resumed.batchnorm_steps) == (64, 3)


def test_a_resumed_run_may_name_the_axes_that_it_took_for_granted(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"train": "a.h5", "val": "b.h5"}))
    assert train.parse(["--resume", str(tmp_path), "--axes", "NHWC"]).axes == "NHWC"


@pytest.mark.parametrize(("name", "value"), [("axes", "NCWH"), ("shape", "8x9x3"), ("channels", "2,1,0")])
def test_a_resumed_run_keeps_the_images_that_it_named(tmp_path, name, value):
    saved = {"axes": "NCHW", "shape": "9x8x3", "channels": "RGB"}
    (tmp_path / "config.json").write_text(json.dumps({"train": "a.h5", "val": "b.h5", **saved}))
    with pytest.raises(InputError, match=f"--resume: --{name} was {saved[name]} and can't become {value}; that is another run"):
        train.parse(["--resume", str(tmp_path), f"--{name}", value])


def test_the_axes_and_the_window_are_those_of_the_command_line(make_file):
    paths = [str(make_file(n=24, height=3, width=40, channels=20, name=name)[0]) for name in ("train.h5", "val.h5")]
    for path in paths:
        relabel(path, np.arange(24) % 2)
    config = Config(train=paths[0], val=paths[1], batch_size=4, crop=3)
    with pytest.raises(InputError, match=r"looks like \(N, C, H, W\).*axes='NHWC'"):
        data.inspect_files(config)
    named = Config(**{**vars(config), "axes": "NHWC", "shuffle_window": 5})
    assert data.inspect_files(named).input_shape == (3, 3, 20)
    for loader in data.open_loaders(named, data.inspect_files(named)):
        assert loader.axes == "NHWC"
        assert loader.shuffle_window == (5 if loader.shuffle else None)
        loader.close()


def test_labels_with_gaps_are_an_error_unless_the_classes_are_known(config):
    relabel(config.train, [7, 9] * 4 + [7])
    relabel(config.val, [7, 9] * 3)
    with pytest.raises(InputError) as caught:
        data.inspect_files(config)
    assert "labels are 7, 9; they must be 0..1 with none left out, unless" in str(caught.value)
    assert "--classes 10 says how many there are" in str(caught.value)
    assert data.inspect_files(Config(**{**vars(config), "classes": 12})).classes == 12
    with pytest.raises(InputError, match="label 9 is not among the 5 of --classes"):
        data.inspect_files(Config(**{**vars(config), "classes": 5}))
    relabel(config.train, [7, 9] * 4 + [7], class_names=[f"class {k}" for k in range(11)])
    assert data.inspect_files(config).classes == 11


def test_a_label_without_a_name_is_an_error_unless_the_classes_are_known(config):
    """As where 255 stands for images that nobody has labelled, and a network would get 256 outputs."""
    relabel(config.train, [0, 1, 255] * 3, class_names=["cat", "dog"])
    with pytest.raises(InputError, match=r"label 255 is outside class_names, which has 2: cat, dog; mend .* --classes 256"):
        data.inspect_files(config)
    known = data.inspect_files(Config(**{**vars(config), "classes": 256}))
    assert (known.classes, known.class_names) == (256, ("cat", "dog"))


@pytest.mark.parametrize("content", [b"[" * 100_000, b"\xff", b"[1]", b'{"R": "1"}'])
def test_a_mean_file_that_is_none(config, tmp_path, content):
    (tmp_path / "mean.json").write_bytes(content)
    with pytest.raises(InputError, match=r"mean\.json' (is not JSON|must have a finite number for each)"):
        data.inspect_files(Config(**{**vars(config), "mean": str(tmp_path / "mean.json")}))
    with pytest.raises(InputError, match="is a folder, not a file"):
        configuration.check(Config(**{**vars(config), "mean": str(tmp_path)}))


def test_fewer_images_for_validation_than_ranks(config):
    inputs = data.inspect_files(config)
    for world, sizes in ((6, [1] * 6), (7, [6] * 7)):
        for rank, size in enumerate(sizes):
            train_loader, val_loader = data.open_loaders(Config(**{**vars(config), "batch_size": 1}), inputs, (rank, world))
            with train_loader, val_loader:
                assert sum(len(val_loader.samples(0, step)) for step in range(len(val_loader))) == size
    with pytest.raises(InputError, match="--train: 9 images do not fill a batch of 4 on each of 3 ranks"):
        data.open_loaders(config, inputs, (0, 3))


def test_other_names_of_classes_for_validation(config):
    relabel(config.train, np.arange(9) % 2, class_names=["cat", "dog"])
    relabel(config.val, np.arange(6) % 2, class_names=["dog", "cat"])
    with pytest.raises(InputError, match="class_names are dog, cat; training had cat, dog"):
        data.inspect_files(config)


@pytest.mark.parametrize(
    ("train_labels", "val_labels"),
    [
        (np.eye(3, dtype="f4")[np.arange(9) % 3], np.arange(6) % 3),
        ((np.arange(9) % 3).astype("f8"), (np.arange(6) % 3).reshape(-1, 1, 1, 1)),
        (np.array(["ant", "cat", "owl"] * 3, object), np.array(["owl", "cat"] * 3, object)),
    ],
    ids=["one-hot", "floats", "texts"],
)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_labels_of_every_form_are_trained_on_as_numbers_of_classes(config, train_labels, val_labels, smoothing):
    relabel(config.train, train_labels)
    relabel(config.val, val_labels)
    config = Config(**{**vars(config), "label_smoothing": smoothing, "class_weight": "balanced"})
    found = data.inspect_files(config)
    assert found.counts.tolist() == [3, 3, 3]
    is_text = train_labels.dtype == object
    assert found.class_names == (("ant", "cat", "owl") if is_text else ())
    assert found.val_counts.tolist() == ([0, 3, 3] if is_text else [2, 2, 2])
    train_loader, val_loader = data.open_loaders(config, found)
    with train_loader, val_loader:
        for loader, wanted in ((train_loader, np.arange(9) % 3), (val_loader, [2, 1] * 3 if is_text else np.arange(6) % 3)):
            rows = np.eye(3, dtype="f4")[wanted] if smoothing else np.array(wanted)
            np.testing.assert_array_equal(loader.labels, rows)
            np.testing.assert_array_equal(loader.batch(0, 1)[1], rows[loader.samples(0, 1)])


def test_what_is_not_one_class_for_each_image_is_refused(config):
    for labels, found in (
        (np.arange(9) / 2, r"float64 \(9,\), 0\.5 for sample 1: numbers to predict"),
        (np.full((9, 3), 2), r"int64 \(9, 3\)"),
        (np.zeros((9, 2, 2)), r"float64 \(9, 2, 2\); masks, boxes and points are for Python, fastprep\.Loader\("),
    ):
        relabel(config.train, labels)
        with pytest.raises(InputError, match=f"labels must be one integer for each image, found {found}"):
            data.inspect_files(config)
    relabel(config.train, np.array(["ant", "cat", "owl"] * 3, object))
    relabel(config.val, np.array(["bee", "cat"] * 3, object))
    with pytest.raises(InputError, match=r"val\.h5': label 'bee' is not among the classes of training: ant, cat, owl"):
        data.inspect_files(config)


def test_validation_has_names_and_files_of_its_own(config, tmp_path):
    with h5py.File(config.train, "r+") as file:
        file["train_set_x"], file["train_set_y"] = file.pop("images"), np.arange(9)[None] % 3
        file["test/x"], file["test/y"] = np.zeros((6, 12, 14, 3), np.uint8), np.arange(6) % 2
    names = {"images": "train_set_x", "labels": "train_set_y", "val_images": "test/x", "val_labels": "test/y", "mean": "none"}
    wanted = Config(**{**vars(config), **names, "val": None})
    configuration.check(wanted)
    found = data.inspect_files(wanted)
    assert (found.counts.tolist(), found.val_counts.tolist(), found.notes) == ([3, 3, 3], [3, 3, 0], [])
    train_loader, val_loader = data.open_loaders(wanted, found)
    with train_loader, val_loader:
        assert (train_loader.images, val_loader.images, val_loader.n_samples) == ("train_set_x", "test/x", 6)
        assert not np.asarray(val_loader.batch(0, 0)[0]).any()
    for name, n in (("y.h5", 9), ("y-val.h5", 6)):
        with h5py.File(tmp_path / name, "w") as file:
            file["y"] = np.arange(n) % 3
    elsewhere = {**vars(config), "images": "train_set_x", "mean": "none", "val_images": "images", "labels": f"{tmp_path}/y.h5:y"}
    with pytest.raises(InputError, match=r"--labels .*y\.h5:y has the labels of the training images: say --val-labels"):
        configuration.check(Config(**elsewhere))
    elsewhere["val_labels"] = f"{tmp_path}/y-val.h5:y"
    assert data.inspect_files(Config(**elsewhere)).val_counts.tolist() == [2, 2, 2]


def test_weights_of_samples_are_for_training_alone(config):
    weighted = Config(**{**vars(config), "sample_weight": "trust", "class_weight": "balanced"})
    with pytest.raises(InputError, match=r"train\.h5': there is no dataset 'trust'"):
        data.inspect_files(weighted)
    own = np.arange(9, dtype="float32")
    relabel(config.train, np.array([0] * 5 + [1, 1, 1, 2]))
    with h5py.File(config.train, "r+") as file:
        file["trust"] = own
    loaders = data.open_loaders(weighted, data.inspect_files(weighted))
    with loaders[0] as train_loader, loaders[1] as val_loader:
        samples = np.concatenate([train_loader.samples(0, step) for step in range(len(train_loader))])
        found = np.concatenate([train_loader.batch(0, step)[2] for step in range(len(train_loader))])
        assert len(val_loader.batch(0, 0)) == 2
    by_class = np.array([3 / 5] * 5 + [1, 1, 1, 3])  # 9 images over 3 classes times those of the class
    np.testing.assert_allclose(found, (own * by_class)[samples], rtol=1e-6)


def test_what_is_unusual_is_said(config):
    swapped = data.inspect_files(Config(**{**vars(config), "train": config.val, "val": config.train}))
    assert swapped.notes == [
        "there are more images for validation (9) than for training (6): are --train and --val the right way round?"
    ]
    same = data.inspect_files(Config(**{**vars(config), "val": config.train}))
    assert same.notes == ["images of training are among those of validation, which then says little"]


def test_bad_files_are_told_without_tensorflow(config):
    script = f"""
        import sys
        from fastprep import train
        print(train.main(["--train", "nowhere.h5", "--val", {config.val!r}]))
        print(train.main(["--train", {config.train!r}, "--val", {config.val!r}, "--crop", "99"]))
        print(any(name in sys.modules for name in ("keras", "tensorflow")))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.split() == ["2", "2", "False"]
    assert "No such file or directory: 'nowhere.h5'" in done.stderr
    assert "crop is larger than the image" in done.stderr
    assert done.stderr.count("\n") == 2


# --- what a run waited for


@pytest.mark.parametrize(
    ("measured", "wanted"),
    [
        (throughput.Meter(seconds=10, waited=0.5, images=1000), "100 images/s; 5.0% of the training steps' time went into"),
        (throughput.Meter(seconds=10, waited=0.5, images=1000), "not input-bound"),
        (throughput.Meter(seconds=10, waited=5, images=9, disk=10**8), "input-bound, by the disk: 10 MB/s came from there"),
        (throughput.Meter(seconds=10, waited=5, images=9), "of a thread's time; one thread makes"),
    ],
)
def test_the_summary_names_what_a_run_waited_for(config, measured, wanted):
    def make(workers):
        return Loader(config.train, 4, None, labels=None, mean=0, workers=workers)

    with make(1) as loader:
        assert wanted in throughput.summary(measured, loader, make)


def test_the_summary_advises_to_convert_what_is_slow_to_read(make_file):
    path, _, _ = make_file(n=40, chunks=(8, 12, 14, 3), compression="gzip")

    def make(workers):
        return Loader(path, 4, None, labels=None, mean=0, workers=workers)

    with make(1) as loader:
        said = throughput.summary(throughput.Meter(seconds=10, waited=5, images=40), loader, make)
    assert "input-bound, by reading and decoding" in said
    assert "python -m fastprep.convert" in said


def test_a_stopwatch_measures_from_its_start(config):
    now = [100.0]
    with Loader(config.train, 4, None, labels=None, mean=0) as loader:
        watch = throughput.Stopwatch(loader, clock=lambda: now[0])
        list(loader)
        now[0] = 102.0
        assert (watch.read().seconds, watch.read().images) == (2.0, 9)
        watch.start()
        assert (watch.read().seconds, watch.read().images, watch.read().rate) == (0.0, 0, 0.0)
        total = throughput.Meter(1.0, 0.25, 10)
        total.add(throughput.Meter(1.0, 0.25, 20))
        assert (total.rate, total.share, str(total)) == (15.0, 0.25, "15 images/s, 25% waiting for input")
