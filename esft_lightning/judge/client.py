"""One request to an OpenAI-compatible endpoint.

The `openai` package sends it, again where that failed, with growing pauses, and heeds `Retry-After`. The key comes from
the environment alone and is struck out of every error's text.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from esft_lightning.errors import SettingError, UserError
from esft_lightning.judge.answers import Answer

__all__ = ["KEY_VARIABLES", "JudgeClient", "JudgeError"]

KEY_VARIABLES = ("ESFT_JUDGE_API_KEY", "OPENAI_API_KEY")
"""Environment variables that may hold the key, in the order in which they are looked for."""
_NO_KEY = "none"  # endpoints of one's own machine often want none


class JudgeError(UserError):
    """The endpoint gave no usable answer, after all attempts."""


class JudgeClient:
    """Sends requests; safe to use from several threads."""

    def __init__(self, url: str, *, retries: int = 6, timeout: float = 60.0) -> None:
        """Prepare the connection; nothing is sent.

        Args:
            url: The endpoint, such as `https://api.openai.com/v1`.
            retries: Further attempts after a failed one (busy, broken, cut or too slow).
            timeout: Seconds that an attempt may take.

        Raises:
            JudgeError: The `openai` package is not installed.
            SettingError: `url` is none.
        """
        if not url.startswith(("http://", "https://")):
            raise SettingError(f"--judge-url {url!r}: expected http://… or https://…")
        try:
            import openai
        except ImportError as error:
            raise JudgeError(
                "a judge needs the openai package; in a clone of this project: pip install '.[judge]'"
            ) from error
        self.url = url.rstrip("/")
        self.retries = retries
        self._key = next((os.environ[name] for name in KEY_VARIABLES if os.environ.get(name)), "")
        # other variables of the package (organisation, base address) are not ours to follow
        self._client = openai.OpenAI(
            api_key=self._key or _NO_KEY,
            base_url=self.url,
            organization="",
            project="",
            max_retries=retries,
            timeout=timeout,
        )

    def ask(self, request: Mapping[str, Any]) -> Answer:
        """Send a chat completion request and wait for the answer.

        Args:
            request: `model`, `messages` and parameters.

        Raises:
            JudgeError: No usable answer after all attempts; the text says why and never holds the key.
        """
        import openai

        why = ""
        for _ in range(1 + self.retries):
            try:
                said = self._client.chat.completions.create(**request)
            except openai.OpenAIError as error:  # its own attempts are used up
                raise JudgeError(self._struck(f"{type(error).__name__}: {error}")) from None
            except ValueError as error:  # a body that is no JSON; what came is as good as nothing
                why = self._struck(f"{type(error).__name__}: {error}")
                continue
            text = _text_of(said)
            if text is not None:
                return Answer(text, _tokens_of(said))
            why = "the endpoint's answer has no choices[0].message.content"
        raise JudgeError(f"{why}, {1 + self.retries} times")

    def _struck(self, text: str) -> str:
        text = " ".join(text.split())[:300]
        return text.replace(self._key, "[key]") if self._key else text


def _text_of(said: Any) -> str | None:
    choices = getattr(said, "choices", None)
    content = getattr(getattr(choices[0], "message", None), "content", None) if choices else None
    return content if isinstance(content, str) else None


def _tokens_of(said: Any) -> int:
    total = getattr(getattr(said, "usage", None), "total_tokens", None)
    return total if isinstance(total, int) else 0
