"""Settings: who wins, what an endpoint means, what is kept secret, what is said once."""

from __future__ import annotations

import json
import math
import pickle
from pathlib import Path
from typing import Any

import pytest

from claude_monitoring import _process
from claude_monitoring._settings import OtlpSettings, Settings, hint
from claude_monitoring._settings_table import SIGNALS
from claude_monitoring.errors import ConfigurationError

OTLP_ON = {
    "CLAUDE_CODE_ENABLE_TELEMETRY": "1",
    "OTEL_METRICS_EXPORTER": "otlp",
    "OTEL_LOGS_EXPORTER": "otlp",
    "OTEL_TRACES_EXPORTER": "otlp",
}
PREFIX = "OTEL_EXPORTER_OTLP_"


def load(*, arguments: dict[str, Any] | None = None, **otlp: str) -> Settings:
    """Everything over OTLP, with ``OTEL_EXPORTER_OTLP_*`` by their last part."""
    return Settings.load(OTLP_ON | {PREFIX + name: text for name, text in otlp.items()}, **(arguments or {}))


# -- what is on -------------------------------------------------------------------------------------


def test_telemetry_is_off_and_goes_nowhere_by_default() -> None:
    settings = Settings.load({})
    assert not settings.enabled
    assert (settings.metrics_exporters, settings.logs_exporters, settings.traces_exporters) == ((), (), ())
    assert "CLAUDE_CODE_ENABLE_TELEMETRY=1" in hint(settings)


def test_the_process_environment_is_read_at_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not Settings.load().enabled
    monkeypatch.setenv("CLAUDE_CODE_ENABLE_TELEMETRY", "yes")
    assert Settings.load().enabled


def test_on_without_an_exporter_the_hint_names_the_variables() -> None:
    line = hint(Settings.load({}, enabled=True))
    assert all(f"OTEL_{signal.upper()}_EXPORTER" in line for signal in SIGNALS)
    assert hint(Settings.load({"OTEL_LOGS_EXPORTER": "console"}, enabled=True)) == ""


def test_who_wrote_none_is_not_told_that_nothing_is_sent() -> None:
    assert hint(Settings.load({"OTEL_METRICS_EXPORTER": "none"}, enabled=True)) == ""


def test_the_hint_does_not_repeat_what_a_problem_said() -> None:
    settings = Settings.load({"OTEL_METRICS_EXPORTER": "oltp"}, enabled=True)
    assert "did you mean 'otlp'" in settings.problems[0]
    assert hint(settings) == ""


def test_export_to_grafana_turns_on_otlp_for_each_signal_that_has_no_exporter_variable() -> None:
    settings = Settings.load({"OTEL_LOGS_EXPORTER": "console", "OTEL_TRACES_EXPORTER": "none"}, export_to_grafana=True)
    assert settings.enabled
    assert settings.metrics_exporters == ("otlp",)
    assert settings.logs_exporters == ("console",)
    assert settings.traces_exporters == ()
    assert settings.metrics_otlp == OtlpSettings("http/protobuf", "http://localhost:4318/v1/metrics")


def test_enabled_false_wins_over_export_to_grafana_which_wins_over_the_variable() -> None:
    off = {"CLAUDE_CODE_ENABLE_TELEMETRY": "0"}
    assert Settings.load(off, export_to_grafana=True).enabled
    assert not Settings.load(off, export_to_grafana=True, enabled=False).enabled
    assert not Settings.load({"CLAUDE_CODE_ENABLE_TELEMETRY": "1"}, enabled=False).enabled


# -- arguments --------------------------------------------------------------------------------------


def test_an_argument_for_all_signals_wins_over_a_variable_for_one() -> None:
    settings = load(
        METRICS_ENDPOINT="http://env:1", METRICS_PROTOCOL="grpc",
        arguments={"endpoint": "http://arg:2", "protocol": "http/json"},
    )  # fmt: skip
    assert settings.metrics_otlp == OtlpSettings("http/json", "http://arg:2/v1/metrics")


