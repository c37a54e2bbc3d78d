"""Every key of a config, checked against what its component declares, before any data is read.

Longer than 400 lines: one walk over a config, whose steps call one another.
"""

from __future__ import annotations

import importlib
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args

from mmengine import registry as mmengine_registry
from mmengine.registry import Registry

from rdarts import registry as rdarts_registry
from rdarts.configuration.declarations import (
    Component,
    Named,
    Opaque,
    describe,
    fits,
    marks_of,
    members,
)
from rdarts.configuration.relations import relations
from rdarts.configuration.sections import (
    LOADER,
    OF_CLASSIFIERS,
    PLAIN,
    SECTIONS,
    PhaseKeys,
    Section,
)
from rdarts.configuration.signatures import (
    MISSING,
    UNKNOWN,
    Argument,
    arguments_of,
    of_framework,
)
from rdarts.errors import UserError, closest, likeness, nearest

# which registry an argument of this name is of, where its annotation does not say
_OF_ARGUMENTS = dict(
    optimizer='OPTIMIZERS',
    dataset='DATASETS',
    datasets='DATASETS',
    pipeline='TRANSFORMS',
    transforms='TRANSFORMS',
    sampler='DATA_SAMPLERS',
    batch_sampler='DATA_SAMPLERS',
    collate_fn='FUNCTIONS',
    worker_init_fn='FUNCTIONS',
    vis_backends='VISBACKENDS',
    init_cfg='WEIGHT_INITIALIZERS',
    constructor='OPTIM_WRAPPER_CONSTRUCTORS',
    metrics='METRICS',
)
# what the builder of a registry's components passes itself
_GIVEN: dict[str, tuple[str, ...]] = dict(
    LOOPS=('runner', 'dataloader', 'evaluator'),
    MODEL_WRAPPERS=('module',),
    OPTIMIZERS=('params',),
    PARAM_SCHEDULERS=('optimizer', 'param_name'),
    DATA_SAMPLERS=('dataset', 'sampler', 'batch_size'),
    VISBACKENDS=('save_dir',),
    MIXED_OPS=(
        *('candidates', 'in_channels', 'out_channels', 'stride', 'affine'),
        *('track_running_stats', 'operation_args', 'labels'),
    ),
)
# whose components get arguments from the one around them, as those of mmdet's models do
_COMPLETED = ('TASK_UTILS', 'FUNCTIONS', 'MIXED_OPS')
# where else the components of a registry's place may come from
_BESIDE = dict(MODELS='TASK_UTILS', DATA_SAMPLERS='TASK_UTILS', METRICS='EVALUATOR')
# taken from the dict before the component is built
_POPPED: dict[str, dict[str, Argument]] = dict(
    HOOKS=dict(priority=Argument(int | str, 'NORMAL')),
    PARAM_SCHEDULERS=dict(convert_to_iter_based=Argument(bool, False)),
    VISUALIZERS=dict(name=Argument(str, 'visualizer')),
)
# which a derived network gives its head once it has a genotype, and a folder of images
_FOLLOW = ('in_channels', 'num_classes')
_MARKS = ('type', '_scope_', '_delete_')
_NONE = ('none', 'null', 'nil')


def check_config(cfg: Mapping[str, Any], whole: bool = True) -> None:
    """Refuse a config with a key or value that its component does not take.

    Args:
        cfg (dict): The config as data, after ``custom_imports`` and ``--cfg-options``.
        whole (bool): Whether every number that follows from others is filled in; else what is
            missing, and what keys have to do with one another, is not looked at. Defaults to True.

    Raises:
        UserError: The first fault: one line with its path, and what would be right.
    """
    checker = _Checker(cfg, whole)
    checker.run()
    if checker.faults:
        raise UserError(checker.faults[0]())


