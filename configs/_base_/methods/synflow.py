"""SynFlow (Tanaka et al. 2020) as a score of networks (Abdelfattah et al. 2021), without images."""

_base_ = ['../score_search.py']

evaluator = dict(score=dict(type='rdarts.SynFlow'), batch_size=1, noise=True)
