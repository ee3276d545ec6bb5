"""The train command when something breaks meanwhile: one clear line, a run folder that is whole, and a way to go on."""

import os
import re
import shutil
import signal
import time

import h5py
import numpy as np
import pytest
from full_disk import run_on_small_disk
from test_resume import outcome

from fastprep import checkpoint, train

keras = pytest.importorskip("keras")
from fastprep import callbacks  # noqa: E402

EPOCHS, STEPS = 3, 6
WHOLE = ["best.keras", "config.json", "curves.png", "history.csv", "last.keras"]

NETWORK = """
import keras
from keras import layers

def network(shape, classes):  # dropout has a random state, and Adam a state, to be kept
    return keras.Sequential([keras.Input(shape), layers.Flatten(), layers.Dropout(0.5), layers.Dense(classes)])

def big(shape, classes):
    return keras.Sequential([keras.Input(shape), layers.Flatten(), layers.Dense(1000), layers.Dense(classes)])
"""


def command(folder, *options):
    """Return the arguments of a run of 3 epochs of 6 steps."""
    files = ["--train", str(folder / "train.h5"), "--val", str(folder / "val.h5"), "--crop", "10", "--batch-size", "8"]
    options = ["--model", "network_of_faults:network", "--save-every", "100", "--workers", "1", *options]
    return [*files, "--epochs", str(EPOCHS), *options]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A folder with files, gzip so that their pictures can be damaged, and a run that nothing happened to."""
    folder, rng = tmp_path_factory.mktemp("undisturbed"), np.random.default_rng(3)
    (folder / "network_of_faults.py").write_text(NETWORK)
    for name, n in (("train.h5", 43), ("val.h5", 20)):
        with h5py.File(folder / name, "w") as file:
            layout = {"chunks": (1, 12, 14, 3), "compression": "gzip", "fletcher32": True}
            file.create_dataset("images", data=rng.integers(0, 256, (n, 12, 14, 3), dtype=np.uint8), **layout)
            file["images"].attrs["mean"] = [90.0, 100.0, 110.0]
            file["labels"] = rng.integers(0, 3, n)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        assert train.main(command(folder, "--out", str(folder / "run"))) == 0
    return folder


@pytest.fixture
def files(undisturbed, tmp_path):
    """Files to do harm to."""
    return [shutil.copy2(undisturbed / name, tmp_path / name) for name in ("train.h5", "val.h5")]


@pytest.fixture
def arguments(files, tmp_path):
    return command(tmp_path)


def before_step(monkeypatch, number, action):
    """Call `action` before a step of training, counted over all epochs."""
    original, done = callbacks.Keeper.on_train_batch_begin, []

    def begin(keeper, batch, logs=None):
        if keeper._course.epoch * STEPS + keeper._first + batch == number and not done:
            done.append(True)
            action()
        original(keeper, batch, logs)

    monkeypatch.setattr(callbacks.Keeper, "on_train_batch_begin", begin)


def names(run):
    return sorted(path.name for path in run.iterdir())


# --- files that are changed meanwhile


def flip(path, chunk):
    with h5py.File(path, "r") as file:
        place = file["images"].id.get_chunk_info_by_coord((chunk, 0, 0, 0))
    with open(path, "r+b") as file:
        file.seek(place.byte_offset + place.size // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 0x55]))


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def write_anew(path):
    content = bytearray(path.read_bytes())
    time.sleep(0.02)  # a tick of the file system's clock
    path.write_bytes(content)


CHANGED = "changed or replaced since it was opened first"


def test_a_training_file_that_is_changed_meanwhile(files, arguments, undisturbed, tmp_path, monkeypatch, capsys):
    """It ends with one line; with the file as it was, the run goes on and ends as one that nobody disturbed."""
    content, times = files[0].read_bytes(), files[0].stat()
    run = tmp_path / "run"
    changes = {
        1: (truncate, rf"dataset 'images', chunk (\d+), sample \1: .*truncated.*; the file was {CHANGED}"),
        2: (write_anew, rf"dataset 'images': {CHANGED}"),
    }
    words = [*arguments, "--out", str(run)]
    for epoch, (change, message) in changes.items():
        with monkeypatch.context() as patch:
            before_step(patch, epoch * STEPS + 2, lambda: change(files[0]))  # noqa: B023 - called in this round
            assert train.main(words) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert re.match(
            rf"fastprep.train: file '{files[0]}', {message}; the run folder is whole: go on with --resume {run}\n", error
        )
        assert names(run) == WHOLE
        assert checkpoint.read(run / "last.keras")[0]["course"]["epoch"] == epoch
        files[0].write_bytes(content)
        os.utime(files[0], ns=(times.st_atime_ns, times.st_mtime_ns))
        words = ["--resume", str(run)]
    assert train.main(words) == 0
    assert outcome(run) == outcome(undisturbed / "run")


def test_a_training_file_whose_name_is_given_to_another_is_read_on(files, arguments, make_file, tmp_path, monkeypatch):
    """The open file is still the old one, as on any Unix."""
    other, _, _ = make_file(n=9, name="other.h5")
    before_step(monkeypatch, STEPS + 2, lambda: os.replace(other, files[0]))
    assert train.main([*arguments, "--out", str(tmp_path / "run")]) == 0
    assert len((tmp_path / "run" / "history.csv").read_text().splitlines()) == EPOCHS + 1


def test_a_picture_that_can_not_be_read_is_an_error_or_left_out(files, arguments, tmp_path, capsys):
    """The line says how to leave it out, and that can be said to a run that is resumed, too."""
    flip(files[0], 17)
    flip(files[1], 3)
    run = tmp_path / "run"
    assert train.main([*arguments, "--out", str(run)]) == 2
    error = capsys.readouterr().err
    assert f"file {str(files[0])!r}, dataset 'images', chunk 17, sample 17: " in error
    assert error.endswith(f"go on with --resume {run}, and --on-corrupt skip to leave such pictures out\n")
    assert train.main(["--resume", str(run), "--on-corrupt", "skip"]) == 0
    printed = capsys.readouterr().out
    for word, n, k, path in (("training", 43, 17, files[0]), ("validation", 20, 3, files[1])):
        said = f"1 of {n} {word} pictures can't be read, and the next ones took their place (--on-corrupt skip): "
        assert f"{said}file {str(path)!r}, dataset 'images', chunk {k}, sample {k}: " in printed
    assert names(run) == WHOLE


# --- a full disk


def test_a_disk_that_is_full(arguments, undisturbed, tmp_path):
    """The network and its optimizer take 3.7 MB: there is room for one last.keras, and not for the next beside it."""
    arguments = [*arguments, "--epochs", "1", "--save-every", "2", "--model", "network_of_faults:big"]
    script = f"""
    import pathlib
    from fastprep import callbacks, checkpoint, train
    sys.path.insert(0, {str(undisturbed)!r})
    say = lambda *words: print(*words, file=sys.stderr, flush=True)
    def attempt(size, *words):
        resize(size)
        say("status", train.main([*words]), *listing("run"))
    run = disk + "/run"
    attempt("1m", *{arguments!r}, "--out", run)
    attempt("5m", "--resume", run)
    say("step", checkpoint.read(pathlib.Path(run) / "last.keras")[0]["course"]["step"])
    original = callbacks.publish
    def publish(course, folder):  # the model is saved, and then the disk is full to the last byte
        try:
            with open(disk + "/filler", "wb", buffering=0) as file:
                while file.write(bytes(4096)): pass
        except OSError: pass
        original(course, folder)
    callbacks.publish = publish
    attempt("20m", "--resume", run)
    callbacks.publish = original
    os.unlink(disk + "/filler")
    attempt("20m", "--resume", run)
    """
    done = run_on_small_disk(tmp_path / "disk", "1m", script)
    assert done.returncode == 0, done.stderr
    run = tmp_path / "disk" / "run"
    lines = [line for line in done.stderr.splitlines() if line.startswith(("fastprep.train:", "status", "step"))]

    def full(name):
        problem = f"[Errno 28] No space left on device: '{run / name}'"
        return f"fastprep.train: {problem}; the run folder is whole: go on with --resume {run}"

    assert lines == [
        full("last.keras"),
        "status 2 config.json",
        full("last.keras"),
        "status 2 config.json last.keras",
        "step 0",
        full("history.csv"),
        "status 2 best.keras config.json last.keras",
        "status 0 " + " ".join(WHOLE),
    ]


# --- SIGTERM, as of a scheduler


def test_sigterm_saves_and_the_run_goes_on_with_the_same_bits(arguments, undisturbed, tmp_path, monkeypatch, capsys):
    """Nothing is saved in the middle of an epoch but by the signal; each hits what the last resumed run left."""
    run, words = tmp_path / "run", [*arguments, "--out", str(tmp_path / "run")]
    moments = {
        "before the first step": (0, signal.SIGTERM, (0, 0)),
        "in an epoch": (3, signal.SIGTERM, (0, 3)),
        "at its last step": (STEPS - 1, signal.SIGHUP, (0, STEPS - 1)),
        "in the validation": (None, signal.SIGTERM, (1, 0)),
        "at the first step of an epoch": (2 * STEPS, signal.SIGTERM, (2, 0)),
    }
    for number, sort, (epoch, step) in moments.values():
        with monkeypatch.context() as patch:
            if number is None:
                patch.setattr(callbacks.Keeper, "on_test_batch_begin", lambda *_, **__: os.kill(os.getpid(), sort))  # noqa: B023
            else:
                before_step(patch, number, lambda: os.kill(os.getpid(), sort))  # noqa: B023 - called in this round
            assert train.main(words) == 128 + sort
        error = capsys.readouterr().err
        place = f"epoch {epoch + 1}, step {step + 1}"
        assert f"fastprep.train: interrupted, and saved before {place}; go on with --resume {run}\n" in error
        assert "Traceback" not in error
        course = checkpoint.read(run / "last.keras")[0]["course"]
        assert (course["epoch"], course["step"]) == (epoch, step)
        assert names(run) == (WHOLE if epoch else ["config.json", "last.keras"])
        words = ["--resume", str(run)]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert train.main(words) == 0
    assert outcome(run) == outcome(undisturbed / "run")


def test_ctrl_c_does_not_save(arguments, tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    before_step(monkeypatch, 3, lambda: os.kill(os.getpid(), signal.SIGINT))
    assert train.main([*arguments, "--out", str(run)]) == 130
    assert "interrupted; what the run folder holds is whole; go on with --resume" in capsys.readouterr().err
    assert checkpoint.read(run / "last.keras")[0]["course"]["step"] == 0


def test_a_second_sigterm_ends_a_save_that_takes_too_long(arguments, tmp_path, monkeypatch, capsys):
    """One that comes at once is the same once more: `timeout` sends two."""
    run, save_model = tmp_path / "run", checkpoint._save_model

    def slowly(model, path):
        os.kill(os.getpid(), signal.SIGTERM)
        save_model(model, path)
        time.sleep(1.1)
        os.kill(os.getpid(), signal.SIGTERM)
        pytest.fail("the second one did not end it")

    def begin():
        monkeypatch.setattr(checkpoint, "_save_model", slowly)
        os.kill(os.getpid(), signal.SIGTERM)

    before_step(monkeypatch, 3, begin)
    assert train.main([*arguments, "--out", str(run)]) == 143
    error = capsys.readouterr().err
    assert "interrupted; what the run folder holds is whole; go on with --resume" in error
    assert names(run) == ["config.json", "last.keras"]
    assert checkpoint.read(run / "last.keras")[0]["course"]["step"] == 0
