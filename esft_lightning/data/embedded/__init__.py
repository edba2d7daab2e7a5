"""Generated data, offline and deterministic: one module per task, general text, and the pretraining corpus."""
