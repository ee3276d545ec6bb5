"""One section in a process of its own: ``python -m gpu_sections NAME JOB``, JOB as JSON. It prints lines of JSON for `gpu.py`."""

from __future__ import annotations

import json
import os
import sys
import traceback
from typing import Any

from gpu_sections import SECTIONS
from gpu_sections.rows import Job, LeftOut


def main(name: str, job: str) -> int:
    """Run a section; print each row as soon as it is there, and how the section ended."""
    stdout = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no row

    def say(**message: Any) -> None:
        print(json.dumps(message), file=stdout, flush=True)

    try:
        for row in SECTIONS[name].run(Job(**json.loads(job))):
            say(row=row.as_json())
    except (LeftOut, ModuleNotFoundError) as error:
        say(left_out=str(error))
        return 0
    except Exception as error:
        traceback.print_exc()
        say(failed=f"{type(error).__name__}: {' '.join(str(error).split())[:400]}")
        return 1
    say(done=True)
    return 0


if __name__ == "__main__":
    status = main(*sys.argv[1:])
    sys.stderr.flush()
    os._exit(status)  # a graph whose capture failed, or a library's thread, may not let the process end
