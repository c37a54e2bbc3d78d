"""What a call takes, read from its signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection

from rdarts.errors import nearest

# It takes any keyword, to refuse each with an error of its own.
_REFUSES_ALL = 'torch.nn.modules.module.Module'


def misfit(target: Callable, names: Collection[str]) -> str | None:
    """Say why a call by keywords does not fit, without making it.

    A class whose ``__init__`` hands ``**kwargs`` on is taken to hand them to its bases.

    Args:
        target (Callable): A class or function.
        names (Collection[str]): The names of the keywords.

    Returns:
        str | None: What follows the target's name: ``takes no 'momentm': did you mean
        'momentum'?``, or ``needs 'params'``; None where the call fits, or where no signature tells.
    """
    calls = _signatures(target)
    if not calls:
        return None
    known = {name for call in calls for name in _named(call)}
    if not takes_any(calls[-1]):
        for name in names:
            if name not in known:
                return f"takes no '{name}'" + (f': {nearest(name, known)}' if known else '')
    for name in _named(calls[0]):
        if calls[0].parameters[name].default is inspect.Parameter.empty and name not in names:
            return f"needs '{name}'"
    return None


def takes(target: Callable, name: str) -> bool:
    """Whether a class, or one that it hands its other arguments on to, takes a keyword by name.

    Args:
        target (Callable): A class or function; of anything else, no.
        name (str): The keyword.
    """
    return any(name in _named(call) for call in _signatures(target))


def takes_any(call: Callable | inspect.Signature) -> bool:
    """Whether a call takes keywords of any name."""
    if not isinstance(call, inspect.Signature):
        call = inspect.signature(call)
    return any(one.kind is one.VAR_KEYWORD for one in call.parameters.values())


def _signatures(target: Callable) -> list[inspect.Signature]:
    """Those that keywords are handed on to: of the call itself, then of its bases."""
    try:
        if not inspect.isclass(target):
            return [inspect.signature(target)]
        found: list[inspect.Signature] = []
        for method in ('__init__', '__new__'):
            for base in inspect.getmro(target):
                if base is not object and method in vars(base):
                    found.append(_without_self(getattr(base, method)))
                    if f'{base.__module__}.{base.__qualname__}' == _REFUSES_ALL:
                        found[-1] = inspect.Signature()
                    if not takes_any(found[-1]):
                        return found
        return found
    except (TypeError, ValueError):  # written in C
        return []


def _without_self(method: Callable) -> inspect.Signature:
    signature = inspect.signature(method)
    parameters = list(signature.parameters.values())
    first = parameters[0].kind if parameters else None
    bound = first in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY)
    return signature.replace(parameters=parameters[bound:])


def _named(signature: inspect.Signature) -> list[str]:
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [name for name, one in signature.parameters.items() if one.kind in kinds]
