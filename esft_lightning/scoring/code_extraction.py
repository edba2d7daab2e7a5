"""The program in an answer: which of its parts, with what before it.

The first block that defines the entry point is the answer, after the blocks before it that only import and define;
where no fence marks a block, the longest run of lines that compiles is one. An answer that defines no entry point may
be the body of the function that the preamble leaves open. This file knows Python's grammar and runs nothing.
"""

import ast
import builtins
import re
import textwrap
import warnings
from collections.abc import Iterator, Sequence

from esft_lightning.scoring.code_blocks import Part, parts

__all__ = ["extract_code"]

_BEGINS = re.compile(
    r"[ \t]*(?:@\w|def\s|class\s|async\s+def\s|import\s|from\s+[\w.]+\s+import\s|try\s*:|if\s.*:\s*$"
    r"|[A-Za-z_]\w*\s*(?::[^=\n]+)?=(?!=))"
)
_PYTHON = re.compile(r"\{?\.?(?:python|py|ipython|pycon|sage)[\d. ]*\b")
_DEFINING = (
    ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign
)  # fmt: skip
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_MOST_LINES = 3000
_ATTEMPT = 50  # lines that take as long as one more attempt
_MOST_COMPILED = 100_000
"""Lines of a part of an answer that are compiled in search of its program, each as often as it is tried."""


def extract_code(prediction: str, preamble: str = "", entry_point: str = "") -> str:
    r"""Return the program in a prediction.

    What follows the longest run of lines that compiles is dropped, since a model may go on after its function.

    Args:
        prediction: What the model wrote, one leading space allowed.
        preamble: Code that stands before the prediction: imports, helpers, a signature to be completed.
        entry_point: The name that the tests call; without it the first fenced block counts, or else the text.
    """
    found = parts(prediction)
    fenced = [part for part in found if part.kind == "fenced"]
    if entry_point:
        for kind in ("fenced", "prose", "inline"):
            if (program := _defining(kind, found, entry_point, bool(preamble))) is not None:
                return "\n".join(part for part in (_that_compiles(preamble), program) if part)
    fenced.sort(key=lambda part: not _PYTHON.match(part.tag))  # of bodies, one that says that it is Python
    if entry_point and preamble and fenced:
        for part in (*fenced, *(part for part in found if part.kind == "prose")):
            program = _completing(part.text, preamble)
            adds = program.removeprefix(preamble).strip()
            if adds and entry_point in _names(program) and not _is_stub(program, entry_point):
                return program
    text = fenced[0].text if fenced else prediction.replace("\r\n", "\n").strip("\n").rstrip()
    return _completing(text, preamble)


def _defining(kind: str, found: Sequence[Part], entry_point: str, opened: bool) -> str | None:
    """The first run in parts of a kind that defines the entry point, with the runs around it that it needs.

    A definition without a body (`…`, `pass`, a docstring) counts only where there is no other. Where a preamble has
    opened the function, a variable of its name may be one of the body.
    """
    runs = [(part, *run) for part in found for run in _runs(part)]
    places = [
        number
        for number, (part, run, _) in enumerate(runs)
        if part.kind == kind and entry_point in _names(run, variables=not opened)
    ]
    if not places:
        return None
    place = next((place for place in places if not _is_stub(runs[place][1], entry_point)), places[0])
    needed = [run for _, run, alone in runs[:place] if alone and _only_defines(run, entry_point)]
    program = "\n".join([*needed, runs[place][1]])
    for _, run, _ in runs[place + 1 :]:  # a helper that is shown after the function that calls it
        if _only_defines(run, entry_point) and _names(run) & _unknown_names(program) and entry_point not in _names(run):
            program += f"\n{run}"
    return program


def _runs(part: Part) -> Iterator[tuple[str, bool]]:
    """The stretches of a part that compile, and whether each stands at the margin.

    Of a block they are looked for from its first line on, of prose from lines that begin code.
    """
    lines = part.text.split("\n")[:_MOST_LINES]
    at, left = 0, _MOST_COMPILED
    while at < len(lines) and left > 0:
        if not (part.kind != "prose" and at == 0) and not _BEGINS.match(lines[at]):
            at += 1
            continue
        indentation = len(lines[at]) - len(lines[at].lstrip())
        end = next(
            (n for n in range(at, len(lines)) if lines[n].strip() and not lines[n].startswith(lines[at][:indentation])),
            len(lines),
        )
        block = [line[indentation:] for line in lines[at:end]]
        count, compiled = _lines_that_compile("", block, left)
        left -= compiled
        if count:
            yield _without_loose_words("\n".join(block[:count])), indentation == 0
        at += max(count, 1)


def _parsed(source: str) -> ast.Module:
    try:
        with warnings.catch_warnings(action="ignore"):
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ast.Module([], [])


