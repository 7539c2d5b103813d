"""Estimators of mutual information, one a file."""
