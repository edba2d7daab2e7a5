r"""JSONL files and the shape of `messages`, with errors that name file and line.

Knows nothing of published forms, tokens, tasks or where else rows may come from. A line ends at `\n` alone: U+2028,
U+2029, U+0085 and form feeds inside a JSON text are text.

A row as it stands in a file::

    {"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}
"""

import glob
import gzip
import json
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from esft_lightning.data.columns import ROLES
from esft_lightning.data.errors import DataError
from esft_lightning.data.formats import known_forms
from esft_lightning.data.row_keys import shown

EXPECTED = '{"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}'
OnBadRow = Literal["error", "skip"]


class ChatRow(NamedTuple):
    """One conversation and where it was read: `origin` is `file:line`, a hub split and row, or `embedded:n`."""

    messages: list[dict[str, Any]]
    origin: str


def expand_files(files: str | Sequence[str], what: str = "train_files") -> list[Path]:
    """Resolve paths and globs (`**` included) to files, in the order given, each glob sorted, no file twice.

    Args:
        files: One path or glob, or several.
        what: Name of the setting, for the error message.

    Raises:
        DataError: A path does not exist, a glob matches nothing, or a path is a folder.
    """
    found: dict[Path, None] = {}
    for pattern in [files] if isinstance(files, str) else files:
        path = Path(pattern).expanduser()
        if path.is_dir():
            raise DataError(f"{path}: is a folder; {what} takes files or a glob such as {path / '*.jsonl'}")
        if path.exists():
            found[path] = None
            continue
        if not glob.has_magic(str(path)):
            raise DataError(f"{path}: no such file (looked in {Path.cwd()}); check {what}")
        matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207
        matches = [match for match in matches if match.is_file()]
        if not matches:
            raise DataError(f"{pattern}: the glob matches no file (looked in {Path.cwd()}); check {what}")
        found.update(dict.fromkeys(matches))
    if not found:
        raise DataError(f"{what} is empty; give at least one file")
    return list(found)


def read_jsonl(path: Path) -> Iterator[tuple[str, dict[str, Any] | DataError]]:
    """Yield `(file:line, object)` for each non-blank line of a JSONL file, `.gz` or plain, UTF-8.

    A line that is not UTF-8, not JSON or not an object is yielded as a `DataError`, for the caller to raise or skip.

    Raises:
        DataError: The file cannot be read at all, or holds no line.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    empty = True
    number = 0
    try:
        with opener(path, "rb") as file:  # bytes: a wrong encoding must be an error of its line, not of its file
            for number, raw in enumerate(file, 1):
                line = raw.removeprefix(b"\xef\xbb\xbf")  # of the file, or of one that was put behind another
                if not line.strip():
                    continue
                empty = False
                yield f"{path}:{number}", _parse(line, f"{path}:{number}")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}:{number + 1}: not a complete gzip file ({error}); compress it again") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    if empty:
        raise DataError(f"{path}: the file is empty; expected one JSON object a line: {EXPECTED}")


class _RepeatedKeyError(ValueError):
    pass


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        raise _RepeatedKeyError(repr(shown(next(key for key, count in counts.items() if count > 1))))
    return made


_DECODER = json.JSONDecoder(object_pairs_hook=_object)


def _parse(line: bytes, origin: str) -> dict[str, Any] | DataError:
    try:
        record = _DECODER.decode(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        return DataError(f"{origin}: byte {error.start + 1} is not UTF-8 (0x{line[error.start]:02x}); save it as UTF-8")
    except _RepeatedKeyError as error:
        return DataError(f"{origin}: key {error} stands twice in one object, and one value would be lost; keep one")
    except (ValueError, RecursionError) as error:  # ValueError: no JSON, or a number of thousands of digits
        return DataError(f"{origin}: invalid JSON ({error}); expected one object a line: {EXPECTED}")
    if not isinstance(record, dict):
        return DataError(f"{origin}: a JSON {type(record).__name__}, not an object; expected {EXPECTED}")
    return record


def check_messages(record: Mapping[str, Any], origin: str) -> ChatRow:
    """Validate one record's `messages` and return it as a row.

    The rule: an optional `system` message first, then `user` and `assistant` in turns, ending with `assistant`.

    Raises:
        DataError: `messages` is missing or breaks the rule; the message says where and how.
    """
    messages = record.get("messages")
    if messages is None:
        raise DataError(
            f"{origin}: 'messages' is missing; expected {EXPECTED}, or a published form ({known_forms()}); the row "
            f"has {', '.join(map(str, record)) or 'no column'}: set column_mapping"
        )
    if not isinstance(messages, list) or not messages:
        raise DataError(f"{origin}: 'messages' is not a list of messages; expected {EXPECTED}")
    expected = "user"
    for number, message in enumerate(messages):
        place = f"{origin}: messages[{number}]"
        if not isinstance(message, dict):
            raise DataError(f'{place} is not an object; expected {{"role": …, "content": …}}')
        for key in ("role", "content"):
            if key not in message:
                raise DataError(f'{place}: {key!r} is missing; expected {{"role": …, "content": …}}')
        role, content = message["role"], message["content"]
        if role not in ROLES:
            raise DataError(f"{place}: unknown role {role!r}; expected one of {', '.join(ROLES)}")
        check_text(content, f"{place}: 'content'")
        if role == "system" and number == 0:
            continue
        if role != expected:
            raise DataError(
                f"{place}: role {role!r} where {expected!r} was expected; "
                "a conversation is an optional system message, then user and assistant in turns"
            )
        expected = "assistant" if role == "user" else "user"
    if messages[-1]["role"] != "assistant":
        raise DataError(f"{origin}: the last message is not the assistant's; there is nothing to learn from")
    return ChatRow(messages, origin)


def check_text(text: Any, place: str) -> str:
    """Return `text` if it is a non-blank string that can be written as UTF-8.

    Raises:
        DataError: It is not.
    """
    if not isinstance(text, str):
        raise DataError(f"{place} is {type(text).__name__}, not a string")
    if not text.strip():
        raise DataError(f"{place} is empty; remove the row or fill it in")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(f"{place} holds half a surrogate pair at character {error.start + 1}; write it whole") from None
    return text
