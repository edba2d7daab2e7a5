"""What jsonargparse says of a wrong value, in one sentence: the setting, the value, and the values that it may have."""

from __future__ import annotations

import ast
import inspect
import re
from importlib import import_module

from esft_lightning.commands.moved_names import present_path
from esft_lightning.nearest import nearest, unknown

_VALUE = re.compile(r'Parser key "([^"]+)":\s*(.*)', re.DOTALL)
_GIVEN = re.compile(r"(?:Given value|Got value): (.*?)\s*(?:\n|$)")
_CLASS = re.compile(r"Expected a dot import path string: ?([\w.]+|(?=\s*(?:\n|$)))")
_NO_CLASS = re.compile(r"Not a valid subclass of \w+\. Got value: (.*)")
_ABSTRACT = re.compile(r"Expected an instantiatable class, but (\S+) is abstract")
_SUB_CONFIG = re.compile(r"Invalid content in sub-config file (.+?): (.*)")
_ELEMENTS = re.compile(r"Expected a tuple with (\d+) elements\. Got value: (.*)")
_OF_CLASS = re.compile(r"^( *)(?:- )?Problem with given class_path '([^']+)':\n(.*)", re.DOTALL | re.MULTILINE)
_OTHER_CLASS = re.compile(r"Import path (\S+ )?does not correspond to a subclass of (\w+)")
_NO_FUNCTION = re.compile(r"expects a function or a callable class: (.*)")
_NO_OPTION = re.compile(r"Option '([^']+)' is not accepted")
_GIVEN_CLASS = re.compile(r"class_path='([\w.]+)'")
_KINDS = {
    "int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text", "dict": "a mapping",
    "list": "a list", "tuple": "a list", "NoneType": "null", "Iterable": "a list",
}  # fmt: skip
# Where the classes are that a setting takes by their short names.
_HOMES = {
    "data": "esft_lightning.tasks",
    "model.strategy": "esft_lightning.strategies",
    "model.lr_scheduler": "torch.optim.lr_scheduler",
    "trainer.logger": "lightning.pytorch.loggers",
    "trainer.callbacks": "lightning.pytorch.callbacks",
    "trainer.plugins": "lightning.pytorch.plugins",
    "trainer.profiler": "lightning.pytorch.profilers",
}


def about_a_value(message: str) -> str | None:
    """The sentence about a wrong value.

    Args:
        message: jsonargparse's message.

    Returns:
        The sentence; None where the message is about something else.
    """
    if (match := _VALUE.search(message)) is None:
        return None
    key, body = match[1], match[2]
    while match := _OF_CLASS.search(body):  # a class's own settings are told about inside what is told about the class
        inner = _block(match[3], len(match[1]))
        if "is not accepted" in inner:
            return None  # a wrong key
        if (nested := _VALUE.search(inner)) is None:
            cause = " ".join(inner.split())
            if "required" in cause or "Requirement" in cause:
                return f"{key}: {match[2].rpartition('.')[2]}: {cause}"
            if (now := present_path(match[2])) is not None:
                return f"{key}: {match[2]!r} was moved; it is {now} now"
            return f"{key}: {match[2]!r} cannot be imported ({cause}){_choice(key, match[2])}"
        key, body = f"{key}.{nested[1]}", nested[2]
    if key == "config":
        return f"--{key}: {body.strip()}"
    if "Unable to load config" in body:
        return f"{key}: expected its settings, each by itself, such as --{key}.base tiny"
    if match := _SUB_CONFIG.search(body):
        rows = "; rows are named by --data.train_files" if key == "data" else ""
        return f"{key}: the file {match[1]} holds no settings ({match[2]}){_choice(key, '')}{rows}"
    if match := _ABSTRACT.search(body):
        return f"{key}: {match[1]} is abstract{_choice(key, '')}"
    if match := _NO_CLASS.search(body):
        return f"{key}: {'null' if match[1] == 'None' else match[1]} is no class{_choice(key, '')}"
    if match := _ELEMENTS.search(body):
        return f"{key}: expected a list of {match[1]} values, got {match[2]}"
    if match := _OTHER_CLASS.search(body):
        return f"{key}: {_given(body) or (match[1] or 'the class').strip()} is no {match[2]}{_choice(key, '')}"
    if match := _CLASS.search(body):
        names = class_names(key)
        wrong = match[1]
        if not wrong:
            return f"{key} is empty{_choice(key, '')}"
        return (
            _unknown_class(key, wrong, names) if names else f"{key}: there is no class {wrong!r}; give its class_path"
        )
    if match := _NO_OPTION.search(body):
        return f"{key}: there is no setting {match[1]!r}{_parameter_like(match[1], body)}"
    if match := _NO_FUNCTION.search(body):
        return f"{key}: {match[1].strip()}{_choice(key, _given(body).rpartition('.')[2])}"
    choices = [choice for literal in re.findall(r"Literal\[(.*?)\]", body) for choice in _literals(literal)]
    given = _given(body)
    if choices:
        other = ["true", "false"] * ("<class 'bool'>" in body) + ["null"] * ("NoneType" in body)
        return f"{key}: {unknown('value', given, [*dict.fromkeys(map(str, choices)), *other])}"
    items = re.findall(r"^\s*- (.+)", body, re.MULTILINE)
    if own := [item for item in items if not item.startswith(("Expected a", "Not a valid", "Does not validate", "a "))]:
        return f"{key}: {own[-1]}"
    named = re.findall(r"Expected a <class '(?:\w+\.)*(\w+)'>", body)
    if kinds := dict.fromkeys(_KINDS[kind] for kind in named if kind in _KINDS):
        return f"{key}: expected {' or '.join(kinds)}, got {_shortened(given)}"
    return f"{key}: {_shortened(' '.join(body.split()), 300)}"


