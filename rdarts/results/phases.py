"""A search in phases as its log tells it: which epochs are of which phase and branch, and why."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config

from rdarts.configuration import as_data
from rdarts.configuration.phases import OWN, Phase, split
from rdarts.configuration.sections import GOES_ON
from rdarts.errors import UserError
from rdarts.results.row import is_count, number

PHASE = 'phase'  # the kind of a row that says that a phase has ended
MOST = 2**31  # of epochs, and of branches
ASKS = 'QuerySearch'  # what runs a search that asks, or a phase of one
LENGTH = ('train_cfg', 'max_epochs')  # which is shown itself
LONGEST = 40  # of a value that is written out, in characters


@dataclass(frozen=True)
class Part:
    """The epochs of a phase, or of a branch of one, in the count of the whole search.

    Args:
        phase (int): Its number, from 0.
        branch (int | None): That of the branch; None where the phase has none.
        first (int): Its first epoch.
        last (int): Its last epoch so far.
        ended (bool): Whether it has ended.
        chosen (bool | None): Whether the search went on from it; None where that is not known yet,
            or the phase has no branches.
    """

    phase: int
    branch: int | None
    first: int
    last: int
    ended: bool
    chosen: bool | None

    @property
    def name(self) -> str:
        """As a run of it calls itself: counted from 1."""
        phase = f'phase {self.phase + 1}'
        return phase if self.branch is None else f'{phase}, branch {self.branch + 1}'

    @property
    def folder(self) -> str:
        """Of its checkpoints, within that of the search."""
        phase = f'phase_{self.phase}'
        return phase if self.branch is None else f'{phase}/branch_{self.branch}'


def parts_of(rows: Sequence[Mapping[str, Any]], where: str) -> list[Part]:
    """The epochs of a search by phase and branch, in order.

    Args:
        rows (Sequence[dict]): All rows of its log.
        where (str): The file, for errors.

    Returns:
        list[Part]: None where the log knows no phases.

    Raises:
        UserError: What the rows say of phases and branches is not what a search logs.
    """
    epochs = [row for row in rows if row['kind'] == 'epoch']
    if not any('phase' in row for row in epochs):
        return []
    spans: dict[tuple[int, int | None], list[int]] = {}
    for row in epochs:
        phase, branch, epoch = row.get('phase'), row.get('branch'), row['epoch']
        if not is_count(phase) or not (branch is None or is_count(branch)):
            raise UserError(
                f"{where}, epoch {epoch}: 'phase' must be a number from 0, and so must 'branch' "
                'where there is one'
            )
        place, last = (phase, branch), next(reversed(spans), None)
        if place != last and last is not None and not _follows(place, last):
            raise UserError(
                f'{where}, epoch {epoch}: {_name(*place)} cannot come after {_name(*last)}'
            )
        spans.setdefault(place, []).append(epoch)
    ends = _ends(rows, spans, where)
    newest = next(reversed(spans))
    return [
        Part(
            phase=phase,
            branch=branch,
            first=numbers[0],
            last=numbers[-1],
            ended=(phase, branch) != newest or phase in ends,
            chosen=None if branch is None or phase not in ends else branch == ends[phase],
        )
        for (phase, branch), numbers in spans.items()
    ]


def _follows(place: tuple[int, int | None], last: tuple[int, int | None]) -> bool:
    if place[0] != last[0]:
        return place[0] > last[0]
    return None not in (place[1], last[1]) and place[1] > last[1]


def _name(phase: int, branch: int | None) -> str:
    return Part(phase, branch, 0, 0, False, None).name


def _ends(
    rows: Sequence[Mapping[str, Any]], known: Mapping[tuple[int, int | None], Any], where: str
) -> dict[int, int | None]:
    """Phases that have ended, each with the branch that was chosen of it."""
    found = {}
    for row in rows:
        if row['kind'] != PHASE:
            continue
        phase, branch = row.get('phase'), row.get('branch')
        at = f'{where}, the row of kind phase after epoch {row["epoch"]}'
        if not is_count(phase):
            raise UserError(f"{at}: 'phase' must be a number from 0")
        ran = [b for p, b in known if p == phase]
        if ran and branch not in ran:
            names = ' or '.join(str(b) for b in ran if b is not None)
            must = f'be {names}: these ran' if names else 'be left out: the phase has none'
            raise UserError(f"{at}: 'branch' must {must}")
        found[phase] = branch
    return found


def last_row(rows: Sequence[Mapping[str, Any]], parts: Sequence[Part]) -> Mapping[str, Any]:
    """The row of kind ``epoch`` that the search ended with, or has come to.

    It is the last one; where the last phase has ended and had branches, the last of the branch that
    was chosen.

    Args:
        rows (Sequence[dict]): The rows of epochs, at least one.
        parts (Sequence[Part]): What :func:`parts_of` says of them.
    """
    if not parts:
        return rows[-1]
    chosen = [part for part in parts if part.phase == parts[-1].phase and part.chosen]
    last = (chosen or parts)[-1].last
    return next(row for row in reversed(rows) if row['epoch'] == last)


def planned(config: Mapping[str, Any], where: str) -> list[Phase]:
    """The phases of a search as its config has them, those that have not begun included.

    Args:
        config (dict): Of the whole search, as data.
        where (str): What holds it, for errors.

    Returns:
        list[Phase]: None of a search without phases.

    Raises:
        UserError: ``phases`` is not what a config has.
    """
    if config.get('phases') is None:
        return []
    try:
        found = split(Config(copy.deepcopy(dict(config))))
        counts = [count for phase in found for count in (phase.epochs, phase.branches)]
    except UserError as error:
        raise UserError(f'{where}: {error}') from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        counts = [None]
    if not all(is_count(count) and count < MOST for count in counts):
        raise UserError(f"{where}: 'phases' is not what the config of a search has")
    return found


def asks(config: Mapping[str, Any]) -> bool:
    """Whether a config, or that of a phase, is of a search that asks: of queries, not epochs."""
    return as_data.type_name(config.get('runner_type')) == ASKS


def length(config: Mapping[str, Any], phases: Sequence[Phase]) -> int | None:
    """Epochs of a search that nothing stops, in all its phases and their branches.

    Args:
        config (dict): Its whole config, as data.
        phases (Sequence[Phase]): Those of the config.

    Returns:
        int | None: None where the config does not say.
    """
    if phases:  # a search that is named stands for the first
        phases = phases[1:] if config.get('init') else phases
        return sum(phase.epochs * phase.branches for phase in phases if not asks(phase.cfg))
    epochs = number(config, 'train_cfg', 'max_epochs')
    return None if epochs is None else int(epochs)


def words(config: Mapping[str, Any], phases: Sequence[Phase], index: int) -> list[str]:
    """What a phase begins with, and what it changes of the config of the phase before.

    Args:
        config (dict): Of the whole search, as data.
        phases (Sequence[Phase]): What :func:`planned` gives of it.
        index (int): Of the phase.

    Returns:
        list[str]: Nothing is said of the first, and of one that the config does not know.
    """
    if not 0 < index < len(phases):
        return []
    before, phase = phases[index - 1], phases[index]
    found = [call(one) for one in phase.start]
    goes_on = [key for key in GOES_ON if key in phase.goes_on]
    found.append(f'{", ".join(goes_on)} from the phase before' if goes_on else 'all starts anew')
    if goes_on and 'alpha' not in goes_on:
        found.append('alpha starts anew')
    # what a phase says holds for it alone: the next one may go back to the config's
    said = [_places(entry) for entry in config['phases'][index - 1 : index + 1]]
    configs = [one.cfg.to_dict() for one in (before, phase)]
    for place in dict.fromkeys(itertools.chain(*said)):
        old, new = (as_data.entry(one, *place) for one in configs)
        if old != new and place[0] not in OWN and place != LENGTH:
            found.append(f'{".".join(place)} {_short(old)} → {_short(new)}')
    return found


def _places(value: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Where numbers, names and lists stand in nested entries."""
    if not isinstance(value, Mapping):
        yield place
        return
    for key, item in value.items():
        yield from _places(item, (*place, str(key)))


def call(entry: Any) -> str:
    """An entry of a config as it is called: its type with its arguments."""
    given = entry.items() if isinstance(entry, Mapping) else ()
    arguments = ', '.join(f'{key}={_short(value)}' for key, value in given if key != 'type')
    return f'{as_data.type_name(entry)}({arguments})'


def _short(value: Any) -> str:
    """A value in a line; of a longer one, that there is something."""
    if isinstance(value, Mapping) and 'type' in value:
        return call(value)
    text = 'not set' if value is None else value if isinstance(value, str) else repr(value)
    return text if len(text) <= LONGEST else '…'
