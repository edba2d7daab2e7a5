"""The two sides of the wall: what each lends the other, and stand-ins for what was borrowed.

An instance, a class, a function or a generator stays where it is; the other side gets a stand-in that asks for each
attribute, call and item. What is changed in place by a call comes back with its result.

The side of the code lends everything. The side of the tests lends functions, classes and instances that the tests define,
and iterators; the code can call these, read and set public attributes and use operators. It gets no frame, no module, no
name with an underscore before it.

The code must not decide about values that the tests hold against it. Where a test compares an object of the code with
plain data, or asks it what plain data it contains or starts with, nobody is asked: the test is undecided, which is a
failure with its reason.
"""

import builtins
import collections
import importlib
import types

from wall import (  # type: ignore[import-not-found]
    MODULES, CannotCarry, decode, decode_error, encode, encode_error, receive, send,
)  # fmt: skip

COMPARISONS = frozenset("__eq__ __ne__ __lt__ __le__ __gt__ __ge__ __contains__".split())
ARITHMETIC = frozenset(
    f"__{prefix}{name}__" for prefix in ("", "r", "i")
    for name in "add sub mul matmul truediv floordiv mod divmod pow lshift rshift and xor or".split()
)  # fmt: skip
LOOKS = frozenset(
    "__bool__ __len__ __int__ __float__ __index__ __complex__ __round__ __trunc__ __floor__ __ceil__ __abs__ __neg__ "
    "__pos__ __invert__ __iter__ __next__ __reversed__ __contains__ __str__ __repr__ __format__".split()
)
CHECKS = frozenset({"__instancecheck__", "__subclasscheck__"})
SPECIALS = COMPARISONS | ARITHMETIC | LOOKS | CHECKS | frozenset(
    "__hash__ __call__ __getitem__ __setitem__ __delitem__ __enter__ __exit__".split()
)  # fmt: skip
TELLING = frozenset(
    "startswith endswith issubset issuperset isdisjoint difference symmetric_difference intersection removeprefix "
    "removesuffix replace strip lstrip rstrip".split()
)
"""Methods of plain data that tell how it compares with an argument; an object of the code is not asked them."""
FUNCTIONS = (types.FunctionType, types.MethodType)
ITERATORS = (
    types.GeneratorType, map, filter, zip, enumerate, reversed,
    *(type(iter(empty)) for empty in ([], (), "", {}, set(), range(0), b"")),
)  # fmt: skip


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

    # values

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
            methods = {special: _forwarder(special) for special in specials if special in SPECIALS}
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

    def ask(self, request):
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
    if type(old) is not type(new):
        return new
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


class CodeSide(Side):
    """The side of the code: lends everything."""

    def __init__(self, incoming, outgoing, scope):
        super().__init__(incoming, outgoing)
        self._scope = scope

    def check_lending(self, value):
        """Everything may be lent."""

    def check_doing(self, value, what, name):
        """Everything may be done."""

    def do(self, request, args, kwargs):
        """Also tell the names of the code."""
        return self._names(args[0]) if request["do"] == "names" else super().do(request, args, kwargs)

    def _names(self, wanted):
        names = {}
        for name, value in list(self._scope.items()):
            if name not in wanted and (name.startswith("__") or hasattr(builtins, name)):
                continue
            try:
                if isinstance(value, types.ModuleType):
                    value = {"module": value.__name__}
                encode(value, self)
            except (CannotCarry, ValueError):
                continue
            names[name] = value
        return names

    def borrow(self, tag, content):
        """Also what the tests name: functions and classes of the standard library."""
        if tag != "by name":
            return super().borrow(tag, content)
        value = importlib.import_module(content[0])
        for name in content[1].split("."):
            value = getattr(value, name)
        return value

    def error_class(self, names):
        """The code's class of that name, else Python's."""
        for name in names:
            kind = self._scope.get(name, getattr(builtins, name, None))
            if isinstance(kind, type) and issubclass(kind, BaseException):
                return kind
        return RuntimeError


