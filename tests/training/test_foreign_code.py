"""Runs and saved models of strangers: their code does not run, and they take no more memory than their size allows."""

import io
import json
import os
import shlex
import subprocess
import sys
import zipfile

import h5py
import numpy as np
import pytest

from fastprep import evaluate, train
from fastprep.errors import InputError
from fastprep.h5.weights import claimed_bytes
from fastprep.training import foreign_code, run_folder, saved_model
from fastprep.training.command_line import parse_words
from fastprep.training.config import Config, check

keras = pytest.importorskip("keras")

PAYLOAD = """
import keras, pathlib
pathlib.Path(__file__).with_name("ran").touch()

class Layer(keras.layers.Layer):
    pass

def net(shape, classes):
    return keras.Sequential([keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(classes)])
"""


@pytest.fixture
def payload(tmp_path, monkeypatch):
    """The name of a module that leaves a trace when it is imported, and the trace."""
    name = f"payload_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(PAYLOAD)
    monkeypatch.syspath_prepend(tmp_path)
    return name, tmp_path / "ran"


def model():
    return keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])


def rewrite(path, member, change, compression=zipfile.ZIP_STORED):
    """Replace a member of a zip archive by what a function makes of it."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members[member] = change(members.get(member, b""))
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def with_node(node):
    """Return a function that puts a node in the place of the last layer."""

    def change(text):
        config = json.loads(text)
        config["config"]["layers"][-1] = node
        return json.dumps(config).encode()

    return change


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "model.keras"
    model().save(path)
    return path


# --- networks that a configuration names


@pytest.mark.parametrize(
    ("model", "runs"),
    [
        ("alexnet", False),
        ("keras.applications:MobileNetV2", False),
        ("keras.applications.resnet:ResNet50", False),
        ("keras.applications.resnet:keras.utils.get_file", True),
        ("keras.applications:resnet.decode_predictions", True),
        ("keras.utils:get_file", True),
        ("fastprep.model:small_cnn", False),
        ("fastprep.model:small_cnn.keras.utils.get_file", True),
        ("fastprep.train:main", True),
        ("os:system", True),
        ("runs.from_bob.payload:net", True),
        ("keras.applications_of_bob:Net", True),
    ],
)
def test_networks_of_keras_and_of_fastprep_run_no_other_code(model, runs):
    assert foreign_code.runs_code(model) is runs


@pytest.mark.parametrize("option", ["--resume", "--config"])
def test_a_network_that_a_file_names_is_imported_only_if_the_user_agrees(tmp_path, payload, monkeypatch, option):
    network, trace = f"{payload[0]}:net", payload[1]
    (tmp_path / "config.json").write_text(json.dumps({"train": "a.h5", "val": "b.h5", "model": network}))
    command = [option, str(tmp_path if option == "--resume" else tmp_path / "config.json")]
    with pytest.raises(
        InputError, match=f"names the network {network}, whose code would run: name it with --model {network}, or"
    ):
        train.parse(command)
    assert train.parse([*command, "--model", network]).model == network
    assert train.parse([*command, "--trust"]).model == network
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(InputError, match=f"belongs to another user: name it with --model {network} if you know that code"):
        train.parse([*command, "--trust"])
    assert train.parse([*command, "--model", network]).model == network
    assert not trace.exists()


def test_a_file_does_not_say_that_it_is_to_be_trusted(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"model": "os:system", "trust": True}))
    with pytest.raises(InputError, match="has unknown options: trust"):
        train.parse(["--config", str(path)])
    with pytest.raises(InputError, match="--trust goes with --resume, --config or --weights"):
        check(Config(train="a.h5", val="b.h5", trust=True))


def test_the_words_that_resume_a_run_name_its_network():
    start = "python -m fastprep.train"
    assert run_folder.RunFolder("runs/a").resume == f"{start} --resume runs/a"
    assert run_folder.RunFolder("runs/a", "mine:net").resume == f"{start} --resume runs/a --model mine:net"
    assert run_folder.RunFolder("runs/a", "mine:net").anew() == f"{start} --config runs/a/config.json --model mine:net"


@pytest.mark.parametrize("path", ["-x", "my runs/a", "it's; $HOME `x`"])
def test_a_shell_takes_these_words_as_they_are(path):
    folder = run_folder.RunFolder(path)
    resumed, anew = (parse_words(shlex.split(line)[3:]) for line in (folder.resume, folder.anew("--lr", "0.1")))
    assert resumed.resume == path
    assert (anew.config, anew.lr) == (f"{path}/config.json", 0.1)


# --- what a saved model names


@pytest.mark.parametrize(
    ("node", "name"),
    [
        ({"module": "MODULE", "class_name": "Layer", "config": {}, "registered_name": "Layer"}, "MODULE.Layer"),
        ({"module": "MODULE", "class_name": "function", "config": "net", "registered_name": "net"}, "MODULE.net"),
        ({"module": "subprocess", "class_name": "Popen", "config": {"args": "true"}}, "subprocess.Popen"),
        ({"module": "keras.utils", "class_name": "get_file", "config": {}}, "keras.utils.get_file"),
        ({"module": "keras", "class_name": "utils.get_file", "config": {}}, "keras.utils.get_file"),
        ({"module": "keras.config", "class_name": "enable_unsafe_deserialization", "config": {}}, "enable_unsafe"),
        ({"module": "keras.layers", "class_name": "Lambda", "config": {"function": {}}}, "Lambda"),
        ({"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "x"}}, "TFSMLayer"),
        ({"class_name": "__lambda__", "config": {"value": "4wEA"}}, "__lambda__"),
        ({"module": "builtins", "class_name": "function", "config": "os.system"}, "os.system"),
        ({"class_name": "__typespec__", "spec_name": "Layer", "module": "MODULE", "config": []}, "MODULE.Layer"),
        (
            {"module": "keras.layers", "class_name": "Dense", "config": {"units": 2, "activation": {
                "module": "MODULE", "class_name": "function", "config": "net"}}},
            "MODULE.net",
        ),
    ],
)  # fmt: skip
def test_code_that_a_saved_model_names_does_not_run(saved, payload, node, name):
    node = json.loads(json.dumps(node).replace("MODULE", payload[0]))
    rewrite(saved, "config.json", with_node(node))
    with pytest.raises(InputError) as caught:
        saved_model.load(saved)
    assert "needs code beside Keras' own layers, which would run: " in str(caught.value)
    assert name.replace("MODULE", payload[0]) in str(caught.value)
    assert str(caught.value).endswith("--trust lets it run")
    assert not payload[1].exists()


def test_networks_of_keras_alone_are_loaded(tmp_path):
    x = inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(3, 3, activation=keras.activations.gelu, kernel_regularizer=keras.regularizers.L2(0.1))(x) * 2 + 1
    x = keras.layers.TimeDistributed(keras.layers.Dense(2, kernel_initializer=keras.initializers.HeNormal()))(x)
    outputs = keras.layers.Activation(keras.ops.softmax)(keras.ops.mean(x, axis=(1, 2)))
    for network in (
        keras.Model(inputs, outputs),
        keras.applications.ConvNeXtTiny(weights=None, input_shape=(32, 32, 3), classes=2),
    ):
        config = json.loads(json.dumps(keras.saving.serialize_keras_object(network)))
        assert foreign_code.foreign_code(config) == []
    keras.Model(inputs, outputs).save(tmp_path / "model.keras")
    assert saved_model.load(tmp_path / "model.keras").output_shape == (None, 2)


def test_layers_of_code_that_runs_anyway_are_known(payload):
    node = {"module": payload[0], "class_name": "Layer", "config": {}}
    other = {"module": payload[0], "class_name": "function", "config": "net"}
    assert foreign_code.foreign_code({"a": [node, other]}) == [f"{payload[0]}.Layer", f"{payload[0]}.net"]
    __import__(payload[0])
    assert foreign_code.foreign_code({"a": [node, other]}) == [f"{payload[0]}.net"]


def test_trust_runs_a_lambda_of_a_file_of_ones_own_and_of_no_other(tmp_path, monkeypatch):
    path = tmp_path / "model.keras"
    keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x * 2, output_shape=(2,))]).save(path)
    np.testing.assert_array_equal(np.asarray(saved_model.load(path, trust=True)(np.ones((1, 2), "float32"))), [[2.0, 2.0]])
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(InputError, match=r"Lambda.*; it belongs to another user, so --trust does not let it run"):
        saved_model.load(path, trust=True)


def test_a_foreign_run_is_evaluated_without_its_code_or_not_at_all(make_file, tmp_path, payload, saved, capsys):
    data, _, _ = make_file(n=4, name="data.h5")
    rewrite(saved, "config.json", with_node({"module": payload[0], "class_name": "Layer", "config": {}}))
    assert evaluate.main([str(saved), "--data", str(data), "--mean", "none", "--labels", "none", "--crop", "4"]) == 2
    assert f"{payload[0]}.Layer" in capsys.readouterr().err
    assert not payload[1].exists()


# --- what a saved model claims


def bomb_of_zip(path):
    rewrite(path, "more", lambda _: bytes(70 * 2**20), zipfile.ZIP_DEFLATED)


def bomb_of_hdf5(path):
    def change(_):
        with io.BytesIO() as content:
            with h5py.File(content, "w") as file:
                file.create_dataset("layers/dense/vars/0", (2**40,), "float32", chunks=(1024,))
            return content.getvalue()

    rewrite(path, "model.weights.h5", change)


def bomb_of_arrays(path):
    def change(_):
        with io.BytesIO() as content:
            np.savez_compressed(content, mean=np.zeros(70 * 2**20, np.uint8))
            return content.getvalue()

    rewrite(path, "fastprep/arrays.npz", change)


@pytest.mark.parametrize("bomb", [bomb_of_zip, bomb_of_hdf5, bomb_of_arrays])
def test_a_file_that_claims_far_more_than_its_bytes_is_not_read(saved, bomb):
    bomb(saved)
    with pytest.raises(InputError, match=r"bytes and claims to hold .* at most 67,108,864 are read"):
        saved_model.load(saved)


def test_weights_in_other_files_are_not_read(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = np.zeros(3)
    for name, fill in (
        ("link", lambda file: file.__setitem__("a/b", h5py.ExternalLink("other.h5", "x"))),
        ("storage", lambda file: file.create_dataset("a/b", (3,), "f8", external=[("raw", 0, 24)])),
    ):
        with h5py.File(tmp_path / name, "w") as file:
            fill(file)
        with open(tmp_path / name, "rb") as file, pytest.raises(ValueError, match="'a/b' has its data in another file"):
            claimed_bytes(file)


def test_a_damaged_list_of_links_does_not_end_the_process(tmp_path):
    """With garbage in memory that is taken: HDF5 frees some of it when it lists a damaged group by name."""
    path = tmp_path / "weights.h5"
    with h5py.File(path, "w", libver="latest") as file:
        for k in range(20):
            file[f"{k}"] = np.arange(3)
    content = bytearray(path.read_bytes())
    content[content.index(b"FHDB") + 40] ^= 255  # the block of a heap that has the links; its checksum is wrong now
    path.write_bytes(content)
    script = (
        "import sys\n"
        "from fastprep.h5.weights import claimed_bytes\n"
        "try: claimed_bytes(open(sys.argv[1], 'rb'))\n"
        "except (OSError, RuntimeError): print('refused')\n"
    )
    environment = {**os.environ, "MALLOC_PERTURB_": "165"}
    command = [sys.executable, "-c", script, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)
    assert (done.returncode, done.stdout) == (0, "refused\n"), done.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 100_000, "config.json is nested too deeply"),
        (b"[1]", "config.json must hold an object, found list"),
        (b"{", "config.json is not JSON"),
        (b'{"a": "' + bytes(b"x" * 17 * 2**20) + b'"}', "config.json has 17,825,801 bytes, at most 16,777,216 are read"),
    ],
)
def test_a_description_that_is_none_is_one_line(saved, content, message):
    rewrite(saved, "config.json", lambda _: content)
    with pytest.raises(InputError, match=message) as caught:
        saved_model.load(saved)
    assert "\n" not in str(caught.value)


def test_formats_that_may_hold_code_are_refused(tmp_path):
    model().save(tmp_path / "old.h5")
    with pytest.raises(InputError, match=r"must be a \.keras file; older formats may hold code"):
        saved_model.load(tmp_path / "old.h5", trust=True)
