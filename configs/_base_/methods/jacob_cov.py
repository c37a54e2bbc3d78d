"""The correlation of Jacobians (Abdelfattah et al. 2021), batch 64."""

_base_ = ['../score_search.py']

evaluator = dict(score=dict(type='rdarts.JacobCov'))
