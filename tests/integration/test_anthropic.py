"""The real anthropic package over real sockets against the fake API, instrumented: everything once, nothing changed."""

from __future__ import annotations

import asyncio
import gc
import importlib
import inspect
import json
import logging
import re
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anthropic
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from claude_monitoring import AgentMonitor
from claude_monitoring import _sealed as sealed
from claude_monitoring.conformance import check
from claude_monitoring.integrations.anthropic import instrument, uninstrument
from claude_monitoring.receiver import OtlpReceiver
from claude_monitoring.testing import Captured, capture
from claude_monitoring.testing.fake_anthropic import (
    Answer,
    ApiError,
    Drop,
    FakeAnthropic,
    Raw,
    StreamFault,
    ToolUse,
    Usage,
)
from tests.integration.program import environment, run_file

pytestmark = pytest.mark.filterwarnings("ignore:The model .* is deprecated:DeprecationWarning")

VERSION = tuple(int(part) for part in anthropic.__version__.split(".")[:2])
MODEL = "claude-sonnet-4-5"
# peers.md 1c: the truth, and what it costs with the 1 h tier
USAGE = Usage(1200, 77, 4500, 100, 200)
TRUTH = {"input": 1200, "output": 77, "cacheRead": 4500, "cacheCreation": 300}
COST_USD = 0.00768
ASKED: Any = {"model": MODEL, "max_tokens": 100, "messages": [{"role": "user", "content": "Hi."}]}
TOOL_ANSWER = Answer(["Let me see. ", ToolUse("Read", {"file_path": "/a"})], usage=USAGE, request_id="req_1")


@pytest.fixture
def api() -> Iterator[FakeAnthropic]:
    with FakeAnthropic() as api:
        yield api


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Captured]:
    faults: list[BaseException] = []
    sealed.set_internal_error_hook(faults.append)
    monkeypatch.setattr(sealed, "_warned", set())
    with capture() as seen:
        instrument(seen.monitor)
        yield seen
        uninstrument()
    sealed.set_internal_error_hook(None)
    assert not faults, faults


@pytest.fixture
def client(api: FakeAnthropic) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=api.base_url, api_key="dummy", max_retries=2) as client:
        yield client


def run_async(api: FakeAnthropic, work: Callable[[anthropic.AsyncAnthropic], Any]) -> Any:
    async def main() -> Any:
        async with anthropic.AsyncAnthropic(base_url=api.base_url, api_key="dummy", max_retries=2) as client:
            return await work(client)

    return asyncio.run(main())


def tokens(seen: Captured) -> dict[str, float]:
    return {kind: seen.value("claude_code.token.usage", type=kind, model=MODEL) for kind in TRUTH}


def events(seen: Captured, name: str) -> list[dict[str, Any]]:
    return [dict(event.attributes) for event in seen.events if event.body == f"claude_code.{name}"]


def our_spans(seen: Captured) -> list[Any]:
    return [span for span in seen.spans if span.name == "claude_code.llm_request"]


def assert_counted_once(seen: Captured, calls: int = 1) -> None:
    assert tokens(seen) == {kind: amount * calls for kind, amount in TRUTH.items()}
    assert seen.value("claude_code.cost.usage") == pytest.approx(COST_USD * calls, abs=1e-9)
    assert seen.value("claude.api.calls") == calls
    assert len(events(seen, "api_request")) == calls
    assert len(our_spans(seen)) == calls


# Every way to ask; each reads its answer to the end.


def create(messages: Any) -> None:
    messages.create(**ASKED)


def create_stream(messages: Any) -> None:
    for _ in messages.create(**ASKED, stream=True):
        pass


def create_raw(messages: Any) -> None:
    raw = messages.with_raw_response.create(**ASKED)
    assert raw.parse().usage.output_tokens == 77
    assert raw.parse().usage.output_tokens == 77


def create_raw_stream(messages: Any) -> None:
    for _ in messages.with_raw_response.create(**ASKED, stream=True).parse():
        pass


def create_streaming_response(messages: Any) -> None:
    with messages.with_streaming_response.create(**ASKED) as response:
        assert response.parse().usage.output_tokens == 77


