"""The fake API as the real ``anthropic`` package sees it, and as raw HTTP shows it."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import pytest

from claude_monitoring.testing.fake_anthropic import (
    Answer,
    ApiError,
    Drop,
    FakeAnthropic,
    Raw,
    Request,
    StreamFault,
    Thinking,
    ToolUse,
    Usage,
)

pytestmark = pytest.mark.any_python

MODEL = "claude-sonnet-5"
ASKED: dict[str, Any] = {"model": MODEL, "max_tokens": 64, "messages": [{"role": "user", "content": "hi"}]}
OF_THE_CAPTURES = {
    "input_tokens": 1200,
    "output_tokens": 77,
    "cache_read_input_tokens": 4500,
    "cache_creation_input_tokens": 300,
}


@pytest.fixture
def api() -> Iterator[FakeAnthropic]:
    with FakeAnthropic() as one:
        yield one


@pytest.fixture
def client(api: FakeAnthropic) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=api.base_url, api_key="sk-ant-secret", max_retries=0) as one:
        yield one


def asked(base_url: str, method: str, path: str, body: Any = None) -> tuple[int, http.client.HTTPMessage, bytes]:
    """One plain request."""
    connection = http.client.HTTPConnection(base_url.removeprefix("http://"), timeout=10)
    try:
        connection.request(method, path, body if isinstance(body, bytes) else json.dumps(body) if body else None)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def events_of(api: FakeAnthropic) -> list[dict[str, Any]]:
    """The events of one stream as they are on the wire; that of the line ``event:`` is that of the data."""
    status, headers, body = asked(api.base_url, "POST", "/v1/messages", {**ASKED, "stream": True})
    assert (status, headers.get_content_type()) == (200, "text/event-stream")
    found = []
    for block in body.decode().split("\n\n")[:-1]:
        event, data = block.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert event == f"event: {found[-1]['type']}"
    return found


def reported(usage: Any) -> dict[str, int]:
    return {name: getattr(usage, name) for name in OF_THE_CAPTURES}


# --- answers ---


def test_without_a_script_it_answers_a_fixed_text_with_the_usage_of_the_captures(client: anthropic.Anthropic) -> None:
    message = client.messages.create(**ASKED)
    assert message.content[0].model_dump()["text"] == "Hello."
    assert (message.model, message.stop_reason) == (MODEL, "end_turn")
    assert reported(message.usage) == OF_THE_CAPTURES
    assert message.usage.model_dump()["cache_creation"] == {
        "ephemeral_5m_input_tokens": 300,
        "ephemeral_1h_input_tokens": 0,
    }


def test_a_stream_builds_the_same_message(api: FakeAnthropic, client: anthropic.Anthropic) -> None:
    content = ["I write it.", ToolUse("Write", {"path": "hello.py"}), ToolUse("Ls")]
    api.answer(content, content)
    whole = client.messages.create(**ASKED)
    with client.messages.stream(**ASKED) as stream:
        text = "".join(stream.text_stream)
        streamed = stream.get_final_message()
    assert text == "I write it."
    assert whole.stop_reason == streamed.stop_reason == "tool_use"
    kinds = ["text", "tool_use", "tool_use"]
    assert [block.type for block in whole.content] == [block.type for block in streamed.content] == kinds
    for one, other in zip(whole.content, streamed.content, strict=True):
        assert {**one.model_dump(), "id": ""}.items() <= {**other.model_dump(), "id": ""}.items()
    assert reported(streamed.usage) == reported(whole.usage) == OF_THE_CAPTURES


def test_create_with_stream_yields_raw_events(client: anthropic.Anthropic) -> None:
    kinds = [event.type for event in client.messages.create(**ASKED, stream=True)]
    assert kinds == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


def test_the_async_client_gets_the_same(api: FakeAnthropic) -> None:
    async def both() -> tuple[str, str]:
        async with anthropic.AsyncAnthropic(base_url=api.base_url, api_key="dummy") as client:
            message = await client.messages.create(**ASKED)
            async with client.messages.stream(**ASKED) as stream:
                return message.content[0].model_dump()["text"], await stream.get_final_text()

    assert asyncio.run(both()) == ("Hello.", "Hello.")


def test_beta_messages_and_counts(api: FakeAnthropic, client: anthropic.Anthropic) -> None:
    assert client.beta.messages.create(**ASKED).usage.input_tokens == 1200
    count = client.beta.messages.count_tokens(model=MODEL, messages=ASKED["messages"])
    assert count.input_tokens == 6000
    assert [one.path for one in api.requests] == ["/v1/messages", "/v1/messages/count_tokens"]
    assert {one.query for one in api.requests} <= {"", "beta=true"}  # by the package's version


def test_a_batch_takes_an_answer_a_request(api: FakeAnthropic, client: anthropic.Anthropic) -> None:
    api.answer("one", ApiError(529), Drop())
    wanted: Any = [{"custom_id": f"r{number}", "params": ASKED} for number in range(4)]
    batch = client.beta.messages.batches.create(requests=wanted)
    assert (batch.processing_status, batch.request_counts.processing) == ("in_progress", 4)
    batch = client.beta.messages.batches.retrieve(batch.id)
    assert batch.processing_status == "ended"
    assert batch.request_counts.to_dict() == {
        "processing": 0, "succeeded": 2, "errored": 1, "canceled": 0, "expired": 1,
    }  # fmt: skip
    results: list[Any] = list(client.beta.messages.batches.results(batch.id))
    assert [(one.custom_id, one.result.type) for one in results] == [
        ("r0", "succeeded"), ("r1", "errored"), ("r2", "expired"), ("r3", "succeeded"),
    ]  # fmt: skip
    assert results[0].result.message.content[0].text == "one"
    assert reported(results[3].result.message.usage) == OF_THE_CAPTURES
    assert results[3].result.message.usage.to_dict()["service_tier"] == "batch"
    assert results[1].result.error.error.type == "overloaded_error"


def test_usage_says_what_it_was_told(api: FakeAnthropic, client: anthropic.Anthropic) -> None:
    usage = Usage(1, 2, 3, 100, 200, service_tier="priority", more={"server_tool_use": {"web_search_requests": 4}})
    api.answer(Answer("x", usage=usage), Answer("x", usage=Usage(split=False)), Answer("x", usage={"input_tokens": -5}))
    told = client.messages.create(**ASKED).usage.model_dump()
    assert {name: told[name] for name in OF_THE_CAPTURES} == {
        "input_tokens": 1, "output_tokens": 2, "cache_read_input_tokens": 3, "cache_creation_input_tokens": 300,
    }  # fmt: skip
    assert told["cache_creation"] == {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 200}
    assert (told["service_tier"], told["server_tool_use"]["web_search_requests"]) == ("priority", 4)
    unsplit = client.messages.create(**ASKED).usage
    assert not getattr(unsplit, "cache_creation", None)
    assert unsplit.cache_creation_input_tokens == 300
    assert client.messages.create(**ASKED).usage.input_tokens == -5


def test_an_answer_without_usage_has_none(api: FakeAnthropic) -> None:
    api.answer(Answer("x", usage=None), Answer("x", usage=None))
    assert "usage" not in json.loads(asked(api.base_url, "POST", "/v1/messages", ASKED)[2])
    events = events_of(api)
    assert "usage" not in events[0]["message"]
    assert "usage" not in events[-2]


@pytest.mark.parametrize("reason", ["end_turn", "tool_use", "max_tokens", "refusal"])
def test_stop_reason_model_and_headers_are_scripted(
    api: FakeAnthropic, client: anthropic.Anthropic, reason: str
) -> None:
    answer = Answer("x", stop_reason=reason, model="claude-other", request_id="req_mine", headers={"x-mine": "1"})
    api.answer(answer, times=2)
    raw = client.messages.with_raw_response.create(**ASKED)
    assert (raw.headers["request-id"], raw.headers["x-mine"]) == ("req_mine", "1")
    with client.messages.stream(**ASKED) as stream:
        for message in (raw.parse(), stream.get_final_message()):
            assert (message.stop_reason, message.model) == (reason, "claude-other")


def test_events_come_in_the_order_of_the_api(api: FakeAnthropic) -> None:
    api.answer([Thinking("So."), "Yes", ToolUse("Run", {"a": 1})])
    kinds = [(event["type"], event.get("delta", {}).get("type")) for event in events_of(api)]
    assert kinds == [
        ("message_start", None),
        ("content_block_start", None),
        ("ping", None),
        ("content_block_delta", "thinking_delta"),
        ("content_block_delta", "signature_delta"),
        ("content_block_stop", None),
        ("content_block_start", None),
        ("content_block_delta", "text_delta"),
        ("content_block_stop", None),
        ("content_block_start", None),
        ("content_block_delta", "input_json_delta"),
        ("content_block_delta", "input_json_delta"),
        ("content_block_stop", None),
        ("message_delta", None),
        ("message_stop", None),
    ]


def test_thinking_is_streamed_in_pieces_and_signed(api: FakeAnthropic) -> None:
    api.answer(Thinking("Which file is it? hello.py, no doubt.", "c2ln"))  # anthropic 0.40 doesn't know of thinking
    _, start, _, *deltas, signature, stop, _, _ = events_of(api)
    assert start["content_block"] == {"type": "thinking", "thinking": "", "signature": ""}
    assert "".join(event["delta"]["thinking"] for event in deltas) == "Which file is it? hello.py, no doubt."
    assert len(deltas) > 1
    assert signature["delta"] == {"type": "signature_delta", "signature": "c2ln"}
    assert stop == {"type": "content_block_stop", "index": 0}


def test_usage_begins_with_one_output_token_and_ends_cumulative(api: FakeAnthropic) -> None:
    events = events_of(api)
    assert events[0]["message"]["usage"] == {
        **OF_THE_CAPTURES,
        "output_tokens": 1,
        "cache_creation": {"ephemeral_5m_input_tokens": 300, "ephemeral_1h_input_tokens": 0},
        "service_tier": "standard",
    }
    assert events[0]["message"]["content"] == []
    assert events[0]["message"]["stop_reason"] is None
    assert events[-2]["usage"] == OF_THE_CAPTURES
    assert events[-2]["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}


def test_an_unknown_block_goes_as_it_is(api: FakeAnthropic, client: anthropic.Anthropic) -> None:
    api.answer({"type": "hologram", "depth": 3}, {"type": "hologram", "depth": 3})
    assert client.messages.create(**ASKED).content[0].to_dict() == {"type": "hologram", "depth": 3}
    assert events_of(api)[1]["content_block"] == {"type": "hologram", "depth": 3}


# --- the script ---


def test_answers_are_given_in_order_and_then_the_default(api: FakeAnthropic, client: anthropic.Anthropic) -> None:
    api.answer("a", "b", times=2)
    assert api.answers_left == 4
    given = [client.messages.create(**ASKED).content[0].model_dump()["text"] for _ in range(5)]
    assert given == ["a", "a", "b", "b", "Hello."]
    assert api.answers_left == 0


def test_a_function_makes_the_answer_from_the_request() -> None:
    def echo(request: Request) -> str | None:
        return f"You said {request.text}." if request.stream else None

    with FakeAnthropic(default=echo) as api, anthropic.Anthropic(base_url=api.base_url, api_key="dummy") as client:
        with client.messages.stream(**ASKED) as stream:
            assert stream.get_final_text() == "You said hi."
        assert client.messages.create(**ASKED).content[0].model_dump()["text"] == "Hello."


def test_an_answer_for_some_requests_lets_others_pass(api: FakeAnthropic, client: anthropic.Anthropic) -> None:
    api.answer("for opus", when=lambda request: request.model == "claude-opus-4-8")
    api.answer("for all")
    api.answer(Raw({"input_tokens": 5}), path="/v1/messages/count_tokens", times=None)
    given = [
        client.messages.create(**{**ASKED, "model": model}).content[0].model_dump()["text"]
        for model in (MODEL, "claude-opus-4-8")
    ]
    assert given == ["for all", "for opus"]
    assert client.beta.messages.count_tokens(model=MODEL, messages=[]).input_tokens == 5


def test_a_fault_of_the_function_is_an_error_500_and_raised_at_the_end() -> None:
    api = FakeAnthropic(lambda request: request.body["absent"], "Fine.").start()
    with anthropic.Anthropic(base_url=api.base_url, api_key="dummy") as client:
        with pytest.raises(anthropic.InternalServerError, match="KeyError: 'absent'"):
            client.messages.create(**ASKED)
        assert client.messages.create(**ASKED).content[0].model_dump()["text"] == "Fine."
    with pytest.raises(KeyError, match="absent"):
        api.close()
    api.close()


def test_the_exception_of_the_block_comes_before_that_of_the_function() -> None:
    def block() -> None:
        with FakeAnthropic(lambda request: request.body["absent"]) as api:
            assert asked(api.base_url, "POST", "/v1/messages", ASKED)[0] == 500
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        block()


@pytest.mark.parametrize("nonsense", [3, b"bytes", [3], None])
def test_what_can_not_be_answered_is_refused_at_once(api: FakeAnthropic, nonsense: Any) -> None:
    with pytest.raises(TypeError, match="is no answer"):
        api.answer(nonsense)
    with pytest.raises(ValueError, match="times=0"):
        api.answer("x", times=0)


# --- errors ---


@pytest.mark.parametrize(
    ("status", "kind", "raised"),
    [
        (400, "invalid_request_error", anthropic.BadRequestError),
        (401, "authentication_error", anthropic.AuthenticationError),
        (403, "permission_error", anthropic.PermissionDeniedError),
        (404, "not_found_error", anthropic.NotFoundError),
        (413, "request_too_large", anthropic.APIStatusError),
        (429, "rate_limit_error", anthropic.RateLimitError),
        (500, "api_error", anthropic.InternalServerError),
        (529, "overloaded_error", anthropic.InternalServerError),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_each_error_has_its_status_and_type(
    api: FakeAnthropic, client: anthropic.Anthropic, status: int, kind: str, raised: type[Exception], stream: bool
) -> None:
    api.answer(ApiError(status, retry_after_s=1.5))
    with pytest.raises(raised) as caught:
        client.messages.create(**ASKED, stream=stream)
    error: Any = caught.value
    assert error.status_code == status
    assert error.body["error"]["type"] == kind
    assert error.body["request_id"] == error.response.headers["request-id"]
    assert error.response.headers["retry-after"] == "1.5"


def test_the_package_tries_again_after_an_error_and_a_dropped_connection(api: FakeAnthropic) -> None:
    api.answer(ApiError(429, retry_after_s=0.01), Drop(), "At last.")
    with anthropic.Anthropic(base_url=api.base_url, api_key="dummy", max_retries=2) as client:
        assert client.messages.create(**ASKED).content[0].model_dump()["text"] == "At last."
    tries = [one.headers["x-stainless-retry-count"] for one in api.wait_for(3)]
    assert tries == ["0", "1", "2"]


def test_a_dropped_connection_is_one_to_the_package(api: FakeAnthropic, client: anthropic.Anthropic) -> None:
    api.answer(Drop(), Answer("x" * 2000, fault=StreamFault()))
    for _ in range(2):
        with pytest.raises(anthropic.APIConnectionError):
            client.messages.create(**ASKED)


@pytest.mark.parametrize("after", [0, 4])
def test_a_stream_breaks_with_an_error_event(api: FakeAnthropic, client: anthropic.Anthropic, after: int) -> None:
    fault = StreamFault(after, ApiError(529, message="Too busy"))
    api.answer(Answer("Many words that never end", fault=fault), times=3)
    came = []
    with pytest.raises(anthropic.APIStatusError, match="Too busy"):
        came.extend(event.type for event in client.messages.create(**ASKED, stream=True))
    assert len(came) == max(0, after - 1)  # the package keeps the ping to itself
    assert [event["type"] for event in events_of(api)][after:] == ["error"]
    with pytest.raises(anthropic.InternalServerError, match="Too busy"):
        client.messages.create(**ASKED)


def test_a_stream_loses_its_connection(api: FakeAnthropic, client: anthropic.Anthropic) -> None:
    api.answer(Answer("Many words", fault=StreamFault(4)))
    came = []
    with pytest.raises(Exception, match=r"incomplete|closed"):  # of the HTTP library beneath
        came.extend(event.type for event in client.messages.create(**ASKED, stream=True))
    assert came == ["message_start", "content_block_start", "content_block_delta"]


def test_malformed_json_arrives_as_it_is(api: FakeAnthropic, client: anthropic.Anthropic) -> None:
    api.answer(Raw("{not json"), Raw(b"<html>", status=502, content_type="text/html"))
    with pytest.raises((ValueError, anthropic.APIError)):
        client.messages.create(**ASKED)
    with pytest.raises(anthropic.InternalServerError) as caught:
        client.messages.create(**ASKED)
    assert caught.value.response.text == "<html>"


def test_delays_are_kept(api: FakeAnthropic, client: anthropic.Anthropic) -> None:
    api.answer(Answer("x" * 48, delay_s=0.2, delta_delay_s=0.1))  # three deltas
    began_s = time.monotonic()
    times = [(event.type, time.monotonic() - began_s) for event in client.messages.create(**ASKED, stream=True)]
    assert times[0][1] >= 0.2
    assert [kind for kind, _ in times].count("content_block_delta") == 3
    assert times[-1][1] >= 0.5


# --- requests ---


def test_requests_are_kept_and_hide_keys(api: FakeAnthropic, client: anthropic.Anthropic) -> None:
    before_s = time.time()
    tools: Any = [{"name": "Write", "input_schema": {"type": "object"}}]
    result = {"type": "tool_result", "tool_use_id": "t1", "content": "done"}
    messages: Any = [*ASKED["messages"], {"role": "user", "content": [result, {"type": "text", "text": "go on"}]}]
    client.messages.create(**{**ASKED, "messages": messages}, tools=tools, extra_headers={"x-api-key": "sk-ant-secret"})
    (request,) = api.requests
    assert (request.method, request.path, request.model, request.stream) == ("POST", "/v1/messages", MODEL, False)
    assert (request.text, request.tools, request.tool_results) == ("go on", ["Write"], [result])
    assert request.body["max_tokens"] == 64
    assert before_s <= request.at_unix_s <= time.time()
    assert request.headers["x-api-key"] == "sk-ant-secret"
    assert "sk-ant-secret" not in repr(request) + repr(api.requests) + repr(request.headers)


def test_waiting_for_requests(api: FakeAnthropic, client: anthropic.Anthropic) -> None:
    caller = threading.Thread(target=lambda: [client.messages.create(**ASKED) for _ in range(2)])
    caller.start()
    assert len(api.wait_for(2)) == 2
    caller.join()
    with pytest.raises(TimeoutError, match=r"2 of 3 requests of /v1/messages came in 0\.05 s"):
        api.wait_for(3, timeout_s=0.05)


def test_connections_side_by_side_get_an_answer_each(api: FakeAnthropic, client: anthropic.Anthropic) -> None:
    api.answer(*(str(number) for number in range(40)))
    given: list[str] = []

    def call() -> None:
        given.extend(client.messages.create(**ASKED).content[0].model_dump()["text"] for _ in range(5))

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(given, key=int) == [str(number) for number in range(40)]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("GET", "/", None, 200, b"{}"),
        ("HEAD", "/", None, 200, b""),
        ("OPTIONS", "/v1/nothing", None, 404, b"not_found_error"),
        ("GET", "/v1/messages", None, 405, b"invalid_request_error"),
        ("GET", "/v1/messages/batches/none", None, 404, b"not_found_error"),
        ("POST", "/v1/messages/batches", {"requests": []}, 400, b"requests: Field required"),
        ("POST", "/v1/messages", b"{not json", 400, b"not valid JSON"),
        ("POST", "/v1/messages", {"model": "x", "messages": []}, 400, b"max_tokens: Field required"),
        ("POST", "/v1/messages/count_tokens", {"model": "x"}, 400, b"messages: Field required"),
        ("GET", "/v1/models/claude-x", None, 200, b'"id": "claude-x"'),
        ("GET", "/v1/models?limit=2", None, 200, b'"has_more": false'),
    ],
)
def test_other_requests_get_an_answer_of_the_api(
    api: FakeAnthropic, method: str, path: str, body: Any, status: int, said: bytes
) -> None:
    found, headers, content = asked(api.base_url, method, path, body)
    assert (found, headers.get_content_type()) == (status, "application/json")
    assert said in content
    assert headers["request-id"]
    assert [one.method for one in api.requests] == [method]


@pytest.mark.parametrize("odd", [None, 3, "x", [], [3], [{}], [{"content": [3, {"type": "text", "text": 4}]}]])
def test_a_request_of_any_shape_can_be_read(api: FakeAnthropic, odd: Any) -> None:
    assert asked(api.base_url, "POST", "/v1/messages", {**ASKED, "messages": odd, "tools": odd})[0] == 200
    assert asked(api.base_url, "POST", "/v1/messages/batches", {"requests": [3, {"params": odd}]})[0] == 400
    assert asked(api.base_url, "POST", "/v1/messages/batches", {"requests": [{"params": odd}]})[0] == 200
    for request in api.requests:
        assert request.text in ("", "4")
        assert request.tool_results == []
        assert len(request.tools) <= 1
        assert repr(request)


def test_clients_that_leave_early_do_no_harm(api: FakeAnthropic, client: anthropic.Anthropic) -> None:
    api.answer(Answer("x" * 16 * 50, delta_delay_s=0.005))
    with client.messages.create(**ASKED, stream=True) as stream:
        assert next(iter(stream)).type == "message_start"
    host, port = api.base_url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as half:
        half.sendall(b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
        half.shutdown(socket.SHUT_WR)
        assert half.recv(100) == b""
    assert client.messages.create(**ASKED).content[0].to_dict()["text"] == "Hello."
    assert len(api.requests) == 2  # half a request is none


def test_a_body_without_its_length_is_refused(api: FakeAnthropic) -> None:
    connection = http.client.HTTPConnection(api.base_url.removeprefix("http://"), timeout=10)
    connection.putrequest("POST", "/v1/messages")
    connection.putheader("transfer-encoding", "chunked")
    connection.endheaders()  # no body: the server answers, and closes, without it
    assert connection.getresponse().status == 411
    connection.close()


def test_closed_within_a_stream_it_cuts_the_stream(api: FakeAnthropic, client: anthropic.Anthropic) -> None:
    api.answer(Answer("x", delta_delay_s=30))
    stream = client.messages.create(**ASKED, stream=True)
    assert [next(stream).type for _ in range(2)] == ["message_start", "content_block_start"]
    api.close()
    with pytest.raises(Exception, match=r"incomplete|closed"):  # of the HTTP library beneath
        next(stream)


def test_closed_it_is_gone_with_its_threads_and_started_again_on_the_same_port() -> None:
    api = FakeAnthropic(Answer("late", delay_s=30))
    with api:
        address = api.base_url
        caught: list[BaseException] = []

        def call() -> None:
            try:
                asked(address, "POST", "/v1/messages", ASKED)
            except (OSError, http.client.HTTPException) as fault:
                caught.append(fault)

        caller = threading.Thread(target=call)
        caller.start()
        api.wait_for()
    caller.join(5)
    assert len(caught) == 1  # cut off, not held for 30 s
    assert "fake-anthropic" not in {thread.name for thread in threading.enumerate()}
    with pytest.raises(OSError, match="refused"):
        asked(address, "GET", "/")
    with api:
        assert api.base_url == address
        assert asked(address, "GET", "/")[0] == 200


# --- the page ---


def test_the_test_on_the_page_passes() -> None:
    page = Path(__file__).parents[2] / "docs" / "how-to" / "test-your-agent-offline.md"
    (code,) = re.findall(r"^```py\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    names["test_the_agent_survives_an_overloaded_api"]()
