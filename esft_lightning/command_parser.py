"""The parser of the commands that need no Lightning: what is wrong is said in one line, and nothing is guessed.

Argparse's own prints its whole usage before an error, and takes any unique beginning of an option for the option.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from esft_lightning.nearest import nearest, unknown


class CommandParser(argparse.ArgumentParser):
    """An `ArgumentParser` without abbreviations, whose errors are a sentence and the command that shows the options."""

    def __init__(self, **options: Any) -> None:
        """Make a parser.

        Args:
            options: As `argparse.ArgumentParser` takes them.
        """
        super().__init__(**{"allow_abbrev": False, **options})

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:
        """Parse; an option that there is not is said before those that are missing, which it often was meant to be."""
        given = list(sys.argv[1:] if args is None else args)
        for word in given[: given.index("--")] if "--" in given else given:
            if word.startswith("--") and word.partition("=")[0] not in self._option_string_actions:
                self.error(f"unrecognized arguments: {word}")
        return super().parse_known_args(given, namespace)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line, where help is in another, and leave with 2.

        Args:
            message: Argparse's own message.
        """
        leave(self._sentence(message), f"{self.prog} --help")

    def _sentence(self, message: str) -> str:
        options = [option for action in self._actions for option in action.option_strings if option.startswith("--")]
        if match := re.match(r"unrecognized arguments: (.*)", message, re.DOTALL):
            return no_such_option(match[1].split()[0], options)
        if match := re.match(r"argument ([^:]+): invalid choice: (.*) \(choose from (.*)\)$", message, re.DOTALL):
            option = match[1].split("/")[-1]
            action = next((a for a in self._actions if option in (*a.option_strings, a.dest, a.metavar)), None)
            if action is not None and action.choices is not None:
                return f"{option}: " + unknown("value", match[2].strip("'\""), map(str, action.choices))
        return message.removeprefix("argument ")


def no_such_option(given: str, options: Iterable[str]) -> str:
    """The sentence about an argument that no option takes, with the nearest option.

    Args:
        given: The argument, such as `--tas=math` or a word that stands alone.
        options: The options that there are.
    """
    name = given.partition("=")[0]
    if not name.startswith("-"):
        return f"{given!r} belongs to no option; options begin with --"
    near = nearest(name, options)
    return f"there is no option {name}" + ("" if near is None else f"; did you mean {near!r}?")


def leave(sentence: str, help_command: str) -> NoReturn:
    """Print an error and where its help is, each on a line of its own, and leave with exit code 2.

    Args:
        sentence: What is wrong.
        help_command: The command that shows the right options.
    """
    print(f"error: {' '.join(sentence.split())}\nsee {help_command}", file=sys.stderr)
    raise SystemExit(2)
