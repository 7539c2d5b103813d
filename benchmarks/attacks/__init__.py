"""The attacks against other libraries, on one model, one set of inputs, in one process.

``python -m benchmarks.attacks --help``
"""
