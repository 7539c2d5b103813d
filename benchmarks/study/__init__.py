"""What a study costs: bookkeeping, workers, inputs. ``python -m benchmarks.study``."""
