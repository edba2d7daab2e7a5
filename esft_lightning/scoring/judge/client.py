"""One request to an OpenAI-compatible endpoint.

The `openai` package sends it, again where that failed, with growing pauses, and heeds `Retry-After`. The key comes from
the environment alone and is struck out of every error's text, and of every answer.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from esft_lightning.errors import SettingError, UserError
from esft_lightning.scoring.judge.answers import Answer

__all__ = ["KEY_VARIABLES", "JudgeClient", "JudgeError"]

KEY_VARIABLES = ("ESFT_JUDGE_API_KEY", "OPENAI_API_KEY")
"""Environment variables that may hold the key, in the order in which they are looked for."""
_NO_KEY = "none"  # endpoints of one's own machine often want none
_SHORTEST_SECRET = 8  # a shorter key is a placeholder (`x`, `EMPTY`); struck out of an answer, it might change a grade
_LONGEST_REASON = 300


class JudgeError(UserError):
    """The endpoint gave no usable answer, after all attempts."""


class JudgeClient:
    """Sends requests; safe to use from several threads."""

    def __init__(self, url: str, *, retries: int = 6, timeout: float = 60.0) -> None:
        """Prepare the connection; nothing is sent.

        Args:
            url: The endpoint, such as `https://api.openai.com/v1`.
            retries: Further attempts after a failed one (busy, broken, cut or too slow).
            timeout: Seconds that an attempt may take, from connecting to the answer's last byte.

        Raises:
            JudgeError: The `openai` package is not installed.
            SettingError: `url` is none, or a number is none.
        """
        if not url.startswith(("http://", "https://")):
            raise SettingError(f"--judge-url {url!r}: expected http://… or https://…")
        try:
            named = urlsplit(url).username is not None
        except ValueError as error:
            raise SettingError(f"--judge-url {url!r}: {error}") from error
        if named:
            raise SettingError(f"--judge-url holds a name or password; a key belongs in {KEY_VARIABLES[0]}")
        if retries < 0 or not 0 < timeout < math.inf:
            raise SettingError(
                f"--judge-retries {retries}, --judge-timeout {timeout}: expected at least 0, and seconds above 0"
            )
        try:
            import openai

            from esft_lightning.scoring.judge.bounded_http import BoundedClient
        except ImportError as error:
            raise JudgeError(
                "a judge needs the openai package; in a clone of this project: pip install '.[judge]'"
            ) from error
        self.url = url.rstrip("/")
        self.retries = retries
        self._key = next((os.environ[name] for name in KEY_VARIABLES if os.environ.get(name)), "")
        # other variables of the package (organisation, base address) are not ours to follow
        self._client = openai.AsyncOpenAI(
            api_key=self._key or _NO_KEY,
            base_url=self.url,
            organization="",
            project="",
            max_retries=retries,
            timeout=timeout,
            http_client=BoundedClient(timeout),
        )

    def ask(self, request: Mapping[str, Any]) -> Answer:
        """Send a chat completion request and wait for the answer.

        Args:
            request: `model`, `messages` and parameters.

        Raises:
            JudgeError: No usable answer after all attempts; the text says why and never holds the key.
        """
        import openai

        from esft_lightning.scoring.judge.bounded_http import wait_for

        why = ""
        for _ in range(1 + self.retries):
            try:
                said = wait_for(self._client.chat.completions.create(**request))
            except openai.OpenAIError as error:  # its own attempts are used up
                raise JudgeError(self._reason(error)) from None
            except (ValueError, RecursionError) as error:  # a body that is no JSON; what came is as good as nothing
                why = self._reason(error)
                continue
            text = _text_of(said)
            if text is not None:
                return Answer(self._struck(text) if len(self._key) >= _SHORTEST_SECRET else text, _tokens_of(said))
            why = "the endpoint's answer has no choices[0].message.content"
        raise JudgeError(f"{why}, {1 + self.retries} times")

    def _reason(self, error: BaseException) -> str:
        """An error and what caused it, in a line without the key."""
        cause = f" ({error.__cause__})" if error.__cause__ is not None and str(error.__cause__) else ""
        text = self._struck(f"{type(error).__name__}: {error}{cause}")  # before it is cut: half a key is one too much
        return " ".join(text.split())[:_LONGEST_REASON]

    def _struck(self, text: str) -> str:
        """A text without the key, in any of the ways in which JSON, an address or a header writes it."""
        if not self._key:
            return text
        forms = {self._key, json.dumps(self._key)[1:-1], quote(self._key), quote(self._key, safe="")}
        for form in sorted(forms, key=len, reverse=True):
            text = text.replace(form, "[key]")
        return text


def _text_of(said: Any) -> str | None:
    choices = getattr(said, "choices", None)
    content = (
        getattr(getattr(choices[0], "message", None), "content", None)
        if isinstance(choices, list) and choices
        else None
    )
    return content if isinstance(content, str) else None


def _tokens_of(said: Any) -> int:
    total = getattr(getattr(said, "usage", None), "total_tokens", None)
    return total if type(total) is int and total > 0 else 0  # what makes no sense counts as not counted
