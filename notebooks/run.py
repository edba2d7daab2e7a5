"""Run the notebooks and keep their outputs; with `--check` run copies and keep nothing."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from esft_lightning.command_parser import CommandParser

FOLDER = Path(__file__).resolve().parent
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
SECONDS = 600


def run(notebook: Path, folder: Path) -> nbformat.NotebookNode:
    """Run a notebook in a folder; its outputs hold no times, so that they change with results alone.

    Raises:
        nbclient.exceptions.CellExecutionError: A cell failed.
    """
    content = nbformat.read(notebook, as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    client = NotebookClient(content, timeout=SECONDS, kernel_name="python3", resources=resources, record_timing=False)
    client.execute()
    return content


def main(arguments: list[str] | None = None) -> int:
    """Run all notebooks; 0 when every cell of them ran."""
    parser = CommandParser(prog="python notebooks/run.py", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--check", action="store_true", help="run copies and keep nothing")
    options = parser.parse_args(arguments)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(FOLDER.parent), os.environ.get("PYTHONPATH")]))
    for notebook in NOTEBOOKS:
        print(notebook.name, flush=True)
        if options.check:
            with tempfile.TemporaryDirectory() as folder:
                place = Path(folder) / "notebooks"
                place.mkdir()
                run(notebook, place)
            continue
        content = run(notebook, FOLDER)
        temporary = notebook.with_suffix(".tmp")
        nbformat.write(content, temporary)
        temporary.replace(notebook)
    return 0


if __name__ == "__main__":
    sys.exit(main())
