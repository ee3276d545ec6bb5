"""Services and demands of the operating system: atomic files, forks, signals, text that a terminal may show."""

from fastprep.system.atomic import flush_to_disk, whole_file, whole_folder
from fastprep.system.forks import begin_in_children
from fastprep.system.printable import printable
from fastprep.system.progress import Progress
from fastprep.system.signals import Notice, as_by_ctrl_c, status_of, stop_soon

__all__ = [
    "Notice",
    "Progress",
    "as_by_ctrl_c",
    "begin_in_children",
    "flush_to_disk",
    "printable",
    "status_of",
    "stop_soon",
    "whole_file",
    "whole_folder",
]
