"""What watches a search, one hook a file."""

from rdarts.hooks.alpha_statistics import AlphaStatisticsHook
from rdarts.hooks.architect_hook import ArchitectHook, BERArchitectHook
from rdarts.hooks.drop_path import DropPathHook
from rdarts.hooks.execution import ExecutionHook
from rdarts.hooks.genotype import GenotypeHook
from rdarts.hooks.image_check import ImageCheckHook
from rdarts.hooks.initial_weights import InitialWeightsHook
from rdarts.hooks.report import ReportHook
from rdarts.hooks.search_log import SearchLogHook
from rdarts.hooks.split_record import SplitRecordHook
from rdarts.hooks.tabular_benchmark import TabularBenchmarkHook
from rdarts.hooks.time_to_go import TimeToGoHook
from rdarts.hooks.watchers.adaptive_decay import AdaptiveDecayHook
from rdarts.hooks.watchers.collapse import CollapseHook
from rdarts.hooks.watchers.convergence import ConvergenceHook
from rdarts.hooks.watchers.early_fix import EarlyFixHook
from rdarts.hooks.watchers.stop_rules import StopRulesHook
from rdarts.hooks.watchers.time_limit import TimeLimitHook

__all__ = [
    'AdaptiveDecayHook',
    'AlphaStatisticsHook',
    'ArchitectHook',
    'BERArchitectHook',
    'CollapseHook',
    'ConvergenceHook',
    'DropPathHook',
    'EarlyFixHook',
    'ExecutionHook',
    'GenotypeHook',
    'ImageCheckHook',
    'InitialWeightsHook',
    'ReportHook',
    'SearchLogHook',
    'SplitRecordHook',
    'StopRulesHook',
    'TabularBenchmarkHook',
    'TimeLimitHook',
    'TimeToGoHook',
]
