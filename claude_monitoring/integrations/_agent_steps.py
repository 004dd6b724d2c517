"""The steps of a session in the order in which they are told, and which request a word of the program belongs to."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator
from contextvars import Context, copy_context

from claude_monitoring.integrations._agent_items import Actor, Item, Request, ToolCall, TurnEnd

__all__ = ["Prompts", "Steps"]

_MOST_PROMPTS = 1024
_MOST_KNOWN = 4096  # requests by their id: the host may take messages long after they were told


class Prompts:
    """What the host sent, and what was current there, until the program says that a turn begins with it."""

    def __init__(self) -> None:
        self._sent: deque[tuple[object, Context]] = deque(maxlen=_MOST_PROMPTS)

    def sent(self, prompt: object) -> None:
        """The host is about to send it."""
        self._sent.append((prompt, copy_context()))

    def context_of(self, prompt: str) -> Context | None:
        """Where it was sent. Of its own commands (``/compact``) the program says nothing: they are passed over."""
        texts = [text for text, _ in self._sent]
        others = [not (isinstance(text, str) and text.startswith("/")) for text in texts]
        index = texts.index(prompt) if prompt in texts else (others.index(True) if True in others else len(texts))
        for _ in range(index):
            self._sent.popleft()
        return self._sent.popleft()[1] if self._sent else None


class Steps:
    """What is not told yet, and the calls of tools that are under way.

    A request is heard of by the hook of a tool that it asked for, by a message, or by the transcript, whichever comes
    first; by its id or its tools they are known for the same.
    """

    def __init__(self) -> None:
        self.queue: deque[Item] = deque()
        self.calls: dict[str, ToolCall] = {}
        self._requests: dict[str, Request] = {}

    def turn_end(self) -> TurnEnd | None:
        """The end of the first turn that is not told yet, once it came."""
        return next((item for item in self.queue if isinstance(item, TurnEnd)), None)

    def came(self, item: Item) -> None:
        """Put in what happened in a turn whose end may be known already."""
        end = self.turn_end()
        self.queue.insert(len(self.queue) if end is None else self.queue.index(end), item)

    def known(self) -> Iterator[Item]:
        """Take the steps from the front of which all is known."""
        while self.queue and (self.queue[0].is_void or self.queue[0].is_ready()):
            item = self.queue.popleft()
            if not item.is_void:
                yield item

    def pending(self, actor: Actor) -> list[Request]:
        """Requests of this agent in its turn that are not told yet."""
        return [one for one in self.queue if isinstance(one, Request) and one.actor is actor and not one.is_void]

    def asked(self, actor: Actor, at: int) -> Request:
        """A request of which nothing was heard before."""
        request = Request(actor, at, began_unix_nano=actor.last_unix_nano)
        self.queue.append(request)
        return request

    def request_of(self, actor: Actor, at: int, message_id: str, tool_ids: Collection[str]) -> Request:
        """The request that a message belongs to; the same one however it was heard of first."""
        found = [self._requests[message_id]] if message_id in self._requests else []
        pending = self.pending(actor)
        found += [one for one in pending if one not in found and one.tool_ids & set(tool_ids)]
        if not found and not tool_ids:
            found = [one for one in pending if not one.message_id and not one.tool_ids]
            found = found[:1]
        request = found[0] if found else self.asked(actor, at)
        if len(found) > 1:
            request = self._merged(found)
        request.tool_ids |= set(tool_ids)
        if message_id:
            request.message_id = message_id
            self._requests[message_id] = request
            while len(self._requests) > _MOST_KNOWN:
                del self._requests[next(iter(self._requests))]
        return request

    def _merged(self, found: list[Request]) -> Request:
        """One of several that turned out to be the same: the one that stands first in the queue."""
        first = next((item for item in self.queue if item in found), found[0])
        kept = first if isinstance(first, Request) else found[0]
        for other in found:
            if other is kept:
                continue
            other.is_void = True
            kept.tool_ids |= other.tool_ids
            kept.text = kept.text or other.text
            kept.tokens = kept.tokens or other.tokens
            kept.model = kept.model or other.model
            for call in self.calls.values():
                if call.request is other:
                    call.request = kept
        return kept