class _Checker:
    """Walks over a config.

    Args:
        cfg (dict): The config.
        whole (bool): See :func:`check_config`.
    """

    def __init__(self, cfg: Mapping[str, Any], whole: bool = True) -> None:
        self.cfg, self.whole = cfg, whole
        self.scope = cfg.get('default_scope') or 'mmengine'
        # a line each, written once every section is known
        self.faults: list[Any] = []
        self.sections: dict[str, set[str]] = {}
        self._resolved: dict[tuple[Any, ...], Any] = {}
        # whether what stands in undeclared data is of the registry of what is around it
        self.guesses = True

    def run(self) -> None:
        for key, kind in PLAIN.items():
            if key in OF_CLASSIFIERS and self.scope == 'mmdet':
                continue
            if key in self.cfg:
                self.argument(self.cfg[key], key, Argument(kind), 'MODELS')
        self.phases()
        if self.faults:  # the scope may be one of them
            return
        for key, section in SECTIONS.items():
            if self.cfg.get(key) is not None:
                self.section(self.cfg[key], key, section)
        if self.whole and not self.faults:
            # a relation says nothing where a value of it is wrong by itself
            for path, line in relations(self.cfg, self.resolve):
                self.fault(path, line)

    def phases(self) -> None:
        """What phases say of themselves; the rest is of the config that is made of each."""
        given = self.cfg.get('phases')
        if given is None:
            return
        entries = given if isinstance(given, (list, tuple)) else [None]
        if not entries or not all(isinstance(entry, Mapping) for entry in entries):
            self.wrong(given, 'phases', 'a list of dicts, one for each phase')
            return
        own = PhaseKeys.__annotations__
        for index, entry in enumerate(entries):
            said = {key: value for key, value in entry.items() if key in own}
            self.typed_dict(said, f'phases.{index}', PhaseKeys)
            if not all(isinstance(key, str) for key in entry):
                self.wrong(entry, f'phases.{index}', 'a dict whose keys are names')
                continue
            for key in set(entry) - set(own) - {*PLAIN, *SECTIONS}:
                close = closest(key, own, 0.8)
                if close is not None:
                    self.fault(f'phases.{index}', f"has no key '{key}': did you mean '{close}'?")

    def fault(self, path: str, line: str) -> None:
        self.faults.append(lambda: f'{path} {line}' if path else line)

    # Sections

    def section(self, value: Any, path: str, section: Section) -> None:
        if section.many and isinstance(value, (list, tuple)):
            for index, item in enumerate(value):
                self.component(item, f'{path}.{index}', section.registry, section.default)
        elif section.registry == 'PARAM_SCHEDULERS' and _by_optimizer(value):
            for name, item in value.items():
                self.section(item, f'{path}.{name}', section)
        elif section.named:
            if not isinstance(value, Mapping):
                self.wrong(value, path, 'a dict of components')
                return
            self.sections[path] = set(value)
            for name, item in value.items():
                if isinstance(item, Mapping) or _is_object(item):
                    self.component(item, f'{path}.{name}', section.registry, section.default)
                elif item is not None or closest(name, set(value) - {name}, 0.85):
                    self.no_component(item, path, name, set(value) - {name})
        elif section.extra:
            self.built_with(value, path, section)
        else:
            self.component(value, path, section.registry, section.default)

    def built_with(self, value: Any, path: str, section: Section) -> None:
        """A dict whose keys go to more than one builder, as a data loader's."""
        if not isinstance(value, Mapping):
            if not _is_object(value):
                self.wrong(value, path, 'a dict')
            return
        extra = section.extra
        if section.registry is None:
            taken, _ = arguments_of(importlib.import_module(section.module).DataLoader)
            taken = {**{k: v for k, v in taken.items() if k not in section.given}, **extra}
            self.arguments(value, path, taken, False, 'data loader', 'DATASETS')
            self.missing(value, path, taken)
        else:
            self.component(value, path, section.registry, section.default, extra)

    # Components

    def component(
        self,
        value: Any,
        path: str,
        registry: str,
        default: str | None = None,
        extra: Mapping[str, Argument] = {},
    ) -> None:
        """A dict with a ``type``, or the bare name of one of our own components."""
        if registry == 'DATA_LOADERS':
            self.built_with(value, path, LOADER)
            return
        own = _registry(registry).parent is None and _registry(registry).scope == 'rdarts'
        if isinstance(value, str) and own:
            self.known(value, path, registry)
            return
        if not isinstance(value, Mapping):
            if not _is_object(value):
                self.wrong(value, path, "a dict with a 'type'" + (' or a name' if own else ''))
            return
        kind = value.get('type', default)
        if registry == 'LOOPS' and kind == default and value.get('by_epoch') is False:
            kind = 'IterBasedTrainLoop' if default == 'EpochBasedTrainLoop' else kind
        if kind is None:
            self.without_type(path, registry)
            return
        target = self.known(kind, path, registry, value.get('_scope_'))
        if target is None:
            return
        name = kind if isinstance(kind, str) else getattr(kind, '__name__', str(kind))
        taken, more = arguments_of(target)
        given = _GIVEN.get(registry, ())
        if registry == 'FUNCTIONS':
            given = tuple(taken)[:1]
        given = (*given, *getattr(target, 'fixed_arguments', ()))
        taken = {key: argument for key, argument in taken.items() if key not in given}
        taken = {**taken, **_POPPED.get(registry, {}), **extra}
        if 'type' not in value and registry == 'LOOPS':
            taken['by_epoch'] = Argument(bool, True)
        outer, self.guesses = self.guesses, of_framework(target)
        self.arguments(value, path, taken, more, name, registry)
        self.guesses = outer
        if registry not in _COMPLETED:
            self.missing(value, path, taken)
        self.own_relations(target, value, taken, path)

    def arguments(
        self,
        value: Mapping[str, Any],
        path: str,
        taken: Mapping[str, Argument],
        more: bool,
        name: str,
        registry: str,
    ) -> None:
        self.sections[path] = set(taken)
        for key, item in value.items():
            if key in _MARKS:
                continue
            inner = f'{path}.{key}'
            if key in taken:
                self.argument(item, inner, taken[key], _OF_ARGUMENTS.get(key, registry))
            elif not more:
                self.unknown(path, key, taken, name)

    def missing(self, value: Mapping[str, Any], path: str, taken: Mapping[str, Argument]) -> None:
        for key, argument in taken.items() if self.whole else ():
            if argument.default is MISSING and key not in value and key not in _FOLLOW:
                self.fault(f'{path}.{key}', f'is missing: it is {describe(argument.kind)}')

    def argument(self, value: Any, path: str, argument: Argument, registry: str) -> None:
        kind, default = argument.kind, argument.default
        if value is None and default is None:
            return
        if default is not MISSING and type(value) is type(default) and value == default:
            return
        if any(isinstance(mark, Opaque) for mark in marks_of(kind)):
            return
        named = next((m for m in marks_of(kind) if isinstance(m, Named)), None)
        if named is not None and isinstance(value, Mapping):
            self.sections[path] = set(value)
            for name, item in value.items():
                if item is not None:
                    self.component(item, f'{path}.{name}', named.registry)
            return
        component = next((m for m in marks_of(kind) if isinstance(m, Component)), None)
        registry = component.registry if component is not None else registry
        schema = next((one for one in map(_bare, members(kind)) if typing.is_typeddict(one)), None)
        if schema is not None and isinstance(value, Mapping):
            self.typed_dict(value, path, schema)
        elif component is not None and isinstance(value, (Mapping, str)):
            self.component(value, path, registry)
        elif component is not None and isinstance(value, (list, tuple)) and fits(value, kind):
            for index, item in enumerate(value):
                self.component(item, f'{path}.{index}', registry)
        elif not fits(value, kind):
            self.wrong(value, path, describe(kind))
        else:
            self.within(value, path, registry)

    def within(self, value: Any, path: str, registry: str) -> None:
        """The components inside an argument that is declared no further."""
        if isinstance(value, Mapping):
            if 'type' in value:
                if path.endswith(('_cfg', '.nms')) and not path.endswith('.init_cfg'):
                    return  # layers, whose arguments the network completes
                if self.may_be_of(value, path, registry):
                    self.component(value, path, registry)
            else:
                for key, item in value.items():
                    self.within(item, f'{path}.{key}', _OF_ARGUMENTS.get(key, registry))
        elif isinstance(value, (list, tuple)):
            for index, item in enumerate(value):
                self.within(item, f'{path}.{index}', registry)

    def may_be_of(self, value: Mapping[str, Any], path: str, registry: str) -> bool:
        """Whether undeclared data is a component of a registry, or was meant as one.

        A user's own component may read it as it likes, and frameworks have registries that
        mmengine lacks, such as that of mixup.
        """
        name, scope = value['type'], value.get('_scope_')
        if not isinstance(name, str) or not self.guesses:
            return False
        keys = [key for key in path.split('.') if not key.isdigit()]
        order = [one for one in (registry, _BESIDE.get(registry)) if one is not None]
        if keys[-1] in _OF_ARGUMENTS:
            return True
        if any(self.resolve(name, one, scope) is not None for one in order):
            return True
        if name in _names_anywhere(scope or self.scope):
            return False
        names = {known for one in order for known in _names(_registry(one), scope or self.scope)}
        close = closest(name, names)
        return close is not None and likeness(name, close) >= 0.8

    def typed_dict(self, value: Mapping[str, Any], path: str, schema: Any) -> None:
        kinds = typing.get_type_hints(schema, include_extras=True)
        self.sections[path] = set(kinds)
        for key, item in value.items():
            if key in kinds:
                self.argument(item, f'{path}.{key}', Argument(kinds[key]), 'MODELS')
            elif key not in _MARKS:
                self.unknown(path, key, kinds, path.rpartition('.')[2])
        for key in sorted(schema.__required_keys__ - set(value) - set(_FOLLOW)):
            self.fault(f'{path}.{key}', f'is missing: it is {describe(kinds[key])}')

    def own_relations(
        self, target: Any, value: Mapping[str, Any], taken: Mapping[str, Argument], path: str
    ) -> None:
        """What a class says of its arguments together: its ``check_arguments``."""
        check = getattr(target, 'check_arguments', None)
        if check is None or self.faults:
            return
        unknown = (id(MISSING), id(UNKNOWN))
        defaults = {k: a.default for k, a in taken.items() if id(a.default) not in unknown}
        for key, line in check({**defaults, **value}):
            self.fault(f'{path}.{key}', line)

    # Names

    def resolve(self, name: Any, registry: str, scope: str | None = None) -> Any:
        """The component of a name, or None."""
        if not isinstance(name, str):
            return name
        key = (name, registry, scope)
        if key not in self._resolved:
            self._resolved[key] = self._resolve(name, registry, scope)
        return self._resolved[key]

    def _resolve(self, name: str, registry: str, scope: str | None) -> Any:
        found = _registry(registry)
        if found.parent is None and found.scope == 'rdarts':
            found.import_from_location()
            key = name.removeprefix('rdarts.')
            return found.module_dict.get(key) or ('.' in name and _get(found, name)) or None
        scope = scope or self.scope
        if scope in ('mmpretrain', 'mmdet'):
            importlib.import_module(f'{scope}.registry')
        return _get(found.children.get(scope, found), name)

    def known(self, name: Any, path: str, registry: str, scope: str | None = None) -> Any:
        """The component of a name; a fault where there is none."""
        if not isinstance(name, str):
            if callable(name):
                return name
            self.wrong(name, f'{path}.type', 'the name of a component')
            return None
        order = [registry, *([_BESIDE[registry]] if registry in _BESIDE else [])]
        for one in order:
            target = self.resolve(name, one, scope)
            if target is not None:
                return target
        names = {known for one in order for known in _names(_registry(one), scope or self.scope)}
        title = _registry(registry).name
        self.faults.append(lambda: f"unknown {title} '{name}' ({path}): {nearest(name, names, 12)}")
        return None

    # Lines

    def wrong(self, value: Any, path: str, right: str) -> None:
        hint = ''
        if _is_none(value) and 'None' in right:
            hint = ': none is written None'
        elif isinstance(value, (list, tuple)) and not value and 'a list' in right:
            hint = ': it needs one at least'
        elif isinstance(value, (list, tuple)) and 'a text' in right and _is_cut(value):
            hint = ': a text with a comma needs quotes'
        self.fault(path, f'must be {right}, but is {_short(value)}{hint}')

    def no_component(self, value: Any, path: str, key: str, names: set[str]) -> None:
        """Where a section of components by name holds something else, a key of them maybe."""

        def line() -> str:
            hint = self.meant(path, key, names)
            more = f': {hint}' if hint.startswith('did') else ''
            none = ': none is written None' if _is_none(value) else more
            return (
                f"{path}.{key} must be a dict with a 'type' or None, but is {_short(value)}{none}"
            )

        self.faults.append(line)

    def without_type(self, path: str, registry: str) -> None:
        parent, _, key = path.rpartition('.')
        names = self.sections.get(parent, set()) - {key}
        # what --cfg-options made of a mistyped name
        title = 'hook' if registry == 'HOOKS' else 'key'
        close = closest(key, names)
        if close is None:
            self.fault(path, f"has no 'type': it is a dict with the type of a {title}")
        else:
            self.faults.append(lambda: f"{parent} has no {title} '{key}': did you mean '{close}'?")

    def unknown(self, path: str, key: str, taken: Iterable[str], name: str) -> None:
        taken = set(taken)

        def line() -> str:
            hint = self.meant(path, key, taken)
            return f"{path}.{key}: {name} takes no '{key}': {hint}"

        self.faults.append(line)

    def meant(self, path: str, key: str, taken: set[str]) -> str:
        """The key that was meant: of this section, or else of another one, with its path."""
        here = closest(key, taken)
        if here is not None and likeness(key, here) >= 0.75:
            return f"did you mean '{here}'?"
        best, place = 0.8, ''
        for section, names in self.sections.items():
            other = closest(key, names) if section != path else None
            if other is not None and likeness(key, other) > best:
                best, place = likeness(key, other), f'{section}.{other}'
        if place:
            return f"did you mean '{place}'?"
        if here is not None:
            return f"did you mean '{here}'?"
        return 'known: ' + (', '.join(sorted(taken)) or 'none')


