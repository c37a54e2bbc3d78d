"""Types of a config that are written without the prefix ``rdarts.``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmengine.registry import Registry

from rdarts import registry as rdarts_registry

# where a config names a component, beside `type`
_NAMING_KEYS = ('type', 'constructor')


def complete_type_names(cfg: Any, scope: str | None) -> None:
    """Write ``rdarts.X`` where a config says ``X`` and only rdarts, or its user, knows it.

    mmengine looks a bare name up in the default scope, which is mmpretrain's or mmdet's, and there
    in no sibling. A name that those know keeps their meaning.

    Args:
        cfg (dict): The config, after its ``custom_imports``; it is changed.
        scope (str, optional): Its default scope.
    """
    registries = list(_child_registries())
    for entry in _dicts(cfg):
        for key in _NAMING_KEYS:
            name = entry.get(key)
            if isinstance(name, str) and '.' not in name:
                ours = [registry for registry in registries if name in registry.module_dict]
                if ours and not any(_theirs(registry, scope, name) for registry in ours):
                    entry[key] = f'rdarts.{name}'


def _child_registries() -> Iterator[Registry]:
    for registry in vars(rdarts_registry).values():
        if isinstance(registry, Registry) and registry.parent is not None:
            registry.import_from_location()
            yield registry


def _theirs(registry: Registry, scope: str | None, name: str) -> bool:
    parent = registry.parent
    found = parent.children.get(scope, parent) if scope != 'rdarts' else parent
    return found.get(name) is not None


def _dicts(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from _dicts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _dicts(item)