def create_streaming_lines(messages: Any) -> None:
    with messages.with_streaming_response.create(**ASKED, stream=True) as response:
        assert any("message_stop" in line for line in response.iter_lines())


def stream(messages: Any) -> None:
    with messages.stream(**ASKED) as stream:
        assert "".join(stream.text_stream) == "Let me see. "
        assert stream.get_final_message().usage.output_tokens == 77


WAYS = (
    create, create_stream, create_raw, create_raw_stream, create_streaming_response, create_streaming_lines, stream,
)  # fmt: skip


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_every_way_to_ask_is_counted_once_and_priced_by_cache_lifetime(
    way: Callable[[Any], None], api: FakeAnthropic, client: anthropic.Anthropic, seen: Captured
) -> None:
    api.answer(TOOL_ANSWER)
    way(client.messages)
    assert_counted_once(seen)
    (event,) = events(seen, "api_request")
    assert (event["request_id"], event["model"]) == ("req_1", MODEL)
    assert (int(event["cache_creation_5m_tokens"]), int(event["cache_creation_1h_tokens"])) == (100, 200)
    (answer,) = events(seen, "assistant_response")
    assert int(answer["response_length"]) == len("Let me see. ")
    (span,) = our_spans(seen)
    assert span.attributes["stop_reason"] == "tool_use"
    assert span.attributes["success"] is True


@pytest.mark.parametrize("way", [create, create_stream, create_raw, create_streaming_lines], ids=lambda w: w.__name__)
def test_beta_messages_are_counted_once(
    way: Callable[[Any], None], api: FakeAnthropic, client: anthropic.Anthropic, seen: Captured
) -> None:
    api.answer(TOOL_ANSWER)
    way(client.beta.messages)
    assert_counted_once(seen)


def test_the_async_client_is_counted_once_in_every_way(api: FakeAnthropic, seen: Captured) -> None:
    api.answer(TOOL_ANSWER, times=6)

    async def work(client: anthropic.AsyncAnthropic) -> None:
        await client.messages.create(**ASKED)
        await client.beta.messages.create(**ASKED)
        async for _ in await client.messages.create(**ASKED, stream=True):
            pass
        async with client.messages.stream(**ASKED) as stream:
            assert "".join([text async for text in stream.text_stream]) == "Let me see. "
        raw: Any = await client.messages.with_raw_response.create(**ASKED)
        message = raw.parse()
        assert (await message if inspect.isawaitable(message) else message).usage.output_tokens == 77
        async with client.messages.with_streaming_response.create(**ASKED) as response:
            assert (await response.parse()).usage.output_tokens == 77

    run_async(api, work)
    assert_counted_once(seen, 6)


def test_a_client_and_its_resources_made_before_are_instrumented_and_after_uninstrument_no_more(
    api: FakeAnthropic, client: anthropic.Anthropic
) -> None:
    messages = client.messages  # keeps the client's bound methods
    before = type(client).request
    with capture() as seen:
        instrument(seen.monitor)
        messages.create(**ASKED)
        uninstrument()
        messages.create(**ASKED)
        assert seen.value("claude.api.calls") == 1
        assert len(our_spans(seen)) == 1
    assert type(client).request is before
    uninstrument()  # without it: nothing


def test_instrument_twice_changes_the_monitor_and_counts_once(
    api: FakeAnthropic, client: anthropic.Anthropic, seen: Captured
) -> None:
    other = AgentMonitor("other")
    instrument(other)
    api.answer(TOOL_ANSWER)
    client.messages.create(**ASKED)
    assert_counted_once(seen)
    assert seen.value("claude.api.calls", agent="other") == 1
    other.close(5)


def test_without_a_monitor_the_active_one_records_at_each_call(
    api: FakeAnthropic, client: anthropic.Anthropic, seen: Captured
) -> None:
    instrument()
    with AgentMonitor("inner") as inner:
        client.messages.create(**ASKED)
        assert seen.value("claude.api.calls", agent="inner") == 1
    inner.close(5)