def test_an_argument_for_one_signal_wins_over_one_for_all() -> None:
    settings = load(arguments={"endpoint": "http://all:1", "logs_endpoint": "http://one:2/x"})
    assert settings.logs_otlp.endpoint == "http://one:2/x"
    assert settings.traces_otlp.endpoint == "http://all:1/v1/traces"


def test_interval_s_is_that_of_metrics_and_a_limit_for_the_others() -> None:
    settings = Settings.load({"OTEL_LOGS_EXPORT_INTERVAL": "500", "OTEL_METRIC_EXPORT_INTERVAL": "7"}, interval_s=2)
    assert (settings.metrics_interval_s, settings.logs_interval_s, settings.traces_interval_s) == (2, 0.5, 2)
    settings = Settings.load({}, interval_s=600, traces_interval_s=9.5, metrics_interval_s=1.0)
    assert (settings.metrics_interval_s, settings.logs_interval_s, settings.traces_interval_s) == (1.0, 5.0, 9.5)


def test_native_values_are_taken_as_they_are() -> None:
    given: dict[str, Any] = {
        "metrics_exporters": ["console", "otlp"], "prometheus_port": 0, "max_series": 7, "shutdown_timeout_s": 0,
        "timeout_s": math.inf, "include_version": True, "user_id": "me", "terminal_type": "cron",
        "temporality": "delta",
        "service_name": "books", "resource_attributes": {"team": "a", "level": 3}, "headers": {"X-A": "1"},
    }  # fmt: skip
    settings = Settings.load({}, **given)
    assert settings.problems == ()
    assert settings.metrics_exporters == ("console", "otlp")
    assert settings.logs_otlp.timeout_s == math.inf
    assert settings.logs_otlp.headers == (("x-a", "1"),)
    assert settings.resource_attributes == (("team", "a"), ("level", "3"))
    assert (settings.user_id, settings.terminal_type, settings.service_name) == ("me", "cron", "books")
    assert (settings.prometheus_port, settings.max_series, settings.shutdown_timeout_s) == (0, 7, 0)


def test_none_means_not_given() -> None:
    assert Settings.load(OTLP_ON, endpoint=None, enabled=None) == Settings.load(OTLP_ON)


def test_arguments_may_also_be_the_text_of_a_variable() -> None:
    settings = Settings.load({}, metrics_exporters="otlp, console", resource_attributes="team=a", prometheus_port="80")
    assert settings.metrics_exporters == ("otlp", "console")
    assert settings.resource_attributes == (("team", "a"),)
    assert settings.prometheus_port == 80


def test_complete_otlp_settings_stand_in_for_everything_else() -> None:
    own = OtlpSettings("grpc", "http://mine:1")
    settings = load(PROTOCOL="bogus", arguments={"logs_otlp": own})
    assert settings.logs_otlp is own
    assert settings.logs_exporters == ("otlp",)
    assert settings.metrics_exporters == ()


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("enabled", "perhaps", "'perhaps'"),
        ("enabled", 1.5, "1.5"),
        ("export_to_grafana", "perhaps", "'perhaps'"),
        ("interval_s", 0, "0"),
        ("interval_s", "60", "'60'"),
        ("interval_s", True, "True"),
        ("metrics_interval_s", math.nan, "nan"),
        ("logs_interval_s", math.inf, "inf"),
        ("timeout_s", 10**400, "<int>"),
        ("metrics_exporters", ["otlp", "bogus"], "<list>"),
        ("metrics_exporters", 3, "3"),
        ("endpoint", 4318, "4318"),
        ("headers", ["secret"], "<list>"),
        ("resource_attributes", 5, "5"),
        ("resource_attributes", [1, 2], "<list>"),
        ("prometheus_port", -1, "-1"),
        ("metrics_otlp", "grpc", "'grpc'"),
        ("metrics_otlp", 5, "5"),
        ("service_name", 5, "5"),
        ("max_series", "many", "'many'"),
    ],
)
def test_a_bad_argument_is_named_and_strict_raises_the_same_line(name: str, value: object, shown: str) -> None:
    settings = Settings.load(OTLP_ON, **{name: value})
    assert len(settings.problems) == 1
    assert settings.problems[0].startswith(f"argument {name}={shown} can't be used: ")
    with pytest.raises(ConfigurationError) as caught:
        Settings.load(OTLP_ON, strict=True, **{name: value})
    assert str(caught.value) == settings.problems[0]


