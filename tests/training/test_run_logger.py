"""The event file is flushed by the clock, and whole when a run ends."""

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from esft_lightning.training import run_logger
from esft_lightning.training.run_logger import RunLogger


def test_it_flushes_once_a_second_and_at_the_end(tmp_path, monkeypatch):
    now, flushed = [100.0], []
    monkeypatch.setattr(run_logger, "monotonic", lambda: now[0])
    logger = RunLogger(tmp_path, name="", version="", default_hp_metric=False)
    flush = logger.experiment.flush
    monkeypatch.setattr(logger.experiment, "flush", lambda: (flushed.append(now[0]), flush()))
    for step in range(7):
        logger.log_metrics({"x": float(step)}, step=step)
        logger.save()
        assert (tmp_path / "hparams.yaml").exists(), "written with the first step"
        now[0] += 0.375
    assert flushed == [100.0, 101.125, 102.25]
    logger.finalize("failed")
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [event.value for event in events.Scalars("x")] == list(range(7))
