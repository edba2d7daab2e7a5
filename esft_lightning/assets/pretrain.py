"""Pretrain the tiny model on the embedded corpus.

``python -m esft_lightning.assets.pretrain --minutes 70 --seed 0 --threads 1 --output FOLDER``

The output folder is a Transformers folder at any time (weights in bf16, tokenizer, record); it also holds
``state.pt`` (fp32 weights and optimizer), from which a stopped run goes on when the same command is given again, and
``losses.csv`` with the held-out loss of every domain. Steps depend on the clock: the learning rate follows a
trapezoid over the minutes asked for (warm-up, constant, then a straight line to zero), so that a run ends when it is
told to, with its learning rate at zero. With ``--steps`` the trapezoid follows the steps instead and a run is
reproducible.

The balancing loss is that of the Switch Transformer, ``alpha · E · Σ_i f_i · P_i`` per MoE layer, with ``f_i`` the
share of the batch's expert choices that fall on expert i and ``P_i`` its mean router probability.

Shape letters: B batch, S sequence, T = B·S tokens, E routed experts, K experts per token.
"""

from __future__ import annotations

import argparse
import csv
import json
import platform
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoTokenizer, DeepseekV2Config, DeepseekV2ForCausalLM, PreTrainedModel

from esft_lightning.assets import TINY
from esft_lightning.data.embedded.corpus import WEIGHTS, RowStream, domain_texts

__all__ = ["balance_loss", "learning_rate_factor", "new_model", "pretrain", "tiny_config"]

LEARNING_RATE = 3e-3
WEIGHT_DECAY = 0.1
BALANCE = 0.001
WARM_UP = 0.02  # of the run
DECAY = 0.25  # of the run
TOKENS_PER_STEP = 3072
# Row lengths of a step and how often: mostly short, so that a step holds many domains and attention stays cheap;
# now and then long, so that later positions are trained too.
LENGTHS = {256: 0.80, 512: 0.14, 1024: 0.05, 3072: 0.01}
_HELD_OUT_ROWS, _HELD_OUT_LENGTH = 12, 256


def tiny_config(tokenizer: Any) -> DeepseekV2Config:
    """The tiny model's configuration: DeepSeek-V2's architecture, 64 routed experts of which 6 are active.

    ``initializer_range`` is wide enough (0.06) that the router starts with distinct preferences: at 0.02 the gates,
    which are not renormalised, start near 1/64 each and routed experts hardly contribute for hundreds of steps.
    """
    return DeepseekV2Config(
        architectures=["DeepseekV2ForCausalLM"],
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        moe_intermediate_size=48,
        num_hidden_layers=5,
        num_attention_heads=4,
        num_key_value_heads=4,
        qk_nope_head_dim=16,
        qk_rope_head_dim=16,
        v_head_dim=32,
        kv_lora_rank=64,
        q_lora_rank=None,
        n_routed_experts=64,
        num_experts_per_tok=6,
        n_shared_experts=1,
        first_k_dense_replace=1,
        norm_topk_prob=False,
        routed_scaling_factor=1.0,
        topk_method="greedy",
        max_position_embeddings=4096,
        initializer_range=0.06,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def new_model(config: DeepseekV2Config, seed: int) -> PreTrainedModel:
    """The untrained model of ``config`` with the weights that ``seed`` draws: the start of pretraining."""
    torch.manual_seed(seed)
    model = DeepseekV2ForCausalLM(config)
    model.set_experts_implementation("grouped_mm")
    return model


def learning_rate_factor(progress: float) -> float:
    """Trapezoid over ``progress`` in [0, 1]: up to 1 during the warm-up, down to 0 at the end."""
    return max(0.0, min(1.0, progress / WARM_UP if WARM_UP else 1.0, (1.0 - progress) / DECAY))


def balance_loss(router_logits: Tensor, top_k_index: Tensor) -> Tensor:
    """Load-balancing loss of one MoE layer.

    Args:
        router_logits: [T, E].
        top_k_index: [T, K], the experts chosen.

    Returns:
        Scalar, 1 when both choices and probabilities are uniform.
    """
    experts = router_logits.shape[-1]
    share_E = torch.bincount(top_k_index.reshape(-1), minlength=experts).float() / top_k_index.numel()
    probability_E = router_logits.float().softmax(-1).mean(0)
    return experts * (share_E * probability_E).sum()


@contextmanager
def _router_outputs(model: PreTrainedModel) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Collect ``(router_logits [T, E], top_k_index [T, K])`` of every MoE layer during the forward inside."""
    seen: list[tuple[Tensor, Tensor]] = []
    handles = [
        module.register_forward_hook(lambda _module, _input, output: seen.append((output[0], output[2])))
        for module in model.modules()
        if type(module).__name__ == "DeepseekV2TopkRouter"
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _optimizer(model: PreTrainedModel) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices, not on norms and embeddings."""
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    plain = [p for name, p in named if p.ndim < 2 or "embed" in name]
    decayed = [p for name, p in named if not (p.ndim < 2 or "embed" in name)]
    groups = [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(0.9, 0.95), fused=True)


def _encoder(tokenizer: Any):
    backend = tokenizer.backend_tokenizer

    def encode(texts: list[str]) -> list[list[int]]:
        return [item.ids for item in backend.encode_batch_fast(texts, add_special_tokens=False)]

    return encode


def _held_out_rows(tokenizer: Any) -> dict[str, Tensor]:
    """Fixed rows of held-out text per domain, [rows, length]."""
    encode = _encoder(tokenizer)
    rows: dict[str, Tensor] = {}
    for domain in WEIGHTS:
        ids: list[int] = []
        texts = domain_texts(domain, 0, held_out=True)
        while len(ids) < _HELD_OUT_ROWS * _HELD_OUT_LENGTH:
            ids += [tokenizer.bos_token_id, *encode([next(texts)])[0], tokenizer.eos_token_id]
        rows[domain] = torch.tensor(ids[: _HELD_OUT_ROWS * _HELD_OUT_LENGTH]).view(_HELD_OUT_ROWS, _HELD_OUT_LENGTH)
    return rows


@torch.no_grad()
def _held_out_losses(model: PreTrainedModel, rows: dict[str, Tensor]) -> dict[str, float]:
    model.eval()
    losses = {}
    for domain, ids in rows.items():
        logits = model(input_ids=ids, use_cache=False).logits
        losses[domain] = round(F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()).item(), 4)
    model.train()
    return losses


