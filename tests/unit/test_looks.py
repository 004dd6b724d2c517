"""What a value looks like: what has no end is known at sight, and what is fit for a label is left in peace."""

from __future__ import annotations

import math
import random
import string
import uuid
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_monitoring._languages import _BY_EXTENSION
from claude_monitoring._looks import look_of, private_kind
from claude_monitoring.types import AttributeValue

pytestmark = pytest.mark.any_python

UNBOUNDED: dict[str, list[AttributeValue]] = {
    "a uuid": [
        "9497b31e-0cda-4356-a988-af6134cb0865",
        "9497B31E-0CDA-4356-A988-AF6134CB0865",
        "{9497b31e-0cda-4356-a988-af6134cb0865}",
        "urn:uuid:9497b31e-0cda-4356-a988-af6134cb0865",
        "session-9497b31e-0cda-4356-a988-af6134cb0865",
        "run--9497b31e-0cda-4356-a988-af6134cb0865-0",
    ],
    "a hash": [
        "d41d8cd98f00b204e9800998ecf8427e",
        "D41D8CD98F00B204E9800998ECF8427E",
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "00f067aa0ba902b7",
    ],
    "a random id": [
        "req_011CSHoEeqs5C35K2UUqR7Fy",
        "msg_01XFDUDYJgAACzvnptvVoYEL",
        "toolu_01A09q90qw90lq917835lq9",
        "srvtoolu_014hJH82Qum7Td6UV8gDXThB",
        "msgbatch_013Zva2CMHLNnXjNJJKqJ2EF",
        "chatcmpl-9nYL2lqjZkGm3vT8WbXcR5sD1eFhU",
        "call_abc123DEF456ghi789JKL012",
        "01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "V1StGXR8_Z5jdHi6B-myT",
        "2naeRjTrrHJAkfd3tOuEjw90WCA",
    ],
    "a path": [
        "/home/alice/shop/app.py",
        "/home/alice/shop",
        "/Users/alice/shop",
        "/workspaces/shop/main.go",
        "/workspace/shop",
        "/private/tmp/x",
        "/srv/a/b/c.tar.gz",
        "~/notes/todo.md",
        "~/shop",
        "./a.py",
        "./build/run",
        "../lib/util.rs",
        "../lib",
        "C:\\Users\\alice\\app.py",
        "C:\\Users\\alice",
        "c:/work/app",
        "\\\\server\\share\\report.docx",
        "\\\\server\\share",
        "src/app.py",
        "src\\app\\main.cs",
        "src/my app/main file.py",
        "docs/naïve.md",
        "src/app.py:42",
        "src/app.py:42:7",
        "src/[id]/page.tsx",
        "packages/@acme/ui/index.ts",
        "/users/12345",
        "/users/12345/orders",
        "/items/9497b31e-0cda-4356-a988-af6134cb0865/",
    ],
    "a URL": [
        "https://example.com/a?b=c",
        "http://localhost:8080",
        "HTTPS://EXAMPLE.COM",
        "s3://bucket/key",
        "git+ssh://example.com/a/b",
        "file:///etc/hosts",
        "postgres://db/orders",
    ],
    "a point in time": [
        1758000000,
        1758000000.25,
        1758000000123,
        1758000000123.5,
        1758000000123456,
        1758000000123456789,
        "1758000000",
        "1758000000.25",
        "1758000000123",
        "1758000000123456",
        "1758000000123456789",
        "2026-11-25",
        "2026-11-25T10:00",
        "2026-11-25T10:00:00Z",
        "2026-11-25T10:00:00.123+02:00",
        "2026-11-25 10:00:00",
        "2026-11-25 10:00:00.123456",
        "2026-11-25 10:00:00 UTC",
        "2026-11-25 10:00:00 +0200",
        "20261125T100000Z",
    ],
    "an IP address": [
        "192.168.0.1",
        "10.0.0.7:8080",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "2001:db8::",
        "2001:DB8::1",
        "2001:0db8:85a3:0000:0000:8a2e:0370:7334",
        "::ffff:192.0.2.1",
        "[::1]",
        "[::1]:8080",
        "[2001:db8::1]:443",
        "[2001:0db8:85a3:0000:0000:8a2e:0370:7334]:443",
    ],
    "free text": [
        "Add rate limiting to the public API",
        "Fix bug #1234 in the parser",
        "Please refactor this function so that it is easier to read, and keep every test as it is.",
        "  Fix the login page, please",
        "first line\nand a second one\n",
        "ユーザー認証を実装してください。" * 5,
        '{"tool":"Bash","input":{"command":"ls"},"id":1,"description":"List"}',
        "x" * 128,
    ],
}


