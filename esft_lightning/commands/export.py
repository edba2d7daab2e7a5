"""The verb `export`: adapter → the authors' layout. Its help starts without torch."""

import argparse
from pathlib import Path

DESCRIPTION = "Write an adapter as deepseek-ai/ESFT loads it: expert_cfg.json, and every trained expert for itself."
EPILOG = """\
  python -m esft_lightning export --adapter runs/law/ESFTGate/version_0/adapter --output law_official
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options on `parser`."""
    parser.description = DESCRIPTION
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--adapter", metavar="DIR", type=Path, required=True, help="adapter folder, without LoRA")
    parser.add_argument("--output", metavar="DIR", type=Path, required=True, help="folder to write; must not exist")
    parser.add_argument(
        "--base", metavar="BASE", help="tiny, a folder or a hub id; only its configuration is read (default: recorded)"
    )
    parser.add_argument("--revision", help="hub revision of the base")
    parser.add_argument("--force", action="store_true", help="export even if the base's configuration is another")


def run(args: argparse.Namespace) -> int:
    """Carry out `export`.

    Raises:
        UserError: For an adapter that cannot be read, or has no place in the layout.
    """
    from esft_lightning.adapters.formats.official import export_adapter
    from esft_lightning.affinity import ExpertSelection

    folder = export_adapter(args.adapter, args.output, base=args.base, force=args.force, revision=args.revision)
    selection = ExpertSelection.load(folder / "expert_cfg.json")
    parts = [f"{selection.total} routed experts in {len(selection.experts)} layers"]
    parts += ["shared experts"] * selection.shared_experts + ["non-expert modules"] * selection.non_expert_modules
    print(f"{folder}: {', '.join(parts)}")
    return 0
