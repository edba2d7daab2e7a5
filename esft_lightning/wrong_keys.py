"""The one error hook of the command line: a wrong key or name is refused with the nearest right one."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Iterable
from typing import Any, NoReturn

from lightning.pytorch.cli import LightningArgumentParser

# How jsonargparse 4 speaks of what it did not expect: options, config keys, class names.
_WRONG = (
    re.compile(r"[Uu]nrecognized arguments:.*?--([\w.]+)"),
    re.compile(r"does not accept option '([\w.]+)'"),
    re.compile(r"[Oo]ption '([\w.]+)' is not accepted"),
    re.compile(r"[Kk]ey \"?'?([\w.]+)'?\"? is not expected"),
    re.compile(r"Expected a dot import path string: ([\w.]+)"),
)


class SuggestingParser(LightningArgumentParser):
    """Lightning's parser, which says of a wrong key what was probably meant."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Add the nearest right names to the message, then end as usual.

        Args:
            message: What is wrong.
            ex: The exception behind it.
        """
        parser: Any = getattr(ex, "subcommand_parser", None) or self
        near = [] if "Did you mean" in message else suggestions(message, known_names(parser))
        super().error(message + (f"\nDid you mean {' or '.join(map(repr, near))}?" if near else ""), ex)
        raise AssertionError("unreachable: argparse's error always leaves")


def suggestions(message: str, known: Iterable[str]) -> list[str]:
    """Names that resemble the wrong one that an error message speaks of.

    Args:
        message: jsonargparse's error message.
        known: Full dotted keys and class names that would be right.

    Returns:
        At most two, the nearest first; none where the message names no wrong key.
    """
    wrong = next((found.group(1) for pattern in _WRONG if (found := pattern.search(message))), None)
    if wrong is None:
        return []
    full = {_plain(name): name for name in known}
    near = difflib.get_close_matches(_plain(wrong), full, n=1, cutoff=0.8)
    if near:
        return near
    by_leaf: dict[str, list[str]] = {}
    for plain in sorted(full):
        by_leaf.setdefault(plain.rpartition(".")[2], []).append(plain)
    leaves = difflib.get_close_matches(wrong.rpartition(".")[2], by_leaf, n=2, cutoff=0.6)
    return [plain for leaf in leaves for plain in by_leaf[leaf]][:2]


def known_names(parser: Any) -> set[str]:
    """Every dotted key that a parser accepts, the arguments of the subclasses it may be given, and their names.

    Args:
        parser: A parser with all arguments added.

    Returns:
        Names such as `model.base`, `data.train_files`, `IntentDataModule`.
    """
    from esft_lightning import data, strategies

    names: set[str] = set()
    for action in parser._actions:
        for inner in getattr(action, "_name_parser_map", {}).values():
            names |= known_names(inner)
        names.add(action.dest)
    for key, package in (("data", data), ("model.strategy", strategies)):
        for name in package.__all__:
            member = getattr(package, name)
            if inspect.isclass(member) and not name.endswith("Error"):
                names.add(name)
                names |= {f"{key}.{argument}" for argument in inspect.signature(member).parameters}
    return names


def _plain(name: str) -> str:
    return name.replace("init_args.", "")
