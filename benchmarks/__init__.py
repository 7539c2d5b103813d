"""Benchmarks: each prints a table, and the same as JSON."""