def _step_loss(model: PreTrainedModel, ids: Tensor) -> tuple[Tensor, float]:
    """Loss to differentiate and the language-model loss alone, for rows [B, S]."""
    with _router_outputs(model) as routed:
        hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
    logits = model.lm_head(hidden[:, :-1].reshape(-1, hidden.shape[-1]))
    loss = F.cross_entropy(logits, ids[:, 1:].reshape(-1))
    balance = torch.stack([balance_loss(logits_TE, index_TK) for logits_TE, index_TK in routed]).mean()
    return loss + BALANCE * balance, loss.item()


def _replace(path: Path, write) -> None:
    """Write a file under a temporary name and rename it, so that a reader never meets half of it."""
    temporary = path.with_name(path.name + ".tmp")
    write(temporary)
    temporary.replace(path)


def _save(model: PreTrainedModel, tokenizer: Any, output: Path, state: dict, record: dict) -> None:
    """Write the Transformers folder (bf16), the record and the state for going on."""
    parts = output / "saving.tmp"
    parts.mkdir(exist_ok=True)
    weights = {name: tensor.detach().to(torch.bfloat16) for name, tensor in model.state_dict().items()}
    with torch.device("meta"):
        shell = DeepseekV2ForCausalLM(model.config)
    shell.to(torch.bfloat16).save_pretrained(parts, state_dict=weights)
    tokenizer.save_pretrained(parts)
    for path in sorted(parts.iterdir()):
        path.replace(output / path.name)
    parts.rmdir()
    _replace(output / "PRETRAINING.json", lambda path: path.write_text(json.dumps(record, indent=1) + "\n"))
    _replace(output / "state.pt", lambda path: torch.save(state, path))


def _log(output: Path, row: dict) -> None:
    path = output / "losses.csv"
    fresh = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(row))
        if fresh:
            writer.writeheader()
        writer.writerow(row)


