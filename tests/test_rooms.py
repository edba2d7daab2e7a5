"""Every room of the library can be imported while the rooms above it are not there."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib

from places import ROOT

_APART = ("isolated_checker", "expression_worker", "containment", "wall_roles", "wall_sides")  # programs of their own
_PROGRAM = """
import importlib, json, os, sys
import torch, transformers, lightning.pytorch, peft  # once, for all the processes forked below

floors, modules = json.loads(sys.argv[1]), json.loads(sys.argv[2])
rooms = [room for floor in floors for room in floor]

class Closed:
    def __init__(self, above):
        self.above = above

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "esft_lightning" and name.split(".")[1:2] and name.split(".")[1] in self.above:
            raise ImportError(f"{name} is above this room")

for number, floor in enumerate(floors):
    for room in floor:
        child = os.fork()
        if child == 0:
            above = {other for higher in floors[:number] for other in higher} | set(floor) - {room}
            sys.meta_path.insert(0, Closed(above))
            code = 0
            for name in modules[room]:
                try:
                    module = importlib.import_module(name)
                    [getattr(module, public) for public in getattr(module, "__all__", ())]
                except Exception as error:
                    print(f"{name}: {type(error).__name__}: {error}", flush=True)
                    code = 1
            os._exit(code)
        os.waitpid(child, 0)
"""


def test_each_room_stands_on_the_rooms_below_it_alone():
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    floors = [[room.strip() for room in line.split("|")] for line in contract["layers"]]
    modules: dict[str, list[str]] = {}
    for path in sorted((ROOT / "esft_lightning").rglob("*.py")):
        parts = list(path.relative_to(ROOT).with_suffix("").parts)
        if parts[-1] in _APART or "harness_tasks" in parts or len(parts) < 2 or parts[1].startswith("__"):
            continue
        modules.setdefault(parts[1], []).append(".".join(parts).removesuffix(".__init__"))
    assert set(modules) == {room for floor in floors for room in floor}
    command = [sys.executable, "-c", _PROGRAM, json.dumps(floors), json.dumps(modules)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=240)
    refused = [line for line in done.stdout.splitlines() if line.startswith("esft_lightning")]
    assert done.returncode == 0 and not refused, "\n".join(refused) + done.stderr[-2000:]
