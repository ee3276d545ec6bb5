"""python -m fastprep, and the console script fastprep: list the commands, and run the one that is named.

Only the command that runs is imported.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import sys
from pathlib import Path

from fastprep._version import __version__
from fastprep.cli.output import safe_output, status_of_output, write_line, write_message

_WAYS = {
    "demo": "`fastprep train --demo` runs the demo; ",
    "predict": "`fastprep evaluate RUN --data FILE --labels none` predicts; ",
}
"""Words that people try, and what does it."""
COMMANDS = ("build", "convert", "show", "train", "evaluate", "doctor")  # in the order in which people meet them


def main(argv: list[str] | None = None) -> int:
    """Run the command that the first word names; without a word, list the commands.

    Returns
    -------
    int
        Exit status: that of the command; 0 after the list or the version; 2 if there is no such command, or if the list or the
        version can't be written.
    """
    words = sys.argv[1:] if argv is None else argv
    if words and words[0] in COMMANDS:
        name, *rest = words
        status: int = importlib.import_module(f"fastprep.{name}").main(rest)
        return status
    with safe_output():
        if words[:1] == ["completion"]:
            return status_of_output("fastprep", _complete(words[1:]))
        return status_of_output("fastprep", _answer(words[0] if words else "--help"))


def _complete(words: list[str]) -> int:
    """Print the script by which a shell completes command lines, and return the exit status."""
    from fastprep.cli.completion import SHELLS, completion_script

    if len(words) != 1 or words[0] not in SHELLS:
        found = " ".join(words) or "nothing"
        write_message(f"fastprep: `fastprep completion` takes the name of a shell, {' or '.join(SHELLS)}, got {found}")
        return 2
    configs = {name: importlib.import_module(f"fastprep.{name}").Config for name in COMMANDS}
    script = completion_script(words[0], {name: (config, name == "train") for name, config in configs.items()}, "fastprep")
    write_line(*script.splitlines())
    return 0


def _answer(word: str) -> int:
    """Answer a word that is no command, and return the exit status."""
    if word in ("-h", "--help", "help"):
        write_line(*overview())
        return 0
    if word in ("-V", "--version"):
        write_line(f"fastprep {__version__}")
        return 0
    nearest = difflib.get_close_matches(word, (*COMMANDS, "completion"), n=1)
    hint = f"did you mean {nearest[0]!r}? " if nearest else ""
    hint = _WAYS.get(word, hint)
    write_message(f"fastprep: there is no command {word!r}; {hint}`fastprep --help` lists the commands")
    return 2


def overview() -> list[str]:
    """Return the list of commands with their summaries, which are read without importing them."""
    lines = [f"fastprep {__version__} feeds Keras models from HDF5 image files.", "", "usage: fastprep COMMAND ...", ""]
    lines += [f"  {name:10}{_summary(name)}" for name in COMMANDS]
    lines += [
        "",
        "`fastprep COMMAND --help` lists the options of a command.",
        "`python -m fastprep.COMMAND` runs the same command.",
        "`fastprep completion bash` (or zsh) prints what completes them in a shell.",
    ]
    return lines


def _summary(name: str) -> str:
    source = Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
    docstring = ast.get_docstring(ast.parse(source)) or ""
    return docstring.partition("\n")[0].partition(": ")[2].rstrip(".")


if __name__ == "__main__":
    sys.exit(main())