@pytest.mark.parametrize(
    ("words", "value"), [(words, value) for words, values in UNBOUNDED.items() for value in values], ids=repr
)
def test_a_value_of_a_number_without_end_is_known_at_sight(words: str, value: AttributeValue) -> None:
    look = look_of(value)
    assert look is not None
    assert look.words == words
    assert look.instead


MODELS = """
    claude-sonnet-4-5-20250929 claude-3-5-sonnet-20241022 claude-opus-4-1 claude-haiku-4-5@20251001
    claude-3-5-sonnet-v2@20241022 anthropic/claude-3.5-sonnet us.anthropic.claude-sonnet-4-20250514-v1:0
    anthropic.claude-3-sonnet-20240229-v1:0:200k amazon.nova-pro-v1:0 bedrock/anthropic.claude-v2
    arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-3-5-sonnet-20240620-v1:0
    arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-3-7-sonnet-20250219-v1:0
    gpt-4o-mini gpt-4o-2024-08-06 gpt-3.5-turbo-0125 gpt-4.1 o3-mini-2025-01-31 chatgpt-4o-latest
    ft:gpt-4o-mini-2024-07-18:acme:custom text-embedding-3-large whisper-1
    gemini-2.5-pro gemini-2.5-flash-preview-05-20 models/gemini-1.5-pro-002
    projects/acme/locations/us-central1/publishers/google/models/gemini-2.0-flash-001
    meta-llama/Llama-3.1-70B-Instruct meta-llama/Llama-4-Maverick-17B-128E-Instruct-FP8 Meta-Llama-3-70B-Instruct
    accounts/fireworks/models/llama-v3p1-405b-instruct @cf/meta/llama-3.1-8b-instruct ollama/llama3.2:3b
    llama3.1:70b-instruct-q4_K_M nvidia/Llama-3_3-Nemotron-Super-49B-v1_5 NousResearch/Hermes-3-Llama-3.1-405B
    Qwen/Qwen2.5-Coder-32B-Instruct Qwen2-72B-Instruct-AWQ Qwen3-30B-A3B-Instruct-2507 Qwen3-Coder-480B-A35B-Instruct
    mistralai/Mixtral-8x7B-Instruct-v0.1 Mixtral-8x7B-Instruct-v0 mistral-large-2411 codestral-latest
    deepseek-chat deepseek-ai/DeepSeek-V3 DeepSeek-R1-Distill-Qwen-32B Cohere-command-r-08-2024 command-r-plus
    grok-4-0709 Phi-3-5-MoE-instruct microsoft/Phi-3.5-mini-instruct ai21.jamba-1-5-large-v1:0
"""
TOOLS = """
    Bash Edit Write Read Glob Grep NotebookEdit MultiEdit WebFetch WebSearch TodoWrite ExitPlanMode Task mcp_tool
    mcp__github__create_issue mcp__claude_ai_Google_Calendar__list_events mcp__Context7__getLibraryDocs
    mcp__plugin_playwright_playwright__browser_take_screenshot
"""
ERRORS = """
    TimeoutError RateLimitError anthropic.RateLimitError requests.exceptions.ConnectionError json.JSONDecodeError
    OAuth2AuthorizationError Http2StreamResetException S3UploadFailedException rate_limit_error overloaded_error
"""
WORDS = """
    success failed backend code-reviewer agent-7 worker_12 general-purpose team/platform feature/login main
    sprint-2026-Q3 2026-Q3 low p99 4xx 10k-100k >=10 0-100 100% $5 12:30 N/A a/b true yes utf-8 SHA256 en-US
    Europe/Berlin America/Argentina/Buenos_Aires linux/amd64 x86_64 darwin-arm64 Node.js ASP.NET std::vector
    end_turn max_tokens tool_use application/json application/vnd.api+json __other__ __redacted__ redacted-0123456789ab
    1.45.2 v2.1.330 3.11.7 1.0.0-rc.1 2.0.0+build5
    us-east-1 europe-west4 eu-central-1a northamerica-northeast1-b
    200 404 503 GET POST DELETE HTTP/1.1
    / /health /books /v1/messages /v1/messages/count_tokens /api/v2/books/{id} /rest/api/2/search /app/settings
"""
PHRASES = [
    "",
    "Backend Developer",
    "senior backend developer",
    "Sprint 14",
    "GET /books",
    "POST /v1/messages",
    "2.1.330 (Claude Code)",
    "text/plain; charset=utf-8",
    "basic functionality",
    "Bearer authentication",
]


