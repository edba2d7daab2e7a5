"""The verb `adapter`: a checkpoint of a run → the adapter folder that the run would have left there."""

import argparse
from pathlib import Path

DESCRIPTION = "Write what a checkpoint trained as an adapter folder: of a run that was stopped, or of any of its steps."
EPILOG = """\
  python -m esft_lightning adapter --checkpoint runs/law/ESFTGate/version_0/checkpoints/last.ckpt --output law_adapter
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options on `parser`."""
    parser.description = DESCRIPTION
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--checkpoint", metavar="FILE", type=Path, required=True, help="a run's checkpoint")
    parser.add_argument("--output", metavar="DIR", type=Path, required=True, help="folder to write; must not exist")
    parser.add_argument("--base", metavar="BASE", help="tiny, a folder or a hub id (default: the checkpoint's)")
    parser.add_argument(
        "--dtype", choices=("base", "float32"), default="base", help="of the weights, as adapter.dtype (%(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Carry out `adapter`.

    Raises:
        UserError: For a file that is no checkpoint of a run, or a base that is another one's.
        FileExistsError: If something lies at the output.
    """
    from esft_lightning.adapters import adapter_bytes
    from esft_lightning.training.callbacks.adapter_checkpoint import save_adapter_of
    from esft_lightning.training.checkpoint_io import check_whole
    from esft_lightning.training.module import ExpertFineTuner

    if args.output.exists():
        raise FileExistsError(f"{args.output} is there already; name another output, or remove it first")
    check_whole(args.checkpoint)
    settings = {} if args.base is None else {"base": args.base}
    module = ExpertFineTuner.load_from_checkpoint(args.checkpoint, map_location="cpu", **settings)
    folder = save_adapter_of(module, args.output, data_fingerprint=module.data_fingerprint, dtype=args.dtype)
    print(f"{folder}: what {module.strategy.name} trained, {adapter_bytes(folder) / 1e6:.1f} MB")
    return 0
