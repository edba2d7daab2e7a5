"""Pretrain the tiny model on the embedded corpus.

``python -m esft_lightning.assets.pretrain --minutes 70 --seed 0 --threads 1 --output FOLDER``

The output folder is a Transformers folder at any time (weights in bf16, tokenizer, record); it also holds
``state.pt`` (fp32 weights and optimizer), from which a stopped run goes on when the same command is given again, and
``losses.csv`` with the held-out loss of every domain. Steps depend on the clock: the learning rate follows a
trapezoid over the minutes asked for (warm-up, constant, then a straight line to zero), so that a run ends when it is
told to, with its learning rate at zero. With ``--steps`` the trapezoid follows the steps instead and a run is
reproducible.
"""

from __future__ import annotations

import csv
import json
import platform
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoTokenizer, DeepseekV2ForCausalLM, PreTrainedModel

from esft_lightning.assets import TINY
from esft_lightning.assets.tiny_model import BALANCE, new_model, step_loss, tiny_config
from esft_lightning.command_parser import CommandParser
from esft_lightning.data.embedded.corpus import WEIGHTS, RowStream, domain_texts

__all__ = ["learning_rate_factor", "pretrain"]

LEARNING_RATE = 3e-3
WEIGHT_DECAY = 0.1
WARM_UP = 0.02  # of the run
DECAY = 0.25  # of the run
TOKENS_PER_STEP = 3072
# Row lengths of a step and how often: mostly short, so that a step holds many domains and attention stays cheap;
# now and then long, so that later positions are trained too.
LENGTHS = {256: 0.80, 512: 0.14, 1024: 0.05, 3072: 0.01}
_HELD_OUT_ROWS, _HELD_OUT_LENGTH = 12, 256


def learning_rate_factor(progress: float) -> float:
    """Trapezoid over ``progress`` in [0, 1]: up to 1 during the warm-up, down to 0 at the end."""
    return max(0.0, min(1.0, progress / WARM_UP if WARM_UP else 1.0, (1.0 - progress) / DECAY))


def _optimizer(model: PreTrainedModel) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices, not on norms and embeddings."""
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    plain = [p for name, p in named if p.ndim < 2 or "embed" in name]
    decayed = [p for name, p in named if not (p.ndim < 2 or "embed" in name)]
    groups = [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(0.9, 0.95), fused=True)


def _encoder(tokenizer: Any) -> Callable[[list[str]], list[list[int]]]:
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


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file under a temporary name and rename it, so that a reader never meets half of it."""
    temporary = path.with_name(path.name + ".tmp")
    write(temporary)
    temporary.replace(path)


def _save(model: DeepseekV2ForCausalLM, tokenizer: Any, output: Path, state: dict, record: dict) -> None:
    """Write the Transformers folder (bf16), the record and the state for going on."""
    parts = output / "saving.tmp"
    parts.mkdir(exist_ok=True)
    weights = {name: tensor.detach().to(torch.bfloat16) for name, tensor in model.state_dict().items()}
    with torch.device("meta"):
        shell = DeepseekV2ForCausalLM(model.config)
    shell.bfloat16().save_pretrained(parts, state_dict=weights)
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
    state: dict[str, Any] = {"step": 0, "seconds": 0.0, "parts": 0, "history": []}
    if (output / "state.pt").exists():
        state = torch.load(output / "state.pt", weights_only=True)
        model.load_state_dict(state.pop("model"))
        optimizer.load_state_dict(state.pop("optimizer"))
    # a later part draws new texts instead of skipping through those already read
    part, history = state["parts"], state.get("history", [])
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
        command = "python -m esft_lightning.assets.pretrain " + " ".join(sys.argv[1:])
        this_part = {"command": command, "until_step": state["step"], "balance": BALANCE, "mixture": WEIGHTS}
        record = {
            "command": command,
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
            "parts": [*history, this_part],
            "versions": {
                "python": platform.python_version(),
                "torch": torch.__version__,
                "transformers": transformers.__version__,
            },
        }
        kept = {"step": state["step"], "seconds": seconds(), "parts": part + 1, "history": [*history, this_part]}
        kept |= {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
        _save(model, tokenizer, output, kept, record)
        print(json.dumps(done | {"held_out": losses}), flush=True)
        return record

    while progress() < 1.0:
        length = lengths.choices(list(LENGTHS), list(LENGTHS.values()))[0]
        ids = torch.tensor([rows.next_row(length)[1] for _ in range(TOKENS_PER_STEP // length)])
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * learning_rate_factor(progress() + 1e-4)
        loss, language_loss = step_loss(model, ids)
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
    parser = CommandParser(
        prog="python -m esft_lightning.assets.pretrain", description="Pretrain the tiny model on the embedded corpus."
    )
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
