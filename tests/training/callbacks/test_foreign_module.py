"""Callbacks that need `ExpertFineTuner` refuse another module by name, before anything runs."""

from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch.utils.data import DataLoader

from esft_lightning.errors import UserError
from esft_lightning.training.callbacks import AdapterCheckpoint, BudgetReport, ExpertAffinityProfiler, RoutingMonitor


class Foreign(LightningModule):
    """Somebody else's module."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        return self.layer(batch).sum()

    def validation_step(self, batch: torch.Tensor, batch_idx: int) -> None:
        self.log("val/loss", self.layer(batch).sum())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.parametrize("kind", [AdapterCheckpoint, BudgetReport, ExpertAffinityProfiler, RoutingMonitor])
@pytest.mark.parametrize("verb", ["fit", "validate"])
def test_a_foreign_module_is_refused_by_name(
    kind: type[Callback], verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loader = DataLoader(torch.ones(4, 2))  # type: ignore[arg-type]
    trainer = Trainer(
        accelerator="cpu", max_steps=2, callbacks=[kind()], logger=False, default_root_dir=tmp_path,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    with pytest.raises(UserError, match=f"{kind.__name__} works with ExpertFineTuner, not Foreign: ") as raised:
        trainer.fit(Foreign(), loader, loader) if verb == "fit" else trainer.validate(Foreign(), loader)
    assert isinstance(raised.value, MisconfigurationException)
    assert trainer.global_step == 0 and "Adapter written" not in capsys.readouterr().out
