"""Completion in shells: the script that `fastprep completion` prints, read by a real bash."""

import shutil
import subprocess
import sys

import pytest

from fastprep.__main__ import COMMANDS, main

ASK = """
source "$1"; shift
complete -p fastprep
function=$(complete -p fastprep | sed "s/.*-F \\([^ ]*\\) .*/\\1/")
while read -r line; do
  COMP_WORDS=($line); [[ $line == *"?" ]] && COMP_WORDS[-1]=""
  COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMPREPLY=(); COMP_LINE="${COMP_WORDS[*]}"; COMP_POINT=${#COMP_LINE}
  $function
  echo "${COMPREPLY[*]}"
done
"""
ANSWERS = {  # ? stands for a word of which nothing is typed
    "fastprep tr": ["train"],
    "fastprep train --ep": ["--epochs"],
    "fastprep train --augment ?": ["none", "crop", "imagenet", "strong"],
    "fastprep train --epochs 3 --optimizer ada": ["adam", "adamw"],
    "fastprep evaluate run --sp": ["--split"],
    "fastprep convert train.h5 out.h5 --encode ?": ["jpeg", "png", "webp", "webp-lossless", "keep"],
    "fastprep show train.h5 --no-": ["--no-mirror"],
    "fastprep doctor --r": ["--rounds"],
    "fastprep build photos out --enc": ["--encoded"],
    "fastprep convert tr": [],  # a file, which bash completes by itself
}


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("completion")
    for shell in ("bash", "zsh"):
        command = [sys.executable, "-c", f"from fastprep.__main__ import main; main(['completion', '{shell}'])"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        assert done.stderr == ""
        (folder / shell).write_text(done.stdout)
    return folder


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_commands_options_choices_and_files(scripts, tmp_path):
    lines = "\n".join(ANSWERS) + "\n"
    command = ["bash", "--norc", "-c", ASK, "bash", str(scripts / "bash")]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, check=True, timeout=60, cwd=tmp_path)
    registered, *found = done.stdout.splitlines()
    assert registered.startswith("complete ")
    assert "-o default" in registered
    assert registered.endswith(" fastprep")
    assert {line: sorted(words.split()) for line, words in zip(ANSWERS, found, strict=True)} == {
        line: sorted(words) for line, words in ANSWERS.items()
    }


def test_zsh_reads_the_script_by_eval_as_from_a_file_of_its_functions(scripts):
    script = (scripts / "zsh").read_text()
    assert script.startswith("#compdef fastprep\n")
    assert "compdef _" in script.partition("\n")[2]
    for name in COMMANDS:
        assert name in script


@pytest.mark.parametrize("words", [[], ["fish"], ["bash", "zsh"]])
def test_other_shells_are_refused_in_one_line(words, capsys):
    assert main(["completion", *words]) == 2
    line = f"fastprep: `fastprep completion` takes the name of a shell, bash or zsh, got {' '.join(words) or 'nothing'}\n"
    assert capsys.readouterr() == ("", line)


@pytest.mark.parametrize(
    ("word", "way"), [("demo", "train --demo` runs the demo"), ("predict", "evaluate RUN --data FILE --labels none` predicts")]
)
def test_words_that_are_no_commands_have_a_way(word, way, capsys):
    assert main([word]) == 2
    line = f"fastprep: there is no command {word!r}; `fastprep {way}; `fastprep --help` lists the commands\n"
    assert capsys.readouterr() == ("", line)
