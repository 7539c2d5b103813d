"""Estimators of mutual information between maps: formulas; a backend computes."""
