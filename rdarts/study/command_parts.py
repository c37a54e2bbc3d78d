"""What a command takes of a study, and what it may say of one that is none of searches."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from rdarts.errors import UserError, nearest

OF_COMMAND = ('jobs', 'seeds', 'first_seed')
LEAST = dict(seeds=1, first_seed=0, jobs=1)


def refuse_options(
    given: Mapping[str, Any],
    parts: Mapping[str, Sequence[str] | None],
    taken: Collection[str],
    place: str,
    kind: str,
) -> None:
    """A command has no option that is for studies of searches.

    Args:
        given (Mapping[str, Any]): Options; those left out are empty.
        parts (Mapping[str, Sequence[str] | None]): Parts of the study that the command names.
        taken (Collection[str]): Of these, those that such a study has.
        place (str): Its file, for the error.
        kind (str): What it is a study of.

    Raises:
        UserError: It has one.
    """
    wrong = [
        key
        for key, value in given.items()
        if key not in OF_COMMAND and not (value is None or value is False or value in ([], ()))
    ]
    for key in [*wrong, *(key for key, names in parts.items() if names and key not in taken)]:
        option = f'--{key.replace("_", "-")}'
        raise UserError(f'{option} is for studies of searches: {place} is one of {kind}')


def small_scale(study: Mapping[str, Any], what: str, small: bool) -> Mapping[str, Any]:
    """What a study says of its small scale; empty where it is run as it is.

    Args:
        study (Mapping[str, Any]): Its entry.
        what (str): The study, for the error.
        small (bool): Whether the command scales it.

    Raises:
        UserError: It says nothing of a small scale.
    """
    if not small:
        return {}
    if not study.get('small'):
        raise UserError(f'--small: {what} has no small')
    return study['small']


def part_of(names: Sequence[str] | None, known: Sequence[str], option: str) -> list[str]:
    """The part of a study that a command names, each name once; all where it names none.

    Args:
        names (Sequence[str], optional): What it names.
        known (Sequence[str]): What the study has.
        option (str): By which option.

    Raises:
        UserError: The study has it not.
    """
    for name in names or ():
        if name not in known:
            raise UserError(f"--{option}: the study has no '{name}': {nearest(name, known)}")
    return list(dict.fromkeys(names or known))


def numbers_of(study: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, int]:
    """Seeds and jobs: those of the command, else of the study.

    Args:
        study (Mapping[str, Any]): Its entry.
        given (Mapping[str, Any]): Options of the command.

    Raises:
        UserError: One is too small.
    """
    found = {key: study[key] for key in ('seeds', 'first_seed') if key in study}
    found.update({key: given[key] for key in OF_COMMAND if given.get(key) is not None})
    for key, value in found.items():
        if value < LEAST[key]:
            option = f'--{key.replace("_", "-")}'
            raise UserError(f'{option} must be {LEAST[key]} or more, but is {value}')
    return found


def remark_of(study: Mapping[str, Any], small: bool) -> str:
    """What every table says beside its title: the study's title and scale.

    Args:
        study (Mapping[str, Any]): Its entry.
        small (bool): Whether it is scaled.
    """
    remarks = [study['title']] if study.get('title') else []
    return '; '.join([*remarks, *([f'small: {study["small"]["says"]}'] if small else [])])