def _lines_that_compile(start: str, lines: Sequence[str], most: int = _MOST_COMPILED) -> tuple[int, int]:
    """How many of the first lines compile as a program after `start`, and how many were compiled to find out."""
    count, before, compiled = len(lines), start.count("\n"), 0
    while count > 0 and compiled < most:
        compiled += count + _ATTEMPT
        try:
            with warnings.catch_warnings(action="ignore"):  # a model's odd escapes are no business of the caller
                compile(start + "\n".join(lines[:count]), "generated.py", "exec", dont_inherit=True)
            return count, compiled
        except SyntaxError as error:
            # No more lines than those before the error can compile
            count = min(count - 1, max(0, (error.lineno or count) - before - 1)) if error.lineno else count - 1
        except (ValueError, RecursionError, MemoryError):
            count -= 1
    return 0, compiled


def _without_loose_words(source: str) -> str:
    """Without statements at the end that are words of prose: `Done`, `Note: this`."""
    body = _parsed(source).body
    end = len(body)
    while end and (
        (isinstance(body[end - 1], ast.Expr) and isinstance(body[end - 1].value, ast.Name | ast.Tuple))  # type: ignore[attr-defined]
        or (isinstance(body[end - 1], ast.AnnAssign) and body[end - 1].value is None)  # type: ignore[attr-defined]
    ):
        end -= 1
    return source if end == len(body) else "\n".join(source.split("\n")[: body[end].lineno - 1]).rstrip()


def _statements(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements of a module, those under `if` and `try` included."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.If | ast.Try):
            for inner in (statement.body, statement.orelse, *([h.body for h in getattr(statement, "handlers", [])])):
                yield from _statements(inner)


def _names(source: str, *, variables: bool = True) -> set[str]:
    """Names that a program defines at its top level; of variables, those that hold a lambda always."""
    names: set[str] = set()
    for statement in _statements(_parsed(source).body):
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(statement.name)
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in statement.names}
        elif isinstance(statement, ast.Assign | ast.AnnAssign) and (
            variables or isinstance(statement.value, ast.Lambda)
        ):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            names |= {node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)}
    return names


def _only_defines(source: str, entry_point: str) -> bool:
    """Whether a program imports and defines, and does nothing with the entry point while it is loaded."""
    for statement in _statements(_parsed(source).body):
        if isinstance(statement, ast.If | ast.Try):
            continue
        if not isinstance(statement, _DEFINING) and not (
            isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        ):
            return False
        if not isinstance(statement, (*_FUNCTIONS, ast.ClassDef)) and any(
            isinstance(node, ast.Name) and node.id == entry_point for node in ast.walk(statement)
        ):
            return False
    return True


def _is_stub(source: str, entry_point: str) -> bool:
    """Whether a program defines the entry point without doing anything in it."""
    functions = [
        node for node in _statements(_parsed(source).body)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == entry_point
    ]  # fmt: skip
    return bool(functions) and all(
        isinstance(statement, ast.Pass)
        or (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant | ast.Name))
        or (isinstance(statement, ast.Raise) and "NotImplemented" in ast.dump(statement))
        for statement in functions[-1].body
    )


def _unknown_names(source: str) -> set[str]:
    """Names that a program reads and neither defines anywhere nor has from Python."""
    nodes = list(ast.walk(_parsed(source)))
    read = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    stored = {node.id for node in nodes if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    stored |= {node.arg for node in nodes if isinstance(node, ast.arg)} | _names(source)
    return read - stored - set(dir(builtins))


def _that_compiles(preamble: str) -> str:
    """What of a preamble compiles without the body that it leaves open."""
    lines = preamble.rstrip().split("\n") if preamble.strip() else []
    return "\n".join(lines[: _lines_that_compile("", lines)[0]])


def _completing(text: str, preamble: str) -> str:
    """The text as a program, or as the body that the preamble leaves open, in the reading of which most compiles."""
    # The space that the chat format puts before an answer may also be the body's own indentation: try both readings.
    readings = [text, text[1:]] if text.startswith(" ") else [text]
    if (len(text) - len(text.lstrip(" "))) % 4 == 1:
        readings.reverse()  # of two readings that compile equally far, the first counts
    if preamble:
        readings += _as_body(text, preamble)
    else:
        readings = [textwrap.dedent(reading) for reading in readings]
    start = f"{preamble}\n" if preamble else ""
    programs = [
        (count, start + "\n".join(reading.split("\n")[:count]))
        for reading in readings
        if (count := _lines_that_compile(start, reading.split("\n")[:_MOST_LINES])[0])
    ]
    first = readings[-1] if not preamble else readings[0]
    return max(programs, key=lambda program: program[0])[1] if programs else start + first


def _as_body(text: str, preamble: str) -> list[str]:
    """Readings of a body that has lost its indentation, or its first line's, or that prose precedes."""
    indentations = re.findall(r"^([ \t]+)\S", preamble, re.MULTILINE)
    indentation = indentations[-1] if indentations else "    "
    lines = text.split("\n")
    first = next((n for n, line in enumerate(lines) if line[:1] in " \t" and line.strip()), len(lines))
    return [
        textwrap.indent(textwrap.dedent(text), indentation),
        indentation + text.lstrip(),
        "\n".join(lines[first:]),
    ]
