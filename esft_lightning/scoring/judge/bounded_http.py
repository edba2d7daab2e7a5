"""An HTTP client of which no attempt takes longer, and no answer is larger, than it was told.

The usual timeouts bound each wait for a byte: an endpoint that sends one now and then is waited for without end.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from functools import cache
from typing import Any

import httpx2
import openai

__all__ = ["BoundedClient", "wait_for"]

LONGEST_ANSWER = 1 << 20
"""Bytes of an answer, uncompressed; a judge's has some thousand."""


class BoundedClient(openai.DefaultAsyncHttpxClient):
    """The client of the `openai` package, with a limit on time and size of a whole attempt."""

    def __init__(self, seconds: float, **options: Any) -> None:
        """Set the limit.

        Args:
            seconds: From connecting to the answer's last byte, redirections included.
            options: As httpx's.
        """
        super().__init__(timeout=seconds, **options)
        self._seconds = seconds

    async def send(self, request: httpx2.Request, *, stream: bool = False, **options: Any) -> httpx2.Response:
        """Send a request and read its answer whole.

        Raises:
            httpx2.ReadTimeout: The time is over.
            httpx2.ReadError: The answer is too long.
        """
        try:
            async with asyncio.timeout(self._seconds):
                response = await super().send(request, stream=True, **options)
                try:
                    content = await _read(response)
                finally:
                    await response.aclose()
        except TimeoutError:
            raise httpx2.ReadTimeout(f"no whole answer within {self._seconds:g} s", request=request) from None
        sizes = ("content-encoding", "content-length", "transfer-encoding")  # of what came over the wire
        headers = [(name, value) for name, value in response.headers.multi_items() if name.lower() not in sizes]
        return httpx2.Response(response.status_code, headers=headers, content=content, request=response.request)


async def _read(response: httpx2.Response) -> bytes:
    content = bytearray()
    async for part in response.aiter_bytes():
        content += part
        if len(content) > LONGEST_ANSWER:
            raise httpx2.ReadError(f"the answer is longer than {LONGEST_ANSWER} bytes", request=response.request)
    return bytes(content)


def wait_for(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine in the one loop of this process, and wait for its result.

    Args:
        work: From any thread but the loop's own.
    """
    return asyncio.run_coroutine_threadsafe(work, _loop()).result()


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="judge", daemon=True).start()
    return loop