def test_a_wrapper_laid_over_ours_stays_and_works_after_uninstrument(
    api: FakeAnthropic, client: anthropic.Anthropic, seen: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner: Any = next(base for base in anthropic.Anthropic.__mro__ if "request" in vars(base))
    ours = owner.request

    def theirs(self: Any, *args: Any, **kwargs: Any) -> Any:
        return ours.__get__(self)(*args, **kwargs) if hasattr(ours, "__get__") else ours(self, *args, **kwargs)

    monkeypatch.setattr(owner, "request", theirs)
    uninstrument()
    client.messages.create(**ASKED)
    assert seen.value("claude.api.calls") == 0
    instrument(seen.monitor)
    api.answer(TOOL_ANSWER)
    client.messages.create(**ASKED)
    assert_counted_once(seen)


def test_a_subclass_and_a_proxy_of_the_client_are_counted_once(api: FakeAnthropic, seen: Captured) -> None:
    class Mine(anthropic.Anthropic):
        def request(self, *args: Any, **kwargs: Any) -> Any:
            return super().request(*args, **kwargs)

    class Proxy:
        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

    api.answer(TOOL_ANSWER, times=2)
    with Mine(base_url=api.base_url, api_key="dummy") as client:
        client.messages.create(**ASKED)
        Proxy(client).messages.create(**ASKED)
    assert_counted_once(seen, 2)


def test_results_and_exceptions_are_those_of_the_sdk(
    api: FakeAnthropic, client: anthropic.Anthropic, seen: Captured
) -> None:
    answer = client.messages.create(**ASKED)
    assert type(answer) is anthropic.types.Message
    with client.messages.create(**ASKED, stream=True) as stream:
        assert type(stream) is anthropic.Stream
        assert type(stream.response).__name__ == "Response"
    with client.messages.stream(**ASKED) as events_:
        assert type(events_) is anthropic.MessageStream
    api.answer(ApiError(404))
    with pytest.raises(anthropic.NotFoundError):
        client.messages.create(**ASKED)


def test_a_stream_is_not_read_ahead_and_its_first_token_is_timed(
    api: FakeAnthropic, client: anthropic.Anthropic, seen: Captured
) -> None:
    api.answer(Answer("x" * 16 * 6, delta_delay_s=0.1))
    begun = time.perf_counter()
    stream = client.messages.create(**ASKED, stream=True)
    next(iter(stream))
    assert time.perf_counter() - begun < 0.5
    assert seen.value("claude.api.calls") == 0
    for _ in stream:
        pass
    (event,) = events(seen, "api_request")
    assert 0 < int(event["ttft_ms"]) < int(event["duration_ms"]) - 300


def test_a_stream_that_the_caller_leaves_early_counts_what_is_known_so_far(
    api: FakeAnthropic, client: anthropic.Anthropic, seen: Captured
) -> None:
    api.answer(Answer("x" * 160, usage=USAGE, delta_delay_s=0.05))
    with client.messages.stream(**ASKED) as stream:
        for event in stream:
            if event.type == "content_block_delta":
                break
    assert tokens(seen) == {**TRUTH, "output": 1}
    assert seen.value("claude.api.calls") == 1


def test_a_stream_that_is_dropped_is_counted_when_it_is_collected(
    api: FakeAnthropic, client: anthropic.Anthropic, seen: Captured
) -> None:
    api.answer(Answer("x" * 160, usage=USAGE, delta_delay_s=0.05))
    stream = client.messages.create(**ASKED, stream=True)
    next(iter(stream))
    del stream
    gc.collect()
    assert tokens(seen) == {**TRUTH, "output": 1}
    assert seen.value("claude.api.calls") == 1


def test_a_stream_that_nobody_reads_ends_its_span_and_counts_nothing(
    api: FakeAnthropic, client: anthropic.Anthropic, seen: Captured
) -> None:
    client.messages.create(**ASKED, stream=True)
    with client.messages.with_streaming_response.create(**ASKED):
        pass
    gc.collect()
    assert len(our_spans(seen)) == 2
    assert seen.value("claude.api.calls") == 0


def test_a_call_that_is_cancelled_ends_its_span_and_is_no_error(api: FakeAnthropic, seen: Captured) -> None:
    api.answer(Answer("Late.", delay_s=5))

    async def work(client: anthropic.AsyncAnthropic) -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(client.messages.create(**ASKED), 0.2)

    run_async(api, work)
    assert len(our_spans(seen)) == 1
    assert not events(seen, "api_error")
    assert seen.value("claude.api.calls") == 0


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_transport_of_the_hosts_own_is_counted_once(
    way: Callable[[Any], None], api: FakeAnthropic, seen: Captured
) -> None:
    base = next(kind for kind in anthropic.DefaultHttpxClient.__mro__ if "send" in vars(kind))
    transport = importlib.import_module(base.__module__.partition(".")[0]).HTTPTransport()

    class Own(anthropic.DefaultHttpxClient):
        def send(self, request: Any, *, stream: bool = False, **more: Any) -> Any:
            response = transport.handle_request(request)
            response.request = request
            if not stream:
                response.read()
            return response

    api.answer(TOOL_ANSWER)
    with transport, Own() as own, anthropic.Anthropic(base_url=api.base_url, api_key="d", http_client=own) as client:
        way(client.messages)
    assert tokens(seen) == TRUTH
    assert len(events(seen, "api_request")) == len(our_spans(seen)) == 1


def test_what_the_hosts_transport_asks_besides_is_no_attempt(api: FakeAnthropic, seen: Captured) -> None:
    class Asking(anthropic.DefaultHttpxClient):
        def send(self, request: Any, **more: Any) -> Any:
            assert super().send(self.build_request("GET", f"{api.base_url}/v1/models")).status_code == 200
            return super().send(request, **more)

    api.answer(TOOL_ANSWER)
    with Asking() as own, anthropic.Anthropic(base_url=api.base_url, api_key="dummy", http_client=own) as client:
        create(client.messages)
    assert_counted_once(seen)
    assert [span.attributes["attempt"] for span in our_spans(seen)] == [1]


def test_an_async_stream_left_early_or_cancelled_is_counted_once(api: FakeAnthropic, seen: Captured) -> None:
    api.answer(Answer("x" * 160, usage=USAGE, delta_delay_s=0.2), times=2)

    async def work(client: anthropic.AsyncAnthropic) -> None:
        async with client.messages.stream(**ASKED) as stream:
            async for event in stream:
                if event.type == "content_block_delta":
                    break

        async def read() -> None:
            async for _ in await client.messages.create(**ASKED, stream=True):
                pass

        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(read(), 0.5)

    run_async(api, work)
    assert tokens(seen)["input"] == 2400
    assert tokens(seen)["output"] == 2
    assert seen.value("claude.api.calls") == 2
    assert not events(seen, "api_error")


@pytest.mark.parametrize("error", [None, ApiError(529)], ids=["connection", "error event"])
def test_a_stream_that_breaks_counts_its_tokens_once_and_is_an_error(
    error: ApiError | None, api: FakeAnthropic, client: anthropic.Anthropic, seen: Captured
) -> None:
    api.answer(Answer("x" * 160, usage=USAGE, fault=StreamFault(5, error)))
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the transport's own
        for _ in client.messages.create(**ASKED, stream=True):
            pass
    assert "claude_monitoring" not in type(caught.value).__module__
    assert tokens(seen) == {**TRUTH, "output": 1}
    assert seen.value("claude_code.cost.usage") > 0
    assert seen.value("claude.api.calls") == 1
    assert not events(seen, "api_request")
    (event,) = events(seen, "api_error")
    assert event.get("status_code") in ((None, "undefined") if error is None else (529, "529"))
    (span,) = our_spans(seen)
    assert span.attributes["error_class"] == ("connection_error" if error is None else "server_overload")


def test_attempts_are_counted_and_the_answer_of_the_last_one(
    api: FakeAnthropic, client: anthropic.Anthropic, seen: Captured
) -> None:
    api.answer(ApiError(529, retry_after_s=0.01), Drop(), TOOL_ANSWER)
    client.messages.create(**ASKED)
    assert_counted_once(seen)
    (span,) = our_spans(seen)
    assert span.attributes["attempt"] == 3
    assert [event.attributes["attempt"] for event in span.events if event.name == "gen_ai.request.attempt"] == [1, 2, 3]
    assert span.attributes["request_id"] == "req_1"


def test_an_error_has_its_status_request_id_and_attempts(api: FakeAnthropic, seen: Captured) -> None:
    api.answer(ApiError(529, retry_after_s=0.01), times=2)

    async def work(client: anthropic.AsyncAnthropic) -> str:
        with pytest.raises(anthropic.APIStatusError) as caught:
            await client.with_options(max_retries=1).messages.create(**ASKED)
        return str(caught.value.response.headers["request-id"])

    request_id = run_async(api, work)
    (event,) = events(seen, "api_error")
    assert (int(event["status_code"]), int(event["attempt"]), event["request_id"]) == (529, 2, request_id)
    assert len(events(seen, "api_retries_exhausted")) == 1
    assert seen.value("claude_code.token.usage") == 0


def test_a_refusal_is_told_and_counted(api: FakeAnthropic, client: anthropic.Anthropic, seen: Captured) -> None:
    api.answer(Answer("No.", usage=USAGE, stop_reason="refusal"))
    client.messages.create(**ASKED)
    assert_counted_once(seen)
    assert len(events(seen, "api_refusal")) == 1


def test_tools_that_the_model_asks_for_are_not_yet_tool_calls(
    api: FakeAnthropic, client: anthropic.Anthropic, seen: Captured
) -> None:
    api.answer(TOOL_ANSWER)
    client.messages.create(**ASKED)
    assert seen.value("claude.tool.calls") == 0
    assert not events(seen, "tool_result")


ODD: list[Any] = [
    None,
    {},
    {"input_tokens": -5, "output_tokens": 1e300, "cache_creation": "much"},
    {"input_tokens": "many", "output_tokens": None, "cache_read_input_tokens": True},
    {"input_tokens": 10**30, "output_tokens": float("nan")},
]


@pytest.mark.parametrize("usage", ODD, ids=["none", "empty", "negative", "types", "absurd"])
@pytest.mark.parametrize("way", [create, create_streaming_lines], ids=lambda way: way.__name__)
def test_odd_usage_counts_as_nothing_and_disturbs_nobody(
    way: Callable[[Any], None], usage: Any, api: FakeAnthropic, client: anthropic.Anthropic, seen: Captured
) -> None:
    instrument(AgentMonitor("strict", strict=True))
    api.answer(Answer("Hello.", usage=usage))
    with suppress(anthropic.APIError, ValueError, TypeError):  # what the SDK itself makes of it
        way(client.messages)
    assert seen.value("claude_code.token.usage") in (0, 1)  # 1 is what the fake API's message_start says
    assert seen.value("claude.api.calls") == 1


def test_unknown_blocks_and_a_body_that_is_no_message_disturb_nobody(
    api: FakeAnthropic, client: anthropic.Anthropic, seen: Captured
) -> None:
    api.answer(Answer([{"type": "hologram", "text": 7}, "Hello."], usage=USAGE), Raw("[1, 2]"), Raw("{broken"))
    client.messages.create(**ASKED)
    assert_counted_once(seen)
    for _ in range(2):
        with suppress(Exception):
            client.messages.create(**ASKED)
    assert tokens(seen) == TRUTH


def test_a_part_that_the_sdk_lacks_is_one_line_and_the_rest_is_instrumented(
    api: FakeAnthropic, client: anthropic.Anthropic, seen: Captured, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    uninstrument()
    monkeypatch.delattr(anthropic, "AsyncAnthropic")
    with caplog.at_level(logging.WARNING):
        instrument(seen.monitor)
    assert [record.message for record in caplog.records if "AsyncAnthropic.request" in record.message]
    assert len(caplog.records) == 1
    api.answer(TOOL_ANSWER)
    client.messages.create(**ASKED)
    assert_counted_once(seen)


def test_batch_results_cost_half_and_count_once_however_often_they_are_read(
    api: FakeAnthropic, client: anthropic.Anthropic, seen: Captured
) -> None:
    messages: Any = client.messages if hasattr(client.messages, "batches") else client.beta.messages
    api.answer(TOOL_ANSWER, ApiError(500), TOOL_ANSWER)
    batch = messages.batches.create(requests=[{"custom_id": str(n), "params": ASKED} for n in range(3)])
    assert seen.value("claude.api.calls") == 0
    for _ in range(2):
        messages.batches.retrieve(batch.id)
        assert len(list(messages.batches.results(batch.id))) == 3
    assert tokens(seen) == {kind: 2 * amount for kind, amount in TRUTH.items()}
    assert seen.value("claude_code.cost.usage") == pytest.approx(COST_USD, abs=1e-9)  # two at half the price
    assert not our_spans(seen)


def test_tokens_go_to_the_task_that_asked_though_another_thread_reads(
    api: FakeAnthropic, client: anthropic.Anthropic, seen: Captured
) -> None:
    api.answer(TOOL_ANSWER)
    with seen.monitor.track_task("work") as task:
        stream = client.messages.create(**ASKED, stream=True)
        thread = threading.Thread(target=lambda: list(stream))
        thread.start()
        thread.join()
        assert task.output_tokens == 77


def test_many_calls_at_once_are_counted_exactly(
    api: FakeAnthropic, client: anthropic.Anthropic, seen: Captured
) -> None:
    api.answer(TOOL_ANSWER, times=64)

    def work() -> None:
        for way in (create, create_stream, stream, create_streaming_response):
            way(client.messages)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    async def ask(client: anthropic.AsyncAnthropic) -> None:
        async def streamed() -> None:
            async with client.messages.stream(**ASKED) as stream:
                await stream.until_done()

        await asyncio.gather(*(client.messages.create(**ASKED) for _ in range(16)), *(streamed() for _ in range(16)))

    run_async(api, ask)
    assert_counted_once(seen, 64)


def test_a_failed_call_is_not_kept_alive(api: FakeAnthropic, client: anthropic.Anthropic, seen: Captured) -> None:
    api.answer(ApiError(400))
    gc.collect()
    gc.disable()
    try:
        try:
            client.messages.create(**ASKED)
        except anthropic.BadRequestError as exc:
            kept = weakref.ref(exc)
        assert kept() is None
    finally:
        gc.enable()


def test_usage_that_comes_at_the_end_alone_after_a_long_line_is_counted(
    api: FakeAnthropic, client: anthropic.Anthropic, seen: Captured
) -> None:
    usage = {"input_tokens": 0, "output_tokens": 0}
    start = {"id": "m", "type": "message", "role": "assistant", "model": MODEL, "content": [], "usage": usage}
    lines: list[dict[str, Any]] = [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "ä" * 300_000}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"input_tokens": 1200, "output_tokens": 77},
        },
        {"type": "message_stop"},
    ]
    body = "".join(f"event: {line['type']}\r\ndata: {json.dumps(line)}\r\n\r\n" for line in lines)
    api.answer(Raw(body, content_type="text/event-stream; charset=utf-8"))
    create_stream(client.messages)
    assert tokens(seen) == {"input": 1200, "output": 77, "cacheRead": 0, "cacheCreation": 0}
    assert len(events(seen, "assistant_response")) == 1


