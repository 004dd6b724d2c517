"""What a label's value looks like: something without bound, such as a uuid or a path, or something private.

Each look has the label to use instead. The patterns are for telling a person what to mend and for keeping secrets in;
no sum depends on them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from claude_monitoring.types import AttributeValue

__all__ = ["ANYTHING", "Look", "look_of", "private_kind"]


@dataclass(frozen=True, slots=True)
class Look:
    """A kind of value, in words, and the bounded label that serves better."""

    words: str
    instead: str

    @property
    def why(self) -> str:
        """What is wrong with such a value, and the mend."""
        return f"looks like {self.words}, of which there is no end; use {self.instead}"

    @property
    def as_remark(self) -> str:
        """In brackets, where there is something to say."""
        return f" (such as {self.words})" if self.words else ""


ANYTHING = Look("", "a label with few values, such as a tier or a team")
"""Nothing in particular, but too much of it."""
_ON_EVENTS = "what it is one of, such as task_type, and put the id on an event or a span"
_UUID = Look("a uuid", _ON_EVENTS)
_HASH = Look("a hash", _ON_EVENTS)
_ID = Look("a random id", _ON_EVENTS)
_PATH = Look("a path", "file_type, which is made for you of a label called file_path")
_URL = Look("a URL", "the route or the service that is called")
_TIME = Look("a point in time", "no label at all: every point has its time")
_ADDRESS = Look("an IP address", "the region or the host group")
_TEXT = Look("free text", "task_type, and put names and prompts on events or spans")

_PATTERNS: tuple[tuple[Look, re.Pattern[str]], ...] = (
    (_UUID, re.compile(r"(?i)[\w:{-]*[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}[\w}-]*")),
    (_URL, re.compile(r"(?i)[a-z][a-z0-9+.-]*://\S+")),
    (
        _TIME,
        re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?\S*(?: (?:UTC|GMT|[+-]\d\d:?\d\d))?)?|\d{8}T\d{4,6}\S*"),
    ),
    (_TIME, re.compile(r"[12]\d{9}(?:\d{3}|\d{6}|\d{9})?(?:\.\d+)?")),
    (_ADDRESS, re.compile(r"(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?")),
    (
        _ADDRESS,
        re.compile(
            r"(?i)(?=.*::|\[?(?:[0-9a-f]{1,4}:){7})\[?[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7}"
            r"(?:(?<=:)(?:\d{1,3}\.){3}\d{1,3})?(?:%\w+)?(?:\](?::\d+)?)?"
        ),
    ),
    (_HASH, re.compile(r"(?i)(?:(?:md5|sha\d+):)?(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{16,128}")),
    (_ID, re.compile(r"[A-Za-z]{2,12}_(?=\w*\d)[A-Za-z0-9]{12,}")),
    # Random letters have digits among them again and again, unlike Qwen3-30B-A3B-Instruct and OAuth2TokenError.
    (
        _ID,
        re.compile(
            r"(?=.*[a-z])(?=.*[A-Z])(?=(?:.*[_=+-])?(?=[A-Za-z0-9]{6})[A-Za-z0-9]*\d[A-Za-z]+\d)[A-Za-z0-9_=+-]{20,}"
        ),
    ),
    (_ID, re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")),  # a ULID
    (_PATH, re.compile(r"(?:~|[A-Za-z]:|\.{1,2})?[\\/].*\.[A-Za-z]\w{0,9}")),
    (_PATH, re.compile(r"(?:~[\\/]|\.{1,2}[\\/]|[A-Za-z]:[\\/]|\\\\).*")),
    (_PATH, re.compile(r"/(?:home|Users|tmp|var|usr|opt|etc|root|mnt|srv|private|Volumes|workspaces?)/.*")),
    (_PATH, re.compile(r"[\w.@()\[\]+-]+(?:[\\/][\w. @()\[\]+-]+)*[\\/][\w. @()\[\]+-]+\.[A-Za-z]\w{0,9}(?::\d+)*")),
    (_PATH, re.compile(r"(?:/[^/\s]+)*/(?:\d{2,}|[0-9a-f-]{16,})(?:/[^/\s]+)*/?")),  # a route with an id in it
    # Names of models may be longer than 65 characters, with none that a name has not.
    (_TEXT, re.compile(r"(?s)\s*\S+(?:\s+\S+){3,}\s*|(?=.*[^A-Za-z0-9_.:/@+-]).{65,}|.{113,}")),
)
_FIRST_S, _LAST_S = 1_000_000_000, 2_200_000_000
"""The seconds from 2001 to 2039: a whole number in between is taken for a time."""

_EMAIL = re.compile(r"[^\s@<>()\[\],;:\"]+@[^\s@]+\.[^\W\d_]{2,}")
# Shapes that issuers publish, and the names under which people write secrets down. No pattern looks at what follows it,
# so a value that was cut has no new match.
_SECRET = re.compile(
    r"""(?x)
    (?:(?<![A-Za-z0-9])|(?<=\\[nrt]))(?:  # repr() of a list writes a line's end as a letter
        sk-(?:ant|proj|or|svcacct|admin|live|test)-[\w-]{8,} | sk-[A-Za-z0-9]{20,}
      | [srp]k_(?:live|test)_[A-Za-z0-9]{8,}
      | gh[opusr]_[A-Za-z0-9]{16,} | github_pat_\w{16,} | glpat-[\w-]{16,}
      | xox[a-z]-[\w-]{10,} | (?:AKIA|ASIA)[A-Z0-9]{16} | AIza[\w-]{30,} | ya29\.[\w-]{16,}
      | gsk_[A-Za-z0-9]{16,} | xai-[A-Za-z0-9]{16,} | whsec_[\w+/-]{16,} | GOCSPX-[\w-]{16,} | hvs\.[\w-]{16,}
      | SG\.[\w-]{16,}\.[\w-]{8,} | lsv2_[\w-]{16,} | [sp]k-lf-[\w-]{16,}
      | npm_[A-Za-z0-9]{30,} | hf_[A-Za-z0-9]{20,} | pypi-[\w-]{20,} | dop_v1_[0-9a-f]{32,}
      | eyJ[\w-]{8,}\.eyJ[\w-]{4,}
      | (?i:bearer)\s+(?=[\w.~+/-]*\d)[\w.~+/-]{8,}
      | (?i:basic)\s+(?=[A-Za-z0-9+/]*[a-z0-9][A-Z])[A-Za-z0-9+/]{8,}
    )
    | -----BEGIN\ [A-Z\ ]*PRIVATE\ KEY
    | ://[^/\s:@]*:[^/\s@]+@
    | (?i:api[_-]?key|passw(?:or)?d|secret(?:[_-]?access)?(?:[_-]?key)?|access[_-]?token|auth[_-]?token)
      ["']?\s*[=:]\s*\S{4,}
    """
)


def private_kind(text: str) -> str:
    """``an e-mail address`` or ``a secret`` if there is one anywhere in ``text``, else nothing."""
    if _SECRET.search(text):
        return "a secret"
    return "an e-mail address" if "@" in text and _EMAIL.search(text) else ""


def look_of(value: AttributeValue) -> Look | None:
    """What makes ``value`` look like one of a number without bound; ``None`` if nothing does."""
    if isinstance(value, str):
        return next((look for look, pattern in _PATTERNS if pattern.fullmatch(value)), None)
    if isinstance(value, bool):
        return None
    seconds = abs(value)
    for _ in range(4):  # seconds, milliseconds, microseconds, nanoseconds
        if _FIRST_S <= seconds < _LAST_S:
            return _TIME
        seconds /= 1000
    return None
