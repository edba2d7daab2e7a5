"""What fine-tuning costs, from a model's configuration alone: parameters, bytes, FLOPs, devices.

The model is built on the meta device, where tensors have shapes and no values, and the strategies themselves are
applied to it: what is counted is what a run counts. A training step is then run there, a layer of each kind at a time,
and what it allocates and multiplies is added up.

Reading order: `candidates.py` (which strategies), `reckoning.py`, `layer_kinds.py`, `parameters.py`, `step.py` and
`meter.py` (a step without values), `memory.py`, `devices.py`, `table.py`. Nothing is imported here, so that the verb's
help is quick.
"""
