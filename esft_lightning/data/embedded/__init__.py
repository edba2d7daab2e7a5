"""Generated data, offline and deterministic: a package for each task, general text, and the pretraining corpus.

A task's package offers `example(rng, pool)`, one row of a pool, and `documents(rng)`, what pretraining reads of its
domain.
"""
