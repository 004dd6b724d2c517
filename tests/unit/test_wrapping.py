"""Every kind of callable, with a scope around it, behaves as it does without one."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import dataclasses
import functools
import gc
import inspect
import operator
import pickle
import subprocess
import sys
import traceback
import types
import typing
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextvars import ContextVar, Token, copy_context
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from claude_monitoring._wrapping import Scope, wrap

REPOSITORY = Path(__file__).parents[2]
CURRENT: ContextVar[Any] = ContextVar("current", default=None)
Decorator = Callable[[Any], Any]


class Whole:
    """What a scope is made of, in one go."""

    def open(self: Any) -> None:
        self.start()
        self.resume()

    def shut(self: Any, exc: BaseException | None, result: object = None) -> None:
        self.suspend()
        self.finish(exc, result)


class RecordingScope(Whole):
    """A scope that is strict about how it is used."""

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.args = args
        self.kwargs = kwargs
        self.state = "new"
        self.steps = 0
        self.finished: tuple[BaseException | None, object] | None = None
        self._token: Token[Any] | None = None
        self._inside: Any = self

    def start(self) -> None:
        assert self.state == "new"
        self.state = "aside"

    def resume(self) -> None:
        assert self.state == "aside"
        self.state = "current"
        self.steps += 1
        self._token = CURRENT.set(self._inside)

    def suspend(self) -> None:
        assert self.state == "current"
        assert self._token is not None
        self.state = "aside"
        self._inside = CURRENT.get()
        CURRENT.reset(self._token)  # raises in another context than that of resume()

    pause = suspend

    def finish(self, exc: BaseException | None, result: object = None) -> None:
        assert self.state == "aside"
        assert self.finished is None
        self.finished = (exc, result)
        self.state = "ended"


class Recorder:
    """Makes decorators whose scopes it keeps."""

    def __init__(self) -> None:
        self.scopes: list[RecordingScope] = []
        self.seen: list[Any] = []

    def track(self, function: Any) -> Any:
        return wrap(function, self._begin)

    def _begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Scope:
        self.scopes.append(RecordingScope(args, kwargs))
        return self.scopes[-1]

    @property
    def only(self) -> RecordingScope:
        (scope,) = self.scopes
        return scope

    @property
    def outcome(self) -> tuple[BaseException | None, object]:
        assert self.only.finished is not None
        return self.only.finished


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def untouched(function: Any) -> Any:
    return function


def switched_off(function: Any) -> Any:
    return wrap(function, lambda _args, _kwargs: None)


# --- one table of every kind of callable ------------------------------------------------------------------------------

SEEN: list[Any] = []


def work(value: int) -> int:
    """Stand-in for the body of each callable; notes what is current in it."""
    SEEN.append(CURRENT.get())
    return value * 2


def plain_function(track: Decorator) -> Any:
    @track
    def double(value: int) -> int:
        return work(value)

    return double(21), double(value=4)


def lambda_function(track: Decorator) -> Any:
    return track(lambda value: work(value) + 1)(21)


def builtin_function(track: Decorator) -> Any:
    return track(len)([1, 2, 3]), track([3, 1].index)(1), track(operator.itemgetter(1))("ab")


def partial_function(track: Decorator) -> Any:
    return track(functools.partial(work, 21))(), track(functools.partial(work))(value=3)


def callable_instance(track: Decorator) -> Any:
    class Doubler:
        def __call__(self, value: int) -> int:
            return work(value)

    class Holder:
        double = track(Doubler())

    return track(Doubler())(21), Holder.double(5), Holder().double(6)


def async_callable_instance(track: Decorator) -> Any:
    class Doubler:
        async def __call__(self, value: int) -> int:
            await asyncio.sleep(0)
            return work(value)

    return asyncio.run(track(Doubler())(21)), asyncio.run(track(functools.partial(Doubler(), 4))())


def method(track: Decorator) -> Any:
    class Agent:
        factor = 3

        @track
        def run(self, value: int) -> int:
            return work(value) * self.factor

    class Other(Agent):
        factor = 4

    class Overriding(Agent):
        @track
        def run(self, value: int) -> int:
            return super().run(value) + 1

    agent = Agent()
    return agent.run(1), Agent.run(agent, 2), Agent().run(value=3), Other().run(4), Overriding().run(5)


def arguments_of_any_name(track: Decorator) -> Any:
    @track
    def run(self: int, wrapped: int, **more: int) -> Any:
        return work(self), wrapped, more

    return run(self=1, wrapped=2, instance=3, args=4, kwargs=5)


def bound_method(track: Decorator) -> Any:
    class Agent:
        def __init__(self, factor: int) -> None:
            self.factor = factor

        def run(self, value: int) -> int:
            return work(value) * self.factor

    agent = Agent(5)
    agent.run = track(agent.run)  # type: ignore[method-assign]
    return agent.run(2), agent.run(value=3)


def class_and_static_methods(track: Decorator) -> Any:
    class Agent:
        @track
        @classmethod
        def above_class(cls, value: int) -> Any:
            return cls.__name__, work(value)

        @classmethod
        @track
        def below_class(cls, value: int) -> Any:
            return cls.__name__, work(value)

        @track
        @staticmethod
        def above_static(value: int) -> int:
            return work(value)

        @staticmethod
        @track
        def below_static(value: int) -> int:
            return work(value)

    class Other(Agent):
        pass

    names = ["above_class", "below_class", "above_static", "below_static"]
    return [getattr(owner, name)(3) for name in names for owner in (Agent, Agent(), Other, Other())]


def partial_method(track: Decorator) -> Any:
    class Agent:
        def run(self, value: int, extra: int) -> int:
            return work(value) + extra

        run_with_three = track(functools.partialmethod(run, extra=3))

    return Agent().run_with_three(2)


def property_getter(track: Decorator) -> Any:
    class Agent:
        @property
        @track
        def answer(self) -> int:
            return work(21)

        @functools.cached_property
        @track
        def cached(self) -> int:
            return work(4)

    agent = Agent()
    return agent.answer, agent.cached, agent.cached


def dataclass_method(track: Decorator) -> Any:
    @dataclasses.dataclass(frozen=True)
    class Agent:
        factor: int
        call: Any = dataclasses.field(default_factory=lambda: track(work))

        @track
        def run(self, value: int) -> int:
            return work(value) * self.factor

    return Agent(3).run(2), Agent(3).call(5)


def nested_decoration(track: Decorator) -> Any:
    class Agent:
        @track
        @track
        def run(self, value: int) -> int:
            return work(value)

        @track
        @track
        async def wait(self, value: int) -> int:
            await asyncio.sleep(0)
            return work(value)

        @track
        @track
        def steps(self, value: int) -> Iterator[int]:
            yield work(value)
            yield work(value + 1)

    return Agent().run(2), asyncio.run(Agent().wait(3)), list(Agent().steps(4))


def between_other_decorators(track: Decorator) -> Any:
    @functools.lru_cache
    @track
    def cached(value: int) -> int:
        return work(value)

    @track
    @functools.lru_cache
    def tracked_cache(value: int) -> int:
        return work(value)

    @functools.singledispatch
    @track
    def dispatched(value: object) -> Any:
        return value

    @dispatched.register
    @track
    def _(value: int) -> int:
        return work(value)

    return cached(1), cached(1), tracked_cache(2), tracked_cache(2), dispatched("a"), dispatched(3)


def context_managers(track: Decorator) -> Any:
    @contextlib.contextmanager
    @track
    def below(value: int) -> Iterator[int]:
        yield work(value)
        work(value)

    @track
    @contextlib.contextmanager
    def above(value: int) -> Iterator[int]:
        yield value

    @contextlib.asynccontextmanager
    @track
    async def below_async(value: int) -> AsyncIterator[int]:
        yield work(value)

    async def use() -> int:
        async with below_async(3) as value:
            return value

    with below(1) as first, above(2) as second:
        return first, second, asyncio.run(use())


def coroutine_function(track: Decorator) -> Any:
    @track
    async def double(value: int) -> int:
        await asyncio.sleep(0)
        return work(value)

    async def use() -> Any:
        return await double(1), await asyncio.gather(double(2), double(value=3)), await asyncio.create_task(double(4))

    return asyncio.run(use())


def function_that_returns_a_coroutine(track: Decorator) -> Any:
    async def later(value: int) -> int:
        return value * 2

    @track
    def double(value: int) -> Awaitable[int]:
        work(value)
        return later(value)

    async def use() -> int:
        return await double(21)

    return asyncio.run(use())


def generator_based_coroutine(track: Decorator) -> Any:
    @track
    @types.coroutine
    def double(value: int) -> Generator[Any, None, int]:
        yield from asyncio.sleep(0).__await__()
        return work(value)

    async def use() -> Any:
        return await double(21)

    return asyncio.run(use())


def generator_function(track: Decorator) -> Any:
    @track
    def count(upto: int) -> Generator[int, int, str]:
        for number in range(upto):
            yield work(number)
        return "done"

    def delegate() -> Iterator[Any]:
        yield (yield from count(3))

    return list(count(3)), list(delegate()), list(track(functools.partial(count, 2))()), next(count(upto=1))


def generator_method(track: Decorator) -> Any:
    class Agent:
        @track
        def steps(self, upto: int) -> Iterator[int]:
            yield from (work(number) for number in range(upto))

        @classmethod
        @track
        def class_steps(cls, upto: int) -> Iterator[int]:
            yield from (work(number) for number in range(upto))

        @track
        def __iter__(self) -> Iterator[int]:
            yield work(7)

    return list(Agent().steps(2)), list(Agent.class_steps(3)), list(Agent())


def async_generator_function(track: Decorator) -> Any:
    @track
    async def count(upto: int) -> AsyncIterator[int]:
        for number in range(upto):
            await asyncio.sleep(0)
            yield work(number)

    class Agent:
        @track
        @staticmethod
        async def steps() -> AsyncIterator[int]:
            yield work(9)

    async def use() -> Any:
        return [item async for item in count(3)], [item async for item in Agent.steps()]

    return asyncio.run(use())


CALLABLES = [
    plain_function,
    lambda_function,
    builtin_function,
    partial_function,
    callable_instance,
    async_callable_instance,
    method,
    arguments_of_any_name,
    bound_method,
    class_and_static_methods,
    partial_method,
    property_getter,
    dataclass_method,
    nested_decoration,
    between_other_decorators,
    context_managers,
    coroutine_function,
    function_that_returns_a_coroutine,
    generator_based_coroutine,
    generator_function,
    generator_method,
    async_generator_function,
]


@pytest.mark.parametrize("use", CALLABLES)
def test_a_tracked_callable_gives_what_the_plain_one_gives_and_sees_its_scope(
    use: Callable[[Decorator], Any], recorder: Recorder
) -> None:
    expected = use(untouched)
    SEEN.clear()
    assert use(recorder.track) == expected
    gc.collect()
    assert recorder.scopes
    assert [scope.state for scope in recorder.scopes] == ["ended"] * len(recorder.scopes)
    assert all(seen in recorder.scopes for seen in SEEN)
    assert CURRENT.get() is None


@pytest.mark.parametrize("use", CALLABLES)
def test_a_callable_that_is_not_tracked_this_time_is_called_straight_through(use: Callable[[Decorator], Any]) -> None:
    expected = use(untouched)
    assert use(switched_off) == expected


def test_an_untracked_call_returns_the_very_object_of_the_function() -> None:
    async def wait() -> None: ...

    def steps() -> Iterator[None]:
        yield

    async def async_steps() -> AsyncIterator[None]:
        yield

    pending = switched_off(wait)()
    assert pending.cr_code is wait.__code__
    pending.close()
    assert switched_off(steps)().gi_code is steps.__code__
    assert switched_off(async_steps)().ag_code is async_steps.__code__


# --- what the scope gets ----------------------------------------------------------------------------------------------


def test_the_scope_gets_the_arguments_of_the_functions_own_signature(recorder: Recorder) -> None:
    class Agent:
        @recorder.track
        def run(self, value: int, *, flag: bool) -> None: ...

        @recorder.track
        @classmethod
        def above_class(cls, value: int) -> None: ...

        @classmethod
        @recorder.track
        def below_class(cls, value: int) -> None: ...

        @recorder.track
        @staticmethod
        def above_static(value: int) -> None: ...

        @staticmethod
        @recorder.track
        def below_static(value: int) -> None: ...

        @recorder.track
        def steps(self, value: int) -> Iterator[None]:
            yield

        @recorder.track
        async def wait(self, value: int) -> None: ...

        def untracked(self, value: int) -> None: ...

    agent = Agent()
    agent.run(1, flag=True)
    Agent.run(agent, 2, flag=False)
    for call in (agent.above_class, Agent.below_class, Agent.above_static, agent.below_static):
        call(3)
    agent.steps(4)
    agent.wait(5).close()
    recorder.track(agent.untracked)(6)
    assert [scope.args for scope in recorder.scopes] == [
        (agent, 1),
        (agent, 2),
        (Agent, 3),
        (Agent, 3),
        (3,),
        (3,),
        (agent, 4),
        (agent, 5),
        (6,),
    ]
    assert recorder.scopes[0].kwargs == {"flag": True}


def test_the_scope_gets_the_returned_value(recorder: Recorder) -> None:
    @recorder.track
    async def wait() -> str:
        return "awaited"

    @recorder.track
    def steps() -> Generator[int, None, str]:
        yield 1
        return "generated"

    recorder.track(len)([1, 2])
    asyncio.run(wait())
    list(steps())
    assert [scope.finished for scope in recorder.scopes] == [(None, 2), (None, "awaited"), (None, "generated")]


# --- inspection, copies, pickles --------------------------------------------------------------------------------------


def documented(first: int, *rest: str, key: bool = False) -> dict[str, int]:
    """What it does."""
    return {"first": first, "rest": len(rest), "key": key}


class Documented:
    def method(self, value: int) -> str:
        """What the method does."""
        return str(value)

    @classmethod
    def class_method(cls, value: int) -> str:
        """What the class method does."""
        return str(value)

    @staticmethod
    def static_method(value: int) -> str:
        """What the static method does."""
        return str(value)


async def awaited(value: int) -> int:
    return value


def generated(value: int) -> Iterator[int]:
    yield value


async def generated_async(value: int) -> AsyncIterator[int]:
    yield value


@pytest.mark.parametrize(
    "function",
    [
        documented,
        awaited,
        generated,
        generated_async,
        Documented.method,
        Documented().method,
        Documented.class_method,
        Documented.static_method,
    ],
)
def test_inspection_sees_the_function_itself(function: Any) -> None:
    tracked = switched_off(function)
    for look in (
        inspect.signature,
        inspect.iscoroutinefunction,
        inspect.isgeneratorfunction,
        inspect.isasyncgenfunction,
        inspect.isfunction,
        inspect.isroutine,
        inspect.getsource,
        inspect.getdoc,
        typing.get_type_hints,
    ):
        assert look(tracked) == look(function)
    for name in ("__name__", "__qualname__", "__doc__", "__module__", "__annotations__"):
        assert getattr(tracked, name) == getattr(function, name)
    assert tracked.__wrapped__ is function
    assert inspect.unwrap(tracked) is inspect.unwrap(function)


@pytest.mark.parametrize("name", ["method", "class_method", "static_method"])
@pytest.mark.parametrize("below", [True, False], ids=["below", "above"])
@pytest.mark.parametrize("owner_of", [lambda cls: cls, lambda cls: cls()], ids=["on class", "on instance"])
def test_inspection_sees_the_method_itself(name: str, below: bool, owner_of: Callable[[Any], Any]) -> None:
    raw = vars(Documented)[name]
    tracked = type(raw)(switched_off(raw.__func__)) if below and name != "method" else switched_off(raw)
    owner, plain_owner = owner_of(type("Tracked", (), {name: tracked})), owner_of(Documented)
    for look in (inspect.signature, inspect.ismethod, inspect.getdoc, typing.get_type_hints):
        assert look(getattr(owner, name)) == look(getattr(plain_owner, name))


def test_what_a_tracked_function_makes_is_of_the_right_kind_and_has_its_name(recorder: Recorder) -> None:
    pending = recorder.track(awaited)(1)
    steps = recorder.track(generated)(1)
    async_steps = recorder.track(generated_async)(1)
    assert inspect.iscoroutine(pending)
    assert inspect.isgenerator(steps)
    assert inspect.isasyncgen(async_steps)
    assert not inspect.isawaitable(steps)
    assert [made.__qualname__ for made in (pending, steps, async_steps)] == ["awaited", "generated", "generated_async"]
    pending.close()


@switched_off
def module_function(value: int) -> int:
    return value * 2


@dataclasses.dataclass
class Worker:
    factor: int
    callback: Any = None

    @switched_off
    def run(self, value: int) -> int:
        return value * self.factor

    @switched_off
    @classmethod
    def above_class(cls, value: int) -> str:
        return f"{cls.__name__} {value}"

    @classmethod
    @switched_off
    def below_class(cls, value: int) -> str:
        return f"{cls.__name__} {value}"

    @switched_off
    @staticmethod
    def above_static(value: int) -> int:
        return value

    @staticmethod
    @switched_off
    def below_static(value: int) -> int:
        return value


@pytest.mark.parametrize(
    "call",
    [
        module_function,
        Worker(3).run,
        Worker.above_class,
        Worker.below_class,
        Worker(3).above_class,
        Worker.above_static,
        Worker.below_static,
        functools.partial(Worker.run, Worker(3)),
    ],
)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_tracked_callable_pickles_by_reference(call: Any, protocol: int) -> None:
    pickled = pickle.dumps(call, protocol)
    assert pickle.loads(pickled)(2) == call(2)
    assert b"claude_monitoring" not in pickled


def test_a_pickled_function_is_the_same_object() -> None:
    assert pickle.loads(pickle.dumps(module_function)) is module_function


def test_only_what_has_an_importable_name_pickles() -> None:
    class Local:
        @switched_off
        def run(self) -> None: ...

    for call in (switched_off(lambda: None), switched_off(functools.partial(len, "")), Local.run):
        with pytest.raises(pickle.PicklingError, match="name"):
            pickle.dumps(call)


def test_copies_are_those_of_plain_functions_and_methods() -> None:
    assert copy.copy(module_function) is module_function
    assert copy.deepcopy({"f": module_function})["f"] is module_function
    assert copy.copy(Worker.run) is not None
    assert copy.deepcopy(Worker.above_static)(4) == 4
    worker = Worker(3)
    worker.callback = worker.run
    assert copy.copy(worker).callback(2) == 6
    twin = copy.deepcopy(worker)
    twin.factor = 10
    assert twin.callback(2) == 20, "the copied method belongs to the copied object"


def test_tracked_functions_run_in_a_spawned_process(tmp_path: Path) -> None:
    (tmp_path / "jobs.py").write_text(
        "from claude_monitoring._wrapping import wrap\n"
        "class Job:\n"
        "    def run(self, n): return n * 3\n"
        "    run = wrap(run, lambda args, kwargs: None)\n"
        "double = wrap(lambda n: n, lambda args, kwargs: None)\n"
        "def double(n): return n * 2\n"
        "double = wrap(double, lambda args, kwargs: None)\n"
    )
    (tmp_path / "main.py").write_text(
        "import multiprocessing, jobs\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        print(pool.map(jobs.double, [1, 2]), pool.map(jobs.Job().run, [1, 2]))\n"
    )
    done = subprocess.run(
        [sys.executable, "main.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{REPOSITORY}:{tmp_path}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("[2, 4] [3, 6]\n", "")


@pytest.mark.parametrize(
    ("mistake", "advice"),
    [
        (Documented, r"class Documented can't be tracked .* Documented\.run"),
        (property(documented), "below @property"),
        (functools.cached_property(documented), "below @cached_property"),
        ("a name", "got str: 'a name'"),
        (None, "got NoneType"),
    ],
)
def test_what_cannot_be_tracked_is_refused_at_decoration_with_advice(mistake: Any, advice: str) -> None:
    with pytest.raises(TypeError, match=advice):
        switched_off(mistake)


def test_wrapt_is_loaded_by_the_first_decoration_and_not_by_an_import() -> None:
    code = "import sys, claude_monitoring._wrapping; print({'wrapt'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"


# --- exceptions -------------------------------------------------------------------------------------------------------


def failing(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), SystemExit(3), asyncio.CancelledError()])
def test_an_exception_passes_unchanged_with_its_traceback(error: BaseException, recorder: Recorder) -> None:
    @recorder.track
    def run() -> None:
        failing(error)

    @recorder.track
    async def wait() -> None:
        failing(error)

    @recorder.track
    def steps() -> Iterator[None]:
        failing(error)
        yield

    @recorder.track
    async def async_steps() -> AsyncIterator[None]:
        failing(error)
        yield

    calls: list[Callable[[], Any]] = [
        run,
        lambda: wait().send(None),
        lambda: next(steps()),
        lambda: async_steps().asend(None).send(None),
    ]
    for number, call in enumerate(calls):
        error.__traceback__ = None
        with pytest.raises(type(error)) as caught:
            call()
        assert caught.value is error
        assert traceback.extract_tb(error.__traceback__)[-1].name == "failing"
        assert (error.__cause__, error.__context__) == (None, None)
        assert recorder.scopes[number].finished == (error, None)


class InterruptedScope(Whole):
    """A scope that Ctrl-C hits while it starts, or while it becomes current."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.finished: list[BaseException | None] = []

    def start(self) -> None:
        if self.where == "start":
            raise KeyboardInterrupt

    def resume(self) -> None:
        raise KeyboardInterrupt

    def suspend(self) -> None: ...

    pause = suspend

    def finish(self, exc: BaseException | None, result: object = None) -> None:
        self.finished.append(exc)


