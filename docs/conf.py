"""Sphinx configuration: `tox -e docs` builds without warnings, every reference into the package checked."""

from __future__ import annotations

from claude_monitoring import __version__

project = "claude_monitoring"
author = "The claude_monitoring authors"
project_copyright = f"2026, {author}"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"claude_monitoring {release}"

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_default_options = {"members": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

# The build needs no network, so names of other projects have no target; ours are checked, except private ones
# that turn up in signatures.
nitpick_ignore_regex = [(r"py:.*", r"(?!claude_monitoring).*"), (r"py:.*", r"claude_monitoring\..*\b_.*")]