@pytest.mark.skipif(VERSION < (2, 0), reason="anthropic before 2 has no middleware")
def test_middleware_of_the_host_is_within_the_call(api: FakeAnthropic, seen: Captured) -> None:
    def middleware(request: Any, call_next: Any) -> Any:
        response = call_next(request)
        if not request.stream:
            response.http_response.read()
        return response

    options: Any = {"middleware": [middleware]}
    api.answer(ApiError(529, retry_after_s=0.01))
    api.answer(TOOL_ANSWER, times=4)
    with anthropic.Anthropic(base_url=api.base_url, api_key="dummy", **options) as client:
        for way in (create, create_raw, create_stream, stream):
            way(client.messages)
    assert_counted_once(seen, 4)
    assert [span.attributes["attempt"] for span in our_spans(seen)] == [2, 1, 1, 1]


@pytest.mark.skipif(VERSION < (2, 0), reason="anthropic before 2 has no middleware")
def test_an_answer_that_middleware_throws_away_is_an_attempt_and_not_the_answer(
    api: FakeAnthropic, seen: Captured
) -> None:
    attempts = []

    def middleware(request: Any, call_next: Any) -> Any:
        response = call_next(request)
        attempts.append(response)
        if len(attempts) == 1:
            response.http_response.read()
            raise anthropic.APIConnectionError(request=response.http_response.request)
        return response

    options: Any = {"middleware": [middleware]}
    api.answer(Answer("Lost.", usage=Usage(1, 2, 3, 4, 5)), TOOL_ANSWER)
    with anthropic.Anthropic(base_url=api.base_url, api_key="dummy", **options) as client:
        create_stream(client.messages)
    assert len(attempts) == 2
    assert_counted_once(seen)