def pretrain(
    output: Path,
    tokenizer_folder: Path = TINY,
    minutes: float = 70.0,
    steps: int | None = None,
    seed: int = 0,
    save_minutes: float = 5.0,
) -> dict:
    """Pretrain the tiny model, or go on with the run whose state lies in ``output``.

    Args:
        output: Folder of the run.
        tokenizer_folder: Where the tokenizer lies.
        minutes: Length of the run, over all its parts.
        steps: Length of the run in optimizer steps instead.
        seed: Seed of weights, texts and row lengths.
        save_minutes: Time between saves.

    Returns:
        The record, as written to ``PRETRAINING.json``.
    """
    output.mkdir(parents=True, exist_ok=True)
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    model = new_model(tiny_config(tokenizer), seed)
    model.train()
    optimizer = _optimizer(model)
    state: dict[str, Any] = {"step": 0, "seconds": 0.0, "parts": 0}
    if (output / "state.pt").exists():
        state = torch.load(output / "state.pt", weights_only=True)
        model.load_state_dict(state.pop("model"))
        optimizer.load_state_dict(state.pop("optimizer"))
    # a later part draws new texts instead of skipping through those already read
    part = state["parts"]
    rows = RowStream(_encoder(tokenizer), tokenizer.bos_token_id, tokenizer.eos_token_id, f"{seed}-{part}")
    lengths = random.Random(f"lengths-{seed}-{part}")
    held_out = _held_out_rows(tokenizer)
    started, before = time.monotonic(), state["seconds"]
    saved, running = started, None

    def seconds() -> float:
        return before + time.monotonic() - started

    def progress() -> float:
        return state["step"] / steps if steps else seconds() / (60 * minutes)

    def save() -> dict:
        losses = _held_out_losses(model, held_out)
        tokens = state["step"] * TOKENS_PER_STEP
        done = {"step": state["step"], "tokens": tokens, "minutes": round(seconds() / 60, 2), "train": running}
        _log(output, done | losses)
        record = {
            "command": "python -m esft_lightning.assets.pretrain " + " ".join(sys.argv[1:]),
            "finished": progress() >= 1.0,
            "seed": seed,
            "steps": state["step"],
            "tokens": tokens,
            "minutes": done["minutes"],
            "tokens_per_second": round(tokens / max(seconds(), 1e-9)),
            "threads": torch.get_num_threads(),
            "parameters": sum(p.numel() for p in model.parameters()),
            "train_loss": running,
            "held_out_loss": losses,
            "mixture": WEIGHTS,
            "versions": {
                "python": platform.python_version(),
                "torch": torch.__version__,
                "transformers": transformers.__version__,
            },
        }
        kept = {"step": state["step"], "seconds": seconds(), "parts": part + 1}
        kept |= {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
        _save(model, tokenizer, output, kept, record)
        print(json.dumps(done | {"held_out": losses}), flush=True)
        return record

    while progress() < 1.0:
        length = lengths.choices(list(LENGTHS), list(LENGTHS.values()))[0]
        ids = torch.tensor([rows.next_row(length)[1] for _ in range(TOKENS_PER_STEP // length)])
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * learning_rate_factor(progress() + 1e-4)
        loss, language_loss = _step_loss(model, ids)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        state["step"] += 1
        running = language_loss if running is None else round(0.98 * running + 0.02 * language_loss, 4)
        if state["step"] % 50 == 0:
            rate = (state["step"] * TOKENS_PER_STEP) / max(seconds(), 1e-9)
            print(f"step {state['step']} loss {running:.3f} {rate:.0f} tokens/s {seconds() / 60:.1f} min", flush=True)
        if time.monotonic() - saved > 60 * save_minutes:
            save()
            saved = time.monotonic()
    return save()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Pretrain the tiny model on the embedded corpus.")
    parser.add_argument("--output", type=Path, required=True, help="folder of the run; an unfinished run goes on")
    parser.add_argument("--tokenizer", type=Path, default=TINY, help="folder of the tokenizer")
    parser.add_argument("--minutes", type=float, default=70.0, help="length of the run")
    parser.add_argument("--steps", type=int, default=None, help="length of the run in steps, instead of minutes")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, texts and row lengths")
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    parser.add_argument("--save-minutes", type=float, default=5.0, help="minutes between saves")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    pretrain(
        arguments.output,
        arguments.tokenizer,
        arguments.minutes,
        arguments.steps,
        arguments.seed,
        arguments.save_minutes,
    )


if __name__ == "__main__":
    main()
