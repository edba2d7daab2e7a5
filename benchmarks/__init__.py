"""How fast is it, against what a user would do instead, and against the least work that the task takes?

    python -m benchmarks                 # everything that is not measured yet, then docs/benchmarks.md
    python -m benchmarks --only steps-olmoe adapters
    python -m benchmarks --publish-only

Reading order: `shapes.py` (on what), `contenders.py` (who), `floor.py` (the least work), `measure.py` (how), then the
benchmarks themselves (`steps.py` first), `targets.py` and `page.py`.
"""
