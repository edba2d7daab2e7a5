"""The program that checks generated code, run by `sandbox.py` in an isolated interpreter (`python -I -S`).

Three processes. The SERVER runs nothing itself: for each job it splits off a CHECKER, and that splits off a RUNNER. The
runner executes the code and then answers calls: name and arguments in, plain value out. The checker executes the tests,
in which every function of the code is a stand-in that asks the runner. The code under test is therefore never in the
process that decides: leaving early, printing, redefining comparisons, searching memory or faking a report passes no
test, since all it can do is return values. The checker reads the tests and its secret only after the runner has been
split off, so the runner's memory never held them.

Protocol, per job, on standard input: two messages of eight digits of length and JSON: `{"code", "limits"}`, then
`{"tests", "entry_point", "secret"}`. On standard output: `{"secret", "reason", "not_enforced"}`, the secret only when
all tests passed. The server ends when its input ends, and when a checker ends without a verdict.
"""

import _ast  # the node classes alone: importing ast takes longer than a whole check
import builtins
import importlib.util
import json
import os

# Loaded by its path: this folder must not be on sys.path, its math.py would take the place of Python's.
_spec = importlib.util.spec_from_file_location("containment", __file__.replace("isolated_checker", "containment"))
if _spec is None or _spec.loader is None:
    raise ImportError(f"containment.py is missing beside {__file__}")
containment = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(containment)

COLLECTIONS = {"l": list, "t": tuple, "s": set, "f": frozenset}
ONLY_PARSE = _ast.PyCF_ONLY_AST
READ_AT_ONCE = 1 << 16
LONGEST_MESSAGE = 1 << 20


class CannotCarry(Exception):
    """A value that is no plain data cannot pass between the code and its tests."""


def encode(value):
    """Return plain data as JSON-ready data; subclasses (Counter, OrderedDict, …) travel as their plain base."""
    if value is None or value is True or value is False:
        return value
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)
    for tag, kind in COLLECTIONS.items():
        if isinstance(value, kind):
            return [tag, [encode(item) for item in value]]
    if isinstance(value, dict):
        return ["d", [[encode(key), encode(item)] for key, item in value.items()]]
    if isinstance(value, bytes):
        return ["b", value.hex()]
    if isinstance(value, complex):
        return ["c", [value.real, value.imag]]
    raise CannotCarry(f"a value of type {type(value).__name__} cannot pass between the code and its tests")


def decode(data):
    """Invert `encode`; raises ValueError on anything else."""
    if not isinstance(data, list):
        return data
    tag, content = data
    if tag in COLLECTIONS:
        return COLLECTIONS[tag](decode(item) for item in content)
    if tag == "d":
        return {decode(key): decode(item) for key, item in content}
    if tag == "b":
        return bytes.fromhex(content)
    if tag == "c":
        return complex(*content)
    raise ValueError("unknown tag")


def send(handle, message):
    """Write one message: eight digits of length, then JSON."""
    data = json.dumps(message).encode()
    if len(data) > LONGEST_MESSAGE:
        raise CannotCarry("the value is longer than 1 MiB")
    data = b"%08d" % len(data) + data
    while data:
        data = data[os.write(handle, data) :]


def receive(handle):
    """Read one message; raises EOFError when the other side has gone. Reads not one byte beyond the message."""

    def exactly(count):
        parts = []
        while count:
            part = os.read(handle, min(count, READ_AT_ONCE))
            if not part:
                raise EOFError("the process ended")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    length = int(exactly(8))
    if length > LONGEST_MESSAGE * 8:
        raise ValueError("message too long")
    return json.loads(exactly(length))


