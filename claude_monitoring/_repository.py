"""The git repository that the program works in, as Claude Code names it (reference section 3)."""

from __future__ import annotations

from functools import lru_cache

__all__ = ["parse_remote", "repository_attributes"]

_TIMEOUT_S = 2.0
_PROVIDERS = {"github.com": "github", "gitlab.com": "gitlab", "bitbucket.org": "bitbucket", "dev.azure.com": "azure"}


@lru_cache(maxsize=1)
def repository_attributes() -> dict[str, str]:
    """The ``vcs.*`` attributes of the working directory's ``origin``; empty without one. Asked for once."""
    import subprocess

    command = ("git", "config", "--get", "remote.origin.url")
    try:
        asked = subprocess.run(command, capture_output=True, timeout=_TIMEOUT_S, check=False)  # noqa: S603 - constant
    except (OSError, subprocess.SubprocessError):
        return {}
    return parse_remote(asked.stdout.decode("utf-8", "replace").strip())


def parse_remote(remote: str) -> dict[str, str]:
    """``https://user@host/owner/name.git`` or ``git@host:owner/name.git`` without user and ``.git``."""
    from urllib.parse import urlsplit

    if "://" not in remote and ":" in remote:  # the short form of ssh
        host, _, path = remote.partition(":")
        remote = f"ssh://{host}/{path}"
    try:
        url = urlsplit(remote)
        host = url.hostname or ""
    except ValueError:
        return {}
    path = url.path.strip("/").removesuffix(".git")
    owner, _, name = path.rpartition("/")
    if not (host and owner and name):
        return {}
    attributes = {
        "vcs.repository.url.full": f"https://{host}/{path}",
        "vcs.owner.name": owner,
        "vcs.repository.name": name,
    }
    if host in _PROVIDERS:
        attributes["vcs.provider.name"] = _PROVIDERS[host]
    return attributes
