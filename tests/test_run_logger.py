"""The event file is flushed by the clock, and whole when a run ends."""

from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from esft_lightning import run_logger
from esft_lightning.run_logger import RunLogger


def scalars(folder: Path) -> list[float]:
    events = EventAccumulator(str(folder)).Reload()
    return [event.value for event in events.Scalars("x")] if "x" in events.Tags()["scalars"] else []


def test_pending_values_are_written_a_second_later_or_at_the_end(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(run_logger, "monotonic", lambda: now[0])
    logger = RunLogger(tmp_path, name="", version="", default_hp_metric=False)

    def step(value: float) -> list[float]:
        logger.log_metrics({"x": value}, step=int(value))
        logger.save()
        return scalars(tmp_path)

    assert step(0.0) == [0.0]
    assert (tmp_path / "hparams.yaml").exists()
    now[0] += 0.5
    assert step(1.0) == [0.0], "flushed half a second ago"
    now[0] += 0.5
    assert step(2.0) == [0.0, 1.0, 2.0]
    step(3.0)
    logger.finalize("failed")
    assert scalars(tmp_path) == [0.0, 1.0, 2.0, 3.0]
