"""Does information flow help to detect adversarial inputs? ``python -m benchmarks.detection``."""
