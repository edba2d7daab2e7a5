"""`result.json`: what one run leaves, and the only thing that tables and reports are made from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from esft_lightning.comparison.run_spec import RunSpec
from esft_lightning.errors import FileError
from esft_lightning.storage import atomic_write

RESULT_FILE = "result.json"
SCHEMA_VERSION = 1
GENERAL = "general/"
"""Scores under this prefix are general ability; `general/average` is their mean, `general/loss` is no part of it."""
GENERAL_LOSS = f"{GENERAL}loss"
ALSO = "also/"
"""Scores under this prefix are those of other tasks than the one that was trained."""
COMPLETIONS_FILE = "completions.jsonl"
"""What the model answered to the task's evaluation rows, in the form of the verb `score`."""


@dataclass(frozen=True)
class RunResult:
    """What a run was and what came out of it. All scores lie in [0, 1], losses do not.

    Attributes:
        spec: What was run.
        status: `finished` or `failed`.
        key: Hash of the spec and the base model's files: a run with the same key is not repeated.
        error: Why it failed, one line.
        traceback: Where it failed, unless for what a user can mend.
        mendable: Whether it failed for what a user can mend: a setting, a file, a base that is not there.
        before: Scores of the base model: `task`, `general/<probe>`, `general/average`; empty without a base run.
        after: The same scores after training; a base run's own scores stand here too. `also/<task>` are scores of
            other tasks; `general/loss` is the held-out loss in nats per token.
        rows: The scores of every evaluation row, alike in order for all runs: `task`, `also/<task>`, `general/<probe>`.
        exact: Share of the task's answers whose first line is a reference, white space apart; None in older results.
        rote: What the task's rows yield without understanding, in a base run: `constant` (the best constant answer),
            `random` (a training answer for each row), `last_shot` (the answer of the example before the question).
        losses: `train` (one a step, nats per labelled token), `validation` (pairs of step and loss).
        validation_scores: Pairs of step and score on validation rows; empty where none were answered.
        seconds: `total` (the whole run), `prepare`, `train`, `evaluate`, `step` (median of the optimizer
            steps), and `processor` (processor time, all threads: it shows a busy machine).
        peak_memory_bytes: Largest resident memory of the run's process.
        parameters: `total` of the base, `trained`, and `trained_by_group`.
        adapter_bytes: Size of the adapter folder.
        selected_experts: Layer → ids of the routed experts that trained, where the strategy selected any.
        affinity: Facts of the profile in use: `tokens`, `samples`, `num_experts` of a layer, `top_k`.
        tokens_trained: Real tokens of all training batches.
        batches_digest: Hash of the ids of all packed rows in the order they were trained on; alike for all strategies.
        data_fingerprint: Fingerprint of the training rows.
        base_fingerprint: Fingerprint of the base's weights.
        learning_rate: The rate used.
        weight_updates: How small updates reached what trained (`weight_updates.WeightUpdates`); empty in a base run and
            in results of earlier versions, which over a bf16 base lost those of everything but ESFT's experts.
        missing_walls: Walls around generated code that the machine lacked while such code was run.
        versions: Of Python and the libraries.
        hardware: The machine.
        commit: Commit of the code, where there is git.
        finished_at: UTC, ISO 8601.
    """

    spec: RunSpec
    status: Literal["finished", "failed"]
    key: str
    error: str = ""
    traceback: str = ""
    mendable: bool = False
    before: dict[str, float] = field(default_factory=dict)
    after: dict[str, float] = field(default_factory=dict)
    rows: dict[str, list[float]] = field(default_factory=dict)
    exact: float | None = None
    rote: dict[str, float] = field(default_factory=dict)
    losses: dict[str, list[Any]] = field(default_factory=dict)
    validation_scores: list[Any] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    peak_memory_bytes: int = 0
    parameters: dict[str, Any] = field(default_factory=dict)
    adapter_bytes: int = 0
    selected_experts: dict[str, list[int]] = field(default_factory=dict)
    affinity: dict[str, int] = field(default_factory=dict)
    tokens_trained: int = 0
    batches_digest: str = ""
    data_fingerprint: str = ""
    base_fingerprint: str = ""
    learning_rate: float = 0.0
    weight_updates: str = ""
    missing_walls: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    hardware: dict[str, Any] = field(default_factory=dict)
    commit: str | None = None
    finished_at: str = ""

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return self.status == "finished"

    @property
    def trained_share(self) -> float:
        """Trained parameters, as a share of the base's."""
        return self.parameters.get("trained", 0) / max(1, self.parameters.get("total", 0))

    @property
    def kept_validation(self) -> tuple[int, float] | None:
        """Steps and validation loss of the weights that were kept: the best of them, or the last; None without any."""
        validations = self.losses.get("validation")
        if not validations:
            return None
        if not self.spec.validate_every:
            step, loss = validations[-1]
            return step, loss
        if self.validation_scores:
            best, _ = max(self.validation_scores, key=lambda entry: entry[1])  # of equal ones the first
            return best, dict(map(tuple, validations))[best]
        step, loss = min(validations, key=lambda entry: entry[1])
        return step, loss

    @property
    def kept_score(self) -> float | None:
        """Score on validation rows of the weights that were kept, in [0, 1]; None where none were answered."""
        kept = self.kept_validation
        return None if kept is None else dict(map(tuple, self.validation_scores)).get(kept[0])

    @property
    def converged(self) -> bool:
        """Whether training ended because the validation loss no longer fell, before all steps were made."""
        return bool(self.spec.patience) and len(self.losses.get("train", ())) < self.spec.steps

    def save(self, folder: str | Path) -> Path:
        """Write `result.json` into the run's folder, atomically.

        Returns:
            The file.
        """
        path = Path(folder) / RESULT_FILE
        atomic_write(path, (json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n").encode())
        return path

    def to_dict(self) -> dict[str, Any]:
        """As JSON values, with the version of this form."""
        return {"schema": SCHEMA_VERSION, "spec_hash": self.spec.content_hash, **asdict(self)}

    @classmethod
    def from_dict(cls, values: Any) -> RunResult:
        """What `to_dict` gave.

        Raises:
            ValueError: It is no result, or of another version.
        """
        if not isinstance(values, Mapping) or values.get("schema") != SCHEMA_VERSION:
            version = values.get("schema") if isinstance(values, Mapping) else None
            raise ValueError(f"schema {version!r} is unknown; expected {SCHEMA_VERSION}: run it again")
        known = {entry.name for entry in fields(cls)}
        if missing := {"spec", "status", "key"} - set(values):
            raise ValueError(f"{sorted(missing)} missing")
        kept = {name: value for name, value in values.items() if name in known}
        return cls(**{**kept, "spec": RunSpec.from_dict(kept["spec"])})

    @classmethod
    def load(cls, path: str | Path) -> RunResult:
        """Read what `save` wrote.

        Args:
            path: The file, or the run's folder.

        Raises:
            OSError: It cannot be read.
            ValueError: It is no result, or of another version; the file is named.
        """
        path = Path(path)
        path = path / RESULT_FILE if path.is_dir() else path
        try:
            return cls.from_dict(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError, RecursionError) as error:
            raise FileError(f"{path}: {error}") from error


def load_results(root: str | Path) -> list[RunResult]:
    """Every result below a folder.

    Args:
        root: A comparison's output folder.

    Returns:
        Results in the order of their paths.

    Raises:
        ValueError: A result that cannot be read; the file is named.
    """
    return [RunResult.load(path) for path in sorted(Path(root).rglob(RESULT_FILE))]
