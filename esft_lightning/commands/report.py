"""The verb `report`: a comparison, or a page of results, as one HTML file. Loads neither torch nor Lightning."""

from __future__ import annotations

import argparse
from pathlib import Path

from esft_lightning.errors import SettingError

DESCRIPTION = "Make one self-contained HTML page of a comparison's runs, or of a page of results such as docs/results."
EPILOG = """\
  python -m esft_lightning report runs/compare
  python -m esft_lightning report docs/results --output results.html
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options on `parser`."""
    parser.description = DESCRIPTION
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("folder", type=Path, metavar="DIR", help="root of runs, or a folder with a results page")
    parser.add_argument("--output", type=Path, metavar="FILE", help="the page (default: report.html in the folder)")


def run(args: argparse.Namespace) -> int:
    """Write the page.

    Returns:
        0 when it is written.

    Raises:
        UserError: When there is nothing to report on, or a result cannot be read.
    """
    from esft_lightning.comparison.report import write_report
    from esft_lightning.comparison.result import load_results
    from esft_lightning.publication.html import write_html
    from esft_lightning.publication.page import PAGE_FILE
    from esft_lightning.publication.section import SECTION_FILE

    folder: Path = args.folder
    output = args.output or folder / "report.html"
    if not folder.is_dir():
        raise SettingError(f"{folder} is no folder; give the root of a comparison, such as runs/compare")
    if (folder / PAGE_FILE).is_file() and any(folder.glob(f"*/{SECTION_FILE}")):
        source = folder / PAGE_FILE
    else:
        results = load_results(folder)
        if not results:
            raise SettingError(f"{folder} holds no result.json; give the root of a comparison, such as runs/compare")
        source = write_report(results, folder)
    print(write_html(source, output))
    return 0
