"""A record under its makers' columns → a checked row, and what became of each of its keys.

Ties together `columns` (the user's mapping), `formats` (published forms), `turns` (conventions of conversations) and
`row_keys` (what is refused, what is counted).
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from esft_lightning.data.columns import ColumnMapping, columns_read, map_columns
from esft_lightning.data.errors import DataError
from esft_lightning.data.formats import Purpose, form_of
from esft_lightning.data.row_keys import shown, unused_keys
from esft_lightning.data.rows import ChatRow, OnBadRow
from esft_lightning.data.sources import Record
from esft_lightning.data.turns import read_turns, with_row_keys

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass
class Reading(Generic[T]):
    """What was read.

    Attributes:
        rows: The good rows.
        skipped: The error message of each row that was skipped.
        unused: In how many of the good rows each key stood that nothing read; a message's key as `messages.KEY`.
    """

    rows: list[T] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    unused: Counter[str] = field(default_factory=Counter)


def read_rows(
    records: Iterable[Record],
    check: Callable[[Mapping[str, Any], str], T],
    on_bad_row: OnBadRow,
    mapping: ColumnMapping | None = None,
    purpose: Purpose = "train",
    sample_keys: Set[str] = frozenset(),
) -> Reading[T]:
    """Map and check records from any source; what no mapping covers is told by its columns (see `formats`).

    No key of a record is lost without a word: it is read, carried over (see `turns`), refused, or counted (see
    `row_keys`).

    Args:
        records: `(origin, record)` pairs; a record that could not be read is its `DataError`.
        check: Turns one mapped record and its origin into a row, or raises `DataError`.
        on_bad_row: `error` raises the first bad row's error; `skip` leaves the row out.
        mapping: See `columns.map_columns`.
        purpose: Whether records become training or evaluation rows.
        sample_keys: Keys that the task reads of an evaluation row besides prompt and references.
    """
    reading: Reading[T] = Reading()
    for origin, record in records:
        try:
            if isinstance(record, DataError):
                raise record
            row, unused = _read_row(record, origin, check, mapping, purpose, sample_keys)
        except (DataError, RecursionError) as error:
            if isinstance(error, RecursionError):
                error = DataError(f"{origin}: objects or lists stand too deeply inside one another; make them flat")
            if on_bad_row == "error":
                raise error from None
            reading.skipped.append(str(error))
        else:
            reading.rows.append(row)
            reading.unused.update(unused)
    return reading


def wanted(
    records: Iterable[Record], wants: Callable[[Mapping[str, Any]], bool], report: dict[str, Any], what: str
) -> Iterator[Record]:
    """Pass on the records that a task wants; count the others in the report, and say so.

    Args:
        records: `(origin, record)` pairs.
        wants: The task's rule.
        report: Takes `WHAT_rows_left_out`.
        what: `train` or `val`.
    """
    left_out, first = 0, ""
    for origin, record in records:
        if isinstance(record, DataError) or wants(record):
            yield origin, record
        else:
            left_out, first = left_out + 1, first or origin
    report[f"{what}_rows_left_out"] = left_out
    if left_out:
        log.warning("%d %s rows are left out as none of this task's, the first: %s", left_out, what, first)


def note(reading: Reading[Any], report: dict[str, Any], what: str, *, aloud: bool) -> None:
    """Count in the report what was skipped and which keys nothing reads, and say so; what is read again counts once.

    Args:
        reading: What was read.
        report: Holds `task`; takes `WHAT_read`, `WHAT_skipped`, `skipped_rows`, `skipped_examples`, `unused_keys`.
        what: `train`, `val`, `general` or `test`.
        aloud: Whether this process is the one that speaks.
    """
    unused = report.setdefault("unused_keys", {})
    if what in unused:
        return
    unused[what] = dict(reading.unused)
    report |= {f"{what}_read": len(reading.rows) + len(reading.skipped), f"{what}_skipped": len(reading.skipped)}
    report["skipped_rows"] = report.get("skipped_rows", 0) + len(reading.skipped)
    report["skipped_examples"] = [*report.get("skipped_examples", []), *reading.skipped][:5]
    for message in reading.skipped[:5]:
        log.warning("skipped: %s", message)
    if len(reading.skipped) > 5:
        log.warning("skipped: %d more of the %s rows", len(reading.skipped) - 5, what)
    if reading.unused and aloud:
        keys = ", ".join(f"{shown(key)} ({count:,})" for key, count in reading.unused.most_common())
        log.info("%s data: keys of the %s rows that nothing reads (in so many rows): %s", report["task"], what, keys)


def _read_row(
    record: Mapping[str, Any],
    origin: str,
    check: Callable[[Mapping[str, Any], str], T],
    mapping: ColumnMapping | None,
    purpose: Purpose,
    sample_keys: Set[str],
) -> tuple[T, set[str]]:
    """One row, and its keys that nothing read."""
    used = columns_read(record, mapping)
    mapped = map_columns(record, mapping, origin)
    form = form_of(mapped, purpose)
    if form is not None:
        columns = form.train if purpose == "train" else form.test
        used |= columns_read(mapped, columns)
        mapped = map_columns(mapped, columns, origin)
    asked = purpose == "test" and "raw_answers" in mapped
    in_turns: Counter[str] = Counter()
    if not asked and (turns := mapped.get("messages")) is not None:
        if turns is record.get("messages"):
            used.add("messages")
        turns, in_turns = read_turns(turns, origin)
        if purpose == "train":
            turns, carried = with_row_keys(mapped, turns, used, origin)
            used |= carried
        mapped["messages"] = turns
    row = check(mapped, origin)
    if purpose == "test":
        used |= sample_keys | {"task_id"} | (({"prompt", "raw_answers"} if asked else set()) - set(mapping or {}))
    made = {"messages", "prompt", "raw_answers"}
    beside = {key: value for key, value in mapped.items() if key not in record and key not in made}
    columns = form.columns if form else frozenset[str]()
    return row, {*in_turns, *unused_keys({**record, **beside}, used, columns, _texts(row), origin)}


def _texts(row: Any) -> list[str]:
    """What a row became: its turns, or its question and references."""
    if isinstance(row, ChatRow):
        return [message["content"] for message in row.messages]
    return [row["prompt"], *row["raw_answers"]]
