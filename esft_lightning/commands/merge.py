"""The verb `merge`: base + adapter → a plain Transformers folder. Its help starts without torch."""

import argparse
import re
from pathlib import Path

DESCRIPTION = "Write a plain Transformers folder with the adapter in the base's weights, a few tensors at a time."
EPILOG = """\
  python -m esft_lightning merge --adapter runs/law/ESFTGate/version_0/adapter --output merged
"""
_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options on `parser`."""
    parser.description = DESCRIPTION
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--adapter", metavar="DIR", type=Path, required=True, help="adapter folder, of any strategy")
    parser.add_argument("--output", metavar="DIR", type=Path, required=True, help="folder to write; must not exist")
    parser.add_argument("--base", metavar="BASE", help="tiny, a folder or a hub id (default: what the adapter records)")
    parser.add_argument("--revision", help="hub revision of the base")
    parser.add_argument(
        "--max-shard-size", metavar="SIZE", type=parse_size, default=5 * 10**9, help="such as 500MB (default: 5GB)"
    )
    parser.add_argument(
        "--dtype",
        choices=("float32", "bfloat16", "float16"),
        help="storage dtype of what the adapter changes (default: the one that it was trained over)",
    )
    parser.add_argument("--force", action="store_true", help="merge even if the adapter was trained on another base")


def run(args: argparse.Namespace) -> int:
    """Carry out `merge`.

    Raises:
        UserError: For a base or an adapter that cannot be read, and two that do not belong together.
    """
    import torch

    from esft_lightning.adapters import read_adapter_config
    from esft_lightning.adapters.formats.merge import merge_adapter

    folder = merge_adapter(
        args.base or read_adapter_config(args.adapter)["base"],
        args.adapter,
        args.output,
        max_shard_bytes=args.max_shard_size,
        dtype=None if args.dtype is None else getattr(torch, args.dtype),
        force=args.force,
        revision=args.revision,
    )
    files = sorted(folder.glob("*.safetensors"))
    total = sum(path.stat().st_size for path in files)
    print(f"{folder}: {len(files)} weights file{'s'[: len(files) > 1]}, {total / 1e6:,.1f} MB")
    print(f'AutoModelForCausalLM.from_pretrained("{folder}") loads it')
    return 0


def parse_size(text: str) -> int:
    """`500MB` → bytes.

    Raises:
        argparse.ArgumentTypeError: If it is no size.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(KB|MB|GB|)", text.strip(), re.IGNORECASE)
    size = 0 if match is None else int(float(match[1]) * _UNITS[match[2].upper()])
    if size < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; expected a number with KB, MB or GB, such as 5GB")
    return size
