"""What the machine is: device, driver, versions, and how fast it multiplies."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from benchmarks.gpu.part import Context
from benchmarks.gpu.timed import matmul_rate
from esft_lightning.comparison.environment import hardware, versions

_DRIVER = Path("/proc/driver/nvidia/version")


def device_facts(context: Context) -> None:
    """Name, memory, capability, driver, versions; the rate of a large matrix product in bf16 and fp32."""
    facts = context.outcome.facts
    facts.update({"accelerator": context.accelerator, "versions": dict(versions())})
    for package in ("bitsandbytes", "triton", "accelerate", "torch-optimi"):
        try:
            facts["versions"][package] = version(package)
        except PackageNotFoundError:
            facts["versions"][package] = "absent"
    facts["hardware"] = hardware(torch.get_num_threads(), context.device.type)
    facts["float32 products"] = torch.get_float32_matmul_precision()
    if context.on_gpu:
        properties = torch.cuda.get_device_properties(context.device)
        facts["device"] = properties.name
        facts["memory"] = f"{properties.total_memory / 1e9:.0f} GB"
        facts["compute capability"] = f"{properties.major}.{properties.minor}"
        facts["CUDA"] = str(torch.version.cuda)
        if _DRIVER.is_file():
            facts["driver"] = _DRIVER.read_text(encoding="utf-8").splitlines()[0]
    else:
        facts["device"] = str(facts["hardware"]["cpu"])
    context.save()
    size = 8192 if context.scale.published else 256
    for dtype in (torch.bfloat16, torch.float32):
        facts[f"{str(dtype).removeprefix('torch.')} product, TFLOP/s"] = round(matmul_rate(context, size, dtype), 3)