@pytest.mark.parametrize("value", [*f"{MODELS} {TOOLS} {ERRORS} {WORDS}".split(), *_BY_EXTENSION, *PHRASES])
def test_names_fit_for_a_label_are_left_in_peace(value: str) -> None:
    assert look_of(value) is None
    assert private_kind(value) == ""


WHOLE = [0, 1, -1, 8, 200, 404, 65_535, 200_000, 10**6, 20261125, 999_999_999, 2**63 - 1, -(2**63)]
FRACTIONS = [0.0, 0.1, 1.5, 99.9, 1e-9, 1e300, math.nan, math.inf, -math.inf]


@pytest.mark.parametrize("value", [*WHOLE, *FRACTIONS, True, False])
def test_numbers_are_left_in_peace(value: AttributeValue) -> None:
    assert look_of(value) is None


@given(st.uuids())
def test_every_uuid_is_known_in_both_cases(value: uuid.UUID) -> None:
    for text in (str(value), str(value).upper()):
        look = look_of(text)
        assert look is not None
        assert look.words == "a uuid"


@given(st.ip_addresses(), st.one_of(st.none(), st.integers(1, 65_535)))
def test_every_address_is_known_with_and_without_a_port(address: object, port: int | None) -> None:
    text = str(address)
    if port is not None:
        text = f"[{text}]:{port}" if ":" in text else f"{text}:{port}"
    look = look_of(text)
    assert look is not None
    assert look.words == "an IP address"


@given(
    st.datetimes(datetime(2002, 1, 1), datetime(2038, 12, 31)),  # noqa: DTZ001 - hypothesis wants them so
    st.sampled_from([1, 1_000, 1_000_000, 1_000_000_000]),
)
def test_every_moment_of_these_decades_is_known_in_each_unit_and_notation(moment: datetime, per_second: int) -> None:
    seconds = moment.replace(tzinfo=timezone.utc).timestamp()
    whole = int(seconds * per_second)
    for value in (whole, float(whole), str(whole), moment.isoformat(), moment.isoformat(" "), f"{moment.isoformat()}Z"):
        look = look_of(value)
        assert look is not None, value
        assert look.words == "a point in time"


def test_nearly_all_random_ids_are_known() -> None:
    chance = random.Random(7)
    ids = ["".join(chance.choices(string.ascii_letters + string.digits, k=24)) for _ in range(1_000)]
    assert sum(look_of(value) is not None for value in ids) > 800


# -- private ------------------------------------------------------------------------------------

