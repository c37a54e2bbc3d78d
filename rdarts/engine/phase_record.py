"""What of a search in phases has ended: a file of its work directory, read as data."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rdarts.checkpoint.schema import EntryError, Items, Maybe, Table, Text, Whole, check_entry
from rdarts.errors import UserError
from rdarts.utils.files import read_text, write_atomically

FILE = 'phases.json'
DECIDED = 'decided.json'  # in the folder of a phase
SCHEMA = 1
MAX_BYTES = 2**20

_RUN = Table(
    dict(phase=Whole(), branch=Maybe(Whole()), epochs=Whole(), iterations=Whole(), bytes=Whole())
)
_ENDED = Table(dict(phase=Whole(), branch=Maybe(Whole()), bytes=Whole()))
_SPEC = Table(
    dict(
        schema=Whole(SCHEMA, SCHEMA),
        seed=Whole(),
        init=Maybe(Text()),
        runs=Items(_RUN),
        ended=Items(_ENDED),
    )
)


def read_decided(path: Path) -> dict[str, Any]:
    """What transitions decided when a phase first began, by their places; empty where nothing was.

    Raises:
        UserError: The file is none of ours.
    """
    try:
        data = json.loads(read_text(path, MAX_BYTES))
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError):
        raise UserError(f'{path}: no JSON') from None
    if not isinstance(data, dict) or not all(isinstance(one, dict) for one in data.values()):
        raise UserError(f'{path}: not what transitions have decided: delete it, or begin anew')
    return data


@dataclass(frozen=True)
class EndedRun:
    """A run of a phase that has ended.

    Args:
        phase (int): From 0.
        branch (int | None): From 0; None of a phase without branches.
        epochs, iterations (int): How many it had.
        bytes (int): The length of the search's log at its end.
    """

    phase: int
    branch: int | None
    epochs: int
    iterations: int
    bytes: int


@dataclass(frozen=True)
class EndedPhase:
    """A phase that has ended.

    Args:
        phase (int): From 0.
        branch (int | None): The branch that goes on; None of a phase without branches.
        bytes (int): The length of the search's log at its end.
    """

    phase: int
    branch: int | None
    bytes: int


@dataclass
class PhaseRecord:
    """What has ended, in the order in which it did.

    Args:
        seed (int): Of the search.
        init (str, optional): The folder of the search that stands for the first phase.
        runs (list[EndedRun]): The runs that have ended.
        ended (list[EndedPhase]): The phases that have ended.
    """

    seed: int
    init: str | None = None
    runs: list[EndedRun] = field(default_factory=list)
    ended: list[EndedPhase] = field(default_factory=list)

    @classmethod
    def read(cls, folder: Path) -> PhaseRecord | None:
        """That of a work directory; None where there is none.

        Raises:
            UserError: The file is none of ours.
        """
        path = folder / FILE
        try:
            data = json.loads(read_text(path, MAX_BYTES))
        except FileNotFoundError:
            return None
        except (ValueError, RecursionError):
            raise UserError(f'{path}: no JSON') from None
        try:
            check_entry(data, _SPEC, 'record')
        except EntryError:
            raise UserError(f'{path}: no record of a search in phases') from None
        found = cls(
            data['seed'],
            data['init'],
            [EndedRun(**run) for run in data['runs']],
            [EndedPhase(**one) for one in data['ended']],
        )
        phases = [run.phase for run in found.runs]
        ran = all(found.run_of(one.phase, one.branch) is not None for one in found.ended)
        if phases != sorted(phases) or not ran:
            raise UserError(f'{path}: no record of a search in phases')
        return found

    def write(self, folder: Path) -> None:
        """Write it into a work directory, whole or not at all."""
        data: dict[str, Any] = dict(schema=SCHEMA, **asdict(self))
        write_atomically(folder / FILE, (json.dumps(data, indent=1) + '\n').encode())

    def forget_from(self, phase: int) -> None:
        """Forget that a phase, and those after it, have ended."""
        self.runs = [run for run in self.runs if run.phase < phase]
        self.ended = [one for one in self.ended if one.phase < phase]

    def run_of(self, phase: int, branch: int | None) -> EndedRun | None:
        """A run that has ended; None where it has not."""
        found = (run for run in self.runs if (run.phase, run.branch) == (phase, branch))
        return next(found, None)

    def phase(self, index: int) -> EndedPhase | None:
        """A phase that has ended; None where it has not."""
        return next((one for one in self.ended if one.phase == index), None)

    @property
    def bytes(self) -> int:
        """The length of the log after all that has ended."""
        return max((one.bytes for one in (*self.runs, *self.ended)), default=0)
