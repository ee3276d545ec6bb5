"""Signals to the train command: after SIGTERM, as schedulers send it, a run is saved or ends in time; Ctrl-C ends it at once."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time

import pytest
import warm_python

from fastprep import train
from fastprep.training import checkpoint

keras = pytest.importorskip("keras")
from small_run import STEPS, WHOLE, arguments, before_step, command, files, names, outcome, undisturbed, wait_until  # noqa: E402, F401

from fastprep.training import callbacks  # noqa: E402


def once(action):
    """Return a hook that calls `action` the first time."""
    actions = [action]
    return lambda *_, **__: actions and actions.pop()()


@pytest.mark.usefixtures("hangups")
def test_sigterm_saves_and_the_run_goes_on_with_the_same_bits(arguments, undisturbed, tmp_path, monkeypatch, capsys):
    """Nothing is saved in the middle of an epoch but by the signal; each hits what the last resumed run left."""
    run = tmp_path / "my run"
    words = [*arguments, "--out", str(run)]
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
                # once: a second signal after a second, which a busy machine may need for a step, would end the run unsaved
                patch.setattr(callbacks.RunCallback, "on_test_batch_begin", once(lambda: os.kill(os.getpid(), sort)))  # noqa: B023
            else:
                before_step(patch, number, lambda: os.kill(os.getpid(), sort))  # noqa: B023 - called in this round
            assert train.main(words) == 128 + sort
        error = capsys.readouterr().err
        position = f"epoch {epoch + 1}, step {step + 1}"
        resume = f"python -m fastprep.train --resume '{run}' --model network_of_faults:network"
        assert f"fastprep.train: interrupted, and saved before {position}; go on with `{resume}`\n" in error
        assert "Traceback" not in error
        state = checkpoint.read(run / "last.keras")[0]["course"]
        assert (state["epoch"], state["step"]) == (epoch, step)
        assert names(run) == (WHOLE if epoch else ["config.json", "last.keras"])
        words = shlex.split(resume)[3:]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert train.main(words) == 0
    assert outcome(run) == outcome(undisturbed / "run")


def test_ctrl_c_does_not_save_but_a_profile_is_whole(arguments, tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    before_step(monkeypatch, 3, lambda: os.kill(os.getpid(), signal.SIGINT))
    assert train.main([*arguments, "--out", str(run), "--profile"]) == 130
    names_of_events = [event["name"] for event in json.loads((run / "profile.json").read_text())["traceEvents"]]
    assert {"batch", "read and decode", "kernel", "wait", "step"} <= set(names_of_events)
    assert names(run) == ["config.json", "last.keras", "profile.json"]
    assert "profile" not in json.loads((run / "config.json").read_text())
    said = "interrupted; what the run folder holds is whole; go on with `python -m fastprep.train --resume "
    assert said in capsys.readouterr().err
    assert checkpoint.read(run / "last.keras")[0]["course"]["step"] == 0


IN_A_LONG_STEP = """
import os, signal, sys, threading, time
from pathlib import Path
from fastprep.system.signals import stop_soon
threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
with stop_soon(Path(sys.argv[1]), "last words", grace_s=0.2):
    for _ in range(100):
        try:
            time.sleep(0.1)
        except KeyboardInterrupt:
            pass
"""


def test_ctrl_c_in_a_long_step_with_a_folder_that_is_being_filled(tmp_path):
    (tmp_path / ".evaluation-test.1.part").mkdir()
    (tmp_path / ".last.fastprep-0123456789abcdef.part.keras").write_text("half")
    (tmp_path / ".mine.part.txt").write_text("mine")
    (tmp_path / "last.keras").write_text("whole")
    done = subprocess.run(
        [sys.executable, "-c", IN_A_LONG_STEP, tmp_path], stderr=subprocess.PIPE, text=True, timeout=60, check=False
    )
    assert (done.returncode, "last words" in done.stderr) == (130, True), done.stderr
    assert names(tmp_path) == [".evaluation-test.1.part", ".mine.part.txt", "last.keras"]


def test_a_second_sigterm_ends_a_save_that_takes_too_long(arguments, tmp_path, monkeypatch, capsys):
    """A second signal that comes at once counts as a repetition, because `timeout` sends two."""
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
    assert "interrupted; what the run folder holds is whole; go on with `python -m fastprep.train --resume " in error
    assert names(run) == ["config.json", "last.keras"]
    assert checkpoint.read(run / "last.keras")[0]["course"]["step"] == 0


def test_sigterm_in_a_step_that_is_never_done(files, undisturbed, tmp_path):
    """The run ends unsaved after --grace seconds, or at a second signal; the files saved before stay."""
    ends = {"no time": "1", "twice": "600"}
    processes = {}
    try:
        for how, grace in ends.items():
            (tmp_path / how).mkdir()
            options = ["--model", "network_of_faults:slow", "--grace", grace, "--out", "run"]
            words = [sys.executable, "-m", "fastprep.train", *command(tmp_path, *options)]
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(undisturbed), *sys.path])}
            processes[how] = warm_python.Popen(
                words, cwd=tmp_path / how, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
        for how, process in processes.items():
            wait_until(lambda: (tmp_path / how / "begun").exists() or process.poll() is not None)  # noqa: B023 - called at once
            process.send_signal(signal.SIGTERM)
            if how == "twice":
                time.sleep(1.2)
                process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=30)
            assert process.returncode == 143, errors
            assert "SIGTERM: saving before the next step; a second one ends the run at once\n" in errors
            resume = "`python -m fastprep.train --resume run --model network_of_faults:slow`"
            last = f"interrupted; what the run folder holds is whole; go on with {resume}"
            assert errors.endswith(f"fastprep.train: {last}{'; there was no time to save, 1 s' if how == 'no time' else ''}\n")
            assert names(tmp_path / how / "run") == ["config.json", "last.keras"]
            assert checkpoint.read(tmp_path / how / "run" / "last.keras")[0]["course"]["step"] == 0
    finally:
        for process in processes.values():
            process.kill()
