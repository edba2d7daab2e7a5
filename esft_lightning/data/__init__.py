"""Task data: rows → chat text → tokens → packed rows → batches. Knows no model and no strategy.

Names are loaded on first use, so that importing this package starts no heavy library.
"""

from importlib import import_module

_HOMES = {
    "TaskDataModule": "task",
    "MathDataModule": "math",
    "CodeDataModule": "code",
    "IntentDataModule": "intent",
    "SummaryDataModule": "summary",
    "LawDataModule": "law",
    "TranslationDataModule": "translation",
    "DataError": "rows",
    "PackedLoader": "loader",
    "load_tokenizer": "tokenizer",
}
__all__ = list(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(_HOMES)}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
