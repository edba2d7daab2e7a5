"""Pretrain the tiny model on the embedded corpus.

``python -m esft_lightning.embedded.pretrain --tokens 50M --output FOLDER --checkpoints 1/27 1/9 1/3``

The output folder is a Transformers folder at any time; given again, the command goes on where it was stopped, to the
same weights. A checkpoint at a share of the run is the model of a run of that length: it begins at a state that the
longer run kept and is trained through the decay and the instruction stage of its own (``FOLDER/at-1-9``). ``--start
OTHER`` begins at a state of another run that differs in its length alone, so that a run of 50M tokens is made longer
without beginning again.

On a GPU, with a larger batch (``--batch-tokens 49152 --rate 6e-3 --matrix-rate 2e-2 --workers 8``), a run takes a
fraction of the time; nothing but speed depends on ``--accelerator``, ``--workers`` and ``--threads``.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from fractions import Fraction
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from esft_lightning.command_parser import CommandParser
from esft_lightning.embedded import TINY
from esft_lightning.embedded.pretraining_run import pretrain
from esft_lightning.embedded.pretraining_settings import Machine, Pretraining
from esft_lightning.embedded.tiny_model import Shape
from esft_lightning.errors import UserError

__all__ = ["main"]

_DEFAULT_TOKENS = 50_000_000


def tokens(text: str) -> int:
    """A number of tokens: `50M`, `500k`, `3072`."""
    factor = {"k": 1_000, "m": 1_000_000}.get(text[-1:].lower(), 1)
    return round(float(text[:-1] if factor > 1 else text) * factor)


def share(text: str) -> Fraction:
    """A share of a run: `1/9`."""
    value = Fraction(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected a share between 0 and 1, such as 1/9")
    return value


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="python -m esft_lightning.embedded.pretrain",
        description="Pretrain the tiny model on the embedded corpus.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the run; an unfinished run goes on")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--tokens", type=tokens, default=_DEFAULT_TOKENS, help="length of the run, such as 50M")
    length.add_argument("--steps", type=int, help="length of the run in optimizer steps")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, texts and row lengths")
    parser.add_argument("--start", type=Path, help="folder of a run of another length to begin at")
    parser.add_argument(
        "--checkpoints", type=share, nargs="*", default=[], metavar="SHARE", help="also make the models of shorter runs"
    )
    parser.add_argument(
        "--keep", type=share, nargs="*", default=[], metavar="SHARE", help="keep the states that such models begin at"
    )
    shape = parser.add_argument_group("shape")
    for size in fields(Shape):
        shape.add_argument(f"--{size.name.replace('_', '-')}", type=int, default=size.default, help=" ")
    training = parser.add_argument_group("training")
    usual = {entry.name: entry.default for entry in fields(Pretraining)}
    training.add_argument("--batch-tokens", type=int, default=usual["batch_tokens"], help="tokens of a step")
    training.add_argument("--rate", type=float, default=usual["rate"], help="learning rate of AdamW")
    training.add_argument("--matrix-rate", type=float, default=usual["matrix_rate"], help="learning rate of Muon")
    training.add_argument("--warm-up", type=int, default=usual["warm_up"], help="steps over which the rate rises")
    training.add_argument(
        "--opening", type=int, default=usual["opening"], help="steps of short rows of echoes, at first"
    )
    training.add_argument(
        "--decay", type=float, default=usual["decay"], help="share of the run in which the rate falls"
    )
    training.add_argument("--tokenizer", type=Path, default=TINY, help="folder of the tokenizer")
    machine = parser.add_argument_group("machine")
    plain = Machine()
    machine.add_argument("--accelerator", default=plain.accelerator, help="auto, cpu, cuda or mps")
    machine.add_argument("--precision", default=plain.precision, help="32-true or bf16-mixed")
    machine.add_argument("--threads", type=int, default=1, help="threads of the loop")
    machine.add_argument("--workers", type=int, default=plain.workers, help="processes that make rows")
    machine.add_argument("--save-minutes", type=float, default=plain.save_minutes, help="minutes between saves")
    machine.add_argument("--log-every", type=int, default=plain.log_every, help="steps between log lines")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line.

    Returns:
        0 when the run and its checkpoints are whole, 2 for settings that cannot be.
    """
    options = _parser().parse_args(arguments)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    torch.set_num_threads(options.threads)
    try:
        settings = Pretraining(
            steps=options.steps if options.steps is not None else round(options.tokens / options.batch_tokens),
            seed=options.seed,
            shape=Shape(**{size.name: getattr(options, size.name) for size in fields(Shape)}),
            batch_tokens=options.batch_tokens,
            rate=options.rate,
            matrix_rate=options.matrix_rate,
            warm_up=options.warm_up,
            opening=options.opening,
            decay=options.decay,
            tokenizer=str(options.tokenizer),
        )
        machine = Machine(
            options.accelerator, options.precision, options.workers, options.save_minutes, options.log_every
        )
        keep = tuple(dict.fromkeys([*options.checkpoints, *options.keep]))
        with _alone_in(options.output):
            pretrain(options.output, settings, machine, start=options.start, keep=keep, tell=_tell)
            for part in options.checkpoints:
                folder = options.output / f"at-{part.numerator}-{part.denominator}"
                _tell(f"{folder}: the run at {part} of its length")
                pretrain(folder, settings.shortened(part), machine, start=options.output, tell=_tell)
    except UserError as error:
        print(f"pretrain: {error}", file=sys.stderr)
        return 2
    return 0


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Wait for another process that trains in the folder; go on from what it leaves."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "run.lock")
    try:
        held = lock.acquire(blocking=False)
    except Timeout:
        _tell(f"{folder}: waiting for another process that trains there")
        held = lock.acquire()
    with held:
        yield


def _tell(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