@pytest.mark.parametrize(
    ("where", "function", "call"),
    [
        ("start", Documented.static_method, lambda tracked: tracked(1)),
        ("resume", Documented.static_method, lambda tracked: tracked(1)),
        ("start", awaited, lambda tracked: tracked(1).send(None)),
        ("resume", awaited, lambda tracked: tracked(1).send(None)),
        ("start", generated, lambda tracked: next(tracked(1))),
        ("resume", generated, lambda tracked: next(tracked(1))),
        # Not in resume(): there Python 3.13 adds a warning that the step that did not begin was never awaited.
        ("start", generated_async, lambda tracked: tracked(1).asend(None).send(None)),
    ],
)
def test_an_interrupt_while_the_scope_begins_still_ends_it(
    function: Any, call: Callable[[Any], object], where: str
) -> None:
    scope = InterruptedScope(where)
    with pytest.raises(KeyboardInterrupt) as caught:
        call(wrap(function, lambda _args, _kwargs: scope))
    assert scope.finished == [caught.value]


def test_wrong_arguments_are_reported_as_for_the_plain_function(recorder: Recorder) -> None:
    for function in (documented, generated, generated_async):
        with pytest.raises(TypeError, match=f"{function.__name__}.* missing 1 required positional argument"):
            recorder.track(function)()
    with pytest.raises(TypeError, match=r"awaited.* missing 1 required positional argument"):
        asyncio.run(recorder.track(awaited)())


