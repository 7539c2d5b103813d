"""Inputs, batch after batch, through a model: profiles, matrices, class information as arrays.

``ut.measure`` labels them for a user; a study takes the arrays as they are.
"""
