"""The command of the benchmark for GPUs: its table, its JSON, and what it says of a section that fails, hangs or is left out."""

import json
import sys

import gpu
import pytest
from gpu_sections import SECTIONS, Section, table
from gpu_sections.rows import Job, Row

ANYTHING = Section("anything", "environment", 60)


@pytest.fixture
def job(tmp_path):
    return Job(str(tmp_path), rounds=1, is_dry=True)


def printed(row, status=table.DONE, reason=""):
    return table.lines_of({"name": "kernel", "status": status, "reason": reason, "rows": [row.as_json()]})


def test_lines_of_the_table():
    row = Row("float32", {"us": 31.25, "GB/s": 2456.7, "of copy": 0.7654, "crops": 1234, "": "(0.75 - 0.78)"})
    (line,) = printed(row)
    assert " ".join(line.split()) == "kernel float32 31.2 us 2,457 GB/s 0.765 of copy 1,234 crops (0.75 - 0.78)"
    assert printed(Row("bits", {"differ": 0}, ok=True))[0].endswith("0 differ  as it must be")
    lines = printed(Row("bits", {"differ": 2}, ok=False), table.STOPPED, "at its limit of 3 s")
    assert lines[0].endswith("2 differ  WRONG")
    assert lines[1].split(maxsplit=1) == ["kernel", "STOPPED: at its limit of 3 s"]


def child(code):
    return [sys.executable, "-c", code]


def test_a_section_that_exceeds_its_limit_is_reported_with_the_rows_it_gave():
    code = 'import time; print(\'{"row": {"name": "first", "values": {}, "ok": null}}\', flush=True); time.sleep(60)'
    result = gpu.measure(child(code), ANYTHING, 0.7, "-1")
    assert (result["status"], result["reason"]) == (table.STOPPED, "at its limit of 0.7 s")
    assert [row["name"] for row in result["rows"]] == ["first"]
    assert result["seconds"] < 30


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGABRT)", "it ended with status -6: nothing on standard error"),
        ("import sys; sys.exit('no such thing')", "it ended with status 1: no such thing"),
        ('print(\'{"failed": "ValueError: 3"}\')', "ValueError: 3"),
    ],
)
def test_a_section_that_ends_its_process_is_reported(code, reason):
    result = gpu.measure(child(code), ANYTHING, 30, "-1")
    assert (result["status"], result["reason"]) == (table.FAILED, reason)


def test_the_process_of_a_section_says_how_it_ended(job, tmp_path):
    section = SECTIONS["dali"]
    result = gpu.measure(gpu.command_of(section, job), section, 60, "-1")
    assert (result["status"], result["rows"]) == (table.LEFT_OUT, [])
    assert "DALI" in result["reason"]
    (tmp_path / "no-folder").touch()
    section = SECTIONS["late"]
    result = gpu.measure(gpu.command_of(section, Job(str(tmp_path / "no-folder"), is_dry=True)), section, 60, "-1")
    assert (result["status"], result["rows"]) == (table.FAILED, [])
    assert "no-folder" in result["reason"]


def test_a_process_gets_the_variables_of_its_section():
    section = Section("any", "environment", 9, {"KERAS_BACKEND": "torch"})
    code = "import os, json; e = os.environ; print(json.dumps({'left_out': e['KERAS_BACKEND'] + e['CUDA_VISIBLE_DEVICES']}))"
    result = gpu.measure(child(code), section, 30, "3")
    assert (result["status"], result["reason"]) == (table.LEFT_OUT, "torch3")


@pytest.mark.parametrize(("shown", "number", "wanted"), [(None, 1, "1"), ("2, 3", 1, "3"), ("GPU-8a,GPU-9b", 0, "GPU-8a")])
def test_the_sections_see_one_device_of_those_that_are_shown(monkeypatch, shown, number, wanted):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if shown is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
    assert gpu.visible(gpu.Config(device=number)) == wanted
    assert gpu.visible(gpu.Config(dry_run=True)) == "-1"


def test_the_json_has_every_section_and_its_limit(tmp_path, monkeypatch, capsys):
    def instead(command, section, limit_s, devices):
        assert command == gpu.command_of(section, Job(json.loads(command[-1])["folder"], 3, True))
        assert devices == "-1"
        rows = [Row("anything", {"GB/s": 1.5}, ok=section.name != "late").as_json()]
        status = table.LEFT_OUT if section.name == "dali" else table.DONE
        return {"name": section.name, "status": status, "reason": "", "seconds": 1.0, "limit_s": limit_s, "rows": rows}

    monkeypatch.setattr(gpu, "measure", instead)
    path = tmp_path / "gpu.json"
    assert gpu.main(["--dry-run", "--rounds", "3", "--json", str(path)]) == 1  # the late readers are not as they must be
    document = json.loads(path.read_text())
    assert [section["name"] for section in document["sections"]] == list(SECTIONS)
    assert [section["limit_s"] for section in document["sections"]] == [section.limit_s for section in SECTIONS.values()]
    out = capsys.readouterr().out
    assert "its numbers mean nothing" in out
    assert "NOT as it must be: late: anything" in out
    assert gpu.main(["--dry-run", "--sections", "link", "dali", "--limit", "7", "--rounds", "3"]) == 0


def test_the_command_runs_sections_in_processes_and_goes_on_after_one_that_fails(tmp_path, capsys, monkeypatch):
    path = tmp_path / "gpu.json"
    command_of = gpu.command_of
    broken = child("import sys; sys.exit(3)")
    monkeypatch.setattr(gpu, "command_of", lambda section, job: broken if section.name == "late" else command_of(section, job))
    assert gpu.main(["--dry-run", "--rounds", "1", "--json", str(path), "--sections", "late", "capture-control"]) == 1
    first, second = json.loads(path.read_text())["sections"]
    assert (first["status"], second["status"]) == (table.FAILED, table.DONE)
    assert "ended with status 3" in first["reason"]
    assert second["rows"][0]["ok"] is True
    assert "without a result: late" in capsys.readouterr().out


@pytest.mark.large
def test_the_whole_dry_run(capsys):
    assert gpu.main(["--dry-run", "--rounds", "1"]) == 0, capsys.readouterr().out


def test_a_machine_without_a_gpu_gets_one_clear_line(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert gpu.main([]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("gpu.py: no GPU to measure: cupy can't be imported")
    assert "--dry-run" in line


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--rounds", "0"], "--rounds must be at least 1, got 0"),
        (["--limit", "0"], "--limit must be more than 0 seconds, got 0"),
        (["--limit", "nan"], "--limit must be more than 0 seconds, got nan"),
        (["--device", "-1"], "--device must be the number of a CUDA device, from 0, got -1"),
        (["--dry-run", "--device", "1"], "--dry-run has one device, cuda:0, got --device 1"),
        (["--json", __file__], "exists already: move it away, or choose another name"),
    ],
)
def test_wrong_options_are_refused_in_one_line(words, problem, capsys):
    assert gpu.main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert problem in line