def test_a_caught_exception_keeps_no_frame_alive(recorder: Recorder) -> None:
    class Marker: ...

    @recorder.track
    def steps() -> Iterator[int]:
        with contextlib.suppress(ValueError):
            yield 1
        yield 2

    error = ValueError()
    error.marker = Marker()  # type: ignore[attr-defined]
    running = steps()
    next(running)
    gc.disable()
    try:
        assert running.throw(error) == 2
        error.__traceback__ = None
        assert not [frame for frame in gc.get_referrers(error) if inspect.isframe(frame) and frame.f_back is None]
    finally:
        gc.enable()


# --- coroutines -------------------------------------------------------------------------------------------------------


def test_the_scope_lasts_as_long_as_the_await(recorder: Recorder) -> None:
    async def use() -> None:
        reached, go_on = asyncio.Event(), asyncio.Event()

        @recorder.track
        async def wait() -> None:
            reached.set()
            await go_on.wait()

        task = asyncio.create_task(wait())
        await reached.wait()
        assert recorder.only.state == "current"
        assert CURRENT.get() is None
        go_on.set()
        await task
        assert recorder.outcome == (None, None)

    asyncio.run(use())


def test_cancelling_the_task_ends_the_scope_with_the_cancellation(recorder: Recorder) -> None:
    async def use() -> None:
        reached = asyncio.Event()

        @recorder.track
        async def wait() -> None:
            reached.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(wait())
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(use())
    assert isinstance(recorder.outcome[0], asyncio.CancelledError)