def test_cache_writes_by_lifetime_without_their_sum_are_counted(
    api: FakeAnthropic, client: anthropic.Anthropic, seen: Captured
) -> None:
    api.answer(Answer("Hello.", usage=Usage(1200, 77, 4500, 100, 200, more={"cache_creation_input_tokens": 0})))
    create(client.messages)
    assert_counted_once(seen)


def test_nothing_of_ours_is_current_while_the_caller_reads_a_stream(
    api: FakeAnthropic, client: anthropic.Anthropic, seen: Captured
) -> None:
    from opentelemetry.trace import get_current_span

    outside = get_current_span()
    for _ in client.messages.create(**ASKED, stream=True):
        assert get_current_span() is outside


@pytest.mark.skipif(VERSION < (2, 0), reason="anthropic before 2 does not trace itself")
@pytest.mark.parametrize("way", [create, stream], ids=lambda way: way.__name__)
def test_the_sdks_own_span_is_a_child_of_ours_and_tokens_count_once(
    way: Callable[[Any], None], api: FakeAnthropic, seen: Captured
) -> None:
    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    api.answer(TOOL_ANSWER)
    options: Any = {"open_telemetry": {"tracer_provider": provider}}
    with anthropic.Anthropic(base_url=api.base_url, api_key="dummy", **options) as client:
        way(client.messages)
    (ours,) = our_spans(seen)
    (theirs,) = kept.get_finished_spans()
    assert theirs.parent is not None
    assert theirs.parent.span_id == ours.context.span_id
    assert_counted_once(seen)


