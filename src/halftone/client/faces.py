"""One body, two faces: a method written once, as a flow, blocks in ``Halftone`` and is awaited in ``AsyncHalftone``.

The descriptors below say so to type checkers as well: the type of a method follows from the object that it is looked up on.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from halftone.client.drivers import AwaitingDriver, BlockingDriver
from halftone.client.flow import Core, Flow

P = ParamSpec("P")
T = TypeVar("T")


class Blocking:
    """A part of the client that blocks."""

    def __init__(self, core: Core, driver: BlockingDriver) -> None:
        self.core, self.driver = core, driver


class Awaiting:
    """A part of the client that is awaited."""

    def __init__(self, core: Core, driver: AwaitingDriver) -> None:
        self.core, self.driver = core, driver


Face = Blocking | Awaiting


class Part:
    """What a body may use of its face."""

    core: Core


class Items(Generic[T]):
    """A flow that tells values of one type."""

    def __init__(self, flow: Flow[None]) -> None:
        self.flow = flow


class operation(Generic[P, T]):  # noqa: N801  # a decorator
    """A method that asks and answers."""

    def __init__(self, flow: Callable[Concatenate[Any, P], Flow[T]]) -> None:
        self.flow = flow
        self.__doc__ = flow.__doc__

    @overload
    def __get__(self, face: Blocking, owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, face: Awaiting, owner: type) -> Callable[P, Awaitable[T]]: ...
    @overload
    def __get__(self, face: None, owner: type) -> operation[P, T]: ...
    def __get__(self, face: Face | None, owner: type) -> Any:
        if face is None:
            return self

        @functools.wraps(self.flow)
        def call(*args: P.args, **kwargs: P.kwargs) -> Any:
            return face.driver.run(self.flow(face, *args, **kwargs))

        return call


class iteration(Generic[P, T]):  # noqa: N801  # a decorator
    """A method that gives one thing after the other."""

    def __init__(self, flow: Callable[Concatenate[Any, P], Items[T]]) -> None:
        self.flow = flow
        self.__doc__ = flow.__doc__

    @overload
    def __get__(self, face: Blocking, owner: type) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(self, face: Awaiting, owner: type) -> Callable[P, AsyncIterator[T]]: ...
    @overload
    def __get__(self, face: None, owner: type) -> iteration[P, T]: ...
    def __get__(self, face: Face | None, owner: type) -> Any:
        if face is None:
            return self

        @functools.wraps(self.flow)
        def call(*args: P.args, **kwargs: P.kwargs) -> Any:
            return face.driver.each(self.flow(face, *args, **kwargs).flow)

        return call
