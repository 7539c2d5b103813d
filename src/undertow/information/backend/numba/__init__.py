"""Compiled kernels for the processor, on contiguous arrays."""
