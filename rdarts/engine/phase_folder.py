"""Whether what a work directory holds is of this search in phases, and may go on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import barrier, is_main_process

from rdarts.checkpoint.directory import list_checkpoints, set_aside
from rdarts.configuration import as_data
from rdarts.configuration.changes import changes
from rdarts.configuration.phases import OWN, split
from rdarts.engine.phase_record import FILE, PhaseRecord
from rdarts.engine.phase_runs import PhaseRuns
from rdarts.engine.search_log import cut
from rdarts.errors import UserError
from rdarts.results.log import LOG
from rdarts.utils.commands import shown_path

HOW_ON = 'begin anew, or go on with the config that began the search'


def found_record(runs: PhaseRuns, from_phase: int | None) -> PhaseRecord | None:
    """What has ended of a search that is to go on; what begins anew is moved out of the way.

    Args:
        runs (PhaseRuns): The search; it is given the record.
        from_phase (int | None): The phase that begins anew; None where the search is resumed.

    Returns:
        PhaseRecord | None: None where there is nothing yet.

    Raises:
        UserError: The work directory holds another search, or ended phases of another config.
    """
    record = PhaseRecord.read(runs.folder)
    if record is None:
        if list_checkpoints(runs.folder):
            raise UserError(
                f'{runs.folder} holds a search without phases, and this config has '
                f'{len(runs.phases)}: {HOW_ON}'
            )
        begun = next(runs.folder.glob('phase_*'), None)
        if begun is not None:
            raise UserError(
                f'{begun} is of a search in phases, but {FILE} is missing, which says what of it '
                'has ended: begin anew, without --resume'
            )
        if from_phase is not None:
            raise UserError(f'--from-phase {from_phase}: {runs.folder} holds no search in phases')
        if is_main_process():
            print(f'warning: --resume found no search in {runs.folder}: starting anew')
        return None
    if from_phase is not None:
        _check_from(runs, record, from_phase)
    _check_same(runs, record, from_phase)
    if from_phase is not None:
        record.forget_from(from_phase)
        if is_main_process():
            _set_aside(runs, record, from_phase)
        barrier()
    return record


def _check_from(runs: PhaseRuns, record: PhaseRecord, from_phase: int) -> None:
    first, last = runs.to_run[0].index, runs.phases[-1].index
    if not first <= from_phase <= last:
        raise UserError(
            f'--from-phase must be {first} to {last}, a phase of this config, but is {from_phase}'
        )
    for index in range(first, from_phase):
        if record.phase(index) is None:
            raise UserError(
                f'--from-phase {from_phase}: phase {index} of {runs.folder} has not ended: '
                '--resume goes on with it'
            )


def _check_same(runs: PhaseRuns, record: PhaseRecord, end: int | None) -> None:
    """What has ended, and is to stay, must be what this config would have made.

    Args:
        runs (PhaseRuns): The search; it is given the record.
        record (PhaseRecord): What has ended.
        end (int | None): The first phase that does not stay; None where all do.

    Raises:
        UserError: It is not.
    """
    seed = (runs.cfg.get('randomness') or {}).get('seed')
    if seed not in (None, record.seed):
        raise UserError(
            f'cannot resume: the search was begun with seed {record.seed}, not {seed}; leave '
            f'--seed out or set it to {record.seed}'
        )
    runs.record = record
    if record.init != runs.init:
        raise UserError(
            f'{runs.folder}: the search was begun with init={record.init}, this config has '
            f'init={runs.init}: {HOW_ON}'
        )
    kept = sorted({run.phase for run in record.runs if end is None or run.phase < end})
    if kept and kept[-1] >= len(runs.phases):
        raise UserError(
            f'{runs.folder} has ended phase {kept[-1]}, counted from 0, but this config has only '
            f'{len(runs.phases)}: {HOW_ON}'
        )
    stored = as_data.read_config(runs.folder)
    begun = [phase.index for phase in runs.to_run if end is None or phase.index < end]
    begun = [index for index in begun if runs.folder_of(index, None).is_dir()]
    for index in sorted({*kept, *begun}):
        now = as_data.as_data(runs.cfg.to_dict())
        line = next(_differences(stored, now, index, index in kept), None)
        if line is not None:
            raise UserError(
                f'phase {index} of {runs.folder} was made by another config ({line}): {HOW_ON}, or '
                f'--from-phase {index}'
            )


def _differences(
    before: Mapping[str, Any], now: Mapping[str, Any], index: int, ended: bool
) -> Iterator[str]:
    """In what a phase of two configs differs, both as data: nothing of them is built.

    Of one that has not ended only in how it begins: what else changes is told where it is resumed.
    """
    configs, entries = [], []
    for given in (before, now):
        config = {key: value for key, value in given.items() if key != 'randomness'}
        phases = split(Config(config))
        configs.append(phases[index].cfg.to_dict() if index < len(phases) else {})
        entries.append(given['phases'][index] if index < len(phases) else {})
    if ended:
        yield from changes(*configs, resumes=False)
    for key in sorted(OWN - {'epochs'}):
        then, later = (entry.get(key) for entry in entries)
        if then != later:
            yield f'{key} {then} -> {later}'


def _set_aside(runs: PhaseRuns, record: PhaseRecord, from_phase: int) -> None:
    """Move the folders of a phase that begins anew, and of those after it, out of the way."""
    found = [
        path
        for path in sorted(runs.folder.glob('phase_*'))
        if path.name.removeprefix('phase_').isdigit()
        and int(path.name.removeprefix('phase_')) >= from_phase
    ]
    record.write(runs.folder)  # first: ended in between, these folders are of phases to come
    if found:
        target = set_aside(runs.folder, found)
        print(
            f'{shown_path(runs.folder)}: phases from {from_phase} on moved to {shown_path(target)}'
        )
        _set_aside_files(runs, record, target)
    cut(runs.folder / LOG, record.bytes)


def _set_aside_files(runs: PhaseRuns, record: PhaseRecord, target: Path) -> None:
    """The log as it was, and the genotypes of epochs that are to come once more."""
    if (runs.folder / LOG).is_file():
        shutil.copy2(runs.folder / LOG, target / LOG)
    done = sum(run.epochs for run in record.runs)
    for path in (runs.folder / 'genotypes').glob('epoch_*.json'):
        epoch = path.stem.removeprefix('epoch_')
        if epoch.isdigit() and int(epoch) > done:
            (target / 'genotypes').mkdir(exist_ok=True)
            shutil.move(path, target / 'genotypes' / path.name)
