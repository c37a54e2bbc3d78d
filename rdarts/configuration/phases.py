"""A search in phases: the config of each phase, made of the whole one and of what the phase says.

``phases`` is a list. Each entry holds overrides, which are merged into the config as a child config
is into its base, and keys of its own: :class:`rdarts.configuration.sections.PhaseKeys`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config

from rdarts.configuration.as_data import entry as given_at
from rdarts.configuration.epochs import scale_epochs
from rdarts.configuration.notes import add_note, notes_of
from rdarts.configuration.sections import PhaseKeys
from rdarts.errors import UserError

OWN = frozenset(PhaseKeys.__annotations__)
OF_THE_WHOLE = ('phases', 'init', 'epochs')
WIDTH = 'model.head.in_channels'  # what was filled in of it
# What a phase cannot have otherwise than the search
FIXED = (
    *OF_THE_WHOLE,
    *('work_dir', 'experiment_name', 'resume', 'launcher', 'custom_imports', 'default_scope'),
)


@dataclass(frozen=True)
class Phase:
    """One phase of a search.

    Args:
        index (int): From 0.
        cfg (Config): Its config, whole, without ``phases``.
        start (tuple[dict, ...]): Its transitions, as components.
        goes_on (frozenset[str]): What goes on from the phase before: see ``continue_from_last``.
        branches (int): How many runs side by side.
    """

    index: int
    cfg: Config
    start: tuple[Any, ...] = ()
    goes_on: frozenset[str] = frozenset()
    branches: int = 1

    @property
    def epochs(self) -> int:
        """Of each of its runs; 0 of one that counts none."""
        loop = self.cfg.get('train_cfg')
        return (loop.get('max_epochs') or 0) if isinstance(loop, Mapping) else 0


def split(cfg: Config) -> list[Phase]:
    """The phases of a config; of their configs, what follows from other entries is not filled in.

    ``epochs`` of a phase gives it a length, and all other epoch numbers of its config follow;
    ``epochs`` of the whole config is the length of all phases together. A schedule that goes on
    over several phases follows their lengths together.

    Args:
        cfg (Config): The whole config, whose entry ``phases`` was checked.

    Returns:
        list[Phase]: None of a config without ``phases``.

    Raises:
        UserError: ``phases`` says what cannot be.
    """
    given = cfg.get('phases') or ()
    if cfg.get('init') is not None and not given:
        raise UserError('init stands for the first of several phases, but the config has none')
    found = [_phase(cfg, index, entry) for index, entry in enumerate(given)]
    if found:
        own = [entry.get('epochs') for entry in given]
        if any(own):
            lengths = [n or phase.epochs for n, phase in zip(own, found, strict=True)]
            written = [_places(entry) for entry in given]
            base = given_at(cfg.get('train_cfg'), 'max_epochs')
            _give_lengths(found, lengths, written, [bool(n) for n in own], base)
        if cfg.get('epochs') is not None:
            lengths = share_out(cfg.epochs, [phase.epochs for phase in found])
            _give_lengths(found, lengths, [set() for _ in found], [bool(n) for n in lengths])
    return found


def share_out(epochs: int, lengths: Sequence[int]) -> list[int]:
    """A number of epochs, divided in proportion to the lengths of phases; each has at least one.

    Args:
        epochs (int): All together.
        lengths (Sequence[int]): Of the phases now; those of 0 keep that.
    """
    total = sum(lengths)
    exact = [epochs * length / total if total else 0.0 for length in lengths]
    found = [max(1, int(one)) if length else 0 for one, length in zip(exact, lengths, strict=True)]
    order = sorted(range(len(exact)), key=lambda i: (found[i] - exact[i], i))
    for index in order[: max(0, epochs - sum(found))]:  # those that lost most by rounding
        found[index] += 1
    return found


def _phase(cfg: Config, index: int, entry: Mapping[str, Any]) -> Phase:
    overrides = {key: value for key, value in entry.items() if key not in OWN}
    _check_overrides(index, entry, overrides)
    goes_on = frozenset(entry.get('continue_from_last') or ())
    start = entry.get('start') or ()
    start = tuple(start) if isinstance(start, (list, tuple)) else (start,)
    first = [key for key in ('start', 'continue_from_last') if index == 0 and entry.get(key)]
    if first:
        raise UserError(f'phases.0.{first[0]}: there is no phase before the first')
    below = cfg.to_dict()
    for key in OF_THE_WHOLE:
        below.pop(key, None)
    if index:
        below.update(load_from=None)
    network, head = given_at(overrides, 'model', 'backbone'), given_at(below, 'model', 'head')
    notes = notes_of(cfg)
    if network and isinstance(head, dict):  # its width follows the network again
        head.pop('in_channels', None)
        notes = [note for note in notes if not note.startswith(WIDTH)]
    try:
        merged = Config._merge_a_into_b(copy.deepcopy(overrides), copy.deepcopy(below))
    except (KeyError, TypeError, AttributeError) as error:
        line = (str(error).strip('"\'').splitlines() or [''])[0]
        raise UserError(f'phases.{index} does not fit the config: {line}') from None
    found = Config(merged, cfg_text=cfg.text)
    object.__setattr__(found, '_filename', cfg.filename)
    for note in notes:
        add_note(found, note)
    return Phase(index, found, start, goes_on, entry.get('branches', 1))


def _check_overrides(index: int, entry: Mapping[str, Any], overrides: Mapping[str, Any]) -> None:
    """What a phase sets is of phases, and its length is said once."""
    for key in FIXED:
        if key in overrides:
            raise UserError(f'phases.{index}.{key}: that is of the whole search: set it at the top')
    if given_at(overrides, 'randomness', 'seed') is not None:
        raise UserError(
            f'phases.{index}.randomness.seed: the seed of a phase follows from that of the search: '
            'set it at the top'
        )
    length, written = entry.get('epochs'), given_at(overrides, 'train_cfg', 'max_epochs')
    if length is not None and written not in (None, length):
        raise UserError(
            f'phases.{index}: epochs is {length}, but the same entry writes '
            f'train_cfg.max_epochs={written}: leave one of them out'
        )


def chain(phases: Sequence[Phase], index: int, what: str) -> list[Phase]:
    """The phases over which something goes on, one of which is this one, in order.

    Args:
        phases (Sequence[Phase]): Those of the search.
        index (int): Of one of them.
        what (str): Of ``continue_from_last``, such as ``'schedule'``.
    """
    first = index
    while first and what in phases[first].goes_on:
        first -= 1
    last = index + 1
    while last < len(phases) and what in phases[last].goes_on:
        last += 1
    return list(phases[first:last])


def _give_lengths(
    phases: Sequence[Phase],
    lengths: Sequence[int],
    written: Sequence[set[tuple[str, ...]]],
    wanted: Sequence[bool],
    base: int | None = None,
) -> None:
    """Change the configs of phases to other lengths.

    Args:
        phases (Sequence[Phase]): All of them.
        lengths (Sequence[int]): Of each.
        written (Sequence[set]): Of each, the entries that stay as they are.
        wanted (Sequence[bool]): Of each, whether it changes.
        base (int, optional): The length that schedules over several phases are of. Defaults to
            that of these phases now.
    """
    before = [phase.epochs for phase in phases]
    for phase, length, places, change in zip(phases, lengths, written, wanted, strict=True):
        together = [one.index for one in chain(phases, phase.index, 'schedule')]
        alone = len(together) == 1
        if not change and (alone or not any(wanted[i] for i in together)):
            continue
        if not before[phase.index]:
            raise UserError(
                f'phases.{phase.index}.epochs: the phase has no train_cfg.max_epochs that it could '
                'follow'
            )
        over = (sum(lengths[i] for i in together), base or sum(before[i] for i in together))
        scale_epochs(phase.cfg, length, places, None if alone else over)


def _places(entry: Mapping[str, Any], place: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """What a phase writes itself, which its ``epochs`` leaves as it is."""
    found: set[tuple[str, ...]] = set()
    for key, value in entry.items():
        inner = (*place, str(key))
        if not place and key in OWN:
            continue
        if isinstance(value, Mapping):
            found |= _places(value, inner)
        else:
            found.add(inner)
    return found
