"""The verb `import`: the authors' layout → an adapter folder. Its help starts without torch."""

import argparse
from pathlib import Path

DESCRIPTION = "Read a model in the layout of deepseek-ai/ESFT, of now or of its first releases, into an adapter folder."
EPILOG = """\
  python -m esft_lightning import --source ESFT-token-law-lite --base deepseek-ai/ESFT-vanilla-lite --output law_adapter
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options on `parser`."""
    parser.description = DESCRIPTION
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--source", metavar="DIR", type=Path, required=True, help="folder with expert_cfg.json and safetensors files"
    )
    parser.add_argument("--base", metavar="BASE", required=True, help="the base it belongs to: tiny, folder or hub id")
    parser.add_argument("--output", metavar="DIR", type=Path, required=True, help="adapter folder; must not exist")
    parser.add_argument("--revision", help="hub revision of the base")
    parser.add_argument("--force", action="store_true", help="import even if the folder names another base")


def run(args: argparse.Namespace) -> int:
    """Carry out `import`.

    Raises:
        UserError: For a folder that is not in the layout, or does not belong to the base.
    """
    from esft_lightning.adapters.formats.official import import_adapter

    folder = import_adapter(args.source, args.output, base=args.base, force=args.force, revision=args.revision)
    print(f"{folder}: an adapter of {args.base}; esft_lightning.load_adapter(model, {str(folder)!r}) puts it on")
    return 0