def test_a_closed_coroutine_ends_its_scope(recorder: Recorder) -> None:
    @recorder.track
    async def wait() -> None:
        await asyncio.sleep(0)

    pending = wait()
    pending.send(None)
    pending.close()
    assert isinstance(recorder.outcome[0], GeneratorExit)


def test_a_coroutine_that_is_never_awaited_starts_nothing_and_warns_once_with_its_own_name(recorder: Recorder) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        recorder.track(awaited)(1)
        gc.collect()
    assert [str(warning.message) for warning in caught] == ["coroutine 'awaited' was never awaited"]
    assert recorder.only.state == "new"


def test_a_task_that_is_cancelled_before_it_begins_starts_nothing_and_warns_of_nothing(recorder: Recorder) -> None:
    async def use() -> None:
        task = asyncio.create_task(recorder.track(awaited)(1))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        asyncio.run(use())
        gc.collect()
    assert not caught
    assert recorder.only.state == "new"


# --- generators -------------------------------------------------------------------------------------------------------


def test_nothing_starts_before_the_first_next(recorder: Recorder) -> None:
    for unused in (recorder.track(generated)(1), recorder.track(generated_async)(1)):
        del unused
    gc.collect()
    assert [scope.state for scope in recorder.scopes] == ["new", "new"]


