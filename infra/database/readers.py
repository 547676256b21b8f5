"""Reading a database beside its writer: a few threads, a connection each, and one hop for a whole question."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from sqlalchemy import Connection, Executable, Row

from infra.database.dialect import can_pass
from infra.database.engine import reading

T = TypeVar("T")
READERS = 4


class Readers:
    """Threads that answer questions. What they are asked to run cannot write."""

    def __init__(self, url: str) -> None:
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix="reader")
        self._engine = reading(url, READERS)

    async def close(self) -> None:
        """Finish what was asked, then close."""
        await asyncio.to_thread(self._threads.shutdown)
        self._engine.dispose()

    async def ask(self, question: Callable[[Connection], T]) -> T:
        """Run a function of a connection on a reader's thread; all that it reads is of one moment."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._answer, question)

    async def first(self, query: Executable) -> Row[Any] | None:
        """The first row that a query finds."""
        return await self.ask(lambda connection: connection.execute(query).first())

    async def all(self, query: Executable) -> Sequence[Row[Any]]:
        """Every row that a query finds."""
        return await self.ask(lambda connection: connection.execute(query).all())

    def _answer(self, question: Callable[[Connection], T]) -> T:
        try:
            return self._ask_once(question)
        except Exception as error:
            if not can_pass(error):
                raise
        # A server that was started again has broken every connection: none of those that are kept is of use.
        self._engine.dispose()
        return self._ask_once(question)

    def _ask_once(self, question: Callable[[Connection], T]) -> T:
        with self._engine.connect() as connection:
            return question(connection)
