"""The paths of the API other than the one that makes messages: counts, models, batches."""

from __future__ import annotations

import json
import threading
from datetime import datetime, timedelta, timezone
from typing import Any

from claude_monitoring.testing._answers import Answer, ApiError, Raw, Usage, error_json, message_json
from claude_monitoring.testing._script import MESSAGES, Request, Script

__all__ = ["MESSAGE_NEEDS", "Routes", "missing"]

MESSAGE_NEEDS = ("model", "max_tokens", "messages")
_COUNT_NEEDS = ("model", "messages")
_COUNTED = {"input_tokens": 6000}  # as many as Usage() has, those of the cache included
_MODELS = ("claude-opus-4-5", "claude-sonnet-4-5", "claude-haiku-4-5")
_BATCHES = f"{MESSAGES}/batches"
_LIFE = timedelta(days=1)


def missing(request: Request, needed: tuple[str, ...]) -> ApiError | None:
    """What the API says of a request whose body lacks one of ``needed``."""
    if not isinstance(request.body, dict):
        return ApiError(400, message="The request body is not valid JSON.")
    absent = next((name for name in needed if name not in request.body), None)
    return ApiError(400, message=f"{absent}: Field required") if absent else None


class Routes:
    """Answers by path; a batch is worked on at once, and has ended when it is first asked for."""

    def __init__(self, script: Script) -> None:
        self.base_url = ""
        self._script = script
        self._lock = threading.Lock()
        self._batches: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {}

    def reply(self, request: Request) -> Raw | ApiError:
        """The answer to a request of any path but that of messages."""
        method, path = request.method, request.path.rstrip("/")
        if not path:
            return Raw({}, headers={"Allow": "GET, HEAD, OPTIONS"})
        if path == f"{MESSAGES}/count_tokens" and method == "POST":
            return missing(request, _COUNT_NEEDS) or Raw(_COUNTED)
        if path.startswith("/v1/models") and method in ("GET", "HEAD"):
            return _models(path.removeprefix("/v1/models").strip("/"))
        if path == _BATCHES and method == "POST":
            return self._create(request)
        if path.startswith(f"{_BATCHES}/") and method == "GET":
            return self._retrieve(*path.removeprefix(f"{_BATCHES}/").split("/"))
        known = path in (MESSAGES, f"{MESSAGES}/count_tokens", _BATCHES)
        return ApiError(405, headers={"Allow": "POST"}) if known else ApiError(404)

    def _create(self, request: Request) -> Raw | ApiError:
        asked = request.body.get("requests") if isinstance(request.body, dict) else None
        if not isinstance(asked, list) or not asked or not all(isinstance(one, dict) for one in asked):
            return ApiError(400, message="requests: Field required")
        results = [
            {"custom_id": one.get("custom_id"), "result": self._result(request, one.get("params"))} for one in asked
        ]
        now = datetime.now(timezone.utc)
        batch = {
            "id": f"msgbatch_fake_{self._script.number():04}",
            "type": "message_batch",
            "processing_status": "in_progress",
            "request_counts": _counts(["processing"] * len(results)),
            "created_at": now.isoformat(),
            "expires_at": (now + _LIFE).isoformat(),
            **dict.fromkeys(("ended_at", "archived_at", "cancel_initiated_at", "results_url")),
        }
        ended = {
            **batch,
            "processing_status": "ended",
            "request_counts": _counts([result["result"]["type"] for result in results]),
            "ended_at": now.isoformat(),
            "results_url": f"{self.base_url}{_BATCHES}/{batch['id']}/results",
        }
        with self._lock:
            self._batches[str(batch["id"])] = ended, results
        return Raw(batch)

    def _retrieve(self, identifier: str, what: str = "", *rest: str) -> Raw | ApiError:
        with self._lock:
            found = self._batches.get(identifier)
        if found is None or rest or what not in ("", "results"):
            return ApiError(404)
        batch, results = found
        if not what:
            return Raw(batch)
        lines = "".join(f"{json.dumps(result)}\n" for result in results)
        return Raw(lines, content_type="application/x-jsonl")

    def _result(self, request: Request, params: Any) -> dict[str, Any]:
        one = Request("POST", MESSAGES, "", request.headers, params, request.at_unix_s)
        number = self._script.number()
        reply = missing(one, MESSAGE_NEEDS) or self._script.next(one)
        if isinstance(reply, ApiError):
            return {"type": "errored", "error": error_json(reply, f"req_fake_{number:04}")}
        if not isinstance(reply, Answer):
            return {"type": "expired"}
        message = message_json(reply, one.model, number)
        if isinstance(reply.usage, Usage):
            message["usage"]["service_tier"] = "batch"
        return {"type": "succeeded", "message": message}


def _counts(kinds: list[str]) -> dict[str, int]:
    return {kind: kinds.count(kind) for kind in ("processing", "succeeded", "errored", "canceled", "expired")}


def _models(identifier: str) -> Raw:
    wanted = (identifier,) if identifier else _MODELS
    models = [
        {
            "type": "model",
            "id": one,
            "display_name": one,
            "created_at": "2025-09-29T00:00:00Z",
            "lifecycle": "active",
        }
        for one in wanted
    ]
    if identifier:
        return Raw(models[0])
    return Raw({"data": models, "has_more": False, "first_id": wanted[0], "last_id": wanted[-1]})
