"""Merged folders: loaded by Transformers alone, they answer as base and adapter do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from test_adapters import IDS, STRATEGIES, save, train
from tiny_models import deepseek_model
from transformers import AutoModelForCausalLM, PreTrainedModel

from esft_lightning.__main__ import main
from esft_lightning.adapters import AdapterError, load_adapter, save_adapter
from esft_lightning.merge import INDEX_FILE, merge
from esft_lightning.moe import load_model, model_fingerprint
from esft_lightning.strategies import ESFTToken


def written(model: PreTrainedModel, folder: Path, **options: Any) -> str:
    model.save_pretrained(folder, **options)
    (folder / "tokenizer.json").write_text("{}")
    return str(folder)


def adapter_of(strategy: Any, base: PreTrainedModel, name: str, folder: Path) -> Path:
    model, selection = train(strategy, base)
    facts = {"strategy": strategy.name, "base": name, "base_fingerprint": model_fingerprint(base)}
    return save_adapter(model, folder, selection=selection, **facts)


def logits(folder: str | Path) -> torch.Tensor:
    return AutoModelForCausalLM.from_pretrained(folder).eval()(IDS).logits


@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)
def test_transformers_alone_reads_what_base_and_adapter_answer(strategy: Any, tmp_path: Path) -> None:
    base = deepseek_model()
    name = written(base, tmp_path / "base")
    adapter = adapter_of(strategy, base, name, tmp_path / "adapter")
    expected = load_adapter(base, adapter)(IDS).logits
    merged = merge(name, adapter, tmp_path / "merged")
    assert torch.allclose(logits(merged.folder), expected, atol=1e-5)
    assert (merged.folder / "tokenizer.json").is_file()
    assert not list(tmp_path.glob(".*"))
    reread = load_model(str(merged.folder))
    assert not any("bank" in key or "lora" in key for key, _ in reread.named_parameters())


def test_shards_are_rewritten_one_by_one_bit_equal_but_for_what_was_trained(tmp_path: Path) -> None:
    base = deepseek_model(dtype=torch.bfloat16)
    name = written(base, tmp_path / "base", max_shard_size="20KB")
    adapter = adapter_of(ESFTToken(), base, name, tmp_path / "adapter")
    steps: list[tuple[int, int]] = []
    merged = merge(name, adapter, tmp_path / "merged", progress=lambda *step: steps.append(step))
    shards = sorted(path.name for path in (tmp_path / "base").glob("*.safetensors"))
    assert len(shards) > 3
    assert steps == [(n, len(shards)) for n in range(1, len(shards) + 1)]
    assert (merged.folder / INDEX_FILE).is_file()
    changed = 0
    with safe_open(adapter / "adapter_model.safetensors", framework="pt") as trained:
        for shard in shards:
            with safe_open(tmp_path / "base" / shard, framework="pt") as one, safe_open(merged.folder / shard, framework="pt") as other:  # fmt: skip # noqa: E501
                for key in one.keys():  # noqa: SIM118
                    expected = trained.get_tensor(key) if key in trained.keys() else one.get_tensor(key)  # noqa: SIM118
                    assert torch.equal(other.get_tensor(key), expected)
                    changed += key in trained.keys()  # noqa: SIM118
    assert changed == merged.replaced == 3 * 3
    expected = load_adapter(base, adapter)(IDS).logits
    assert torch.equal(logits(merged.folder), expected), "bit-equal in bf16"


def test_another_storage_dtype_is_written_and_named(tmp_path: Path) -> None:
    base = deepseek_model(dtype=torch.bfloat16)
    name = written(base, tmp_path / "base")
    adapter = adapter_of(ESFTToken(), base, name, tmp_path / "adapter")
    merged = merge(name, adapter, tmp_path / "merged", dtype="float32")
    model = AutoModelForCausalLM.from_pretrained(merged.folder)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_a_folder_that_is_there_or_another_base_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    base, other = deepseek_model(), deepseek_model(seed=1)
    name, wrong = written(base, tmp_path / "base"), written(other, tmp_path / "other")
    adapter = adapter_of(ESFTToken(), base, name, tmp_path / "adapter")
    with pytest.raises(AdapterError, match=r"was trained on .*base .*give --base"):
        merge(wrong, adapter, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()
    merge(wrong, adapter, tmp_path / "merged", force=True)
    with pytest.raises(FileExistsError, match="--overwrite"):
        merge(name, adapter, tmp_path / "merged")
    before = logits(tmp_path / "merged")
    merge(name, adapter, tmp_path / "merged", overwrite=True)
    assert not torch.equal(logits(tmp_path / "merged"), before)
    written(other, tmp_path / "base")  # the same name, other weights
    with pytest.raises(AdapterError, match="when its files were others"):
        merge(name, adapter, tmp_path / "again")
    assert not list(tmp_path.glob(".*"))


def test_the_verb_takes_the_adapters_own_base(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = deepseek_model()
    name = written(base, tmp_path / "base")
    adapter = adapter_of(ESFTToken(), base, name, tmp_path / "adapter")
    assert main(["merge", "--adapter", str(adapter), "--output", str(tmp_path / "merged")]) == 0
    assert "written file by file; 9 tensors hold trained values" in capsys.readouterr().out
    assert main(["merge", "--adapter", str(tmp_path), "--output", str(tmp_path / "more")]) == 2
    assert "is no adapter folder" in capsys.readouterr().err


def test_a_model_with_banks_is_not_saved_by_transformers(tmp_path: Path) -> None:
    base = deepseek_model()
    save(tmp_path / "adapter", ESFTToken(), base)
    load_adapter(base, tmp_path / "adapter")
    with pytest.raises(RuntimeError, match="merge"):
        base.save_pretrained(tmp_path / "saved")
