"""What an agent did: tokens, cost, lines, commits, tools, errors; Claude Code's metrics and ours are both fed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Literal

from claude_monitoring._context import tasks_here
from claude_monitoring._labels import as_text
from claude_monitoring._languages import file_type_of, language_of
from claude_monitoring._pricing import PriceTable, PriceTableError, Tokens, cost_usd
from claude_monitoring._recorder import Recorder, number, write
from claude_monitoring._sealed import warn_once
from claude_monitoring.errors import CardinalityError

__all__ = ["UsageRecorder"]

_UNKNOWN = "unknown"


def _path(given: object) -> str:
    """A path as text, nothing for none; whatever the host's own path raises, there is one."""
    try:
        return os.fsdecode(given)  # type: ignore[arg-type]
    except Exception:  # noqa: BLE001 - no path, or the host's own __fspath__
        return as_text(given)


class UsageRecorder(Recorder):
    """The ``record_*`` methods of a monitor."""

    _prices: PriceTable | None
    _query_source: str
    _reports_native = True
    """Whether Claude Code's own metrics, events and spans are fed; not where a Claude Code reports them itself."""

    def _add(self, spec_name: str, amount: float, **labels: object) -> None:
        """Record a checked amount in a metric of the catalogue; label keys are written with ``__`` for a dot."""
        instrument = self._registry.of(spec_name)
        if not self._reports_native and instrument.spec.base == "native":
            return
        given = {key.replace("__", "."): value for key, value in labels.items()}
        write(self._series_of(instrument, instrument.labels(given, strict=self._strict)), amount)

    def _checked(self, what: str, **amounts: Any) -> dict[str, float] | None:
        """The amounts as plain numbers that are not negative, or ``None`` after a refusal or while off."""
        try:
            if not self._live():
                return None
            checked = {}
            for name, value in amounts.items():
                checked[name] = number(value)
                if checked[name] < 0:
                    raise ValueError(f"{name} takes no negative amount, got {value}")
        except (TypeError, ValueError) as exc:
            self._refuse(what, exc)
            return None
        except Exception as exc:  # noqa: BLE001 - our own fault is never the host's
            self._internal(exc)
            return None
        return checked

    def record_usage(  # noqa: PLR0913 - all but the first five by keyword, each described below
        self,
        model: str,
        input_tokens: float = 0,
        output_tokens: float = 0,
        cache_read_tokens: float = 0,
        cache_creation_tokens: float = 0,
        *,
        cache_creation_1h_tokens: float = 0,
        cost_usd: float | None = None,
        duration_s: float | None = None,
        query_source: str | None = None,
        speed: str | None = None,
        effort: str | None = None,
    ) -> float | None:
        """Record one answer of a model: tokens by type, their cost, and one API call.

        Args:
            model: The model's id, as the API's answer gives it.
            input_tokens: Tokens sent, those read from or written to the cache left out (Claude Code's rule).
            output_tokens: Tokens received.
            cache_read_tokens: Tokens read from the prompt cache.
            cache_creation_tokens: Tokens written to it, in all.
            cache_creation_1h_tokens: Those of them that live for an hour, which cost more.
            cost_usd: The cost in US dollars if you know it; else it is the list price from ``genai-prices``, or from
                ``AgentMonitor(prices=...)``. A model that neither knows has tokens, no cost, and one warning.
            duration_s: Seconds that the answer took.
            query_source: ``main``, ``subagent`` or ``auxiliary``; the monitor's own if left out.
            speed: ``fast`` where the API's fast mode was used.
            effort: ``low`` to ``max``, where the model has such levels.

        Returns:
            What it cost in US dollars; ``None`` if nobody knows, or nothing was recorded.
        """
        amounts = self._checked(
            "record_usage",
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            cache_read_tokens=cache_read_tokens,
            cache_creation_tokens=cache_creation_tokens,
            cache_creation_1h_tokens=cache_creation_1h_tokens,
            cost_usd=0 if cost_usd is None else cost_usd,
            duration_s=0 if duration_s is None else duration_s,
        )
        if amounts is None:
            return None
        tokens = Tokens(*list(amounts.values())[:5])
        model = as_text(model) or _UNKNOWN
        usd = amounts["cost_usd"] if cost_usd is not None else self._price(model, tokens)

        def work() -> None:
            about = {"model": model, "query_source": as_text(query_source) or self._query_source}
            about |= {"speed": "fast"} if speed == "fast" else {}
            about |= {"effort": effort} if effort else {}
            self._tokens(model, tokens, about)
            if usd is not None:
                self._cost(usd, model, about)
            if duration_s is not None:
                self._add("claude.response_time", amounts["duration_s"], model=model)

        self._guarded(work)
        return usd

    def _tokens(self, model: str, tokens: Tokens, about: Mapping[str, object]) -> None:
        by_type = (
            ("input", tokens.input),
            ("output", tokens.output),
            ("cacheRead", tokens.cache_read),
            ("cacheCreation", tokens.cache_creation),
        )
        for kind, amount in by_type:
            self._add("claude_code.token.usage", amount, type=kind, **about)
        self._add("claude.tokens.input", tokens.input, model=model)
        self._add("claude.tokens.output", tokens.output, model=model)
        self._add("claude.api.calls", 1, model=model)
        for task in tasks_here():
            task.add_up(input_tokens=tokens.input, output_tokens=tokens.output)

    def _price(self, model: str, tokens: Tokens) -> float | None:
        try:
            usd = cost_usd(model, tokens, self._prices)
        except PriceTableError as exc:
            self._refuse("prices", exc)
            return None
        except Exception as exc:  # noqa: BLE001 - a price is never worth the tokens
            self._internal(exc)
            return None
        if usd is None:
            warn_once(
                ("price", model),
                f"claude_monitoring: no price is known for model {str(model)[:80]!r}: its tokens are recorded, its "
                "cost is not. Give one with AgentMonitor(prices={model: {'input': usd_per_million, 'output': ...}})",
            )
        return usd

    def _cost(self, usd: float, model: str, about: Mapping[str, object]) -> None:
        self._add("claude_code.cost.usage", usd, **about)
        self._add("claude.api.cost_usd", usd, model=model)
        for task in tasks_here():
            task.add_up(cost_usd=usd)

    def record_cost(self, usd: float, model: str | None = None, *, query_source: str | None = None) -> None:
        """Record ``usd`` US dollars spent, where ``record_usage`` does not already do it."""
        amounts = self._checked("record_cost", usd=usd)
        if amounts is not None:
            name = as_text(model) or _UNKNOWN
            about = {"model": name, "query_source": as_text(query_source) or self._query_source}
            self._guarded(lambda: self._cost(amounts["usd"], name, about))

    def _guarded(self, work: Any) -> None:
        try:
            work()
        except CardinalityError:
            raise  # asked for, by strict or the policy
        except Exception as exc:  # noqa: BLE001 - our own fault is never the host's
            self._internal(exc)

    def record_lines(
        self,
        added: float = 0,
        removed: float = 0,
        *,
        file_path: str | os.PathLike[str] | None = None,
        file_type: str | None = None,
        model: str | None = None,
    ) -> None:
        """Record lines of code added and removed.

        Args:
            added: Lines added.
            removed: Lines removed.
            file_path: The file, if it is one: it counts as modified and gives the ``file_type``. The path itself
                never leaves the process.
            file_type: The language, such as ``python``.
            model: The model that made the change.
        """
        amounts = self._checked("record_lines", added=added, removed=removed)
        if amounts is None:
            return

        def work() -> None:
            path = _path(file_path)
            kind = as_text(file_type) or (file_type_of(path) if path else _UNKNOWN)
            for sign, metric in (("added", "claude.lines_added"), ("removed", "claude.lines_deleted")):
                self._add("claude_code.lines_of_code.count", amounts[sign], type=sign, model=as_text(model) or _UNKNOWN)
                self._add(metric, amounts[sign], file_type=kind)
            if path:
                self._add("claude.files_modified", 1)

        self._guarded(work)

    def record_commit(self, count: int = 1) -> None:
        """Record git commits made."""
        self._count("claude_code.commit.count", "record_commit", count)

    def record_pull_request(self, count: int = 1) -> None:
        """Record pull requests made."""
        self._count("claude_code.pull_request.count", "record_pull_request", count)

    def _count(self, spec_name: str, what: str, count: float, **labels: object) -> None:
        amounts = self._checked(what, count=count)
        if amounts is not None:
            self._guarded(lambda: self._add(spec_name, amounts["count"], **labels))

    def record_edit_decision(
        self,
        decision: Literal["accept", "reject"],
        *,
        tool_name: str = "Edit",
        source: str = "config",
        language: str | None = None,
        file_path: str | os.PathLike[str] | None = None,
    ) -> None:
        """Record that an edit was accepted or rejected.

        Args:
            decision: ``accept`` or ``reject``.
            tool_name: ``Edit``, ``Write`` or ``NotebookEdit``.
            source: Who decided: ``config``, ``hook``, ``user_permanent``, ``user_temporary``, ``user_reject``,
                ``user_abort``.
            language: The file's language, such as ``Python``; from ``file_path`` if left out.
            file_path: The file; it never leaves the process.
        """
        made = as_text(decision)
        if made not in {"accept", "reject"}:
            self._refuse("record_edit_decision", ValueError(f"a decision is 'accept' or 'reject', got {made!r}"))
            return
        path = _path(file_path)
        self._count(
            "claude_code.code_edit_tool.decision",
            "record_edit_decision",
            1,
            decision=made,
            source=source,
            tool_name=tool_name,
            language=as_text(language) or (language_of(path) if path else _UNKNOWN),
        )

    def record_active_time(self, seconds: float, *, type: Literal["cli", "user"] = "cli") -> None:  # noqa: A002
        """Record ``seconds`` of activity: of the agent (``cli``) or of the person at the keyboard (``user``)."""
        self._count("claude_code.active_time.total", "record_active_time", seconds, type=type)

    def record_tool_call(self, tool: str, *, status: str = "ok", count: int = 1) -> None:
        """Record ``count`` calls of ``tool`` that ended with ``status`` (``ok`` or ``error``)."""
        amounts = self._checked("record_tool_call", count=count)
        if amounts is None:
            return

        def work() -> None:
            self._add("claude.tool.calls", amounts["count"], tool=tool, status=status)
            for task in tasks_here():
                task.add_up(tool_calls=int(amounts["count"]))

        self._guarded(work)

    def record_error(self, error: BaseException | str) -> None:
        """Record an error by its type. An exception that a task has counted already is not counted twice."""
        if self._checked("record_error") is not None:
            self._guarded(lambda: self._count_error(error))

    def _count_error(self, error: BaseException | str | None) -> None:
        if isinstance(error, BaseException):
            with suppress(Exception):  # a read-only exception may count once for each task around it
                if getattr(error, "_claude_monitoring_counted", False):
                    return
                error._claude_monitoring_counted = True  # type: ignore[attr-defined]
        kind = type(error).__name__ if isinstance(error, BaseException) else as_text(error) or _UNKNOWN
        self._add("claude.errors", 1, error_type=kind)
