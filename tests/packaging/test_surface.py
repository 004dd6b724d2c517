"""What users see of the package: its names, their documentation, and what importing it costs them."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import subprocess
import sys
from types import ModuleType

import pytest

import claude_monitoring

# Loaded on use only: an agent that exports nothing must not pay for them.
HEAVY = {"google.protobuf", "grpc", "opentelemetry.sdk", "prometheus_client", "pydantic", "requests", "urllib3"}

PUBLIC_MODULES = [
    "claude_monitoring",
    *(
        info.name
        for info in pkgutil.walk_packages(claude_monitoring.__path__, "claude_monitoring.")
        if not any(part.startswith("_") for part in info.name.split("."))
    ),
]


@pytest.fixture(params=PUBLIC_MODULES)
def module(request: pytest.FixtureRequest) -> ModuleType:
    try:
        return importlib.import_module(request.param)
    except ImportError as exc:
        if isinstance(exc, claude_monitoring.MissingExtraError):
            pytest.skip(str(exc))
        raise


def test_public_names_are_exactly_all() -> None:
    visible = {
        name for name, value in vars(claude_monitoring).items() if name[0] != "_" and not inspect.ismodule(value)
    }
    assert sorted({*visible, "__version__"} - {"annotations"}) == sorted(claude_monitoring.__all__)


def test_all_of_a_public_module_exists_and_is_short(module: ModuleType) -> None:
    names = module.__all__
    assert len(names) == len(set(names)) <= 25
    assert [name for name in names if not hasattr(module, name)] == []


def test_everything_public_says_what_it_does(module: ModuleType) -> None:
    silent = [module.__name__] if not module.__doc__ else []
    for name in module.__all__:
        thing = getattr(module, name)
        if not (inspect.isclass(thing) or inspect.isfunction(thing)) or not thing.__module__.startswith("claude_"):
            continue
        silent += [] if thing.__doc__ else [name]
        if inspect.isclass(thing):
            silent += [f"{name}.{member}" for member, value in vars(thing).items() if silent_member(member, value)]
    assert silent == []


def silent_member(name: str, value: object) -> bool:
    if isinstance(value, classmethod | staticmethod):
        value = value.__func__
    return name[0] != "_" and (inspect.isfunction(value) or isinstance(value, property)) and not value.__doc__


@pytest.mark.parametrize("statement", ["import claude_monitoring", "import claude_monitoring.exporters"])
def test_importing_loads_nothing_heavy(statement: str) -> None:
    script = f"import sys; {statement}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert HEAVY & set(loaded) == set()