def test_a_bad_argument_is_not_made_up_for_by_a_variable() -> None:
    settings = load(METRICS_PROTOCOL="grpc", arguments={"protocol": "soap"})
    assert settings.metrics_exporters == settings.logs_exporters == settings.traces_exporters == ()


def test_an_unknown_argument_is_a_type_error_that_names_it() -> None:
    with pytest.raises(TypeError, match="problems, protocoll"):
        Settings.load({}, protocoll="grpc", problems=())


# -- OTLP -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "http", "grpc"),
    [
        ("", "http://localhost:4318/v1/logs", "http://localhost:4317"),
        ("http://h:4318", "http://h:4318/v1/logs", "http://h:4318"),
        ("http://h:4318/", "http://h:4318/v1/logs", "http://h:4318"),
        ("HTTPS://h/otlp//", "https://h/otlp/v1/logs", "https://h:443"),
        ("http://h", "http://h/v1/logs", "http://h:80"),
        ("http://h:/", "http://h/v1/logs", "http://h:80"),
        ("https://h:1/p?key=v#part", "https://h:1/p/v1/logs?key=v", "https://h:1"),
        ("collector:4317", "http://collector:4317/v1/logs", "http://collector:4317"),
        ("otel.example.com", "http://otel.example.com/v1/logs", "http://otel.example.com:80"),
        ("[::1]:4317", "http://[::1]:4317/v1/logs", "http://[::1]:4317"),
        ("http://[fe80::1%eth0]/x", "http://[fe80::1%eth0]/x/v1/logs", "http://[fe80::1%eth0]:80"),
        ("http://user:p%40ss@h:1", "http://h:1/v1/logs", "http://h:1"),
    ],
)
def test_what_a_general_endpoint_means_for_each_protocol(text: str, http: str, grpc: str) -> None:
    assert load(ENDPOINT=text).logs_otlp.endpoint == http
    assert load(ENDPOINT=text, PROTOCOL="grpc").logs_otlp.endpoint == grpc
    assert load(ENDPOINT=text).problems == ()


@pytest.mark.parametrize("text", ["http://h:4318", "http://h:4318/", "https://h/custom/path?x=1"])
def test_a_signals_own_endpoint_is_used_verbatim(text: str) -> None:
    settings = load(ENDPOINT="http://general:1", TRACES_ENDPOINT=text)
    assert settings.traces_otlp.endpoint == text
    assert settings.logs_otlp.endpoint == "http://general:1/v1/logs"


@pytest.mark.parametrize(
    "text",
    [
        "not-a-url", "localhost", "http://", "http://:4318", "http://h:99999", "http://h:0", "http://h:port", "ftp://h",
        "unix:///run/x", "http:/h:4318", "//h:4318", "http://a b:4318", "http://h:4318/a\nb", '"http://h:4318"',
        "http://[::1", "http://h\u2100:1", "http://u:p/1@h@/", "http://h$(x):1",
    ],
)  # fmt: skip
def test_an_endpoint_that_is_no_url_turns_otlp_off(text: str) -> None:
    settings = load(ENDPOINT=text)
    assert settings.metrics_exporters == ()
    assert len(settings.problems) == 1
    assert "http://localhost:4318" in settings.problems[0]
    assert settings.problems[0].isprintable()


@pytest.mark.parametrize(
    ("endpoint", "insecure", "plaintext"),
    [
        ("h:4317", "", True),
        ("h:4317", "true", True),
        ("h:4317", "false", False),
        ("http://h:4317", "false", True),
        ("https://h:4317", "true", False),
        ("", "false", True),
    ],
)
def test_the_scheme_decides_on_tls_and_insecure_only_without_one(endpoint: str, insecure: str, plaintext: bool) -> None:
    otlp = load(PROTOCOL="grpc", ENDPOINT=endpoint, INSECURE=insecure).metrics_otlp
    assert otlp.insecure is plaintext
    assert otlp.endpoint.startswith("http://" if plaintext else "https://")


