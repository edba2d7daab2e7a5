"""Pretraining: its losses and rates, and small runs that are stopped, go on, and branch."""

import csv
import json
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from esft_lightning.embedded import TINY, pretrain
from esft_lightning.embedded.corpus import WEIGHTS
from esft_lightning.embedded.packed_rows import PackedRows
from esft_lightning.embedded.pretraining_files import RunFolder
from esft_lightning.embedded.pretraining_rows import encoder, step_loader
from esft_lightning.embedded.pretraining_run import pretrain as run
from esft_lightning.embedded.pretraining_settings import Machine, Pretraining, PretrainingError, learning_rate_factor
from esft_lightning.embedded.tiny_model import PretrainingLoss, Shape, balance_loss, new_model, tiny_config
from experiments import base_card

SMALL = Shape(layers=1, experts=8, top_k=2, expert_width=8, hidden=32, heads=2, head_width=16, kv_rank=16)
MACHINE = Machine(accelerator="cpu", workers=0, save_minutes=60, log_every=2)


def settings(steps: int, **changes) -> Pretraining:
    return Pretraining(steps=steps, **{"shape": SMALL, "warm_up": 2, **changes})


def weights(folder) -> dict[str, torch.Tensor]:
    state = RunFolder(folder).state()
    assert state is not None
    return state["model"]


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of eight steps that keeps the state at which one of four begins."""
    folder = tmp_path_factory.mktemp("whole")
    record = run(folder, settings(8), MACHINE, keep=(Fraction(1, 2),), tell=lambda line: None)
    return folder, record


def test_balance_loss_is_one_for_a_uniform_router():
    index = torch.arange(64).repeat(3).view(-1, 6)
    assert balance_loss(torch.zeros(index.shape[0], 64), index).item() == pytest.approx(1.0)


def test_balance_loss_equals_its_definition():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(50, 8, generator=generator)
    index = logits.topk(2, dim=-1).indices
    probabilities = logits.softmax(-1)
    expected = 0.0
    for expert in range(8):
        share = sum(expert in row for row in index.tolist()) / (50 * 2)
        expected += 8 * share * (sum(probabilities[:, expert].tolist()) / 50)
    assert balance_loss(logits, index).item() == pytest.approx(expected, rel=1e-5)
    assert balance_loss(10 * logits, index).item() > expected  # a sharper router at the same choices costs more


def test_the_loss_is_that_of_the_next_token():
    model = new_model(tiny_config(AutoTokenizer.from_pretrained(TINY), SMALL), 0)
    ids = torch.randint(0, 100, (2, 16), generator=torch.Generator().manual_seed(0))
    total, language = PretrainingLoss(model)(ids)
    assert language.item() == pytest.approx(model(input_ids=ids, labels=ids).loss.item(), rel=1e-5)
    assert total.item() > language.item() and not language.requires_grad


@given(st.integers(1, 3000), st.integers(0, 200), st.floats(0.01, 1), st.data())
def test_the_rate_stays_between_nothing_and_full(steps, warm_up, decay, data):
    value = Pretraining(steps=steps, warm_up=warm_up, decay=decay)
    assert 0 < learning_rate_factor(data.draw(st.integers(0, steps - 1)), value) <= 1


def test_the_rate_is_a_trapezoid():
    value = Pretraining(steps=1000, warm_up=100, decay=0.25)
    assert value.trunk == 750
    factors = [learning_rate_factor(step, value) for step in range(1000)]
    assert factors[:3] == [0.01, 0.02, 0.03] and set(factors[99:750]) == {1.0}
    assert sorted(factors[750:], reverse=True) == factors[750:] and factors[-1] == pytest.approx(1 / 251)


def test_the_untrained_model_is_a_function_of_its_seed():
    config = tiny_config(AutoTokenizer.from_pretrained(TINY))
    first, again, other = (new_model(config, seed).state_dict() for seed in (4, 4, 5))
    assert same(first, again) and not same(first, other)


def test_a_shape_decides_the_configuration():
    tokenizer = AutoTokenizer.from_pretrained(TINY)
    config = tiny_config(tokenizer, Shape(layers=8, experts=32, top_k=4, expert_width=24, hidden=96, heads=8))
    assert (config.num_hidden_layers, config.first_k_dense_replace) == (9, 1)
    assert (config.n_routed_experts, config.num_experts_per_tok, config.moe_intermediate_size) == (32, 4, 24)
    assert (config.hidden_size, config.intermediate_size, config.num_attention_heads) == (96, 288, 8)
    assert str(Shape(layers=8, expert_width=24)) == "8x64x24" and str(SMALL).startswith("1x8x8-top2-hidden32")


def test_a_run_leaves_a_model_folder_its_record_and_its_losses(whole):
    folder, record = whole
    assert record["finished"] is True and record["tokens"] == 8 * 3072
    assert record == json.loads((folder / "PRETRAINING.json").read_text())
    assert record["shape"]["hidden"] == 32 and record["rate"] == 3e-3 and set(record["held_out_loss"]) == set(WEIGHTS)
    progress = json.loads((folder / "progress.json").read_text())
    assert (progress["step"], progress["steps"]) == (8, 8) and progress["tokens_per_processor_second"] > 0
    with (folder / "losses.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["3", "6", "8"]  # where a shorter run begins, its own last part, the end
    assert all(float(rows[-1][domain]) < float(rows[0][domain]) for domain in WEIGHTS)
    assert not [path for path in folder.rglob("*") if path.name.endswith((".tmp", ".old"))]
    # the bf16 folder holds the fp32 weights of the run, rounded
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.dtype == torch.bfloat16
    kept = weights(folder)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, kept[name].to(torch.bfloat16)), name


def test_a_card_is_made_of_the_record(whole, tmp_path):
    folder, record = whole
    text = base_card.card(folder, tmp_path)
    assert f"{record['parameters']:,} parameters" in text
    assert f"--steps {record['steps']} --seed {record['seed']}" in text


def test_a_killed_run_goes_on_to_the_same_weights(whole, tmp_path):
    folder, record = whole

    class Killed(BaseException):
        pass

    def kill(line: str) -> None:
        if line.startswith("saved at step 6"):
            raise Killed

    with pytest.raises(Killed):
        run(tmp_path, settings(8), MACHINE, keep=(Fraction(1, 2),), tell=kill)
    assert json.loads((tmp_path / "PRETRAINING.json").read_text())["finished"] is False
    again = run(tmp_path, settings(8), MACHINE, keep=(Fraction(1, 2),), tell=lambda line: None)
    assert same(weights(folder), weights(tmp_path))
    assert again["held_out_loss"] == record["held_out_loss"]
    assert (folder / "losses.csv").read_text().split("\n")[0] == (tmp_path / "losses.csv").read_text().split("\n")[0]
    told: list[str] = []
    assert run(tmp_path, settings(8), MACHINE, tell=told.append) == again and not told  # nothing is left to do


def test_a_shorter_and_a_longer_run_branch_off(whole, tmp_path):
    folder, _ = whole
    for steps in (4, 10):
        straight, branched = tmp_path / f"straight{steps}", tmp_path / f"branched{steps}"
        lines: list[str] = []
        run(straight, settings(steps), MACHINE, tell=lambda line: None)
        run(branched, settings(steps), MACHINE, start=folder, tell=lines.append)
        assert same(weights(straight), weights(branched)), steps
        first = int(lines[0].split("/")[0].removeprefix("step "))
        assert first > (3 if steps == 4 else 6)  # it did not begin again


def test_another_run_in_the_folder_is_refused(whole, tmp_path):
    folder, _ = whole
    for changes, said in (
        ({"rate": 1e-3}, r"rate=0\.003 \(asked for 0\.001\)"),
        ({"seed": 1}, r"seed=0 \(asked for 1\)"),
    ):
        with pytest.raises(PretrainingError, match=said):
            run(folder, settings(8, **changes), MACHINE)
        with pytest.raises(PretrainingError, match=said):
            run(tmp_path / "new", settings(4, **changes), MACHINE, start=folder)
    with pytest.raises(PretrainingError, match=r"steps=8 \(asked for 9\)"):
        run(folder, settings(9), MACHINE)
    with pytest.raises(PretrainingError, match="it has kept no state at or before step 1"):
        run(tmp_path / "new", settings(2), MACHINE, start=folder)


def test_a_loss_that_is_no_number_ends_the_run(tmp_path):
    with pytest.raises(PretrainingError, match="the loss is nan at step"):
        run(tmp_path, settings(8, rate=1e9), MACHINE, tell=lambda line: None)


def test_rows_do_not_depend_on_the_number_of_workers():
    tokenizer = AutoTokenizer.from_pretrained(TINY)
    rows = PackedRows(encoder(tokenizer), 0, 1, stage_from=3)
    here, beside = (list(step_loader(rows, 5, 1, workers)) for workers in (0, 2))
    assert len(here) == len(beside) == 4
    assert all(torch.equal(one, other) for one, other in zip(here, beside, strict=True))


def test_the_command_makes_a_run_and_its_checkpoints(tmp_path, capsys):
    sizes = [part for name, value in vars(SMALL).items() for part in (f"--{name.replace('_', '-')}", str(value))]
    arguments = ["--output", str(tmp_path), "--steps", "4", "--warm-up", "1", "--workers", "0", *sizes]
    assert pretrain.main([*arguments, "--accelerator", "cpu", "--checkpoints", "1/2"]) == 0
    record = RunFolder(tmp_path / "at-1-2").record()
    assert (record["steps"], record["finished"]) == (2, True)
    assert "saved at step 4" in capsys.readouterr().out
    assert pretrain.main([*arguments, "--accelerator", "cpu", "--rate", "1e-3"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("pretrain: ") and "rate=0.003 (asked for 0.001)" in error and error.count("\n") == 1


def test_numbers_of_tokens_and_shares_are_read():
    assert [pretrain.tokens(text) for text in ("50M", "1.5m", "500k", "3072")] == [
        *(50_000_000, 1_500_000, 500_000, 3072)
    ]
    assert pretrain.share("1/27") == Fraction(1, 27)
    for text in ("3/2", "0"):
        with pytest.raises(Exception, match="expected a share between 0 and 1"):
            pretrain.share(text)


@pytest.mark.parametrize("changes", [{"decay": 0}, {"rate": 0}, {"warm_up": -1}])
def test_numbers_that_make_no_run_are_refused(changes):
    with pytest.raises(PretrainingError, match=next(iter(changes))):
        settings(8, **changes)
    with pytest.raises(PretrainingError, match="steps=0"):
        settings(0)
