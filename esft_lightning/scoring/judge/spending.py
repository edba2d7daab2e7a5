"""A bound on what a judge costs, in tokens. It holds with many requests at once: each reserves its worst case first."""

from __future__ import annotations

import threading

__all__ = ["SpendingLimit", "SpendingLimitReached"]


class SpendingLimitReached(Exception):
    """The next request could exceed the limit."""


class SpendingLimit:
    """Tokens that may be spent, by all threads together.

    Attributes:
        limit: The most that may be spent.
        spent: Tokens spent so far, as the endpoint counted them.
    """

    def __init__(self, limit: int) -> None:
        """Start with nothing spent.

        Args:
            limit: Tokens of requests and answers.
        """
        self.limit = limit
        self.spent = 0
        self._reserved = 0
        self._lock = threading.Lock()

    def reserve(self, tokens: int) -> None:
        """Set the most that a request can cost aside.

        Raises:
            SpendingLimitReached: There is not that much left.
        """
        with self._lock:
            if self.spent + self._reserved + tokens > self.limit:
                raise SpendingLimitReached(
                    f"a request may take {tokens:,} tokens, and of the limit of {self.limit:,} "
                    f"{self.spent + self._reserved:,} are spent or set aside"
                )
            self._reserved += tokens

    def settle(self, reserved: int, spent: int) -> None:
        """Give back what was set aside and count what was spent.

        Args:
            reserved: What `reserve` was asked for.
            spent: What the request cost; 0 where it failed.
        """
        with self._lock:
            self._reserved -= reserved
            self.spent += spent