def test_a_valid_protocol_of_its_own_saves_a_signal_from_a_bad_general_one() -> None:
    settings = load(PROTOCOL="http", TRACES_PROTOCOL="grpc")
    assert settings.traces_exporters == ("otlp",)
    assert settings.metrics_exporters == settings.logs_exporters == ()
    assert settings.problems[0].endswith(
        "(did you mean 'http/protobuf'?); turned off: metrics over OTLP, logs over OTLP"
    )


def test_a_bad_value_that_nothing_needs_is_still_said() -> None:
    settings = Settings.load({"OTEL_METRICS_EXPORTER": "console", "OTEL_EXPORTER_OTLP_TIMEOUT": "soon"}, enabled=True)
    assert settings.metrics_exporters == ("console",)
    assert settings.problems[0].endswith("nothing uses it now")


@pytest.mark.parametrize(
    ("text", "hint_text"), [("10s", "write 10000"), ("1.5 min", "write 90000"), ("50ms", "write 50")]
)
def test_a_time_with_a_unit_is_answered_with_the_number_to_write(text: str, hint_text: str) -> None:
    assert hint_text in load(TIMEOUT=text).problems[0]


# -- headers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "headers"),
    [
        ("a=1,b=2", (("a", "1"), ("b", "2"))),
        (" A = 1 , , b=%20x%2Cy ", (("a", "1"), ("b", "x,y"))),
        ("Authorization=Bearer%20x", (("authorization", "Bearer x"),)),
        ("Authorization=Bearer abc==", (("authorization", "Bearer abc=="),)),
        ("Authorization: Bearer abc==", (("authorization", "Bearer abc=="),)),
        ("k: v,k2: http://x/?a=b", (("k", "v"), ("k2", "http://x/?a=b"))),
        ("url=http://x", (("url", "http://x"),)),
        ("k=", (("k", ""),)),
        (" , ", ()),
        ("k=1,K=2", (("k", "2"),)),
    ],
)
def test_headers_are_read_as_specified_and_as_people_write_them(
    text: str, headers: tuple[tuple[str, str], ...]
) -> None:
    settings = load(HEADERS=text)
    assert settings.problems == ()
    assert settings.logs_otlp.headers == headers


def test_headers_are_merged_and_the_nearer_one_wins() -> None:
    settings = load(
        HEADERS="a=general,b=general,c=general,d=general", LOGS_HEADERS="b=own,c=own,d=own",
        arguments={"headers": {"c": "argument", "d": "argument"}, "logs_headers": "d=nearest"},
    )  # fmt: skip
    assert dict(settings.logs_otlp.headers) == {"a": "general", "b": "own", "c": "argument", "d": "nearest"}
    assert dict(settings.traces_otlp.headers) == {"a": "general", "b": "general", "c": "argument", "d": "argument"}


def test_good_headers_of_its_own_save_a_signal_from_bad_general_ones() -> None:
    settings = load(HEADERS="hush", LOGS_HEADERS="a=1")
    assert settings.logs_exporters == ("otlp",)
    assert settings.logs_otlp.headers == (("a", "1"),)
    assert settings.metrics_exporters == ()


@pytest.mark.parametrize(
    ("headers", "named"),
    [
        ("a=1,hush", "header 2"),
        ("=hush", "header 1"),
        ("hu sh=hush", "header 1"),
        ("a=hush%0D%0Ax", "'a'"),
        ("a=hush%E2%82%AC", "'a'"),
        ({"a": "hush\n"}, "'a'"),
        ({"a": 5}, "'a'"),
        ({7: "hush"}, "header 1"),
    ],
)
def test_a_bad_header_is_named_without_its_value(headers: object, named: str) -> None:
    settings = Settings.load(OTLP_ON, headers=headers)
    assert settings.metrics_exporters == ()
    assert named in settings.problems[0]
    assert "hush" not in settings.problems[0]


