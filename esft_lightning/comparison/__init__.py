"""Runs side by side: grids of runs, each in its own process, finished ones never repeated; tables and reports.

Serves the verb `compare` and the paper's experiments alike. Names are loaded on first use, so that importing this
package starts no heavy library.
"""

from esft_lightning.first_use import on_first_use

_HOMES = {
    "BASE": "run_spec",
    "RunSpec": "run_spec",
    "DEFAULT_STRATEGIES": "grid",
    "DEFAULT_TASKS": "grid",
    "build_grid": "grid",
    "run_grid": "runner",
    "read_archive": "archive",
    "restore": "archive",
    "write_archive": "archive",
    "Plan": "plan",
    "plan_of": "plan",
    "GridOutcome": "runner",
    "RunResult": "result",
    "load_results": "result",
    "summarize": "summary",
    "Summary": "summary",
    "markdown_table": "table",
    "terminal_table": "table",
    "write_report": "report",
}
__all__ = list(_HOMES)
__getattr__, __dir__ = on_first_use(__name__, _HOMES)
