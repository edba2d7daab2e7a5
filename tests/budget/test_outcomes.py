"""What an operator makes of given shapes is remembered: it must not change what a step costs."""

import pytest
from layouts import save_base

from esft_lightning.budget import meter, outcomes
from esft_lightning.budget.candidates import assumed_experts, candidates
from esft_lightning.budget.meta_model import meta_model
from esft_lightning.budget.reckoning import reckon
from esft_lightning.budget.step import TrainingShape


@pytest.mark.parametrize("family", ["deepseek_v2", "granitemoe"])
def test_remembered_outcomes_are_those_of_the_kernels(tmp_path, monkeypatch, family):
    """DeepSeek rotates complex numbers; Granite's head has an operator that says it makes anew and hands on."""
    base = save_base(tmp_path, family)

    def reckoned():
        model = meta_model(base)
        return reckon(model, candidates(model, [assumed_experts(model)])[:2], TrainingShape(2, 64))

    real, ran = meter._run, []
    monkeypatch.setattr(meter, "_run", lambda *call: ran.append(call[0]) or real(*call))
    remembered, few = reckoned(), len(ran)
    monkeypatch.setattr(outcomes, "_described_call", lambda *call: None)
    assert reckoned() == remembered
    assert few < 0.8 * (len(ran) - few)
