"""What runs a search exactly: the loop, checkpoints, optimizers."""

from rdarts.engine.checkpoint_hook import AtomicCheckpointHook
from rdarts.engine.loops import SearchTrainLoop
from rdarts.engine.optimizers import BFloat16OptimWrapper, SearchOptimWrapperConstructor

__all__ = [
    'AtomicCheckpointHook',
    'BFloat16OptimWrapper',
    'SearchOptimWrapperConstructor',
    'SearchTrainLoop',
]
