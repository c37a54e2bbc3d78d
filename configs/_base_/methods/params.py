"""The number of parameters as a score: the bar that others must pass. It reads no images."""

_base_ = ['../score_search.py']

evaluator = dict(score=dict(type='rdarts.Params'), batch_size=1, noise=True)
