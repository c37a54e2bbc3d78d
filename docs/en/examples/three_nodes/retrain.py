"""Train a cell of a space of one's own on scikit-learn's digits."""

_base_ = ['../../../../configs/retrain/nb201_digits.py']
custom_imports = dict(imports=['three_nodes'])
model = dict(backbone=dict(space='three_nodes'))
