"""The layout rules of the project, by syntax tree: which module may know which.

Data goes one way, api to instruments to guard and store to pipeline to exporters, and imports follow it. The store is
what both instruments (who write it) and pipeline (which reads snapshots of it) know, so it lies below the pipeline.
Imports under ``TYPE_CHECKING`` name shapes, move no code, and are left out here.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.any_python

REPO = Path(__file__).parents[2]
PACKAGE = REPO / "claude_monitoring"

# A new module is placed here, in the lowest layer that serves it.
LAYERS: dict[str, set[str]] = {
    "front": {
        "", "cli", "cli.conformance", "cli.demo", "cli.spool", "cli.team", "conformance", "conformance.across",
        "conformance.attributes", "conformance.check_logs", "conformance.check_metrics", "conformance.check_spans",
        "conformance.checker", "conformance.common", "conformance.found", "conformance.items", "conformance.model",
        "conformance.nearest", "conformance.notation", "conformance.reading", "conformance.report", "conformance.rules",
        "conformance.rules_events", "integrations", "integrations._anthropic_bodies", "integrations._anthropic_calls",
        "integrations._agent_answers", "integrations._agent_facts", "integrations._agent_items",
        "integrations._agent_options", "integrations._agent_session", "integrations._agent_steps",
        "integrations._agent_tools", "integrations._agent_totals", "integrations._agent_transcript",
        "integrations._patches", "integrations.anthropic",
        "integrations.claude_agent_sdk", "testing", "testing._answers", "testing._api_server", "testing._routes",
        "testing._script", "testing._stream", "testing.fake_anthropic",
    },
    "api": {
        "_context", "_core", "_decorators", "_event_recorder", "_events", "_llm_requests", "_monitor",
        "_native_recorder", "_performance", "_quality", "_recorder", "_redirection", "_request_events", "_scopes",
        "_task", "_tasks", "_tool_uses", "_tracing", "_turns", "_usage",
    },
    "instruments": {"_handles", "_instruments"},
    "pipeline": {
        "_lanes", "_metrics_lane", "_observe", "_pipeline", "_process", "_sigterm", "_snapshot", "_spans", "_spool",
        "_spooling", "_targets", "_worker",
    },
    "store": {"_guard", "_labels", "_lives", "_looks", "_series", "_sketch", "_store", "cardinality"},
    "exporters": {
        "exporters", "exporters._otlp", "exporters.attributes", "exporters.collected", "exporters.console",
        "exporters.custom", "exporters.encoding", "exporters.metric_json", "exporters.metric_requests",
        "exporters.otlp_grpc", "exporters.otlp_http", "exporters.prometheus", "exporters.pylogging",
        "exporters.records",
    },
    "receiver": {
        "receiver", "receiver.answers", "receiver.decode", "receiver.flatten", "receiver.grpc_server",
        "receiver.http_server", "receiver.intake", "receiver.model", "receiver.server", "receiver.store",
        "receiver.totals",
    },
    "foundations": {
        "_bounds", "_catalog", "_child_env", "_event_loops", "_extras", "_health", "_kept", "_languages", "_names",
        "_once", "_pauses", "_pricing", "_proxies", "_repository", "_sealed", "_settings",
        "_settings_identity", "_settings_otlp", "_settings_parse", "_settings_sources", "_settings_table",
        "_settings_url", "_told", "_version", "_weak", "_wrapping", "errors", "types",
    },
}  # fmt: skip

# Which layers each layer may import beside itself.
MAY_IMPORT: dict[str, set[str]] = {
    "front": {"api", "instruments", "pipeline", "store", "exporters", "receiver", "foundations"},
    "api": {"instruments", "pipeline", "store", "foundations"},
    "instruments": {"store", "foundations"},
    "pipeline": {"store", "exporters", "foundations"},
    "store": {"foundations"},
    "exporters": {"foundations"},
    "receiver": set(),
    "foundations": set(),
}
INDEPENDENT_OF_US = {"errors", "types"}  # all that the receiver, the witness of the exporters, may share with them

READ_ENVIRONMENT = {"_settings"}
WRITE_ENVIRONMENT = {"exporters.otlp_grpc"}  # grpcio takes its log level from the environment alone


def modules() -> dict[str, Path]:
    """Module name without the package's, to its file; ``""`` is the package itself."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()
