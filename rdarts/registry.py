"""Every registry of rdarts.

The first part are children of mmengine's, found from any scope as ``rdarts.X``; the
second part are the choices of a search that mmengine has no registry for, built with
:func:`build`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine import registry as mmengine_registry
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.registry import Registry

from rdarts.errors import UserError, nearest
from rdarts.utils.imports import import_folder
from rdarts.utils.signatures import misfit

# Lets a config inherit from `rdarts::_base_/...` once this module is imported.
MODULE2PACKAGE.setdefault('rdarts', 'rdarts')


# Imported by the configs that need it alone: mmdetection takes seconds, or is missing
NEEDS_MMDET = ('rdarts.datasets.detection',)


class _Registry(Registry):
    """mmengine's, which finds what lies in its folders: a file put there registers itself."""

    def __init__(self, *args: Any, folders: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._folders = folders

    def import_from_location(self) -> None:
        """Import the modules that register components.

        Raises:
            UserError: One fails; the line names file and line.
        """
        if self._imported:
            return
        super().import_from_location()
        try:
            for folder in self._folders:
                import_folder(folder, without=NEEDS_MMDET)
        except UserError:
            self._imported = False  # the next one to ask is told, too
            raise


def _child(parent: str, *locations: str, folders: Sequence[str] = ()) -> Registry:
    """A child of one of mmengine's, which imports ``locations`` and every file of ``folders``."""
    root = getattr(mmengine_registry, parent)
    places = [*folders, *locations]
    return _Registry(root.name, parent=root, scope='rdarts', locations=places, folders=folders)


def _own(name: str, *folders: str) -> Registry:
    return _Registry(name, scope='rdarts', locations=list(folders), folders=folders)


# Supernets, derived networks and heads
MODELS = _child(
    'MODELS', folders=('rdarts.models', 'rdarts.models.backbones', 'rdarts.models.heads')
)
# The architects, and what watches a search
HOOKS = _child('HOOKS', 'rdarts.engine', folders=('rdarts.hooks', 'rdarts.hooks.watchers'))
# The training loop that resumes exactly, and those that select after it
LOOPS = _child('LOOPS', 'rdarts.engine', folders=('rdarts.engine.selection',))
# Runners: mmengine's trains, ours asks
RUNNERS = _child('RUNNERS', 'rdarts.sampling.query_search')
# Optimizer wrappers: bfloat16 on any device
OPTIM_WRAPPERS = _child('OPTIM_WRAPPERS', 'rdarts.engine')
# Optimizer constructors: the weights without alpha
OPTIM_WRAPPER_CONSTRUCTORS = _child('OPTIM_WRAPPER_CONSTRUCTORS', 'rdarts.engine')
# Schedules of learning rates that mmengine lacks
PARAM_SCHEDULERS = _child('PARAM_SCHEDULERS', 'rdarts.engine')
# Data sets and the search split
DATASETS = _child('DATASETS', folders=('rdarts.datasets',))
# Samplers whose order is a function of (seed, loader, epoch)
DATA_SAMPLERS = _child('DATA_SAMPLERS', folders=('rdarts.datasets',))
# Transforms that mmpretrain lacks
TRANSFORMS = _child('TRANSFORMS', folders=('rdarts.datasets',))
# Metrics of detection, in a module that needs mmdet and that configs import
METRICS = _child('METRICS', 'rdarts.datasets')
# Collate functions
FUNCTIONS = _child('FUNCTIONS', folders=('rdarts.datasets',))

# Forms of genotypes: how what was found is written, read, drawn and encoded
GENOTYPE_FORMS = _own('form of genotypes', 'rdarts.genotypes')
# Tables of what genotypes reach
BENCHMARKS = _own('benchmark', 'rdarts.benchmarks')
# Search spaces: tables of nodes, edges and candidates
SEARCH_SPACES = _own('search space', 'rdarts.search_spaces')
# How the candidates of an edge are mixed (the mutables)
MIXED_OPS = _own('mixed operation', 'rdarts.models.mixed_ops')
# Candidate operations
OPERATIONS = _own('operation', 'rdarts.models')
# How candidate operations run on all edges of a node at once
FUSED_CANDIDATES = _own('fused candidate', 'rdarts.models.fused.candidates')
# alpha -> mixing weights
RELAXATIONS = _own('relaxation', 'rdarts.architect.relaxations')
# How the gradient of alpha is taken
ARCHITECTS = _own('architect', 'rdarts.architect.architects')
# What is added to L_val
REGULARIZERS = _own('regularizer', 'rdarts.architect.regularizers')
# alpha -> genotype
DISCRETIZERS = _own('discretizer', 'rdarts.architect.discretizers')
# What one phase of a search hands to the next
TRANSITIONS = _own('transition', 'rdarts.architect.transitions')
# What proposes genotypes to be evaluated
STRATEGIES = _own('strategy', 'rdarts.sampling.strategies')
# What predicts, from encodings, what genotypes reach
PREDICTORS = _own('predictor', 'rdarts.sampling.predictors')
# What answers how good a genotype is
EVALUATORS = _own('evaluator', 'rdarts.sampling.evaluators')
# Training-free scores of a network
SCORES = _own('score', 'rdarts.sampling.scores')
# What places a whole set of networks at once, by several scores
RANKINGS = _own('ranking', 'rdarts.sampling.scores')


def lookup(name: str, registry: Registry) -> Any:
    """The component registered under a name.

    Args:
        name (str): With or without the prefix ``rdarts.``; a dotted path of an importable
            object works too, as everywhere in mmengine.
        registry (Registry): One of the registries of this module.

    Raises:
        UserError: Nothing of that name is known; the line names the nearest that is.
    """
    registry.import_from_location()
    key = name.removeprefix('rdarts.')
    if key in registry.module_dict:
        return registry.module_dict[key]
    try:
        found = registry.get(name) if '.' in name else None
    except RuntimeError:
        found = None
    if found is None:
        hint = nearest(key, registry.module_dict)
        raise UserError(f"unknown {registry.name} '{name}': {hint}")
    return found


def build(cfg: Any, registry: Registry, **defaults: Any) -> Any:
    """Build one of the components that mmengine has no registry for.

    mmengine looks a registry up by the default scope ('mmpretrain' in a search) and warns
    twice for each of ours; here the scope is always rdarts.

    Args:
        cfg (dict | str | object): A dict with a ``type``, a bare name, or an object that is
            built already, which is returned as it is.
        registry (Registry): One of the registries of this module.
        **defaults: Arguments used where ``cfg`` does not set them.

    Raises:
        UserError: The type is missing or not known, or the arguments do not fit it.
    """
    if isinstance(cfg, str):
        cfg = dict(type=cfg)
    if cfg is None or isinstance(cfg, (bool, int, float, list, tuple, set)):
        raise UserError(f"{_a(registry)} is a name or a dict with a 'type', but got {cfg!r}")
    if not isinstance(cfg, Mapping):
        return cfg
    args = {**defaults, **cfg}
    kind = args.pop('type', None)
    if kind is None:
        raise UserError(f"{_a(registry)} needs a 'type', but got {dict(cfg)}")
    target = lookup(kind, registry) if isinstance(kind, str) else kind
    reason = misfit(target, args)
    if reason is not None:
        raise UserError(f"{registry.name} '{kind}' {reason}")
    try:
        return target(**args)
    except TypeError as error:
        raise UserError(f"{registry.name} '{kind}': {error}") from error


def _a(registry: Registry) -> str:
    """Such as ``a relaxation``, ``an evaluator``."""
    return f'{"an" if registry.name[0] in "aeiou" else "a"} {registry.name}'
