"""The documentation site: `pip install -e '.[docs]'`, then `python -m sphinx docs docs/_build`; `.ci/docs` also checks it."""

import os
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent / "_ext"), str(Path(__file__).parent.parent)]
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # what TensorFlow says when it is imported

from fastprep import __version__  # noqa: E402

project = "fastprep"
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "api_coverage",
    "code_blocks",
    "command_help",
    "repository_links",
]
exclude_patterns = ["_build"]
highlight_language = "none"
smartquotes = False  # "--epochs" and "file" in quotes are code for many readers
nitpicky = True  # a reference that leads nowhere is a warning, and .ci/docs makes warnings errors
nitpick_ignore: list[tuple[str, str]] = []

myst_heading_anchors = 4  # the anchors that GitHub makes
suppress_warnings = ["myst.header"]  # an included page may begin with another level of heading

# Docstrings follow numpydoc. They state shapes, units and ranges beside the types, so the annotations are left out of signatures.
autodoc_typehints = "none"
autodoc_preserve_defaults = True
autosummary_generate = False
numpydoc_show_class_members = False
default_role = "py:obj"  # single backticks in docstrings: a link if the name is documented, else code; see api_coverage

html_theme = "furo"
html_title = f"fastprep {release}"
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
html_use_index = False  # the API reference has an index page of its own
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {"navigation_with_keys": True}
