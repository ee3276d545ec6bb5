"""Services and demands of the operating system: atomic files, forks, signals, faults of the machine, text for terminals."""

from fastprep.system.atomic import flush_to_disk, half_written, whole_file, whole_folder
from fastprep.system.contexts import submit_without_context
from fastprep.system.ending import end_at_once
from fastprep.system.forks import begin_in_children
from fastprep.system.machine_faults import is_machine_fault, with_retries
from fastprep.system.nameless import nameless_file
from fastprep.system.overwriting import check_creatable, check_local, check_replaceable
from fastprep.system.patch import Change, change_file, lock, undo_half_made
from fastprep.system.printable import printable
from fastprep.system.processors import usable_processors
from fastprep.system.progress import Progress
from fastprep.system.schemes import has_scheme, without_user
from fastprep.system.signals import Notice, as_by_ctrl_c, interrupts_undisguised, status_of, stop_soon

__all__ = [
    "Change",
    "Notice",
    "Progress",
    "as_by_ctrl_c",
    "begin_in_children",
    "change_file",
    "check_creatable",
    "check_local",
    "check_replaceable",
    "end_at_once",
    "flush_to_disk",
    "half_written",
    "has_scheme",
    "interrupts_undisguised",
    "is_machine_fault",
    "lock",
    "nameless_file",
    "printable",
    "status_of",
    "stop_soon",
    "submit_without_context",
    "undo_half_made",
    "usable_processors",
    "whole_file",
    "whole_folder",
    "with_retries",
    "without_user",
]
