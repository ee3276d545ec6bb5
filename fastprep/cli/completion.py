"""Completion of command lines in shells: the script for ``fastprep COMMAND ...``, which tyro writes and a shell reads once."""

from __future__ import annotations

import contextlib
import functools
import io
import operator
import os
import re
import tempfile
from collections.abc import Mapping
from typing import Annotated, Any

import tyro
from tyro.conf import subcommand

from fastprep.cli.groups import line_of

SHELLS = ("bash", "zsh")
_NONE = re.compile(r"""(['"])None\1,? ?""")  # among the choices of an option that may be left out
_CHOICES_OF_SHTAB = re.compile(r"_choices=\(([^)]*)\)")  # in the scripts of tyro before 1.0
_BASH = re.compile(r"^( *complete) (?=-)", re.MULTILINE)
_ZSH = re.compile(r"^( *_describe .*completion_array)$", re.MULTILINE)
_ZSH_CALL = re.compile(r'^(_tyro_\w+) "\$@"$', re.MULTILINE)  # works in a file of fpath alone
_ZSH_EVAL = """if [[ ${{zsh_eval_context[-1]}} == eval || ${{zsh_eval_context[-1]}} == file ]]; then
  compdef {0} {1}
else
  {0} "$@"
fi"""


def completion_script(shell: str, commands: Mapping[str, tuple[type, bool]], prog: str) -> str:
    """Return the script that completes the words of a command with sub-commands.

    Parameters
    ----------
    shell : {"bash", "zsh"}
    commands : mapping of str to (type, bool)
        Configuration of each sub-command, and whether its options are in pairs; see `fastprep.cli.groups.read_words`.
    prog : str
        Name of the command.

    Returns
    -------
    str
        Options and choices are completed, and files everywhere else.
    """
    lines: list[Any] = []
    for name, (config, pairs) in commands.items():
        lines.append(Annotated[line_of(config, pairs), subcommand(name, prefix_name=False)])
    with tempfile.TemporaryDirectory(prefix="fastprep-completion-") as folder:
        path = os.path.join(folder, shell)
        words = ["--tyro-write-completion", shell, path]
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
            tyro.cli(functools.reduce(operator.or_, lines), args=words, prog=prog)
        with open(path, encoding="utf-8") as file:
            script = _CHOICES_OF_SHTAB.sub(_without_none, _NONE.sub("", file.read()))
    # where no word of the command fits, as for its files, a shell completes the names of files
    if shell == "bash":
        return _BASH.sub(r"\1 -o default ", script)
    return _ZSH_CALL.sub(lambda found: _ZSH_EVAL.format(found[1], prog), _ZSH.sub(r"\1 || _files", script))


def _without_none(found: re.Match[str]) -> str:
    return f"_choices=({' '.join(word for word in found[1].split() if word != 'None')})"
