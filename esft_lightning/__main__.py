"""The one entry, `python -m esft_lightning VERB`: sends each verb to its home, and loads nothing that it does not need.

Light verbs and all overviews start without torch or Lightning, whose import alone takes seconds.
"""

import logging
import sys
from collections.abc import Sequence
from importlib import import_module

from esft_lightning.command_parser import CommandParser
from esft_lightning.errors import explanation
from esft_lightning.nearest import nearest

_LIGHTNING_VERBS = {
    "fit": "profile the task where the strategy asks for it, select experts, train, leave an adapter",
    "validate": "loss and token accuracy on the validation rows",
    "test": "generate answers and score them, on the task and on general ability",
    "predict": "generate answers and write them as JSONL",
    "profile": "the profiling pass alone; writes an affinity profile",
}
_COMMANDS = {  # module with add_arguments(parser) and run(args) -> exit code
    "select": ("affinity profile or routing log → expert_cfg.json", "esft_lightning.commands.select"),
    "budget": ("a model's configuration → what fine-tuning it costs", "esft_lightning.commands.budget"),
    "score": ("completions (JSONL) → the task's scores, no model needed", "esft_lightning.commands.score"),
    "evaluate": ("general ability through lm-eval's benchmarks", "esft_lightning.commands.evaluate"),
    "report": ("runs → one self-contained HTML page", "esft_lightning.commands.report"),
    "compare": ("strategies × tasks × seeds → one table and one report", "esft_lightning.commands.compare"),
    "adapter": ("a run's checkpoint → an adapter folder", "esft_lightning.commands.adapter"),
    "merge": ("base + adapter → a plain Transformers folder", "esft_lightning.commands.merge"),
    "export": ("adapter → the layout of deepseek-ai/ESFT", "esft_lightning.commands.export"),
    "import": ("the layout of deepseek-ai/ESFT → adapter", "esft_lightning.commands.import_"),
}
_EXAMPLE = "-c configs/models/tiny.yaml -c configs/tasks/law.yaml -c configs/strategies/esft_gate.yaml"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb.

    Args:
        argv: Arguments without the program's name; by default the process's own.

    Returns:
        The exit code: 2 for what a user can mend, said in one line; faults of the program keep their traceback.
    """
    try:
        return _run(list(sys.argv[1:] if argv is None else argv))
    except Exception as error:
        if (line := explanation(error)) is None:
            raise
        logging.getLogger(__name__).debug("refused", exc_info=True)
        print(f"{_line_break()}error: {line}", file=sys.stderr)
        return 2


def _line_break() -> str:
    """A new line where a progress bar stands on the one at hand."""
    bars = sys.modules.get("tqdm.std")
    return "\n" if bars is not None and len(bars.tqdm._instances) else ""


def _run(arguments: list[str]) -> int:
    verb = arguments[0] if arguments else "--help"
    if verb in ("-h", "--help"):
        print(_overview())
        return 0
    if verb == "--version":
        from esft_lightning import __version__

        print(__version__)
        return 0
    if verb in _COMMANDS:
        return _run_command(verb, arguments[1:])
    if verb in _LIGHTNING_VERBS:
        if verb != "fit" and any(flag in arguments[1:] for flag in ("-h", "--help")):
            print(_short_help(verb))
            return 0
        from esft_lightning.commands.lightning_cli import run

        return run(arguments)
    near = nearest(verb, [*_LIGHTNING_VERBS, *_COMMANDS])
    hint = "" if near is None else f"; did you mean {near!r}?"
    print(f"error: there is no verb {verb!r}{hint}\nsee python -m esft_lightning --help", file=sys.stderr)
    return 2


def _run_command(verb: str, arguments: list[str]) -> int:
    description, module = _COMMANDS[verb]
    command = import_module(module)
    parser = CommandParser(prog=f"python -m esft_lightning {verb}", description=description)
    command.add_arguments(parser)
    return int(command.run(parser.parse_args(arguments)) or 0)


def _overview() -> str:
    verbs = {**_LIGHTNING_VERBS, **{verb: text for verb, (text, _) in _COMMANDS.items()}}
    lines = [f"  {verb:<10}{text}" for verb, text in verbs.items()]
    return "\n".join(
        [
            "usage: python -m esft_lightning VERB [options]",
            "",
            "Fine-tune Mixture-of-Experts language models by training only the experts that matter.",
            "",
            *lines,
            "",
            f"example: python -m esft_lightning fit {_EXAMPLE}",
            "help of a verb: python -m esft_lightning VERB --help",
        ]
    )


def _short_help(verb: str) -> str:
    """Help of a verb that takes the configuration of `fit`: what is its own, and where the rest is described."""
    own = {
        "validate": [
            "--ckpt_path FILE     a checkpoint (settings as in its run); last or best: of the last run like this"
        ],
        "test": [
            "--ckpt_path FILE     a checkpoint (settings as in its run); last or best: of the last run like this",
            "--model.adapter DIR  an adapter folder, in place of a checkpoint",
            "--model.force_adapter true   load it even if it was trained on another base",
            "--model.general_ability false   the task's score only",
            "--model.allow_code_execution true   code task: run what the model wrote, in a limited process",
        ],
        "predict": [
            "--ckpt_path FILE     a checkpoint (settings as in its run); last or best: of the last run like this",
            "--model.adapter DIR  an adapter folder, in place of a checkpoint",
            "--model.force_adapter true   load it even if it was trained on another base",
            "--output FILE        where to write the JSONL (default: predictions.jsonl in the run's folder)",
        ],
        "profile": [
            "--output FILE        where to write the profile besides the cache that `fit` looks in",
            "--affinity.token_budget N   tokens to read (default 131072)",
            "--affinity.counting response   count the answers' tokens only",
        ],
    }[verb]
    return "\n".join(
        [
            f"usage: python -m esft_lightning {verb} [-c CONFIG.yaml ...] [options]",
            "",
            f"{verb}: {_LIGHTNING_VERBS[verb]}.",
            "",
            *(f"  {line}" for line in own),
            "",
            "It takes the configuration of `fit`: files given with -c are laid over one another, and every value can",
            "be given as --model.…, --data.…, --trainer.…; `python -m esft_lightning fit --help` describes them all.",
            "--print_config shows what the given files and options amount to.",
            "",
            f"example: python -m esft_lightning {verb} {_EXAMPLE}",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