# Written in two pieces, so that nobody who searches this repository for lost keys finds one.
BODY = "Zx7Qm2Rv9Tb4Yw6Kp8Nd3Hc5Lf1Gs0Ja"
SECRETS = [
    "sk-ant-" + f"api03-{BODY}",
    "sk-" + BODY,
    "sk-" + f"proj-{BODY}",
    "sk-" + f"or-v1-{BODY}",
    "sk" + f"_live_{BODY}",
    "rk" + f"_test_{BODY}",
    "ghp" + f"_{BODY}",
    "gho" + f"_{BODY}",
    "ghs" + f"_{BODY}",
    "github_" + f"pat_{BODY}",
    "glpat" + f"-{BODY}",
    "xoxb" + f"-123456789012-{BODY}",
    "AK" + "IAZX7QM2RV9TB4YW6K",
    "AS" + "IAZX7QM2RV9TB4YW6K",
    "AI" + f"za{BODY}",
    "ya29" + f".{BODY}",
    "npm" + f"_{BODY}",
    "hf" + f"_{BODY}",
    "pypi" + f"-{BODY}",
    "dop" + f"_v1_{'0123456789abcdef' * 4}",
    "ey" + f"JhbGciOiJIUzI1NiJ9.eyJzdWIiOiIx{BODY}",
    f"Bearer {BODY}",
    f"bearer {BODY.lower()}",
    "Basic " + "dXNlcjpwYXNz",
    "-----BEGIN PRIVATE KEY-----",
    "-----BEGIN OPENSSH PRIVATE KEY-----",
    "postgres://shop:hunter2@db/orders",
    "redis://:hunter2@cache:6379",
    "api_key=hunter2",
    "X-Api-Key: hunter2",
    "apikey = hunter2",
    '{"password": "hunter2"}',
    "PASSWD=hunter2",
    "client_secret=hunter2",
    "aws_secret_access_key=hunter2",
    "DJANGO_SECRET_KEY=hunter2",
    "access_token=hunter2",
    "auth-token: hunter2",
]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize(
    "around", ["{}", "curl -H '{}' https://x", "line\n{}", "['{}']", "b'line\\n{}'", "({})", "é{}"]
)
def test_a_secret_is_known_wherever_it_stands(secret: str, around: str) -> None:
    assert private_kind(around.format(secret)) == "a secret"


@pytest.mark.parametrize(
    "text",
    [
        "alice@example.com",
        "Alice.Cooper+test@Mail.Example.CO.UK",
        "Alice <alice@example.com>",
        "mailto:alice@example.com",
        "write to alice@example.com, please",
        "['alice@example.com']",
        "алиса@пример.рф",
        "o'neil@example.com",
    ],
)
def test_an_email_address_is_known_wherever_it_stands(text: str) -> None:
    assert private_kind(text) == "an e-mail address"


@pytest.mark.parametrize(
    "text",
    [
        *("", "@", "a@b", "@team", "alice@localhost", "claude-haiku-4-5@20251001", "left-pad@1.3.0", "@acme/ui.js"),
        *("sk-learn", "task-test-integration", "disk-admin-console", "risk-live-monitoring", "ghp_short", "AKIA"),
        *("basic functionality", "Basic arithmetic-tasks", "bearer of bad news", "Bearer authentication"),
        *("password", "secret santa", "api_key", "reset password: yes", "postgres://db:5432/orders"),
        *("https://example.com:8080/a", "a:b@c", "-----BEGIN CERTIFICATE-----"),
    ],
)
def test_what_only_reminds_of_something_private_is_left_in_peace(text: str) -> None:
    assert private_kind(text) == ""


@given(st.sampled_from([*SECRETS, "alice@example.com"]), st.text(max_size=40), st.data())
def test_cutting_a_text_never_makes_it_private(secret: str, after: str, data: st.DataObject) -> None:
    text = f"{secret}{after}"
    cut = text[: data.draw(st.integers(0, len(text)))]
    assert not private_kind(cut) or private_kind(text)


# -- effort -------------------------------------------------------------------------------------

NASTY = [
    *("a", "A1", "1", "é", " ", "a ", "\n", "\\n", "/", "/a", "/1", "\\", "a.", "../", "~/", "C:\\", ".a", "[", "{"),
    *("0:", "::", ":", "1.1.1.", "%", "-", "_", "=", "0f", "deadbeef-", "dead-", "Aa1b2", "2026-11-25T", "://", "a://"),
    *("@", "a@", "a.b@", ":a@", "sk-ant-", "AKIA", "eyJa.", "basic ", "bearer a", "api_key ", "secret_access_", "'"),
    *("-----BEGIN ", "password:", "ghp_", "\u2028", "\ud800"),
]


def test_no_text_takes_more_than_a_moment() -> None:
    texts = {
        ((first * 256)[:128] + (second * 256)[:128])[: 256 - len(end)] + end
        for first in NASTY
        for second in NASTY
        for end in ("", "!", " ")
    }
    assert len(texts) > 5_000
    # A pattern that tries all ways to part a text would not come back from the first of them.
    assert len([look_of(text) for text in texts]) == len(texts)
    assert {private_kind(text) for text in texts} == {"", "a secret", "an e-mail address"}
