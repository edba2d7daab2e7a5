"""What the library logs, shown to the person at the keyboard. Knows no verb."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class _Handler(logging.Handler):
    """Writes to what standard error is at the time: messages as they are, warnings by that name."""

    def emit(self, record: logging.LogRecord) -> None:
        level = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
        print(f"{level}{record.getMessage()}", file=sys.stderr, flush=True)


@contextmanager
def shown_log() -> Iterator[None]:
    """Show the library's messages from INFO on while the block runs; no handler would show none below WARNING."""
    log, handler = logging.getLogger("esft_lightning"), _Handler()
    level = log.level
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