def _bare(kind: Any) -> Any:
    return get_args(kind)[0] if hasattr(kind, '__metadata__') else kind


def _is_object(value: Any) -> bool:
    """Whether a value was built already, by Python code that uses the runner."""
    plain = (str, bytes, int, float, bool, list, tuple, set, Mapping, type(None))
    return not isinstance(value, plain)


def _by_optimizer(value: Any) -> bool:
    """Whether schedulers stand under the names of several optimizers."""
    if not isinstance(value, Mapping) or 'type' in value or not value:
        return False
    return all(
        isinstance(item, (list, tuple)) or (isinstance(item, Mapping) and 'type' in item)
        for item in value.values()
    )


def _is_cut(value: Any) -> bool:
    return bool(value) and all(isinstance(item, (str, int, float)) for item in value)


def _is_none(value: Any) -> bool:
    return isinstance(value, str) and value.lower() in _NONE


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f'{text[:77]}...'


def _registry(name: str) -> Registry:
    own = getattr(rdarts_registry, name, None)
    if own is not None and own.parent is None:
        return own
    return getattr(mmengine_registry, name)


def _get(registry: Registry, name: str) -> Any:
    try:
        return registry.get(name)
    except (KeyError, RuntimeError, ImportError, ValueError, TypeError):
        return None


def _names_anywhere(scope: str) -> set[str]:
    """The names of every registry of mmengine and of a package of a scope."""
    modules = [mmengine_registry, rdarts_registry]
    if scope in ('mmpretrain', 'mmdet'):
        modules.append(importlib.import_module(f'{scope}.registry'))
    registries = [
        one for module in modules for one in vars(module).values() if isinstance(one, Registry)
    ]
    return {name for one in registries for name in one.module_dict}


def _names(registry: Registry, scope: str) -> Iterator[str]:
    """Every name that a config may write for a component of a registry."""
    for one in (registry, registry.children.get(scope)):
        if one is not None:
            own = one.scope == 'rdarts' and one.parent is not None
            yield from (f'rdarts.{name}' if own else name for name in one.module_dict)
    ours = registry.children.get('rdarts')
    if ours is not None:
        ours.import_from_location()
        yield from (f'rdarts.{name}' for name in ours.module_dict)
