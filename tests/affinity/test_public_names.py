"""`esft_lightning.affinity` hands out its names lazily: no torch until the metric is asked for."""

import subprocess
import sys

import esft_lightning.affinity as affinity


def test_every_public_name_is_there():
    for name in affinity.__all__:
        assert getattr(affinity, name).__name__ == name
    assert set(affinity.__all__) <= set(dir(affinity))


def test_only_the_metric_loads_torch():
    names = [name for name in affinity.__all__ if name != "ExpertAffinity"]
    program = f"import sys; from esft_lightning.affinity import {', '.join(names)}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]