def _shortened(text: str, most: int = 80) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _block(text: str, indent: int) -> str:
    """The lines of a text that stand further in than `indent`, up to the first that does not."""
    lines = text.split("\n")
    end = next((n for n, line in enumerate(lines) if len(line) - len(line.lstrip()) <= indent), len(lines))
    return "\n".join(lines[:end])


def class_names(key: str) -> list[str]:
    """Short names of the classes that a setting takes; none where they have none."""
    from esft_lightning.data.task import TaskDataModule

    package = _HOMES.get(key)
    if package is None:
        return []
    module = import_module(package)
    names = getattr(module, "__all__", None) or [name for name in dir(module) if not name.startswith("_")]
    members = {name: getattr(module, name) for name in names}
    classes = [name for name, member in members.items() if inspect.isclass(member) and not inspect.isabstract(member)]
    if key == "data":
        return [name for name in classes if issubclass(members[name], TaskDataModule) and members[name].task]
    if key == "model.lr_scheduler":  # without what every schedule is, and what follows the validation loss
        return [name for name in classes if name not in ("LRScheduler", "ReduceLROnPlateau")]
    if key == "model.strategy":
        from esft_lightning.strategies import FineTuningStrategy

        return [name for name in classes if issubclass(members[name], FineTuningStrategy)]
    return classes


def _unknown_class(key: str, wrong: str, names: list[str]) -> str:
    near = nearest(wrong, names)
    own = "" if key not in ("data", "model.strategy") else ", or the class_path of your own"
    hint = "" if near is None else f" Did you mean {near!r}?"
    return f"{key}: there is no class {wrong!r}.{hint} Expected one of {', '.join(names)}{own}"


def _choice(key: str, wrong: str) -> str:
    names = class_names(key)
    near = nearest(wrong, names) if wrong else None
    if near is not None:
        return f". Did you mean {near!r}?"
    return f"; expected one of {', '.join(names)}, or the class_path of your own" if names else ""


def _parameter_like(wrong: str, body: str) -> str:
    """The argument of the class that was given that a wrong one resembles, as a question; empty where none does."""
    if (given := _GIVEN_CLASS.search(body)) is None:
        return ""
    room, _, name = given[1].rpartition(".")
    near = nearest(wrong, inspect.signature(getattr(import_module(room), name)).parameters)
    return "" if near is None else f". Did you mean {near!r}?"


def _given(body: str) -> str:
    """The value that was given, as it stood there."""
    found = _GIVEN.findall(body)
    return found[-1] if found else ""


def _literals(text: str) -> list[object]:
    try:
        return list(ast.literal_eval(f"[{text}]"))
    except (ValueError, SyntaxError):
        return []
