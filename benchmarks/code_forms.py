"""The ways in which answers hold a program: what the code scorer is held to (`docs/scoring.md`)."""

from __future__ import annotations

import ast
import json
import re
import textwrap
from collections.abc import Callable

__all__ = ["FORMS", "Solved", "defined"]


class Solved:
    """A published problem with its own solution.

    Attributes:
        program: The whole program, imports included.
        body: The body alone, as it completes the problem's prompt.
        entry_point: The function that the tests call.
    """

    def __init__(self, prompt: str, solution: str, entry_point: str) -> None:
        """Put prompt and solution of a row in HumanEval's form together."""
        self.program, self.body, self.entry_point = (prompt + solution).strip("\n"), solution, entry_point


def _session(program: str) -> str:
    lines = program.split("\n")
    return "\n".join(f"{'...' if number else '>>>'} {line}" for number, line in enumerate(lines)) + "\n>>> 1 + 1\n2"


def _indented(text: str) -> str:
    return "\n".join(f"   {line}" for line in text.split("\n"))


def _stub(name: str) -> str:
    return f"def {name}(*values):\n    ..."


def _wrong(name: str) -> str:
    return f"def {name}(*values):\n    return None"


_BASH = "```bash\npip install numpy\n```"


def _fenced(text: str, tag: str = "python") -> str:
    return f"```{tag}\n{text}\n```"


def _tagged(program: str) -> str:
    """One of the tags that models write, by the program's length."""
    return _fenced(program, ("python3", "Py", " {.python}")[len(program) % 3])


_IMPORTS = _fenced("import math\nfrom typing import *")
_AFTER = "This function works because it loops."

FORMS: dict[str, Callable[[Solved], str]] = {
    "the program, bare": lambda s: s.program,
    "` ```python `": lambda s: _fenced(s.program),
    "` ``` ` without a tag": lambda s: _fenced(s.program, ""),
    "` ```python3 `, ` ```Py `, ` ``` {.python} `": lambda s: _tagged(s.program),
    "`~~~python`": lambda s: f"~~~python\n{s.program}\n~~~\n",
    "CRLF": lambda s: f"Here it is:\n{_fenced(s.program)}\nDone.".replace("\n", "\r\n"),
    "prose around the fence": lambda s: f"Let x be the input. We loop.\n\n{_fenced(s.program)}\n\nIt is `O(n)`.",
    "prose around it, no fence": lambda s: f"Here is the function:\n\n{s.program}\n\n{_AFTER}",
    "a fence never closed": lambda s: f"Sure!\n```python\n{s.program}",
    "a fence never opened": lambda s: f"{s.program}\n```\n{_AFTER} ```python``` marks code.",
    "after blocks of other kinds": lambda s: f"{_BASH}\nFor 1 it gives\n{_fenced('2', '')}\nby:\n{_fenced(s.program)}",
    "imports in a block of their own": lambda s: f"{_IMPORTS}\nThen:\n{_fenced(s.program)}",
    "another version behind it": lambda s: f"{_fenced(s.program)}\nOr:\n{_fenced(_wrong(s.entry_point))}",
    "its signature in a block before": lambda s: f"{_fenced(_stub(s.entry_point))}\nwill be\n{_fenced(s.program)}",
    "indented in a list": lambda s: f"1. The code:\n\n{_indented(_fenced(s.program))}\n\n2. The end.",
    "a `>>>` session": lambda s: _fenced(_session(s.program), "pycon"),
    "`[PYTHON]` marks": lambda s: f"[PYTHON]\n{s.program}\n[/PYTHON]\n{_AFTER}",
    "an example call behind it": lambda s: _fenced(f"{s.program}\n\n# Example\nprint('done')"),
    "the next turn invented": lambda s: f"{s.program}\n\nUser: And the reverse?\n\nAssistant: def g(): pass",
    "thoughts before it": lambda s: f"<think>\n{_fenced(_wrong(s.entry_point))}\n</think>\n{_fenced(s.program)}",
    "code on the fences' own lines": lambda s: f"```python {s.program}```",
    "`<pre><code>` around it": lambda s: f"<pre><code>{s.program}</code></pre>",
    '`{"code": …}`': lambda s: json.dumps({"code": s.program}),
    "no-break spaces before its lines": lambda s: re.sub("^ +", lambda m: "\u00a0" * len(m[0]), s.program, flags=re.M),
    "the body, bare": lambda s: s.body,
    "the body, a fence never opened": lambda s: f"{s.body.rstrip()}\n```\nThis works.",
    "the body, fenced": lambda s: _fenced(s.body),
    "the body, fenced, not indented": lambda s: _fenced(textwrap.dedent(s.body)),
    "the body, its first line stripped": lambda s: s.body.strip(),
}
"""Form → the answer that holds a published solution so."""


def defined(program: str, entry_point: str) -> str:
    """What a program makes of its entry point: the last definition, as Python's grammar has it; empty for none."""
    try:
        body = ast.parse(program).body
    except SyntaxError:
        return ""
    found = [node for node in body if isinstance(node, ast.FunctionDef) and node.name == entry_point]
    return ast.dump(found[-1]) if found else ""
