"""The language of a file by its extension, spelled as Claude Code spells it (reference section 4.3)."""

from __future__ import annotations

import os
import posixpath

__all__ = ["file_type_of", "language_of"]

_BY_EXTENSION = {
    "Bash": "sh bash",
    "Batch file (DOS)": "bat",
    "C": "c h",
    "C#": "cs",
    "C++": "cpp hpp cc",
    "CSS": "css",
    "Clojure": "clj",
    "Dart": "dart",
    "Diff": "diff",
    "Elixir": "ex",
    "Elm": "elm",
    "Erlang": "erl",
    "F#": "fs",
    "Go": "go",
    "Gradle": "gradle",
    "GraphQL": "graphql",
    "Groovy": "groovy",
    "HTML, XML": "html xml",
    "Haskell": "hs",
    "JSON": "json",
    "Java": "java",
    "JavaScript": "js jsx mjs cjs",
    "Kotlin": "kt",
    "LaTeX": "tex",
    "Less": "less",
    "Lua": "lua",
    "Markdown": "md",
    "Mercury": "m",
    "Nix": "nix",
    "Objective-C": "mm",
    "Perl": "pl",
    "Plain text": "txt",
    "PowerShell": "ps1",
    "Protocol Buffers": "proto",
    "Python": "py",
    "R": "r",
    "Ruby": "rb",
    "Rust": "rs",
    "SCSS": "scss",
    "SQL": "sql",
    "Scala": "scala",
    "Swift": "swift",
    "TOML, also INI": "toml ini",
    "TypeScript": "ts tsx",
    "Visual Basic .NET": "vb",
    "YAML": "yaml yml",
    "php": "php",
}
_LANGUAGES = {extension: name for name, extensions in _BY_EXTENSION.items() for extension in extensions.split()}


def language_of(path: str | os.PathLike[str]) -> str:
    """Claude Code's display name of the language, ``unknown`` where it has none."""
    extension = posixpath.splitext(os.fspath(path).replace("\\", "/"))[1]
    return _LANGUAGES.get(extension[1:].lower(), "unknown")


def file_type_of(path: str | os.PathLike[str]) -> str:
    """The same as a label value for ``file_type``: lower case, as the customer's reference writes it."""
    return language_of(path).lower()