def test_between_the_steps_the_caller_has_its_own_current_scope_and_the_body_keeps_its(recorder: Recorder) -> None:
    inside = []

    @recorder.track
    def steps() -> Iterator[None]:
        inside.append(CURRENT.get())
        yield
        CURRENT.set("opened by the body")
        yield
        inside.append(CURRENT.get())

    running = steps()
    token = CURRENT.set("caller")
    try:
        for _ in running:
            assert CURRENT.get() == "caller"
            assert recorder.only.state == "aside"
    finally:
        CURRENT.reset(token)
    assert inside == [recorder.only, "opened by the body"]


def test_steps_may_run_in_different_contexts(recorder: Recorder) -> None:
    running = recorder.track(generated)(1)
    assert copy_context().run(next, running) == 1
    assert copy_context().run(next, running, "end") == "end"
    assert recorder.only.state == "ended"


@pytest.mark.parametrize("leave", ["close", "abandon", "abandon in a cycle"])
def test_leaving_a_generator_early_is_no_error_and_ends_its_scope_once(leave: str, recorder: Recorder) -> None:
    @recorder.track
    def steps(_holder: list[Any]) -> Iterator[int]:
        yield 1
        yield 2

    holder: list[Any] = []
    running = steps(holder)
    recorder.only.args = ()  # else the recorder keeps the cycle alive
    assert next(running) == 1
    if leave == "close":
        running.close()
    elif leave == "abandon in a cycle":
        holder.append(running)
    del running, holder
    gc.collect()
    assert recorder.outcome == (None, None)


