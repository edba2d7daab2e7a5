"""The one error hook of the Lightning command line: a sentence with the nearest right key, and where the help is."""

from __future__ import annotations

import difflib
import inspect
import re
import sys
from collections.abc import Iterable
from typing import Any, NoReturn

from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser

from esft_lightning.command_parser import leave, no_such_option
from esft_lightning.commands.environment_settings import with_environment_names
from esft_lightning.commands.wrong_values import about_a_value, class_names

# How jsonargparse 4 speaks of what it did not expect: options, config keys, class names.
_WRONG = (
    re.compile(r"[Uu]nrecognized arguments: (?:\S+ )*?--([\w.]+)"),
    re.compile(r"does not accept option '([\w.]+)'"),
    re.compile(r"[Oo]ption '([\w.]+)' is not accepted"),
    re.compile(r"[Kk]ey \"?'?([\w.]+)'?\"? is not expected"),
)
_OF_AN_OBJECT = re.compile(r"(?<=\w)\.(class_path|init_args)\b.*")  # the key that is wrong stands before it
_HINT = "\nDid you mean {}?"
_MISSING = re.compile(r"the following arguments are required: (?:\w+\.)?(model\.strategy)")


class SuggestingParser(LightningArgumentParser):
    """Lightning's parser without abbreviations, which says of a wrong key or value what was probably meant."""

    def __init__(self, *args: Any, **options: Any) -> None:
        """Make a parser.

        Args:
            args: As Lightning's takes them.
            options: As Lightning's takes them.
        """
        super().__init__(*args, **{"allow_abbrev": False, **options})

    def dump(self, namespace: Namespace, *args: Any, skip_validation: bool = False, **options: Any) -> str:
        """Settings as text; what came from the environment stands there by its variable's name.

        Args:
            namespace: The settings.
            args: As jsonargparse takes them.
            skip_validation: Whether to write them unchecked.
            options: As jsonargparse takes them.
        """
        if (given := with_environment_names(namespace)) is not namespace:
            if not skip_validation:
                self.validate(namespace)  # a name is no number
            namespace, skip_validation = given, True
        return super().dump(namespace, *args, skip_validation=skip_validation, **options)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Say what is wrong in one line and where help is in another, and leave with 2.

        Args:
            message: What is wrong, in jsonargparse's words.
            ex: The exception behind it.
        """
        if not self.exit_on_error:  # of a class's own settings; the parser around it says what comes of it
            near = suggestions(message, ("class_path", "init_args", *(action.dest for action in self._actions)))
            super().error(message + (_HINT.format(" or ".join(map(repr, near))) if near else ""), ex)
        parser: Any = getattr(ex, "subcommand_parser", None) or self
        refuse(sentence(message, known_names(parser)))


def refuse(said: str) -> NoReturn:
    """Print what is wrong with the settings and where they are described, and leave with 2."""
    leave(said, f"python -m esft_lightning {_verb()} --help")


def sentence(message: str, known: Iterable[str]) -> str:
    """What a message of jsonargparse means to a user, with the nearest right names.

    Args:
        message: The message.
        known: Full dotted keys and class names that would be right.
    """
    known = set(known)
    if (about := about_a_value(message)) is not None:
        return about
    if match := _MISSING.search(message):
        names = ", ".join(class_names(match[1]))
        return f"--{match[1]} is missing; expected one of {names}, or the class_path of your own"
    if (wrong := _wrong_key(message)) is None:
        if match := re.match(r"unrecognized arguments: (\S+)", message):
            return no_such_option(match[1], ())
        return message.removeprefix("argument ")
    if match := re.search(r"Did you mean (.*?)\?", message):
        return f"there is no setting {wrong!r}. Did you mean {match[1]}?"
    if "given class_path" in message:
        of = re.findall(r"given class_path '(?:\w+\.)*(\w+)'", message)[-1]
        owners = [name for name, member in _classes() if wrong in inspect.signature(member).parameters]
        return f"{of} has no setting {wrong!r}" + (f"; {', '.join(owners)} have it" if owners else "")
    near = suggestions(message, known)
    return f"there is no setting {wrong!r}." + (f" Did you mean {' or '.join(map(repr, near))}?" if near else "")


def suggestions(message: str, known: Iterable[str]) -> list[str]:
    """Names that resemble the wrong one that an error message speaks of.

    Args:
        message: jsonargparse's error message.
        known: Full dotted keys and class names that would be right.

    Returns:
        At most two, the nearest first; none where the message names no wrong key.
    """
    wrong = _wrong_key(message)
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
    names: set[str] = set()
    for action in parser._actions:
        for inner in getattr(action, "_name_parser_map", {}).values():
            names |= known_names(inner)
        names.add(action.dest)
    for name, member in _classes():
        key = "data" if name.endswith("DataModule") else "model.strategy"
        names.add(name)
        names |= {f"{key}.{argument}" for argument in inspect.signature(member).parameters}
    return names


def _wrong_key(message: str) -> str | None:
    found = next((found.group(1) for pattern in _WRONG if (found := pattern.search(message))), None)
    return found and _OF_AN_OBJECT.sub("", found)


def _classes() -> list[tuple[str, type]]:
    """Names and classes that the settings `data` and `model.strategy` may have."""
    from esft_lightning import strategies, tasks

    return [
        (name, getattr(home, name))
        for key, home in (("data", tasks), ("model.strategy", strategies))
        for name in class_names(key)
    ]


def _verb() -> str:
    """The verb of this command; `fit` where there is none, whose help describes every setting."""
    given = sys.argv[1] if len(sys.argv) > 1 else ""
    return given if given in ("fit", "validate", "test", "predict", "profile") else "fit"


def _plain(name: str) -> str:
    return name.replace("init_args.", "")
