"""Predictors: from vectors of genotypes to what they reach, one file each.

A predictor is built with ``random_state``, a seed, and has ``fit(x, y)`` and ``predict(x)`` as
those of scikit-learn: x is [genotypes, numbers of a vector], y is [genotypes].
"""
