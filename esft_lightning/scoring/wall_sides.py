"""Objects on the other side of the wall: what a side has lent, stand-ins for what it has borrowed, and what they ask.

An instance, a class, a function or a generator stays where it is; the other side gets a stand-in that asks for each
attribute, call and item. What a call changes in place comes back with its result. Which objects a side lends and what
may be asked of them is in `wall_roles.py`. Loaded by `isolated_checker.py` from its path, standard library only.
"""

from __future__ import annotations

import collections
import importlib

from wall import CannotCarry, decode, decode_error, encode, encode_error, receive, send  # type: ignore[import-not-found]

TYPE_CHECKING = False  # typing itself takes long to import
if TYPE_CHECKING:
    from typing import Any


def _special(names):
    return frozenset(f"__{name}__" for name in names.split())


_BINARY = "add sub mul matmul truediv floordiv mod divmod pow lshift rshift and xor or"
COMPARISONS = _special("eq ne lt le gt ge contains")
ARITHMETIC = frozenset().union(*(_special(" ".join(f"{p}{name}" for name in _BINARY.split())) for p in ("", "r", "i")))
LOOKS = _special(
    "bool len int float index complex round trunc floor ceil abs neg pos invert iter next reversed contains"
)
LOOKS |= _special("str repr format")
CHECKS = _special("instancecheck subclasscheck")
SPECIALS = COMPARISONS | ARITHMETIC | LOOKS | CHECKS | _special("hash call getitem setitem delitem enter exit")


class StandIn:
    """Stands for an object on the other side; its class has the special methods that the object has."""

    __slots__ = ("__weakref__", "_wall_index", "_wall_side", "_wall_told")

    def __init__(self, side, index):
        object.__setattr__(self, "_wall_side", side)
        object.__setattr__(self, "_wall_index", index)
        object.__setattr__(self, "_wall_told", False)

    def __getattr__(self, name):
        if name.startswith("__") and name not in ("__name__", "__doc__", "__qualname__"):
            raise AttributeError(name)
        return self._wall_side.attribute(self, name)

    def __setattr__(self, name, value):
        self._wall_side.ask({"do": "set", "on": self._wall_index, "name": name, "args": [value]})

    def __delattr__(self, name):
        self._wall_side.ask({"do": "delete", "on": self._wall_index, "name": name})

    def __reduce_ex__(self, protocol):
        raise self._wall_side.refusal(f"an object of type {type(self).__name__} cannot be copied on the other side")


def _forwarder(name):
    def forward(self, *args, **kwargs):
        return self._wall_side.special(self, name, args, kwargs)

    return forward


def _specials(value):
    """The special methods of an object that are not every object's."""
    kind = type(value)
    return [name for name in sorted(SPECIALS) if getattr(kind, name, None) not in (None, getattr(object, name, None))]


