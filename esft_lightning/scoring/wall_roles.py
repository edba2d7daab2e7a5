"""The two roles at the wall: the code lends everything, the tests lend little and decide themselves.

The side of the tests lends functions, classes and instances that the tests define, and iterators; the code can call
these, read and set public attributes and use operators. It gets no frame, no module, no name with an underscore
before it.

The code must not decide about values that the tests hold against it. Where a test compares an object of the code with
plain data, or asks it what plain data it contains or starts with, nobody is asked: the test is undecided, which is a
failure with its reason, even where the test catches everything.
"""

import builtins
import importlib
import types

from wall import MODULES, CannotCarry, encode  # type: ignore[import-not-found]
from wall_sides import ARITHMETIC, CHECKS, COMPARISONS, LOOKS, Side, StandIn  # type: ignore[import-not-found]

_TELLING = (
    "startswith endswith issubset issuperset isdisjoint difference symmetric_difference intersection removeprefix "
    "removesuffix replace strip lstrip rstrip"
)
TELLING = frozenset(_TELLING.split())
"""Methods of plain data that tell how it compares with an argument; an object of the code is not asked them."""
FUNCTIONS = (types.FunctionType, types.MethodType)
ITERATORS = (
    types.GeneratorType, map, filter, zip, enumerate, reversed,
    *(type(iter(empty)) for empty in ([], (), "", {}, set(), range(0), b"")),
)  # fmt: skip


class CodeSide(Side):
    """The side of the code: lends everything."""

    def __init__(self, incoming, outgoing, scope):
        super().__init__(incoming, outgoing)
        self._scope = scope

    def flattened(self, kind, data):
        """The plain data, with the name of the class for the reason of a failure."""
        return ["flat", [kind.__name__, data]]

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
            if not _is_free(name, wanted):
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
            if not _is_free(name, wanted):  # the code may send what it likes
                del names[name]
            elif isinstance(value, dict) and list(value) == ["module"]:
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

        return method if isinstance(value, StandIn) and callable(value) else value

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
        named = isinstance(value, (type, *FUNCTIONS, types.BuiltinFunctionType)) and module in {*MODULES, "builtins"}
        if named and getattr(importlib.import_module(module), name, None) is value:
            return ["by name", [module, name]]
        return super().lend(value)

    def check_doing(self, value, what, name):
        """No name with an underscore before it but special methods of the tests' own; of functions, the call alone."""
        if what == "special":
            if isinstance(value, FUNCTIONS):
                allowed = name == "__call__"
            elif isinstance(value, ITERATORS):
                allowed = name in ("__iter__", "__next__")
            elif isinstance(value, type):
                allowed = name == "__call__"
            else:
                method = getattr(type(value), name, None)
                allowed = isinstance(method, types.FunctionType) or name in (
                    "__str__",
                    "__repr__",
                    "__hash__",
                    "__eq__",
                )
        else:
            allowed = (
                isinstance(name, str) and not name.startswith("_") and not isinstance(value, (*FUNCTIONS, *ITERATORS))
            )
            allowed = allowed and not (isinstance(value, type) and what != "get")
        if not allowed:
            raise AttributeError(f"{name} of a value of the tests")


def _is_free(name, wanted):
    """Whether a name of the code may stand in the tests: Python's own names stay Python's, but for those asked for."""
    return name in wanted or not (name.startswith("__") or hasattr(builtins, name))


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
