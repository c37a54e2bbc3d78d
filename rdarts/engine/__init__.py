"""What runs a search exactly: the loop, checkpoints, optimizers and their schedulers."""

from rdarts.engine.checkpoint_hook import AtomicCheckpointHook
from rdarts.engine.loops import SearchTrainLoop
from rdarts.engine.optimizers import BFloat16OptimWrapper, SearchOptimWrapperConstructor
from rdarts.engine.schedulers import WarmUpCosineLR

__all__ = [
    'AtomicCheckpointHook',
    'BFloat16OptimWrapper',
    'SearchOptimWrapperConstructor',
    'SearchTrainLoop',
    'WarmUpCosineLR',
]
