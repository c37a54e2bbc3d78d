"""What runs a search exactly: the loop, checkpoints, random states, optimizers."""

from rdarts.engine.checkpoint import AtomicCheckpointHook, find_checkpoint, read_checkpoint
from rdarts.engine.loops import SearchTrainLoop
from rdarts.engine.optimizers import BFloat16OptimWrapper, SearchOptimWrapperConstructor

__all__ = [
    'AtomicCheckpointHook',
    'BFloat16OptimWrapper',
    'SearchOptimWrapperConstructor',
    'SearchTrainLoop',
    'find_checkpoint',
    'read_checkpoint',
]
