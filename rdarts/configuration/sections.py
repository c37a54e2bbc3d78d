"""The top-level keys of a config, and which builder each goes to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypedDict

from annotated_types import MinLen

from rdarts.configuration.declarations import (
    AboveZero,
    Among,
    Component,
    Count,
    Opaque,
    Positive,
    Seed,
    Side,
)
from rdarts.configuration.framework_ranges import ParamwiseCfg
from rdarts.configuration.signatures import MISSING, Argument


@dataclass(frozen=True)
class Section:
    """A top-level key that makes a component.

    Args:
        registry (str, optional): Whose component it is; None for a data loader.
        default (str, optional): Its type where the config names none.
        many (bool): Whether a list of them stands there too.
        named (bool): Whether it is a dict of them by name.
        extra (dict): Keys that are taken from it before the component is built.
        module (str): Where a data loader's class is.
        given (tuple): Arguments that the builder passes itself.
    """

    registry: str | None
    default: str | None = None
    many: bool = False
    named: bool = False
    extra: Mapping[str, Argument] = field(default_factory=dict)
    module: str = 'torch.utils.data'
    given: tuple[str, ...] = ()


class DistCfg(TypedDict, total=False):
    """``env_cfg.dist_cfg``."""

    backend: Annotated[str, Among(('nccl', 'gloo', 'mpi', 'hccl', 'cncl', 'mccl'))]
    timeout: Positive
    init_backend: Annotated[str, Among(('torch', 'deepspeed', 'colossalai'))]
    port: Positive


class MpCfg(TypedDict, total=False):
    """``env_cfg.mp_cfg``."""

    mp_start_method: Literal['fork', 'spawn', 'forkserver']
    opencv_num_threads: Count


class EnvCfg(TypedDict, total=False):
    """``env_cfg``."""

    cudnn_benchmark: bool
    mp_cfg: MpCfg
    dist_cfg: DistCfg
    resource_limit: Positive


class Randomness(TypedDict, total=False):
    """``randomness``."""

    seed: Seed | None
    diff_rank_seed: bool
    deterministic: bool


class AutoScaleLr(TypedDict, total=False):
    """``auto_scale_lr``."""

    enable: bool
    base_batch_size: Positive


class CustomImports(TypedDict, total=False):
    """``custom_imports``."""

    imports: str | Sequence[str]
    allow_failed_imports: bool


# torch's, of its own backend
_MODES = ('default', 'reduce-overhead', 'max-autotune', 'max-autotune-no-cudagraphs')


class Compile(TypedDict, total=False):
    """``compile``: the arguments of ``torch.compile``."""

    fullgraph: bool
    dynamic: bool | None
    backend: str
    mode: Annotated[str, Among(_MODES)] | None
    options: dict[str, Any] | None
    disable: bool


# What may go on from one phase of a search to the next
GOES_ON = ('weights', 'alpha', 'optimizer', 'schedule', 'epoch')


class PhaseKeys(TypedDict, total=False):
    """What an entry of ``phases`` says beside overrides of the config."""

    start: Annotated[dict | str | Sequence[dict | str], Component('TRANSITIONS')]
    continue_from_last: Annotated[Sequence[Annotated[str, Among(GOES_ON)]], MinLen(0)]
    branches: Positive
    epochs: Positive | None


class Limits(TypedDict, total=False):
    """What a genotype that a search asks for may cost at most."""

    macs: AboveZero | None
    params: AboveZero | None
    latency: AboveZero | None


_LEVELS = ('CRITICAL', 'ERROR', 'WARNING', 'INFO', 'DEBUG', 'NOTSET')

# Names that configs of detection use as they like: (1024, 1024), 80
OF_CLASSIFIERS = ('image_size', 'num_classes')

# what is no component
PLAIN: dict[str, Any] = dict(
    default_scope=Annotated[str, Among(('mmengine', 'mmpretrain', 'mmdet', 'rdarts'))] | None,
    work_dir=str | None,
    load_from=str | None,
    resume=bool,
    launcher=Literal['none', 'pytorch', 'slurm', 'mpi'],
    log_level=Annotated[str, Among(_LEVELS)],
    experiment_name=str | None,
    schedule_epochs=Positive,
    env_cfg=EnvCfg,
    randomness=Randomness,
    auto_scale_lr=AutoScaleLr | None,
    custom_imports=CustomImports | None,
    compile=bool | Compile | None,
    activation_checkpointing=Sequence[str] | None,
    efficient_conv_bn_eval=str | Sequence[str] | None,
    find_unused_parameters=bool,
    new_head=bool,
    sync_bn=Literal['torch', 'mmcv'] | None,
    # which other entries follow: filling.py, epochs.py
    data_root=str | None,
    image_size=Side | None,
    num_classes=Positive | None,
    limit=Positive | None,
    image_cache=str | None,
    epochs=Positive | None,
    # how long a run may take: hooks/watchers/time_limit.py, sampling/query_search.py
    max_seconds=AboveZero | None,
    # a search that asks: sampling/query_search.py
    runner_type=str | None,
    budget=Positive,
    limits=Limits | None,
    supernet=str | None,
    # a search in phases: phases.py
    phases=Annotated[Sequence[dict], Opaque()] | None,
    init=str | None,
)

_LOADER = dict(
    dataset=Argument(Annotated[dict, Component('DATASETS')], MISSING),
    sampler=Argument(Annotated[dict, Component('DATA_SAMPLERS')], MISSING),
    batch_sampler=Argument(Annotated[dict, Component('DATA_SAMPLERS')] | None, None),
    num_batch_per_epoch=Argument(Positive | None, None),
    collate_fn=Argument(Annotated[dict, Component('FUNCTIONS')] | None, None),
    worker_init_fn=Argument(Annotated[dict, Component('FUNCTIONS')] | None, None),
    disable_subprocess_warning=Argument(bool, False),
)
LOADER = Section(None, extra=_LOADER, given=('shuffle', 'generator'))
LOADERS = ('train_dataloader', 'arch_dataloader', 'val_dataloader', 'test_dataloader')

_OPTIM = dict(
    optimizer=Argument(Annotated[dict, Component('OPTIMIZERS')], MISSING),
    constructor=Argument(str, 'DefaultOptimWrapperConstructor'),
    paramwise_cfg=Argument(ParamwiseCfg | None, None),
)

SECTIONS: dict[str, Section] = {
    'model': Section('MODELS'),
    'model_wrapper_cfg': Section('MODEL_WRAPPERS'),
    'data_preprocessor': Section('MODELS', default='ClsDataPreprocessor'),
    **dict.fromkeys(LOADERS, LOADER),
    'train_cfg': Section('LOOPS', default='EpochBasedTrainLoop'),
    'val_cfg': Section('LOOPS', default='ValLoop'),
    'test_cfg': Section('LOOPS', default='TestLoop'),
    'val_evaluator': Section('METRICS', many=True),
    'test_evaluator': Section('METRICS', many=True),
    'optim_wrapper': Section('OPTIM_WRAPPERS', default='OptimWrapper', extra=_OPTIM),
    'arch_optimizer': Section('OPTIMIZERS'),
    'param_scheduler': Section('PARAM_SCHEDULERS', many=True),
    'default_hooks': Section('HOOKS', named=True),
    'custom_hooks': Section('HOOKS', many=True),
    'strategy': Section('STRATEGIES'),
    'evaluator': Section('EVALUATORS'),
    'visualizer': Section('VISUALIZERS', default='Visualizer'),
    'log_processor': Section('LOG_PROCESSORS', default='LogProcessor'),
}


def innermost(dataset: Any, path: str = '') -> Iterator[tuple[str, Any]]:
    """The data sets that others wrap, or one that wraps none, each with its path.

    Args:
        dataset (dict): The config of a data set; of anything else nothing is given.
        path (str): Where it stands. Defaults to ''.
    """
    if not isinstance(dataset, Mapping):
        return
    several = dataset.get('datasets')
    wrapped = {f'{path}.dataset': dataset.get('dataset')}
    if isinstance(several, (list, tuple)):
        wrapped.update((f'{path}.datasets.{index}', one) for index, one in enumerate(several))
    wrapped = {place: one for place, one in wrapped.items() if isinstance(one, Mapping)}
    if not wrapped:
        yield path, dataset
    for place, one in wrapped.items():
        yield from innermost(one, place)