def test_while_telemetry_is_off_nothing_happens(api: FakeAnthropic, client: anthropic.Anthropic) -> None:
    with AgentMonitor("off", enabled=False) as monitor:
        instrument(monitor)
        client.messages.create(**ASKED)
        uninstrument()


def test_what_it_reports_departs_in_nothing_from_claude_codes_conventions(
    api: FakeAnthropic, client: anthropic.Anthropic
) -> None:
    api.answer("hi", [ToolUse("Read", {"path": "a"})], ApiError(529), "ok", ApiError(400))
    with OtlpReceiver(grpc=False) as receiver:
        with AgentMonitor("worker", export_to_grafana=True, endpoint=receiver.http_endpoint) as monitor:
            instrument(monitor)
            try:
                with monitor.interaction("go"):
                    client.messages.create(**ASKED)
                    with client.messages.stream(**ASKED) as stream:
                        stream.until_done()
                    client.messages.create(**ASKED)
                    with pytest.raises(anthropic.BadRequestError):
                        client.messages.create(**ASKED)
            finally:
                uninstrument()
        assert check(receiver.requests) == []
        names = [log.event_name for log in receiver.logs if log.event_name.startswith("api_")]
        assert names == ["api_request", "api_request", "api_request", "api_error"]


@pytest.mark.any_python
def test_the_program_on_the_page_prints_what_it_shows(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "instrument-anthropic.md").read_text(encoding="utf-8")
    (shown,) = re.finditer(r"^```py\n(.*?)^```\n\n```text\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "program.py").write_text(shown[1], encoding="utf-8")
    done = run_file(tmp_path / "program.py", environment())
    assert (done.returncode, done.stdout, done.stderr) == (0, shown[2], "")
