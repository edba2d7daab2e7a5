"""Column mappings: which columns of a row become which of its fields. Knows no published form by name.

A mapping's value is a column (`question`, or nested: `translation.en`) or, where it holds braces, a text with columns
in it (`Translate: {translation.chr}`). The keys `user`, `assistant` and `system` become `messages`; any other key is
set on the row. A key without a value (`{tools: null}`) leaves the column of that name out, knowingly.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

from esft_lightning.data.errors import DataError
from esft_lightning.errors import SettingError

ROLES = ("system", "user", "assistant")
ColumnMapping = Mapping[str, str | None]
_PLACE = re.compile(r"\{([^{}]+)\}")
_TEXTS = (*ROLES, "prompt")


def map_columns(record: Mapping[str, Any], mapping: ColumnMapping | None, origin: str) -> dict[str, Any]:
    """Rename or build fields of a record; what is not mapped stays.

    Args:
        record: A row under its makers' columns.
        mapping: See above.
        origin: `file:line`, for errors.

    Raises:
        DataError: A named column is missing, or a column that becomes a text is neither a text nor a number.
        SettingError: A text of the mapping has braces that name no column.
    """
    if not mapping:
        return dict(record)
    built = {key: _field(record, key, value, origin) for key, value in mapping.items() if value is not None}
    left_out = {key for key, value in mapping.items() if value is None}
    mapped = {key: value for key, value in record.items() if key not in left_out}
    mapped |= {key: value for key, value in built.items() if key not in ROLES}
    messages = [{"role": role, "content": built[role]} for role in ROLES if role in built]
    return {**mapped, "messages": messages} if messages else mapped


def columns_read(record: Mapping[str, Any], mapping: ColumnMapping | None) -> set[str]:
    """The columns of a record that a mapping reads or knowingly leaves out, by the names that they have there."""
    names: set[str] = set()
    for key, value in (mapping or {}).items():
        read = [key] if value is None else _PLACE.findall(value) if "{" in value else [value]
        names.update(name if name in record else name.split(".")[0] for name in read)
    return names


def _field(record: Mapping[str, Any], key: str, value: str, origin: str) -> Any:
    if "{" in value:
        if not _PLACE.search(value) or value.count("{") != value.count("}"):
            raise SettingError(
                f"column_mapping {key}: {value!r} names no column between braces, or leaves a brace open; write it as "
                "in 'Translate: {text}'"
            )
        return _PLACE.sub(lambda place: _text(_column(record, place[1], origin), place[1], origin), value)
    found = _column(record, value, origin)
    if key in _TEXTS:
        return _text(found, value, origin)
    if key == "raw_answers":
        answers = found if isinstance(found, list) else [found]
        return [_text(answer, value, origin) for answer in answers]
    return found


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


def _text(value: Any, column: str, origin: str) -> str:
    """A column's value as text: nothing is written in Python's spelling (`None`, `nan`, `['x', 'y']`, `True`)."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return str(value)
    shown = "null" if value is None else f"{value}" if isinstance(value, bool | float) else f"a {type(value).__name__}"
    raise DataError(
        f"{origin}: column {column!r} is {shown} where a text is made of it; give it a text, or remove the row"
    )
