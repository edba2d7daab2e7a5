"""What the fork server imports before a run's process is forked: nothing that asks CUDA, which would then be lost."""

from __future__ import annotations

import subprocess
import sys

_IMPORTED_UNDER_WATCH = """
import importlib
import sys

import torch

def asked(*arguments, **options):
    raise AssertionError("CUDA was asked before the fork")

for name in ("is_available", "device_count", "_lazy_init", "current_device", "get_device_capability",
             "get_device_properties", "init", "is_bf16_supported"):
    setattr(torch.cuda, name, asked)

from esft_lightning.comparison.worker import PRELOAD, PRELOAD_WITHOUT_CUDA

for name in PRELOAD:
    importlib.import_module(name)
loaded = {"peft", "bitsandbytes"} & set(sys.modules)
assert not loaded, loaded
assert set(PRELOAD_WITHOUT_CUDA) - set(PRELOAD) == {"peft"}
print(len(PRELOAD))
"""


def test_what_is_loaded_before_the_fork_asks_cuda_nothing() -> None:
    result = subprocess.run([sys.executable, "-c", _IMPORTED_UNDER_WATCH], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) > 10