class TestSide(Side):
    """The side of the tests: lends little, and does not ask the code about plain data."""

    __test__ = False

    def __init__(self, incoming, outgoing):
        super().__init__(incoming, outgoing)
        self._errors = {}
        self.undecided = None

    def refusal(self, reason):
        """What to raise; the test has failed, whatever it catches."""
        self.undecided = self.undecided or reason
        return CannotCarry(reason)

    def names(self, wanted):
        """The names of the code and their values; modules of the standard library are this side's own."""
        names = self.ask({"do": "names", "on": None, "name": None, "args": [list(wanted)]})
        for name, value in list(names.items()):
            if isinstance(value, dict) and list(value) == ["module"]:
                del names[name]
                if value["module"] in MODULES:
                    names[name] = importlib.import_module(value["module"])
        return names

    def error_class(self, names):
        """Python's exception of that name, or a class of that name made here, on top of Python's."""
        kind = Exception
        for place in range(len(names) - 1, -1, -1):
            name = str(names[place])
            known = getattr(builtins, name, None)
            if isinstance(known, type):
                kind = known if issubclass(known, Exception) else RuntimeError
                continue
            key = tuple(names[place:])
            if key not in self._errors:
                self._errors[key] = type(name, (kind,), {"__module__": "wall", "__str__": _text})
            kind = self._errors[key]
        return kind

    def attribute(self, stand_in, name):
        """An attribute; a method that would tell how an argument compares is not asked with plain data."""
        value = super().attribute(stand_in, name)
        if name not in TELLING and not stand_in._wall_told:
            return value

        def method(*args, **kwargs):
            if any(not isinstance(argument, StandIn) for argument in (*args, *kwargs.values())):
                raise self.refusal(_question(stand_in, f"{name}()"))
            return value(*args, **kwargs)

        return method if isinstance(value, StandIn) and hasattr(type(value), "__call__") else value

    def special(self, stand_in, name, args, kwargs):
        """A special method, unless the code would decide about plain data by it."""
        plain = [argument for argument in args if not isinstance(argument, StandIn)]
        if name in CHECKS and plain:
            return False
        if name in COMPARISONS and plain:
            if plain[0] is None and name in ("__eq__", "__ne__"):
                return name == "__ne__"
            if name == "__contains__" and hasattr(type(stand_in), "__iter__"):
                return any(item is plain[0] or item == plain[0] for item in stand_in)
            raise self.refusal(_question(stand_in, name))
        if name in LOOKS and stand_in._wall_told:
            raise self.refusal(_question(stand_in, name))
        value = super().special(stand_in, name, args, kwargs)
        if name in ARITHMETIC and plain and value is not NotImplemented:
            if not isinstance(value, StandIn):
                raise self.refusal(_question(stand_in, name))
            object.__setattr__(value, "_wall_told", True)
        return value

    def check_lending(self, value):
        """Only what the tests define, and iterators."""
        if not (_of_tests(value) or isinstance(value, ITERATORS)):
            raise CannotCarry(f"a value of type {type(value).__name__} cannot pass from the tests to the code")

    def lend(self, value):
        """Functions and classes of the standard library pass by name."""
        module, name = str(getattr(value, "__module__", "")).lstrip("_"), getattr(value, "__qualname__", "")
        if isinstance(value, types.MethodDescriptorType) and value.__objclass__.__module__ == "builtins":
            return ["by name", ["builtins", name]]
        if isinstance(value, (type, *FUNCTIONS, types.BuiltinFunctionType)) and module in {*MODULES, "builtins"}:
            if getattr(importlib.import_module(module), name, None) is value:
                return ["by name", [module, name]]
        return super().lend(value)

    def check_doing(self, value, what, name):
        """No name with an underscore before it but special methods that the tests wrote; of functions, the call alone."""
        if what == "special":
            if isinstance(value, FUNCTIONS):
                allowed = name == "__call__"
            elif isinstance(value, ITERATORS):
                allowed = name in ("__iter__", "__next__")
            elif isinstance(value, type):
                allowed = name == "__call__"
            else:
                method = getattr(type(value), name, None)
                allowed = isinstance(method, types.FunctionType) or name in ("__str__", "__repr__", "__hash__", "__eq__")
        else:
            allowed = isinstance(name, str) and not name.startswith("_") and not isinstance(value, (*FUNCTIONS, *ITERATORS))
            allowed = allowed and not (isinstance(value, type) and what != "get")
        if not allowed:
            raise AttributeError(f"{name} of a value of the tests")


def _of_tests(value):
    """Whether the tests define a value: a function, a class, a method or instance of one."""
    if isinstance(value, types.MethodType):
        return _of_tests(value.__self__) and isinstance(value.__func__, types.FunctionType)
    if isinstance(value, types.FunctionType):
        return value.__module__ == "tests"
    kind = value if isinstance(value, type) else type(value)
    return kind.__module__ == "tests"


def _text(error):
    text = error.__dict__.get("_text")
    return Exception.__str__(error) if text is None else text


def _question(stand_in, name):
    sign = {f"__{key}__": value for key, value in OPERATORS.items()}.get(name, name)
    return (
        f"{sign} of the code's own {type(stand_in).__name__} and plain data is not taken from the code; "
        "compare its parts"
    )


OPERATORS = {
    "eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "contains": "in", "add": "+", "sub": "-",
    "mul": "*", "truediv": "/", "bool": "bool()", "len": "len()",
}  # fmt: skip
