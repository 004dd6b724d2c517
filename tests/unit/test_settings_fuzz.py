"""Whatever the environment holds: the host runs on, each line names its variable, no header value is printed."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from claude_monitoring._settings import Settings
from claude_monitoring._settings_table import ENV, SIGNALS
from claude_monitoring._settings_url import parse_endpoint, redact_url

NAMES = [row.name for row in ENV if row.name not in {"CLAUDE_MONITORING_STRICT", "HOME", "USERPROFILE"}]
HEADER_NAMES = [name for name in NAMES if name.endswith("HEADERS")]
WORDS = st.sampled_from(
    ["otlp", "prometheus", "none", "grpc", "http/json", "http://h:1", "h:2", "https://[::1]", "a=b", "1", "0", "-1",
     "1e3", "true", "off", "delta", "gzip", "10s", "%zz", "%ff", ",", "=", ":", "@", "?", "/", " ",
     "\n", "\x00", "\udcff", "9" * 400]
)  # fmt: skip
TEXTS = st.one_of(
    st.text(max_size=40), st.lists(WORDS, max_size=5).map("".join), st.lists(WORDS, max_size=5).map(",".join)
)
ENVIRONMENTS = st.dictionaries(st.sampled_from(NAMES), TEXTS, max_size=8)
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
FIELDS = {row.field for row in ENV} - {"strict", "home"} | {"interval_s", "export_to_grafana", "user_id"}
ARGUMENTS = st.dictionaries(
    st.sampled_from(sorted(FIELDS)),
    st.one_of(TEXTS, st.none(), st.booleans(), st.integers(), st.floats(), st.lists(st.text()), st.binary(max_size=3)),
    max_size=6,
)  # fmt: skip


@unhurried
@given(ENVIRONMENTS, ARGUMENTS)
def test_no_environment_and_no_argument_raises(environ: dict[str, str], arguments: dict[str, Any]) -> None:
    loaded = Settings.load(environ, **arguments)
    hash(loaded)
    repr(loaded)
    for signal in SIGNALS:
        assert 0.001 <= getattr(loaded, f"{signal}_interval_s") < math.inf
        assert getattr(loaded, f"{signal}_otlp").timeout_s > 0
        parse_endpoint(getattr(loaded, f"{signal}_otlp").endpoint)


@unhurried
@given(ENVIRONMENTS)
def test_each_problem_is_one_line_that_begins_with_a_variable_that_is_set(environ: dict[str, str]) -> None:
    for line in Settings.load(environ).problems:
        assert any(line.startswith((f"{name}=", f"{name} ")) for name in environ)
        assert len(line.splitlines()) == 1
        assert len(line) < 800


@unhurried
@given(st.sampled_from(HEADER_NAMES), st.lists(st.sampled_from(["k=", "k:", "b a d=", "", "%0a=", "k=%0d"])), TEXTS)
def test_no_header_value_is_in_a_problem_or_a_repr(name: str, prefixes: list[str], noise: str) -> None:
    noise = noise.replace(",", "")  # else HUSH may become a name, and names are shown
    text = ",".join([*(f"{prefix}HUSH" for prefix in prefixes), f"k={noise}HUSH{noise}"])
    loaded = Settings.load({name: text, "OTEL_METRICS_EXPORTER": "otlp"})
    assert "HUSH" not in "".join(loaded.problems).upper()
    assert "HUSH" not in repr(loaded).upper()


@unhurried
@given(
    st.text(st.characters(exclude_characters="@"), max_size=20),
    st.text(max_size=20),
    st.sampled_from(["h:1", "h:port"]),
)
def test_no_password_of_a_url_is_shown(user: str, password: str, host: str) -> None:
    for scheme in ("http://", "https://", "", "ftp://"):
        shown = redact_url(f"{scheme}{user}HUSH{password}HUSH@{host}")
        assert "HUSH" not in shown
        line = "".join(
            Settings.load({"OTEL_EXPORTER_OTLP_ENDPOINT": f"{scheme}{user}HUSH{password}HUSH@{host}"}).problems
        )
        assert "HUSH" not in line


@unhurried
@given(st.lists(st.tuples(st.from_regex("[a-z-]{1,8}", fullmatch=True), st.text("abc =:/é", max_size=8)), max_size=5))
def test_percent_encoded_headers_arrive_as_they_were(pairs: list[tuple[str, str]]) -> None:
    text = ",".join(f"{key}={''.join(f'%{byte:02X}' for byte in value.encode())}" for key, value in pairs)
    expected = {key: value.strip() for key, value in pairs}
    assert dict(Settings.load({"OTEL_EXPORTER_OTLP_HEADERS": text}).logs_otlp.headers) == expected
