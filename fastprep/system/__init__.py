"""Services and demands of the operating system: atomic files, forks, signals."""

from fastprep.system.atomic import whole_file, whole_folder
from fastprep.system.forks import begin_in_children
from fastprep.system.signals import Notice, as_by_ctrl_c, status_of, stop_soon

__all__ = ["Notice", "as_by_ctrl_c", "begin_in_children", "status_of", "stop_soon", "whole_file", "whole_folder"]
