"""The program that checks generated code, run by `sandbox.py` in an isolated interpreter (`python -I -S`).

Three processes. The SERVER runs nothing itself: for each job it splits off a CHECKER, and that splits off a RUNNER.
The runner executes the code and then answers what the checker asks of it: calls, attributes, items. The checker
executes the tests, in which every object of the code is a stand-in that asks the runner (`wall_sides.py`,
`wall_roles.py`). The code under test is therefore never in the process that decides: leaving early, printing,
redefining comparisons, searching memory or faking a report passes no test, since all it can do is return values, and
values are compared by the checker. The checker reads the tests and its secret only after the runner has been split
off, so the runner's memory never held them.

Protocol, per job, on standard input: two messages of eight digits of length and JSON: `{"code", "limits"}`, then
`{"tests", "entry_point", "secret"}`. On standard output: `{"secret", "reason", "not_enforced"}`, the secret only when
all tests passed. The server ends when its input ends, and when a checker ends without a verdict.
"""

import builtins
import importlib.util
import os
import signal
import sys


def load(name):
    """Load a file beside this one by its path: this folder must not be on sys.path, its math.py would be Python's."""
    spec = importlib.util.spec_from_file_location(name, __file__.replace("isolated_checker", name))
    if spec is None or spec.loader is None:
        raise ImportError(f"{name}.py is missing beside {__file__}")
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_, containment, wall, _, wall_roles = map(load, ("allowed_calls", "containment", "wall", "wall_sides", "wall_roles"))


def failure(error):
    """An exception as a reason; for a package that is not there, in words."""
    if isinstance(error, ModuleNotFoundError) and str(error).startswith("No module named '"):
        package = str(error).split("'")[1].partition(".")[0]
        return f"needs the package {package}, which the sandbox does not have (it has the standard library alone)"
    return f"{type(error).__name__}: {str(error)[:200]}"


def run_code(code, limits, requests, answers, checker):
    """The runner: contain itself, execute the code, answer what is asked until the checker has gone. Never returns."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    containment.die_with(checker)
    wall.send(answers, {"not_enforced": containment.contain(limits)})
    generated = type(sys)("generated")
    sys.modules["generated"] = generated  # dataclasses and pickle look a class's module up
    scope = generated.__dict__
    scope["__builtins__"] = builtins
    try:
        exec(compile(code, "generated.py", "exec"), scope)
        wall.send(answers, {"loaded": True})
    except BaseException as error:
        wall.send(answers, {"reason": failure(error)})
        os._exit(1)
    side = wall_roles.CodeSide(requests, answers, scope)
    while True:
        side.answer(wall.receive(requests))


def run_test(number, test, side, entry_point):
    """Run one test; returns the reason of its failure, or None."""
    scope = {**side.names([entry_point]), "__name__": "tests"}
    side.undecided = None
    try:
        exec(compile(test, f"test {number}", "exec"), scope)
    except wall.CannotCarry as error:
        return str(error)
    except BaseException as error:
        behind = sorted(side.borrowed_names - {"function", "type", "builtin_function_or_method"})
        note = f" (cannot pass as a value, stayed with the code: {', '.join(behind)})" if behind else ""
        flat = sorted(side.flattened_names)
        note += f" (passed as plain data, without methods of its own: {', '.join(flat)})" if flat else ""
        return (side.undecided or failure(error)) + note
    return side.undecided


def check(limits, requests, answers, not_enforced):
    """The checker: read the tests, contain itself, run them; returns the secret or None, and the reason."""
    task = wall.receive(0)
    not_enforced += containment.contain(limits)
    try:
        not_enforced += wall.receive(answers)["not_enforced"]
        loaded = wall.receive(answers)
        if "loaded" not in loaded:
            return None, f"the code does not load: {str(loaded['reason'])[:300]}"
        side = wall_roles.TestSide(answers, requests)
        for number, test in enumerate(task["tests"], 1):
            reason = run_test(number, test, side, task["entry_point"])
            if reason is not None:
                return None, f"test {number}: {reason}"
    except (EOFError, KeyError, TypeError, ValueError, wall.CannotCarry):
        return None, "the process ended before it could be tested"
    return task["secret"], "passed"


def serve_job(verdict, server, not_enforced):
    """Check one job: read the code, split off the runner, then read the tests and check. Never returns."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    containment.die_with(server)
    job = wall.receive(0)
    code, limits = job["code"], job["limits"]
    not_enforced = not_enforced or containment.hide_other_processes()
    checker = os.getpid()
    request_end, requests = os.pipe()
    answers, answer_end = os.pipe()
    if os.fork() == 0:
        try:
            for handle in (0, verdict, requests, answers):
                os.close(handle)
            run_code(code, limits, request_end, answer_end, checker)
        finally:
            os._exit(1)
    os.close(request_end)
    os.close(answer_end)
    secret, reason = check(limits, requests, answers, not_enforced)
    wall.send(verdict, {"secret": secret, "reason": reason, "not_enforced": sorted(set(not_enforced))})
    os._exit(0)


def main():
    """Serve jobs until the input ends, in a namespace of processes that ends with the one that started this program."""
    os.environ.clear()  # Python's start puts LC_CTYPE there
    parent = int(sys.argv[1])
    containment.die_with(parent)
    verdict = os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 1)
    not_enforced = containment.enter_namespaces()
    if not_enforced:
        containment.watch(parent)
    server = os.getpid()
    while True:
        checker = os.fork()
        if checker == 0:
            try:
                serve_job(verdict, server, not_enforced)
            finally:
                os._exit(1)
        ended = os.waitpid(checker, 0)[1]
        containment.end_other_processes(namespace=not not_enforced)
        if ended != 0:
            os._exit(1)


main()
