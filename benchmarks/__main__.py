"""`python -m benchmarks`: measure what is not measured yet, each piece in a process of its own, and write the page."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import results
from benchmarks.pieces import NAMES, PIECES, Piece, chosen
from esft_lightning.command_parser import CommandParser

PAGE = Path("docs/benchmarks.md")
ARCHIVE = PAGE.with_suffix(".json")
_EPILOG = f"""\
benchmarks: {", ".join(NAMES)};
--list names the pieces.
Nothing else should be at work on the machine. A piece that is measured already is not measured again (--again does).
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and publish.

    Args:
        arguments: Without the program's name; by default the process's own.

    Returns:
        0; 1 if a piece failed; 2 if the arguments are wrong.
    """
    parser = CommandParser(
        prog="python -m benchmarks", description=__doc__, epilog=_EPILOG, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these benchmarks or pieces; default: all")
    parser.add_argument(
        "--quick", action="store_true", help="very small sizes: shows that it works, not how fast it is"
    )
    parser.add_argument("--again", action="store_true", help="also measure what is measured already")
    parser.add_argument("--publish-only", action="store_true", help="write the page from the results that are there")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1), help="default: %(default)s")
    parser.add_argument("--output", type=Path, default=results.FOLDER, help="folder of the results (%(default)s)")
    parser.add_argument("--page", type=Path, help=f"where to write the page ({PAGE}; with --quick beside the results)")
    parser.add_argument(
        "--restore", type=Path, metavar="FILE", help=f"take the results of an archive first, as {ARCHIVE}"
    )
    parser.add_argument("--list", action="store_true", help="name the pieces and leave")
    parser.add_argument("--piece", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.piece:
        return _measure_here(options)
    try:
        pieces = chosen(options.only)
    except ValueError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    if options.list:
        print("\n".join(piece.name for piece in pieces))
        return 0
    folder = options.output / "quick" if options.quick else options.output
    if options.restore:
        try:
            print(f"{results.restore(options.restore, folder)} results restored from {options.restore}")
        except (OSError, ValueError) as error:
            print(f"benchmarks: --restore: {error}", file=sys.stderr)
            return 2
    failed = [] if options.publish_only else _measure_all(pieces, folder, options)
    page = options.page or (folder / PAGE.name if options.quick else PAGE)
    from benchmarks.page import write_page

    found = results.load_all(folder)
    write_page(found, page)
    if page.parent.resolve() != folder.resolve():
        results.archive(found, page.with_suffix(".json"))
    print(f"written: {page}")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _measure_all(pieces: Sequence[Piece], folder: Path, options: argparse.Namespace) -> list[str]:
    """Measure each piece in a process of its own, one after another; the names of those that failed."""
    failed = []
    for number, piece in enumerate(pieces, 1):
        if (folder / f"{piece.name}.json").exists() and not options.again:
            print(f"[{number}/{len(pieces)}] {piece.name}: measured already")
            continue
        print(f"[{number}/{len(pieces)}] {piece.name}", flush=True)
        command = [sys.executable, "-m", "benchmarks", "--piece", piece.name, "--output", str(folder)]
        command += ["--threads", str(options.threads), *(["--quick"] if options.quick else [])]
        if subprocess.run(command, env=_environment(piece, options.threads), check=False).returncode:
            failed.append(piece.name)
    return failed


def _environment(piece: Piece, threads: int) -> dict[str, str]:
    """Variables that are read when the libraries load: how many threads, and whether each keeps to its core."""
    pinned = {"OMP_PROC_BIND": "true", "OMP_PLACES": "cores"} if piece.pinned else {}
    quiet = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "TOKENIZERS_PARALLELISM": "true"}
    count = str(threads)
    return {**os.environ, **quiet, "OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count, **pinned}


def _measure_here(options: argparse.Namespace) -> int:
    piece = next(piece for piece in PIECES if piece.name == options.piece)
    command = f"python -m benchmarks --only {piece.name}" + (" --quick" if options.quick else "")
    content = piece.measure(options.quick, options.threads)
    results.save(options.output, piece.name, content, command=command, threads=options.threads, quick=options.quick)
    return 0


if __name__ == "__main__":
    sys.exit(main())
