"""rdarts: differentiable architecture search with r-DARTS.

Importing this package imports no torch; :mod:`rdarts.registry` holds the
registries, and every component is imported when it is first built.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

__version__ = '0.1.0'


def _register_with_timm() -> None:
    try:
        importlib.import_module('rdarts.apis.timm_models')
    except Exception as error:  # timm itself must go on
        warnings.warn(f'timm knows no networks of rdarts: {error}', stacklevel=2)


class _AfterTimm:
    """Registers derived networks once timm is imported: it has no entry points to be found by."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of ``timm.models``, whose loader registers what is here after that module."""
        if name != 'timm.models':
            return None
        found = (
            finder.find_spec(name, path, target) for finder in sys.meta_path if finder is not self
        )
        spec = next((spec for spec in found if spec is not None), None)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_register(module: ModuleType) -> None:
                execute(module)
                _register_with_timm()

            spec.loader.exec_module = execute_and_register
        return spec


if 'timm.models' in sys.modules:
    _register_with_timm()
else:
    sys.meta_path.insert(0, _AfterTimm())