def test_the_steps_of_interleaved_generators_do_not_mix(recorder: Recorder) -> None:
    @recorder.track
    def steps() -> Iterator[Any]:
        while True:
            yield CURRENT.get()

    one, two = steps(), steps()
    seen = [next(one), next(two), next(one), next(two)]
    one.close()
    two.close()
    assert seen == recorder.scopes * 2


# --- async generators -------------------------------------------------------------------------------------------------


def test_a_tracked_coroutine_inside_a_tracked_async_generator_stays_current_over_its_awaits(recorder: Recorder) -> None:
    inside = []

    @recorder.track
    async def inner() -> None:
        for _ in range(2):
            inside.append(CURRENT.get())
            await asyncio.sleep(0)

    @recorder.track
    async def outer() -> AsyncIterator[None]:
        await inner()
        inside.append(CURRENT.get())
        yield

    async def use() -> None:
        async for _ in outer():
            assert CURRENT.get() is None

    asyncio.run(use())
    outer_scope, inner_scope = recorder.scopes
    assert inside == [inner_scope, inner_scope, outer_scope]


@pytest.mark.parametrize("where", ["inside", "outside"])
@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.timeout is new in Python 3.11")
def test_a_timeout_across_a_yield_of_an_async_generator_works(where: str, recorder: Recorder) -> None:
    @recorder.track
    async def steps() -> AsyncIterator[int]:
        async with asyncio.timeout(0.01 if where == "inside" else None):
            yield 1
            await asyncio.Event().wait()

    async def use() -> None:
        running = steps()
        async with asyncio.timeout(0.01 if where == "outside" else None):
            async for _ in running:
                assert CURRENT.get() is None

    with pytest.raises(TimeoutError):
        asyncio.run(use())
    expected = TimeoutError if where == "inside" else asyncio.CancelledError
    assert isinstance(recorder.outcome[0], expected)


def test_every_step_of_an_async_generator_runs_in_the_task_of_its_caller(recorder: Recorder) -> None:
    @recorder.track
    async def steps() -> AsyncIterator[Any]:
        for _ in range(3):
            await asyncio.sleep(0)
            yield asyncio.current_task()

    async def use() -> None:
        here = asyncio.current_task()
        tasks = [task async for task in steps()]
        assert tasks == [here] * 3
        running = steps()
        assert await asyncio.wait_for(running.__anext__(), 60) is not None
        await running.aclose()

    asyncio.run(use())
    assert [scope.finished for scope in recorder.scopes] == [(None, None)] * 2


