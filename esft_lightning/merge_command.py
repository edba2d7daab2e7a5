"""The verb `merge`: base + adapter → a plain Transformers folder."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

DESCRIPTION = "Write base and adapter as a plain Transformers folder, which loads without this library."
EPILOG = """\
  python -m esft_lightning merge --adapter runs/law/ESFTGate/version_0/adapter --output merged
  python -c "from transformers import AutoModelForCausalLM; AutoModelForCausalLM.from_pretrained('merged')"
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options on `parser`."""
    parser.description = DESCRIPTION
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--adapter", type=Path, required=True, metavar="DIR", help="the adapter folder")
    parser.add_argument("--base", help="tiny, a local folder, or a hub id (default: what the adapter was trained on)")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="the folder to write")
    parser.add_argument(
        "--dtype",
        default="auto",
        choices=("auto", "float32", "bfloat16", "float16"),
        help="storage (default: the checkpoint's own, to which what was trained in fp32 is rounded)",
    )
    parser.add_argument("--force", action="store_true", help="merge although the adapter names another base")
    parser.add_argument("--overwrite", action="store_true", help="replace what is at the output")
    parser.add_argument("--trust-remote-code", action="store_true", help="run model code that comes with the base")


def run(args: argparse.Namespace) -> int:
    """Carry out `merge`; 0 when done, 2 on bad input (said on standard error)."""
    from esft_lightning.adapters import AdapterError, read_adapter_config
    from esft_lightning.merge import merge

    try:
        merged = merge(
            args.base or read_adapter_config(args.adapter)["base"],
            args.adapter,
            args.output,
            dtype=args.dtype,
            force=args.force,
            overwrite=args.overwrite,
            trust_remote_code=args.trust_remote_code,
            progress=lambda done, total: print(f"{done} of {total} files written", file=sys.stderr),
        )
    except (AdapterError, OSError, ValueError) as error:
        print(f"merge: {error}", file=sys.stderr)
        return 2
    how = "file by file" if merged.replaced is not None else "by way of the loaded model"
    held = "" if merged.replaced is None else f"; {merged.replaced} tensors hold trained values"
    print(f"{merged.folder}: {merged.bytes / 1e6:,.1f} MB, written {how}{held}")
    return 0