def test_secrets_are_in_no_repr_and_no_problem() -> None:
    settings = load(HEADERS="authorization=hush", ENDPOINT="https://me:hush@h/p?key=hush", TIMEOUT="x")
    assert settings.metrics_otlp.headers == (("authorization", "hush"),)
    assert "hush" not in repr(settings)
    assert "authorization" in repr(settings)
    for bad in ("me:hush@h:99999", "http://me:hu/sh@h:99999", "ftp://me:hush@h?key=hush", "http://h:99999/?key=hush"):
        line = load(ENDPOINT=bad).problems[0]
        assert "hush" not in line
        assert "hu/sh" not in line
    assert "no limit" in repr(load(TIMEOUT="0"))


def test_a_user_in_the_url_becomes_a_basic_authorization_header() -> None:
    otlp = load(ENDPOINT="http://Aladdin:open%20sesame@h:1").metrics_otlp
    assert otlp.headers == (("authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),)  # the example of RFC 7617
    assert otlp.endpoint == "http://h:1/v1/metrics"


# -- certificates -----------------------------------------------------------------------------------


@pytest.mark.parametrize("have", ["CLIENT_KEY", "CLIENT_CERTIFICATE"])
def test_a_client_key_and_certificate_need_each_other(have: str) -> None:
    names = (have, "LOGS_CLIENT_KEY", "LOGS_CLIENT_CERTIFICATE")
    settings = Settings.load(OTLP_ON | {f"{PREFIX}{name}": __file__ for name in names})
    assert settings.logs_exporters == ("otlp",)
    assert settings.metrics_exporters == settings.traces_exporters == ()
    assert len(settings.problems) == 1
    assert settings.problems[0].startswith(f"{PREFIX}{have}=")
    assert settings.problems[0].endswith("turned off: metrics over OTLP, traces over OTLP")


def test_claude_codes_client_certificate_serves_https_endpoints_that_have_none() -> None:
    environ = OTLP_ON | {"CLAUDE_CODE_CLIENT_CERT": __file__, "CLAUDE_CODE_CLIENT_KEY": __file__}
    environ["OTEL_EXPORTER_OTLP_LOGS_ENDPOINT"] = "https://h/v1/logs"
    settings = Settings.load(environ)
    assert settings.logs_otlp.client_certificate == settings.logs_otlp.client_key == __file__
    assert settings.metrics_otlp.client_certificate is None


# -- defaults, resource, identity -------------------------------------------------------------------


def test_temporality_is_cumulative_unless_claude_codes_defaults_are_wanted() -> None:
    variable = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"
    theirs = {"CLAUDE_MONITORING_DEFAULTS": "claude-code"}
    assert Settings.load({}).temporality == "cumulative"
    assert Settings.load(theirs).temporality == "delta"
    assert Settings.load({**theirs, variable: "cumulative"}).temporality == "cumulative"
    bad = Settings.load({**theirs, variable: "sometimes"})
    assert bad.temporality == "cumulative"
    assert bad.problems[0].endswith("; 'cumulative' is used")


def test_responses_follow_prompts_unless_they_say_otherwise() -> None:
    prompts = {"OTEL_LOG_USER_PROMPTS": "1"}
    assert Settings.load(prompts).log_assistant_responses
    assert not Settings.load({**prompts, "OTEL_LOG_ASSISTANT_RESPONSES": "0"}).log_assistant_responses
    assert Settings.load({"OTEL_LOG_ASSISTANT_RESPONSES": "1"}).log_assistant_responses
    assert not Settings.load({**prompts, "OTEL_LOG_ASSISTANT_RESPONSES": "flase"}).log_assistant_responses


def test_the_service_name_comes_from_its_argument_its_variable_the_attributes_or_the_default() -> None:
    attributes = {"OTEL_RESOURCE_ATTRIBUTES": "service.name=third"}
    assert Settings.load({}).service_name == "claude-code"
    assert Settings.load(attributes).service_name == "third"
    assert Settings.load({**attributes, "OTEL_SERVICE_NAME": "second"}).service_name == "second"
    assert Settings.load({**attributes, "OTEL_SERVICE_NAME": "second"}, service_name="first").service_name == "first"
    assert Settings.load(attributes, service_name="").service_name == "third"


def test_a_broken_entry_of_the_resource_attributes_costs_only_itself() -> None:
    settings = Settings.load({"OTEL_RESOURCE_ATTRIBUTES": 'good=1,broken,=x,org=My Company,q="x",byte=\udcff'})
    assert settings.resource_attributes == (("good", "1"), ("org", "My Company"), ("q", '"x"'), ("byte", "?"))
    assert "'broken', '=x'" in settings.problems[0]
    assert settings.problems[0].endswith("; the other entries are kept")


def test_resource_attributes_of_arguments_and_environment_are_merged() -> None:
    settings = Settings.load({"OTEL_RESOURCE_ATTRIBUTES": "a=env,b=env"}, resource_attributes={"b": "arg"})
    assert settings.resource_attributes == (("a", "env"), ("b", "arg"))
    bad = Settings.load({"OTEL_RESOURCE_ATTRIBUTES": "a=env"}, resource_attributes=5)
    assert bad.resource_attributes == (("a", "env"),)
    assert bad.problems[0].endswith("; it is left out")


def test_terminal_type_prefers_the_program_then_tmux_then_term() -> None:
    everything = {"TERM_PROGRAM": "vscode", "TMUX": "/tmp/x", "TERM": "xterm"}
    assert Settings.load(everything).terminal_type == "vscode"
    assert Settings.load({"TMUX": "/tmp/x", "TERM": "xterm"}).terminal_type == "tmux"
    assert Settings.load({}).terminal_type == "non-interactive"


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "[]",
        "{",
        '{"userID": 5}',
        '{"userID": "ABC"}',
        json.dumps({"userID": "A" * 64}),
        "[" * 100_000,
        "\x00",
    ],
)
def test_without_claude_codes_user_id_a_stable_one_is_made_and_nothing_written(
    tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / ".claude.json"
    if content is not None:
        file.write_text(content)
    user = Settings.load({"HOME": str(tmp_path)}).user_id
    assert user == Settings.load({}).user_id
    assert len(user) == 64
    assert int(user, 16)
    assert (file.read_text() if file.exists() else None) == content


def test_claude_codes_user_id_is_read_again_when_its_file_changed(tmp_path: Path) -> None:
    file = tmp_path / ".claude.json"
    for user in ("a" * 64, "b" * 64 + ""):
        file.write_text(json.dumps({"userID": user, "padding": user[0] * ord(user[0])}))
        assert Settings.load({"HOME": str(tmp_path)}).user_id == user


@pytest.mark.parametrize("home", ["/dev/null", "a\x00b", "\udcff"])
def test_a_home_that_is_none_does_no_harm(home: str) -> None:
    assert Settings.load({"HOME": home}).user_id == Settings.load({}).user_id


def test_a_home_whose_file_is_a_directory_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / ".claude.json").mkdir()
    assert Settings.load({"HOME": str(tmp_path)}).user_id == Settings.load({}).user_id


# -- as a value -------------------------------------------------------------------------------------


def test_equal_settings_share_a_pipeline_and_problems_do_not_tell_them_apart() -> None:
    one, other = Settings.load(OTLP_ON), Settings.load({**OTLP_ON, "CLAUDE_MONITORING_MAX_SERIES": "-"})
    elsewhere = Settings.load(OTLP_ON, endpoint="http://elsewhere:1")
    assert one.problems != other.problems
    pipelines = [_process.acquire(settings) for settings in (one, other, elsewhere)]
    for pipeline in pipelines:
        _process.release(pipeline, 1)
    assert pipelines[0] is pipelines[1] is not pipelines[2]
    assert pickle.loads(pickle.dumps(one)) == one


def test_several_problems_are_all_in_the_strict_error() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Settings.load({"CLAUDE_MONITORING_STRICT": "1", "OTEL_LOGS_EXPORTER": "x", "OTEL_TRACES_EXPORTER": "y"})
    assert [line.partition("=")[0] for line in str(caught.value).splitlines()] == [
        "OTEL_LOGS_EXPORTER", "OTEL_TRACES_EXPORTER",
    ]  # fmt: skip