@pytest.mark.parametrize("hold", ["abandoned", "in a cycle", "until the loop ends", "closed"])
def test_leaving_an_async_generator_early_runs_its_cleanup_once_and_quietly(hold: str, recorder: Recorder) -> None:
    cleaned: list[str] = []
    done = asyncio.Event()
    complaints: list[Any] = []

    class Stream:
        def __init__(self) -> None:
            self.open = self.steps()

        @recorder.track
        async def steps(self) -> AsyncGenerator[int, None]:
            try:
                yield 1
                yield 2
            finally:
                await asyncio.sleep(0)
                cleaned.append("cleaned")
                done.set()

    kept = []

    async def use() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
        stream: Stream | None = Stream()
        assert stream is not None
        recorder.only.args = ()
        running: Any = stream.open
        assert await running.__anext__() == 1
        if hold == "closed":
            await running.aclose()
        elif hold == "until the loop ends":
            kept.append(running)
            return
        elif hold == "abandoned":
            del stream.open
        del running
        stream = None
        gc.collect()
        await done.wait()

    asyncio.run(use())
    assert (cleaned, complaints) == (["cleaned"], [])
    assert recorder.outcome == (None, None)


def test_an_async_generator_that_refuses_to_close_is_reported_as_the_plain_one(recorder: Recorder) -> None:
    async def stubborn() -> AsyncGenerator[int, None]:
        with contextlib.suppress(GeneratorExit):
            yield 1
        yield 2

    async def use(running: AsyncGenerator[int, None]) -> str:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
        assert await running.__anext__() == 1
        with pytest.raises(RuntimeError) as caught:
            await running.aclose()
        return str(caught.value)

    assert asyncio.run(use(recorder.track(stubborn)())) == asyncio.run(use(stubborn()))
    gc.collect()
    assert recorder.outcome == (None, None)


def test_the_event_loops_hooks_are_as_before_after_the_first_step(recorder: Recorder) -> None:
    known: list[Any] = []
    before = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(firstiter=known.append)
    try:
        running = recorder.track(generated_async)(1)
        with pytest.raises(StopIteration):
            running.__anext__().send(None)
        assert known == [running], "the loop knows the generator that the user has, and no other"
        assert sys.get_asyncgen_hooks() == (known.append, before.finalizer)
        with pytest.raises(StopIteration):
            running.aclose().send(None)
    finally:
        sys.set_asyncgen_hooks(*before)


# --- laws: whatever is done to a generator, a tracked one answers as the plain one ------------------------------------

REACTIONS = st.lists(st.sampled_from(["yield", "await", "catch", "swallow exit", "raise", "raise stop"]), max_size=6)
ACTIONS = st.lists(
    st.sampled_from(["next", "send", "throw", "throw stop", "throw exit", "close"]), min_size=1, max_size=8
)


def scripted(reactions: list[str]) -> Generator[Any, Any, str]:
    for number, reaction in enumerate(reactions):
        try:
            if reaction == "raise":
                raise KeyError(number)
            if reaction == "raise stop":
                raise StopIteration(number)  # noqa: PLR1708 - on purpose
            received = yield number
            if received is not None:
                yield received
        except ValueError as exc:
            if reaction != "catch":
                raise LookupError(number) from exc
            yield "caught"
        except GeneratorExit:
            if reaction != "swallow exit":
                raise
            yield "not yet"
    return "returned"


async def scripted_async(reactions: list[str]) -> AsyncGenerator[Any, Any]:
    for number, reaction in enumerate(reactions):
        try:
            if reaction == "raise":
                raise KeyError(number)
            if reaction == "raise stop":
                raise StopAsyncIteration(number)
            if reaction == "await":
                await asyncio.sleep(0)
            received = yield number
            if received is not None:
                yield received
        except ValueError as exc:
            if reaction != "catch":
                raise LookupError(number) from exc
            await asyncio.sleep(0)
            yield "caught"
        except GeneratorExit:
            if reaction != "swallow exit":
                raise
            yield "not yet"


THROWN: dict[str, Callable[[], BaseException]] = {
    "throw": ValueError,
    "throw stop": StopIteration,
    "throw exit": GeneratorExit,
}


def described(exc: BaseException) -> tuple[Any, ...]:
    links = [type(link) for link in (exc.__cause__, exc.__context__)]
    return type(exc), str(exc), getattr(exc, "value", None), *links


def play(running: Generator[Any, Any, Any], actions: list[str]) -> list[Any]:
    log: list[Any] = []
    for action in actions:
        try:
            if action == "next":
                log.append(next(running))
            elif action == "send":
                log.append(running.send("sent"))
            elif action == "close":
                log.append(running.close())  # type: ignore[func-returns-value]
            else:
                log.append(running.throw(THROWN[action]()))
        except BaseException as exc:  # noqa: BLE001 - what comes out is what is compared
            log.append(described(exc))
    return log


async def play_async(running: AsyncGenerator[Any, Any], actions: list[str]) -> list[Any]:
    log: list[Any] = []
    for action in actions:
        try:
            if action == "next":
                log.append(await running.__anext__())
            elif action == "send":
                log.append(await running.asend("sent"))
            elif action == "close":
                await running.aclose()
                log.append("closed")
            else:
                log.append(await running.athrow(THROWN[action]()))
        except BaseException as exc:  # noqa: BLE001 - what comes out is what is compared
            log.append(described(exc))
    return log


