"""How long does it take to turn the authors' intent rows into packed rows: the first time, and with cached tokens?

The rows are the authors' `intent.jsonl`, looked for in the folder of reference data (`ESFT_REFERENCE_DATA`, default
`../shared/data`); where it is absent, as many embedded intent rows stand in, and the result says so.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from esft_lightning.tasks import IntentDataModule

ROWS = 7280
_REFERENCE = "esft/train/intent.jsonl"


def reference_data() -> Path:
    """The folder of reference data; it need not be there."""
    return Path(os.environ.get("ESFT_REFERENCE_DATA", "../shared/data")).resolve()


def measure(*, quick: bool, threads: int) -> dict[str, Any]:
    """Measure whole set-ups of a DataModule: read, check, tokenise, pack, fingerprint.

    Args:
        quick: Take few rows, and few rounds.
        threads: Not used: the tokenizer takes the threads that there are.

    Returns:
        `rows`, `tokens`, `source`, and seconds of every round of `cold` and `cached`.
    """
    given = reference_data() / _REFERENCE
    seconds: dict[str, list[float]] = {"cold": [], "cached": []}
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "intent.jsonl"
        if given.is_file():
            lines = given.read_text(encoding="utf-8").split("\n")[: 200 if quick else ROWS]
        else:
            from esft_lightning.data.sources import embedded_records

            records = embedded_records("intent", "train", 200 if quick else ROWS, 0)
            lines = [json.dumps(record) for _, record in records]
        rows.write_text("\n".join(lines) + "\n", encoding="utf-8")
        report: dict[str, Any] = {}
        for turn in range(1 if quick else 6):
            for name in ("cold", "cached"):
                data = IntentDataModule(
                    source="files", train_files=str(rows), val_fraction=0.0, sequence_length=4096,
                    cache_dir=f"{folder}/tokens-{turn}",
                )  # fmt: skip
                _ = data.tokenizer
                started = time.perf_counter()
                data.setup("fit")
                seconds[name].append(time.perf_counter() - started)
                report = data.report
    source = _REFERENCE if given.is_file() else "embedded"
    return {"rows": report["train_rows"], "tokens": report["train_tokens"], "source": source, **seconds}
