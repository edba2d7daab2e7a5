"""`docs/gpu.md` from a receipt, or from its absence. Knows numbers and text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu.part import PARTS
from esft_lightning.publication import ResultTable
from esft_lightning.storage import atomic_write

_INTRODUCTION = """\
# On a GPU

    python -m benchmarks.gpu                            # on one GPU: ten minutes, then this page and docs/gpu.json
    python -m benchmarks.gpu --only layers whole        # a part of it
    python -m benchmarks.gpu --page-only                # this page from docs/gpu.json, or from its absence
    python -m benchmarks.gpu --device cpu --scale small # all of it on a CPU, in three minutes, below runs/

One script proves and measures what this library does on a GPU. It needs no network: weights are drawn, the embedded
model and its data are in the repository. What a machine lacks (a package, memory, time) is skipped, and said. A part
that fails or takes too long costs itself alone, and what had been found by then stays in the receipt.
"""
_NONE = """\
**No GPU has run this code.** There is no receipt (`docs/gpu.json`). Everything was run and tested on CPUs; what is
written for GPUs follows the libraries' documentation, and is tested as far as a CPU can show it:

- `tests/test_device_waits.py` watches for operators that would make the host wait for a device: a training step between
  two that are logged has none, with `sync_free_experts` for trained banks; the other two-bank forward has one a layer.
- `tests/moe/test_product_path.py` holds which way products of experts are taken on which device.
- `tests/moe/test_rounded_kernel.py` holds when NF4 experts are multiplied by the kernel of grouped-nf4-gemm (the extra
  `nf4-kernel`), and runs that kernel in Triton's interpreter where the package is installed.
- `tests/comparison/test_worker.py` sees that nothing asks CUDA before a run's process is forked.
- `tests/benchmarks/test_gpu_script.py` runs every part of the script below on a CPU.
"""
_CPU = "**This is a CPU's receipt: it shows that the script runs; its timings mean nothing.**\n"


def write_page(receipt: Mapping[str, Any] | None, path: Path) -> None:
    """Write the page.

    Args:
        receipt: What `runner.run` gives; None where no GPU has run the code.
        path: The Markdown file.
    """
    parts = [_INTRODUCTION]
    if receipt is None:
        parts += [_NONE, "## The parts\n", "\n".join(f"- `{part.name}`: {part.title}." for part in PARTS)]
    else:
        parts += _of_receipt(receipt)
    atomic_write(path, ("\n".join(parts).rstrip() + "\n").encode())


def _of_receipt(receipt: Mapping[str, Any]) -> list[str]:
    results: Mapping[str, Any] = receipt["parts"]
    device = results.get("device", {}).get("facts", {})
    lines = [
        f"Device: {device.get('device', 'unknown')}"
        + "".join(f", {device[key]}" for key in ("memory", "driver") if key in device)
        + f". Command: `{receipt['command']}`. Commit: {receipt['commit']}. Made {receipt['made']}, "
        f"{receipt.get('seconds', 0):.0f} seconds.\n"
    ]
    if device.get("accelerator") == "cpu":
        lines.append(_CPU)
    if "versions" in device:
        lines.append("Versions: " + ", ".join(f"{name} {v}" for name, v in device["versions"].items()) + ".\n")
    lines += ["## Parts\n", _overview(results).to_markdown()]
    for part in PARTS:
        if part.name in results:
            lines += [f"## {part.title}\n", *_of_part(part.name, results[part.name])]
    return lines


def _overview(results: Mapping[str, Any]) -> ResultTable:
    rows = []
    for part in PARTS:
        result = results.get(part.name)
        if result is None:
            rows.append([part.name, "not asked for", "", "", ""])
            continue
        checks = [check for check in result.get("checks", ()) if check["passed"] is not None]
        held = f"{sum(check['passed'] for check in checks)} of {len(checks)}" if checks else ""
        seconds = f"{result['seconds']:.1f}" if "seconds" in result else ""
        rows.append(
            [part.name, _bold_unless(result["status"], "passed"), held, seconds, _cell(result.get("reason", ""))]
        )
    return ResultTable(
        "parts", "Every part", ("part", "status", "checks that held", "seconds", "why"), rows, words=True
    )


def _of_part(name: str, result: Mapping[str, Any]) -> list[str]:
    found = []
    if result["status"] != "passed":
        found.append(f"{result['status'].capitalize()}: {result.get('reason', '')}\n")
    facts = {key: value for key, value in result.get("facts", {}).items() if not isinstance(value, Mapping)}
    if facts:
        found.append("\n".join(f"- {key}: {value}" for key, value in facts.items()) + "\n")
    if rows := result.get("rows"):
        columns = list(dict.fromkeys(key for row in rows for key in row))
        cells = [[_cell(row.get(column, "")) for column in columns] for row in rows]
        found.append(ResultTable(f"{name}_rows", "Measured", columns, cells).to_markdown())
    if checks := result.get("checks"):
        caption = "Checks; a number is a relative distance unless it says otherwise, the largest of its row"
        columns = ("what", "checks", "found", "limit", "")
        found.append(ResultTable(f"{name}_checks", caption, columns, _check_rows(checks), words=True).to_markdown())
    return found


def _check_rows(checks: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Checks of one thing (`two banks, float32: output`) that hold by the same limit share a row."""
    alike: dict[Any, list[Mapping[str, Any]]] = {}
    for number, check in enumerate(checks):
        thing = check["what"].partition(": ")[0]
        shares = check["passed"] and isinstance(check["found"], float)
        alike.setdefault((thing, check["limit"]) if shares else number, []).append(check)
    rows = []
    for group in alike.values():
        thing, _, rest = group[0]["what"].partition(": ")
        names = ", ".join(check["what"].partition(": ")[2] for check in group) if len(group) > 1 else rest
        largest = max((check["found"] for check in group), key=lambda found: found if len(group) > 1 else 0)
        rows.append([_cell(thing), _cell(names), _number(largest), _number(group[0]["limit"]), _held(group[0])])
    return rows


def _held(check: Mapping[str, Any]) -> str:
    if check["passed"] is None:
        return _cell(f"skipped: {check['reason']}")
    return "held" if check["passed"] else "**did not hold**"


def _bold_unless(word: str, usual: str) -> str:
    return word if word == usual else f"**{word}**"


def _number(value: Any) -> str:
    return f"{value:.2g}" if isinstance(value, float) else _cell(value)


def _cell(value: Any) -> str:
    text = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    return " ".join(text.replace("|", "/").split())
