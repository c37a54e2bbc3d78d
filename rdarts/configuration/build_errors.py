"""Which entry of a config could not be built, and why.

mmengine's registries let errors through as Python raises them. What was to be built is read from
the frames of the traceback, and why it does not fit from its signature, since the texts of such
errors differ between releases of Python.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from typing import Any

from mmengine import registry as mmengine_registry
from mmengine.registry import Registry, build_functions
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from rdarts import registry as rdarts_registry
from rdarts.configuration.signatures import of_framework
from rdarts.errors import nearest
from rdarts.utils.machine_errors import explain_machine
from rdarts.utils.signatures import misfit, takes_any


def why_unbuilt(error: BaseException) -> str | None:
    """Say why an entry does not fit the type that it names.

    Args:
        error (BaseException): What building from a config raised.

    Returns:
        str | None: The reason; None where the entry is not to blame.
    """
    if isinstance(error, (AssertionError, ValueError)):
        return _refused(error)
    if not isinstance(error, TypeError):
        return None
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    if frames and frames[-1].f_code is Runner.call_hook.__code__ and error.__context__ is not None:
        # raised anew, with the hook's name
        error = error.__context__
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    for number in reversed(range(len(frames))):
        target, args = _being_built(frames[number])
        if target is None:
            continue
        reason = misfit(target, args)
        if reason is not None:
            return f'{target.__name__} {reason}'
        # handed on to something else, which refused it at once
        handed_on = isinstance(target, type) and takes_any(target) and number + 2 >= len(frames)
        return f'{target.__name__}: {str(error).splitlines()[-1]}' if handed_on else None
    return None


def _refused(error: BaseException) -> str | None:
    """What a component of another package says of its arguments while it is built."""
    steps = list(traceback.walk_tb(error.__traceback__))
    for number in reversed(range(len(steps))):
        target, _ = _being_built(steps[number][0])
        if target is None:
            continue
        modules = [frame.f_globals.get('__name__', '') for frame, _ in steps[number + 1 :]]
        ours = any(name.partition('.')[0] == 'rdarts' for name in modules)
        if not modules or ours or not of_framework(target):
            return None
        text = str(error).strip() or traceback.extract_tb(error.__traceback__)[-1].line
        return f'{target.__name__}: {" ".join((text or "refused").split())}'
    return None


def unknown_type(error: BaseException) -> str | None:
    """The type that mmengine found in no registry, if that is what an error is about."""
    if not isinstance(error, (KeyError, RuntimeError)):
        return None
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    raised, name = frames[-1] if frames else None, None
    while frames and frames[-1].f_code is Registry.get.__code__:  # which asks other registries
        name = frames.pop().f_locals['key']
    if name is None and raised and raised.f_code.co_filename == build_functions.__file__:
        names = raised.f_locals
        for kind, found in (('obj_type', 'obj_cls'), ('scheduler_type', 'scheduler_cls')):
            if isinstance(names.get(kind), str) and names.get(found) is None:
                name = names[kind]
    return name


def _being_built(frame: Any) -> tuple[Any, list[str]]:
    """What a frame was about to call, and with which keywords."""
    names = frame.f_locals
    if frame.f_code is Runner.build_dataloader.__code__ and 'dataset' in names:
        # what the runner itself has not taken out of it yet
        own = {'dataset', 'sampler', 'batch_sampler', 'worker_init_fn', 'collate_fn'}
        given = set(names.get('dataloader_cfg') or ()) - own
        return DataLoader, [*given, 'dataset']
    if frame.f_code.co_filename == build_functions.__file__:
        for key in ('obj_cls', 'scheduler_cls'):
            if names.get(key) is not None:
                return names[key], list(names['args'])
    return None, []


def explain(error: BaseException) -> tuple[str, int] | None:
    """The line and exit code of what libraries raise for a user's mistake, or for a full machine.

    Returns:
        tuple[str, int] | None: None for a defect.
    """
    name = unknown_type(error)
    if name is not None:
        return f"unknown type '{name}': {nearest(name, _all_names())}", 2
    if isinstance(error, ImportError) and 'install' in str(error):  # as packages ask for others
        return f'a component of the config needs a package: {str(error).splitlines()[0]}', 2
    misfit = why_unbuilt(error)
    if misfit is not None:
        return f'an entry of the config does not fit: {misfit}', 2
    line = explain_machine(error)
    return None if line is None else (line, 1)


def _registries() -> Iterator[Registry]:
    for module in (rdarts_registry, mmengine_registry):
        for value in vars(module).values():
            if isinstance(value, Registry):
                yield value


def _all_names() -> set[str]:
    names = set()
    for registry in _registries():
        prefix = 'rdarts.' if registry.scope == 'rdarts' else ''
        names.update(prefix + name for name in registry.module_dict)
        names.update(_of_children(registry))
    return names


def _of_children(registry: Registry) -> dict[str, Any]:
    """What other packages have added to one of mmengine's registries."""
    children = [child for child in registry.children.values() if child.scope != 'rdarts']
    return {name: kind for child in children for name, kind in child.module_dict.items()}
