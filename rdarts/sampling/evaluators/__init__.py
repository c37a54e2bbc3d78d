"""Evaluators: what answers how good a genotype is, one file each."""

from rdarts.sampling.evaluators.angle import Angle
from rdarts.sampling.evaluators.base import Evaluator
from rdarts.sampling.evaluators.ranked import Ranked
from rdarts.sampling.evaluators.scored import Scored
from rdarts.sampling.evaluators.short_training import ShortTraining
from rdarts.sampling.evaluators.supernet import Supernet
from rdarts.sampling.evaluators.table import Table
from rdarts.sampling.evaluators.weighted import Weighted

__all__ = [
    'Angle',
    'Evaluator',
    'Ranked',
    'Scored',
    'ShortTraining',
    'Supernet',
    'Table',
    'Weighted',
]
