"""`python -m benchmarks.gpu`: prove and measure everything on one GPU in ten minutes, and write docs/gpu.md."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.gpu.page import write_page
from benchmarks.gpu.part import PARTS
from benchmarks.gpu.runner import run
from benchmarks.gpu.scale import SCALES
from esft_lightning.command_parser import CommandParser

PAGE = Path("docs/gpu.md")
RECEIPT = PAGE.with_suffix(".json")
_EPILOG = f"""\
parts: {", ".join(part.name for part in PARTS)}.
No network is needed: weights are drawn, the embedded model and its data are in the repository. What is missing here
(a package, time, memory) is skipped and said. The receipt is written as the parts go on; a run that is cut leaves its
part.
On a machine without a GPU: --device cpu --scale small, which writes below runs/ and leaves {PAGE} alone.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, and write receipt and page.

    Args:
        arguments: Without the program's name; by default the process's own.

    Returns:
        0; 1 if a part failed or was cut; 2 if the arguments are wrong.
    """
    parser = CommandParser(
        prog="python -m benchmarks.gpu", description=__doc__, epilog=_EPILOG,
        formatter_class=argparse.RawTextHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"), help="default: %(default)s")
    parser.add_argument("--scale", choices=tuple(SCALES), default="full", help="default: %(default)s")
    parser.add_argument("--minutes", type=float, default=10.0, help="time for all parts (default: %(default)g)")
    parser.add_argument("--only", nargs="+", choices=[part.name for part in PARTS], metavar="PART", help="these parts")
    parser.add_argument("--receipt", type=Path, help=f"where the receipt goes ({RECEIPT}; on a CPU runs/gpu/gpu.json)")
    parser.add_argument("--page", type=Path, help="where the page goes (beside the receipt)")
    parser.add_argument(
        "--page-only", action="store_true", help=f"write the page from the receipt that is there ({RECEIPT}), or not"
    )
    options = parser.parse_args(arguments)
    published = options.page_only or options.device != "cpu"
    receipt: Path = options.receipt or (RECEIPT if published else Path("runs/gpu") / RECEIPT.name)
    page: Path = options.page or receipt.with_suffix(".md")
    if options.page_only:
        content = json.loads(receipt.read_text(encoding="utf-8")) if receipt.is_file() else None
        write_page(content, page)
        print(f"written: {page}")
        return 0
    if options.device != "cpu" and not _has_gpu():
        print(
            "benchmarks.gpu: there is no GPU here; --device cpu --scale small runs all of it on the CPU",
            file=sys.stderr,
        )
        return 2
    names = options.only or [part.name for part in PARTS]
    content = run(
        names, accelerator=options.device, scale=options.scale, minutes=options.minutes, receipt=receipt,
        tell=lambda line: print(line, flush=True),
    )  # fmt: skip
    write_page(content, page)
    print(f"written: {receipt}, {page} ({content['seconds']:.0f} s)")
    return int(any(result["status"] in ("failed", "cut") for result in content["parts"].values()))


def _has_gpu() -> bool:
    """Whether Lightning would find one; asked without touching CUDA in this process."""
    from lightning.fabric.accelerators.cuda import num_cuda_devices

    return num_cuda_devices() > 0


if __name__ == "__main__":
    sys.exit(main())
