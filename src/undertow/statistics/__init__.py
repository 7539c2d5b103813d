"""Paired effects with intervals and corrected p-values, and bands over depth; arrays in and out."""
