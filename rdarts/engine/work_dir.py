"""The work directory of a run: made, kept for one run, cleared or resumed."""

from __future__ import annotations

import os
import tempfile
from contextlib import nullcontext
from pathlib import Path

from mmengine.config import Config

from rdarts.checkpoint.directory import find_checkpoint, list_checkpoints, set_aside
from rdarts.configuration import as_data
from rdarts.errors import UserError
from rdarts.utils.commands import shown_path
from rdarts.utils.folder_lock import FolderLock, cannot_write
from rdarts.utils.ranks import is_main_rank

RUN_FILES = (
    'genotype.json', 'genotypes', 'search_log.jsonl', 'split.json', 'config.py', 'config.json',
    'last_checkpoint', 'report.html', 'retrain.py', 'images.json', 'snapshots', 'phases.json'
)  # fmt: skip


def prepare_work_dir(work_dir: str | os.PathLike, keep: bool) -> Path:
    """Make a work directory that can be written.

    A run that begins anew moves what an earlier one left there into ``previous_<n>``.

    Args:
        work_dir (str | PathLike): The folder.
        keep (bool): Whether the run there is to be resumed.

    Raises:
        UserError: It cannot be made or written.
    """
    folder = Path(work_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # it can be written; a file without a name stays nowhere should the process end here
        tempfile.TemporaryFile(dir=folder).close()
        # checkpoints first: ended in between, what is left can be resumed, or begins anew
        found = list_checkpoints(folder)
        found += [folder / name for name in RUN_FILES if (folder / name).exists()]
        found += sorted(path for path in folder.glob('phase_*') if path.is_dir())
        if {path.name for path in found} <= {'config.py', as_data.FILE}:
            found = []  # of a start that failed before it ran
        if not keep and found and is_main_rank():
            target = set_aside(folder, found)
            print(
                f'{shown_path(folder)} held an earlier run: moved to {shown_path(target)} '
                '(--resume goes on with one)'
            )
    except OSError as error:
        raise cannot_write(folder, error) from None
    return folder


def lock_work_dir(work_dir: str | os.PathLike) -> FolderLock | nullcontext:
    """Keep other runs out of a work directory; of the ranks of a run, the first does.

    Args:
        work_dir (str | PathLike): The folder; made where it is missing.

    Returns:
        FolderLock | nullcontext: Held until it is released, or the process ends.

    Raises:
        UserError: Another run works there, or it cannot be made or written.
    """
    return FolderLock(work_dir) if is_main_rank() else nullcontext()


def set_resume(cfg: Config, resume: bool | str) -> None:
    """Make a config resume a file, or the newest good checkpoint of its work directory.

    Raises:
        UserError: The file cannot be read, or every checkpoint is damaged.
    """
    path: Path | None = None
    if isinstance(resume, str):
        path = Path(resume)
        if not path.is_file():
            raise UserError(f'--resume: checkpoint not found: {path}')
    elif resume:
        hook = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
        folder = hook.get('out_dir') or cfg.work_dir
        path = find_checkpoint(folder)
        if path is None and is_main_rank():
            print(f'warning: --resume found no checkpoint in {folder}: starting anew')
            prepare_work_dir(cfg.work_dir, keep=False)
    cfg.resume = path is not None
    if path is not None:
        cfg.load_from = str(path)
