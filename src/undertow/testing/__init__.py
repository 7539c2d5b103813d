"""Contracts: what every attack, estimator, model, data set, figure and executor must do."""
