"""The Hugging Face hub, asked once and shortly whether it has what is about to be loaded.

Transformers and datasets repeat each of their requests for up to a minute, dozens of times in all, before they say that
there is no network. Here one request with a short limit decides: what does not exist is said at once; where the hub
cannot be reached, what lies in its cache is used, and the process asks it nothing more.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from esft_lightning.errors import UserError, one_line

SECONDS = 5.0
"""How long the one request may take."""


class BaseNotFoundError(UserError, OSError):
    """A base model is nowhere: no folder, not on the hub, or neither the hub nor its cache can give it."""


@lru_cache
def check_on_hub(name: str, revision: str | None = None) -> None:
    """Make sure that a model can be loaded: from the hub, or without it from its cache.

    Args:
        name: Hub id, `owner/name`.
        revision: Branch, tag or commit; None for the default branch.

    Raises:
        BaseNotFoundError: With the way out.
    """
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    neither = f"base {name!r} is no folder and no hub id; expected tiny, a folder, or owner/name"
    if name.startswith((".", "/", "~")) or name.endswith("/") or name.count("/") != 1:
        raise BaseNotFoundError(neither)
    missing = f"base {name!r} is no folder here, and the hub's cache ({constants.HF_HUB_CACHE}) does not hold it"
    if constants.is_offline_mode():
        if not _is_cached(name, revision):
            raise BaseNotFoundError(
                f"{missing}; HF_HUB_OFFLINE forbids to ask the hub: give a local folder, or unset it"
            )
        return
    error = _asked(lambda: HfApi().model_info(name, revision=revision, timeout=SECONDS))
    if error is None:
        return
    if isinstance(error, HFValidationError):
        raise BaseNotFoundError(neither) from error
    if isinstance(error, GatedRepoError):
        raise BaseNotFoundError(
            f"base {name!r} is gated: accept its terms at {constants.ENDPOINT}/{name}, and log in with `hf auth login`"
        ) from error
    if isinstance(error, RepositoryNotFoundError) or _status(error) == 401:  # as the hub says of what it hides
        raise BaseNotFoundError(
            f"base {name!r} is no folder here, and {constants.ENDPOINT} has no such model; check the name, or log in "
            "with `hf auth login` if it is private"
        ) from error
    if isinstance(error, RevisionNotFoundError):
        raise BaseNotFoundError(f"base {name!r} has no revision {revision!r} on {constants.ENDPOINT}") from error
    if not _is_cached(name, revision):
        raise BaseNotFoundError(
            f"{missing}, and the hub ({constants.ENDPOINT}) cannot be reached ({_reason(error)}); give a local folder, "
            "or try again later"
        ) from error
    _go_offline(_reason(error))


def offline_unless_reachable() -> None:
    """Ask the hub for a sign of life, and ask it nothing more where there is none: for what loads many things of it."""
    from huggingface_hub import constants, get_session

    if not constants.is_offline_mode():
        error = _asked(lambda: get_session().head(constants.ENDPOINT, timeout=SECONDS))
        if error is not None:
            _go_offline(_reason(error))


def _asked(ask: Callable[[], Any]) -> Exception | None:
    """What came of a request: None where it was answered. A name server that is silent has no other limit than this."""
    outcome: list[Exception | None] = []

    def run() -> None:
        try:
            ask()
            outcome.append(None)
        except Exception as error:  # whatever the network, a proxy or a strange answer makes of it
            outcome.append(error)

    thread = threading.Thread(target=run, name="ask the hub", daemon=True)
    thread.start()
    thread.join(1.5 * SECONDS)
    return outcome[0] if outcome else TimeoutError(f"no answer in {1.5 * SECONDS:g} seconds")


def _is_cached(name: str, revision: str | None) -> bool:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        return isinstance(try_to_load_from_cache(name, "config.json", revision=revision), str)
    except HFValidationError:
        return False


def _go_offline(reason: str) -> None:
    """Ask the hub nothing more, in this process and in those that it starts."""
    from huggingface_hub import constants

    constants.HF_HUB_OFFLINE = True
    os.environ["HF_HUB_OFFLINE"] = "1"
    if "datasets" in sys.modules:
        sys.modules["datasets"].config.HF_HUB_OFFLINE = True
    print(f"{constants.ENDPOINT} cannot be reached ({reason}); going on with what its cache holds", file=sys.stderr)


def _status(error: Exception) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def _reason(error: Exception) -> str:
    return one_line(error)[:200]