def drain(running: Generator[Any, Any, Any]) -> None:
    for _ in range(20):
        with contextlib.suppress(RuntimeError):
            running.close()
            return


async def drain_async(running: AsyncGenerator[Any, Any]) -> None:
    with contextlib.suppress(KeyError, RuntimeError):
        async for _ in running:
            pass


@given(reactions=REACTIONS, actions=ACTIONS)
def test_a_tracked_generator_answers_like_the_plain_one(reactions: list[str], actions: list[str]) -> None:
    recorder = Recorder()
    plain, tracked = scripted(reactions), recorder.track(scripted)(reactions)
    assert play(tracked, actions) == play(plain, actions)
    assert CURRENT.get() is None
    drain(plain)
    drain(tracked)
    assert recorder.only.state in {"new", "ended"}


@given(reactions=REACTIONS, actions=ACTIONS)
def test_a_tracked_async_generator_answers_like_the_plain_one(reactions: list[str], actions: list[str]) -> None:
    # An async generator that once refused aclose() can be neither closed nor used further, tracked or not.
    assume(not {"swallow exit", "close"} <= {*reactions, *actions})
    recorder = Recorder()

    async def use() -> None:
        plain, tracked = scripted_async(reactions), recorder.track(scripted_async)(reactions)
        assert await play_async(tracked, actions) == await play_async(plain, actions)
        assert CURRENT.get() is None
        await drain_async(plain)
        await drain_async(tracked)

    asyncio.run(use())
    assert recorder.only.state in {"new", "ended"}


# --- the same with spans of OpenTelemetry -----------------------------------------------------------------------------


class SpanScope(Whole):
    """A real span as a scope."""

    def __init__(self, tracer: trace.Tracer, name: str) -> None:
        self._tracer = tracer
        self._name = name
        self._token: Any = None

    def start(self) -> None:
        self._span = self._tracer.start_span(self._name)
        self._inside = trace.set_span_in_context(self._span)

    def resume(self) -> None:
        self._token = otel_context.attach(self._inside)

    def suspend(self) -> None:
        self._inside = otel_context.get_current()
        otel_context.detach(self._token)

    pause = suspend

    def finish(self, exc: BaseException | None, result: object = None) -> None:
        if exc is not None:
            self._span.record_exception(exc)
        self._span.end()


def span_name() -> str:
    return getattr(trace.get_current_span(), "name", "none")


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    exporter.tracer = provider.get_tracer("test")  # type: ignore[attr-defined]
    yield exporter
    provider.shutdown()


def test_a_generators_span_is_current_in_its_body_and_never_between_its_steps(
    spans: InMemorySpanExporter, caplog: pytest.LogCaptureFixture
) -> None:
    tracer: trace.Tracer = spans.tracer  # type: ignore[attr-defined]

    def steps() -> Iterator[str]:
        yield span_name()
        with tracer.start_as_current_span("child"):
            yield span_name()
            yield span_name()
        yield span_name()

    tracked = wrap(steps, lambda _args, _kwargs: SpanScope(tracer, "steps"))
    with tracer.start_as_current_span("caller"):
        inside = []
        for name in tracked():
            inside.append(name)
            assert span_name() == "caller"
        for _ in tracked():
            break
        gc.collect()
        assert span_name() == "caller"
    assert inside == ["steps", "child", "child", "steps"]
    by_name = {span.name: span for span in spans.get_finished_spans()}
    assert [span.name for span in spans.get_finished_spans()] == ["child", "steps", "steps", "caller"]
    assert by_name["child"].parent is not None
    assert by_name["steps"].parent == by_name["caller"].context
    assert not caplog.records, "no 'Failed to detach context'"


def test_an_async_generators_span_is_current_in_its_body_and_never_between_its_steps(
    spans: InMemorySpanExporter, caplog: pytest.LogCaptureFixture
) -> None:
    tracer: trace.Tracer = spans.tracer  # type: ignore[attr-defined]

    async def steps() -> AsyncIterator[str]:
        await asyncio.sleep(0)
        yield span_name()
        with tracer.start_as_current_span("child"):
            await asyncio.sleep(0)
            yield span_name()
            await asyncio.sleep(0)
            yield span_name()
        yield span_name()

    tracked = wrap(steps, lambda _args, _kwargs: SpanScope(tracer, "steps"))

    async def use() -> list[str]:
        inside = []
        with tracer.start_as_current_span("caller"):
            async for name in tracked():
                inside.append(name)
                assert span_name() == "caller"
            async for _ in tracked():
                break  # left to the event loop, which closes it in a task of its own
            assert span_name() == "caller"
        return inside

    assert asyncio.run(use()) == ["steps", "child", "child", "steps"]
    names = [span.name for span in spans.get_finished_spans()]
    assert sorted(names) == ["caller", "child", "steps", "steps"]
    assert not caplog.records
