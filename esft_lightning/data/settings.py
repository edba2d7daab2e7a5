"""Where a task's rows come from, and settings that others make idle: such a setting is refused, never ignored.

Every setting of `TaskDataModule` stands here once: in `_READ`, with what it takes to be read, or in `ALWAYS_READ`.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from esft_lightning.data.errors import DataError
from esft_lightning.data.sources import Source

ALWAYS_READ = frozenset({
    "source", "val_files", "test_files", "train_rows", "general_source", "tokenizer", "revision", "trust_remote_code",
    "chat_format", "sequence_length", "batch_size", "val_batch_size", "cross_sample_attention", "padding_free",
    "on_overflow", "seed", "profile_seed", "profile_sequences", "on_bad_row", "on_long_sample", "num_workers",
    "cache_dir",
    # Of a model's configuration file, which fits any data: `test` itself refuses to run without evaluation rows.
    "test_batch_size",
})  # fmt: skip
"""Settings that no other one makes idle."""

_QUIET: Mapping[str, tuple[Any, ...]] = {
    "val_fraction": (0.02, 0), "random_concat_ratio": (0.2, 0), "embedded_seed": (0,), "general_hub_split": ("train",),
    "decontaminate": (0,), "few_shot": (0,), "general_ratio": (0,),
}  # fmt: skip
"""Values besides None, {} and [] that ask for nothing: defaults, and what switches off."""


class _Facts(NamedTuple):
    """Where rows come from."""

    source: Source
    general: Source | None
    evaluation: Source | None
    given: Mapping[str, Any]


_Rule = tuple[Callable[[_Facts], bool], str]
_FILES: _Rule = (lambda facts: facts.source == "files", "with source=files")
_HUB: _Rule = (lambda facts: facts.source == "hub", "with source=hub")
_HUB_TEST: _Rule = (lambda facts: facts.evaluation == "hub", "with hub_test_id or source=hub, and without test_files")
_TESTED: _Rule = (
    lambda facts: facts.evaluation is not None,
    "where there are evaluation rows: test_files, hub_test_id or source=embedded",
)
_GENERAL_HUB: _Rule = (lambda facts: facts.general == "hub", "with general_source=hub")
_READ: Mapping[str, _Rule] = {
    "train_files": _FILES,
    "hub_id": _HUB,
    "hub_config": _HUB,
    "hub_split": _HUB,
    "hub_test_id": _HUB_TEST,
    "hub_test_config": _HUB_TEST,
    "hub_test_split": _HUB_TEST,
    "column_mapping": (
        lambda facts: facts.source != "embedded" or facts.given["val_files"] is not None,
        "with source=files or source=hub",
    ),
    "test_column_mapping": (
        lambda facts: facts.evaluation in ("files", "hub"),
        "with test_files, hub_test_id or source=hub",
    ),
    "test_rows": _TESTED,
    "few_shot": _TESTED,
    "max_prompt_tokens": _TESTED,
    "decontaminate": _TESTED,
    "embedded_seed": (
        lambda facts: "embedded" in (facts.source, facts.general, facts.evaluation),
        "with source=embedded or general_source=embedded",
    ),
    "general_ratio": (lambda facts: facts.general is not None, "with a general_source: embedded, files or hub"),
    "general_files": (lambda facts: facts.general == "files", "with general_source=files"),
    "general_hub_id": _GENERAL_HUB,
    "general_hub_split": _GENERAL_HUB,
    "general_column_mapping": (
        lambda facts: facts.general in ("files", "hub"),
        "with general_source=files or general_source=hub",
    ),
    "val_fraction": (
        lambda facts: facts.given["val_files"] is None and facts.source != "embedded",
        "with source=files or source=hub, and without val_files",
    ),
    "val_rows": (
        lambda facts: facts.given["val_files"] is None and facts.source == "embedded",
        "with source=embedded, and without val_files",
    ),
    "random_concat_ratio": (
        lambda facts: bool(facts.given["cross_sample_attention"]),
        "with cross_sample_attention=true",
    ),
}


def choose_sources(given: Mapping[str, Any], *, hub_test: bool) -> tuple[Source, Source | None]:
    """Choose where training and general rows come from, and refuse what contradicts that.

    A source that was left at its default (None) follows from the settings beside it: `train_files` mean files, a
    `hub_id` the hub, neither the embedded rows.

    Args:
        given: All settings of the DataModule by name.
        hub_test: Whether the task has evaluation data of its own on the hub.

    Returns:
        The source of training rows, and that of general rows, None for none.

    Raises:
        DataError: Settings that contradict one another, or one that nothing would read.
    """
    facts = _facts(given, hub_test=hub_test)
    source, general = facts.source, facts.general
    if given["source"] == "files" and not given["train_files"]:
        raise DataError("source=files needs train_files, e.g. --data.train_files 'data/*.jsonl'")
    if general == "files" and not given["general_files"]:
        raise DataError("general_source=files needs general_files")
    if general == "hub" and not given["general_hub_id"]:
        raise DataError("general_source=hub needs general_hub_id")
    for name in _idle(facts):
        when = _READ[name][1]
        raise DataError(f"{name} has no effect here: it is read {when} ({_now(facts)}); set that, or leave it out")
    _check_numbers(given)
    return source, general


def idle_settings(settings: Mapping[str, Any]) -> set[str]:
    """The settings that nothing would read beside one another; those of a task's own are taken to be read.

    Args:
        settings: Some settings of a DataModule by name; the others have their defaults.
    """
    given = {name: settings.get(name) for name in (*ALWAYS_READ, *_READ)}
    return set(_idle(_facts(given, hub_test=True)))


def _facts(given: Mapping[str, Any], *, hub_test: bool) -> _Facts:
    source = given["source"] or _inferred(given)
    general = given["general_source"] or _one_of(given, "general_files", "general_hub_id", "general_source")
    return _Facts(source, general, _evaluation(given, source, hub_test), given)


def _idle(facts: _Facts) -> Iterator[str]:
    """The settings that ask for something and are not read."""
    for name, (is_read, _) in _READ.items():
        if facts.given[name] not in (None, {}, [], *_QUIET.get(name, ())) and not is_read(facts):
            yield name


def _inferred(given: Mapping[str, Any]) -> Source:
    hub = next((name for name in ("hub_id", "hub_config", "hub_split") if given[name] is not None), "hub_id")
    if (chosen := _one_of(given, "train_files", hub, "source")) is not None:
        return chosen
    # Somebody who names files of their own does not mean to train on the embedded rows.
    if given["val_files"] is not None or given["test_files"] is not None:
        return "files"
    return "embedded" if given["hub_test_id"] is None else "hub"


def _one_of(given: Mapping[str, Any], files: str, hub: str, setting: str) -> Source | None:
    if given[files] is not None and given[hub] is not None:
        raise DataError(f"{files} and {hub} are both set; say which one counts with {setting}, and leave the other out")
    return "files" if given[files] is not None else "hub" if given[hub] is not None else None


def _evaluation(given: Mapping[str, Any], source: Source, hub_test: bool) -> Source | None:
    if given["test_files"] is not None:
        return "files"
    if given["hub_test_id"] is not None or (source == "hub" and hub_test):
        return "hub"
    return "embedded" if source == "embedded" else None


def _now(facts: _Facts) -> str:
    general = f", general_source={facts.general}" if facts.general else ""
    return f"now source={facts.source}{general}"


def _check_numbers(given: Mapping[str, Any]) -> None:
    least = {
        "train_rows": 1, "test_rows": 1, "val_rows": 1, "profile_sequences": 1, "max_prompt_tokens": 1, "few_shot": 0,
        "general_ratio": 0, "num_workers": 0,
    }  # fmt: skip
    for name, lowest in least.items():
        if given[name] is not None and given[name] < lowest:
            raise DataError(f"{name} is {given[name]}; expected at least {lowest}")
