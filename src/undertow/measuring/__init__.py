"""Measuring: a model with taps, nulls and readers, and inputs that go through it."""