EVERY_MODULE = pytest.mark.parametrize("module", MODULES, ids=lambda name: name or "__init__")


def tree_of(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def runtime_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes below ``node`` except those under ``if TYPE_CHECKING:``."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            continue
        yield child
        yield from runtime_nodes(child)


def imported(module: str, *, types_too: bool = False) -> set[str]:
    """Full names that a module imports anywhere in it; ``from a import b`` counts as ``a.b``."""
    names: set[str] = set()
    for node in ast.walk(tree_of(module)) if types_too else runtime_nodes(tree_of(module)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import; write the full name"
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def ours(module: str, *, types_too: bool = False) -> set[str]:
    """The modules of this package that a module imports."""
    found = set()
    for name in imported(module, types_too=types_too):
        head, _, rest = name.partition(".")
        if head == PACKAGE.name:
            found.add(rest if rest in MODULES else rest.rpartition(".")[0])
    return found


def layer_of(module: str) -> str:
    return next((layer for layer, members in LAYERS.items() if module in members), "nowhere")


@EVERY_MODULE
def test_every_module_has_a_place_in_the_layout(module: str) -> None:
    assert layer_of(module) != "nowhere", f"place {module} in LAYERS, in the lowest layer that serves it"


def test_every_place_in_the_layout_has_its_module() -> None:
    assert set().union(*LAYERS.values()) - set(MODULES) == set()


def test_layers_form_no_circle() -> None:
    order = list(MAY_IMPORT)
    assert all(order.index(low) > order.index(layer) for layer, lower in MAY_IMPORT.items() for low in lower)


@EVERY_MODULE
def test_imports_go_one_way(module: str) -> None:
    layer = layer_of(module)
    allowed = MAY_IMPORT[layer] | {layer}
    wrong = {name: layer_of(name) for name in ours(module) if layer_of(name) not in allowed}
    if layer == "receiver":
        wrong = {name: at for name, at in wrong.items() if name not in INDEPENDENT_OF_US}
    assert not wrong, f"{module} ({layer}) may import {sorted(allowed)} only"


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("receiver")])
def test_the_receiver_is_an_independent_witness(module: str) -> None:
    assert ours(module, types_too=True) <= LAYERS["receiver"] | INDEPENDENT_OF_US


@EVERY_MODULE
def test_only_public_modules_and_names_of_dependencies_are_imported(module: str) -> None:
    private = {
        name
        for name in imported(module, types_too=True)
        if not name.startswith((f"{PACKAGE.name}.", "__future__"))
        and any(part.startswith("_") and not part.endswith("__") for part in name.split("."))
    }
    assert not private


@EVERY_MODULE
def test_the_opentelemetry_sdk_stays_below_the_api(module: str) -> None:
    allowed = {"_snapshot", "_spans", "_tracing", "testing"}
    if module in allowed or module.startswith("_pipeline") or layer_of(module) in {"exporters", "receiver"}:
        return
    assert not {name for name in imported(module) if name.startswith("opentelemetry.sdk")}


@EVERY_MODULE
def test_the_environment_is_read_in_the_settings_alone(module: str) -> None:
    if module in READ_ENVIRONMENT | WRITE_ENVIRONMENT:
        return
    uses = {
        ast.unparse(node)
        for node in ast.walk(tree_of(module))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
        and node.attr in {"environ", "environb", "getenv", "getenvb", "putenv"}
    }
    assert not uses
    assert not imported(module) & {"os.environ", "os.getenv", "os.putenv"}


@EVERY_MODULE
def test_no_module_leaves_work_for_later_in_a_comment(module: str) -> None:
    text = MODULES[module].read_text(encoding="utf-8")
    assert not [word for word in ("TODO", "FIXME", "XXX") if word in text]