def run_code(code, limits, requests, answers):
    """The runner: contain itself, execute the code, answer calls until the checker has gone. Never returns."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    containment.die_with_parent()
    send(answers, {"not_enforced": containment.contain(limits)})
    scope = {"__name__": "generated", "__builtins__": builtins}
    try:
        exec(compile(code, "generated.py", "exec"), scope)
        send(answers, {"loaded": True})
    except BaseException as error:
        send(answers, {"raised": type(error).__name__, "text": str(error)[:200]})
        os._exit(1)
    while True:
        call = receive(requests)
        try:
            value = scope[call["name"]](*decode(call["args"]), **decode(call["kwargs"]))
            send(answers, {"value": encode(value)})
        except BaseException as error:
            send(answers, {"raised": type(error).__name__, "text": str(error)[:200]})


class StandIn:
    """Stands in the tests for a function of the code: a call asks the runner."""

    def __init__(self, name, requests, answers):
        self.__name__, self._requests, self._answers = name, requests, answers

    def __call__(self, *args, **kwargs):
        """Return the runner's value; raises the builtin exception that the function raised, else RuntimeError."""
        send(self._requests, {"name": self.__name__, "args": encode(list(args)), "kwargs": encode(kwargs)})
        answer = receive(self._answers)
        if "value" in answer:
            return decode(answer["value"])
        kind = getattr(builtins, str(answer["raised"]), None)
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            kind = RuntimeError
        try:
            error = kind(f"{answer['raised']}: {answer.get('text')}")
        except TypeError:  # a few, such as UnicodeDecodeError, need other arguments
            error = RuntimeError(f"{answer['raised']}: {answer.get('text')}")
        raise error


def function_names(code):
    """Names that the code defines at its top level and that are no builtin (a test's own `len` stays Python's)."""
    try:
        body = getattr(compile(code, "generated.py", "exec", ONLY_PARSE), "body", [])
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
    names = {node.name for node in body if isinstance(node, (_ast.FunctionDef, _ast.ClassDef))}
    for node in body:
        if isinstance(node, _ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, _ast.Name)}
    return {name for name in names if not hasattr(builtins, name)}


def check(code, limits, requests, answers, not_enforced):
    """The checker: read the tests, contain itself, run them; returns the reason of failure, or None when all passed."""
    task = receive(0)
    names = {*function_names(code), task["entry_point"]}
    not_enforced += containment.contain(limits)
    try:
        not_enforced += receive(answers)["not_enforced"]
        loaded = receive(answers)
        if "loaded" not in loaded:
            return None, f"the code raised {loaded['raised']}: {loaded['text']}"
        for number, test in enumerate(task["tests"], 1):
            scope = {"__name__": "tests", **{name: StandIn(name, requests, answers) for name in names}}
            try:
                exec(compile(test, f"test {number}", "exec"), scope)
            except EOFError:
                return None, f"test {number}: the process ended (time, memory, or it left on its own)"
            except BaseException as error:
                return None, f"test {number}: {type(error).__name__}: {str(error)[:200]}"
    except (EOFError, KeyError, TypeError, ValueError):
        return None, "the process ended before it could be tested"
    return task["secret"], "passed"


def serve_job(verdict):
    """Check one job: read the code, split off the runner, then read the tests and check. Never returns."""
    containment.die_with_parent()
    job = receive(0)
    code, limits = job["code"], job["limits"]
    not_enforced = containment.enter_namespaces()
    request_end, requests = os.pipe()
    answers, answer_end = os.pipe()
    if os.fork() == 0:
        try:
            for handle in (0, verdict, requests, answers):
                os.close(handle)
            run_code(code, limits, request_end, answer_end)
        finally:
            os._exit(1)
    os.close(request_end)
    os.close(answer_end)
    secret, reason = check(code, limits, requests, answers, not_enforced)
    send(verdict, {"secret": secret, "reason": reason, "not_enforced": sorted(set(not_enforced))})
    os._exit(0)


def main():
    """Serve jobs until the input ends."""
    os.environ.clear()  # Python's start puts LC_CTYPE there
    containment.die_with_parent()
    verdict = os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 1)
    while True:
        checker = os.fork()
        if checker == 0:
            try:
                serve_job(verdict)
            finally:
                os._exit(1)
        if os.waitpid(checker, 0)[1] != 0:
            os._exit(1)


main()
