"""The ways in which answers hold a program: what the code scorer is held to (`docs/scoring.md`)."""

from __future__ import annotations

import ast
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

FORMS: dict[str, Callable[[Solved], str]] = {
    "the program, bare": lambda s: s.program,
    "` ```python `": lambda s: f"```python\n{s.program}\n```",
    "` ``` ` without a tag": lambda s: f"```\n{s.program}\n```",
    "` ```python3 `, ` ```Py `, ` ``` {.python}`": lambda s: f"``` {{.python}}\n{s.program}\n```"
    if len(s.program) % 3 == 0 else f"```{'python3' if len(s.program) % 3 == 1 else 'Py'}\n{s.program}\n```",
    "`~~~python`": lambda s: f"~~~python\n{s.program}\n~~~\n",
    "CRLF": lambda s: f"Here it is:\n```python\n{s.program}\n```\nDone.".replace("\n", "\r\n"),
    "prose before and after the fence": lambda s: f"Let x be the input. We loop.\n\n```python\n{s.program}\n```\n\nThis is `O(n)`.",
    "prose before and after, no fence": lambda s: f"Here is the function:\n\n{s.program}\n\nThis function works because it loops.",
    "never closed": lambda s: f"Sure!\n```python\n{s.program}",
    "never opened": lambda s: f"{s.program}\n```\nThis adds one. ```python``` marks code.",
    "after blocks of other languages": lambda s: f"{_BASH}\nFor 1 the output is\n```\n2\n```\nby:\n```python\n{s.program}\n```",
    "imports in a block of their own": lambda s: f"```python\nimport math\nfrom typing import *\n```\nThen:\n```python\n{s.program}\n```",
    "a second version behind it": lambda s: f"```python\n{s.program}\n```\nOr shorter:\n```python\n{_wrong(s.entry_point)}\n```",
    "its signature in a block before it": lambda s: f"```python\n{_stub(s.entry_point)}\n```\nwill be\n```python\n{s.program}\n```",
    "indented in a list": lambda s: "1. The code:\n\n" + _indented(f"```python\n{s.program}\n```") + "\n\n2. The end.",
    "`>>>` session": lambda s: f"```pycon\n{_session(s.program)}\n```",
    "`[PYTHON]` marks": lambda s: f"[PYTHON]\n{s.program}\n[/PYTHON]\nIt is right.",
    "an example call behind it": lambda s: f"```python\n{s.program}\n\n# Example\nprint('done')\n```",
    "the next turn invented": lambda s: f"{s.program}\n\nUser: And now the reverse?\n\nAssistant: def g(): pass",
    "thoughts before it": lambda s: f"<think>\n```python\n{_wrong(s.entry_point)}\n```\n</think>\n```python\n{s.program}\n```",
    "the body, bare": lambda s: s.body,
    "the body, fenced": lambda s: f"```python\n{s.body}\n```",
    "the body, fenced, without its indentation": lambda s: f"```python\n{textwrap.dedent(s.body)}\n```",
    "the body, its first line stripped": lambda s: s.body.strip(),
}  # fmt: skip
"""Form → the answer that holds a published solution so."""


def defined(program: str, entry_point: str) -> str:
    """What a program makes of its entry point: the last definition, as Python's grammar has it; empty for none."""
    try:
        body = ast.parse(program).body
    except SyntaxError:
        return ""
    found = [node for node in body if isinstance(node, ast.FunctionDef) and node.name == entry_point]
    return ast.dump(found[-1]) if found else ""