class Side:
    """One side: what it has lent, what it has borrowed, and the two pipes."""

    def __init__(self, incoming, outgoing):
        self._incoming, self._outgoing = incoming, outgoing
        self._lent, self._places, self._borrowed = [], {}, {}
        self._kinds, self._named = {}, {}
        self.borrowed_names = set()
        self.flattened_names = set()

    def check_lending(self, value: Any) -> None:
        """Raise CannotCarry where this side does not lend a value."""
        raise NotImplementedError

    def check_doing(self, value: Any, what: str, name: str) -> None:
        """Raise AttributeError where the other side may not do that with what this one has lent."""
        raise NotImplementedError

    def error_class(self, names: list[str]) -> type[BaseException]:
        """This side's class of an exception."""
        raise NotImplementedError

    # values

    def flattened(self, kind, data):
        """What passes for a value of a subclass of a plain type."""
        del kind
        return data

    def lend(self, value):
        """A reference to an object of this side, or to what this side has borrowed."""
        if isinstance(value, StandIn):
            return ["yours", value._wall_index]
        self.check_lending(value)
        place = self._places.get(id(value))
        if place is None:
            place = self._places[id(value)] = len(self._lent)
            self._lent.append(value)
        return ["mine", [place, type(value).__name__, _specials(value)]]

    def borrow(self, tag, content):
        """The object behind a reference: one of this side's own, or a stand-in."""
        if tag == "yours":
            return self._lent[content]
        if tag != "mine":
            raise ValueError("unknown tag")
        index, name, specials = content
        if index not in self._borrowed:
            self._borrowed[index] = self._kind(str(name), tuple(specials))(self, int(index))
            self.borrowed_names.add(str(name))
        return self._borrowed[index]

    def _kind(self, name, specials):
        if (name, specials) not in self._kinds:
            methods: dict[str, Any] = {special: _forwarder(special) for special in specials if special in SPECIALS}
            if "__eq__" in methods:
                methods.setdefault("__hash__", None)
            self._kinds[name, specials] = type(name, (StandIn,), {**methods, "__slots__": ()})
        return self._kinds[name, specials]

    def named_tuple(self, name, fields):
        """A class of named tuples, one for each name and fields."""
        if (name, fields) not in self._named:
            self._named[name, fields] = importlib.import_module("collections").namedtuple(name, fields, rename=True)
        return self._named[name, fields]

    # asking

    def ask(self, request) -> Any:
        """Ask the other side, answering what it asks meanwhile; returns its value or raises its exception."""
        args = list(request.get("args", ()))
        try:
            send(self._outgoing, {
                **request, "args": [encode(value, self) for value in args],
                "kwargs": [[name, encode(value, self)] for name, value in request.get("kwargs", {}).items()],
            })  # fmt: skip
            while "do" in (answer := receive(self._incoming)):
                self.answer(answer)
        except (EOFError, BrokenPipeError):
            raise self.refusal("the process ended (time, memory, or it left on its own)") from None
        except CannotCarry as error:
            raise self.refusal(str(error)) from None
        if "changed" in answer:
            for old, new in zip(args, answer["changed"], strict=True):
                _change(old, decode(new, self))
        if "refused" in answer:
            raise self.refusal(str(answer["refused"])[:300])
        if "raised" in answer:
            raise decode_error(answer["raised"], self)
        return decode(answer["value"], self)

    def refusal(self, reason):
        """What to raise where something cannot pass."""
        return CannotCarry(reason)

    def attribute(self, stand_in, name):
        """An attribute of a borrowed object."""
        return self.ask({"do": "get", "on": stand_in._wall_index, "name": name})

    def special(self, stand_in, name, args, kwargs):
        """A special method of a borrowed object."""
        return self.ask({"do": "special", "on": stand_in._wall_index, "name": name, "args": args, "kwargs": kwargs})

    # answering

    def answer(self, request):
        """Do what the other side asks of an object of this side, and send what came of it."""
        answer = {}
        try:
            args = [decode(value, self) for value in request["args"]]
            kwargs = {str(name): decode(value, self) for name, value in request["kwargs"]}
            try:
                answer["value"] = encode(self.do(request, args, kwargs), self)
            finally:
                changed = [encode(value, self) for value in args]
                if changed != request["args"] and any(isinstance(value, list) for value in changed):
                    answer["changed"] = changed
        except CannotCarry as error:
            answer["refused"] = str(error)
        except BaseException as error:
            answer["raised"] = encode_error(error, self)
        try:
            send(self._outgoing, answer)
        except CannotCarry as error:
            send(self._outgoing, {"refused": str(error)})

    def do(self, request, args, kwargs):
        """Get, set or delete an attribute, or call a special method."""
        value, name = self._lent[request["on"]], request["name"]
        self.check_doing(value, request["do"], name)
        if request["do"] == "special":
            if name not in SPECIALS:
                raise AttributeError(name)
            return getattr(type(value), name)(value, *args, **kwargs)
        return {"get": getattr, "set": setattr, "delete": delattr}[request["do"]](value, name, *args)


def _change(old, new):
    """Make a container what it has become on the other side, in place; returns what belongs in its place."""
    if type(old) is not type(new):  # a value of a subclass has come back as its plain base
        return old if isinstance(old, type(new)) and not isinstance(new, StandIn) and old == new else new
    if isinstance(old, list):
        old[:] = [_change(one, other) for one, other in zip(old, new, strict=False)] + new[len(old) :]
    elif isinstance(old, dict):
        new = {key: _change(old[key], value) if key in old else value for key, value in new.items()}
        old.clear()
        old.update(new)
    elif isinstance(old, set):
        old.clear()
        old.update(new)
    elif isinstance(old, (bytearray, collections.deque)):
        old.clear()
        old.extend(new)
    else:
        if isinstance(old, tuple):
            for one, other in zip(old, new, strict=False):
                _change(one, other)
        return new
    return old
