"""The number of multiply-adds as a score: the bar that others must pass. It reads no images."""

_base_ = ['../score_search.py']

evaluator = dict(score=dict(type='rdarts.Macs'), batch_size=1, noise=True)
