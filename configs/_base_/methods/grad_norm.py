"""The norm of the gradient as a score of networks (Abdelfattah et al. 2021), batch 64."""

_base_ = ['../score_search.py']

evaluator = dict(score=dict(type='rdarts.GradNorm'))
