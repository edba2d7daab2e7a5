"""Reading training rows: JSONL files, their validation, and errors that name file and line.

Knows files, JSON and the shape of `messages`. Knows nothing of tokens, tasks or where else rows may come from.

A row as it stands in a file::

    {"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}
"""

import glob
import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from esft_lightning.data.formats import Purpose, known_forms, recognised
from esft_lightning.errors import UserError

ROLES = ("system", "user", "assistant")
EXPECTED = '{"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}'
OnBadRow = Literal["error", "skip"]
T = TypeVar("T")


class DataError(UserError, ValueError):
    """Data that cannot be used as it is; the message names the place, what was expected and the way out."""


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
                line = raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw
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


def _parse(line: bytes, origin: str) -> dict[str, Any] | DataError:
    try:
        record = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        return DataError(f"{origin}: byte {error.start + 1} is not UTF-8 (0x{line[error.start]:02x}); save it as UTF-8")
    except (json.JSONDecodeError, RecursionError) as error:
        return DataError(f"{origin}: invalid JSON ({error}); expected one object a line: {EXPECTED}")
    if not isinstance(record, dict):
        return DataError(f"{origin}: a JSON {type(record).__name__}, not an object; expected {EXPECTED}")
    return record


def map_columns(record: Mapping[str, Any], mapping: Mapping[str, str] | None, origin: str) -> dict[str, Any]:
    """Rename or build fields of a record; what is not mapped stays.

    A value of `mapping` is a column (`"question"`, or nested: `"translation.en"`) or, where it holds braces, a text
    with columns in it (`"Translate: {translation.chr}"`). The keys `user`, `assistant` and `system` become `messages`;
    any other key is set on the record.

    Raises:
        DataError: A named column is missing.
    """
    if not mapping:
        return dict(record)
    built = {key: _column_or_text(record, value, origin) for key, value in mapping.items()}
    mapped = {**record, **{key: value for key, value in built.items() if key not in ROLES}}
    messages = [{"role": role, "content": built[role]} for role in ROLES if role in built]
    return {**mapped, "messages": messages} if messages else mapped


def _column_or_text(record: Mapping[str, Any], value: str, origin: str) -> Any:
    if "{" not in value:
        return _column(record, value, origin)
    return re.sub(r"\{([^{}]+)\}", lambda match: str(_column(record, match[1], origin)), value)


def _column(record: Mapping[str, Any], name: str, origin: str) -> Any:
    found: Any = record
    for part in [name] if name in record else name.split("."):
        if not isinstance(found, Mapping) or part not in found:
            raise DataError(
                f"{origin}: column {name!r} is missing; the row has {', '.join(map(str, record)) or 'no column'}: "
                "set column_mapping"
            )
        found = found[part]
    return found


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


def read_rows(
    records: Iterator[tuple[str, dict[str, Any] | DataError]],
    check: Callable[[Mapping[str, Any], str], T],
    on_bad_row: OnBadRow,
    mapping: Mapping[str, str] | None = None,
    purpose: Purpose = "train",
) -> tuple[list[T], list[str]]:
    """Map and check records from any source; what no mapping covers is told by its columns (see `formats`).

    Args:
        records: `(origin, record)` pairs; a record that could not be read is its `DataError`.
        check: Turns one mapped record and its origin into a row, or raises `DataError`.
        on_bad_row: `error` raises the first bad row's error; `skip` leaves the row out.
        mapping: See `map_columns`.
        purpose: Whether records become training or evaluation rows.

    Returns:
        The good rows, and the error message of each row that was skipped.
    """
    rows: list[T] = []
    skipped: list[str] = []
    for origin, record in records:
        try:
            if isinstance(record, DataError):
                raise record
            mapped = map_columns(record, mapping, origin)
            rows.append(check(map_columns(mapped, recognised(mapped, purpose), origin), origin))
        except DataError as error:
            if on_bad_row == "error":
                raise
            skipped.append(str(error))
    return rows, skipped
