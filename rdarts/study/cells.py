"""The cell that a search found, trained beside the all-skip and the all-3x3 cell, all alike."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from rdarts.checkpoint.directory import list_checkpoints, set_aside
from rdarts.configuration.as_data import read_config
from rdarts.configuration.folder import configs_folder
from rdarts.configuration.load import check_model, load_config, set_genotype
from rdarts.configuration.options import parse_options
from rdarts.configuration.retraining import FILE, named, same_images, training_images
from rdarts.engine.runner import build_runner
from rdarts.engine.work_dir import lock_work_dir, prepare_work_dir, set_resume
from rdarts.errors import Interrupted, UserError
from rdarts.genotypes import DenseCellGenotype, count_skips, load_genotype
from rdarts.search_spaces import build_space
from rdarts.utils.commands import command, shown_path
from rdarts.utils.files import write_atomically

BASELINES = dict(all_skip='skip_connect', all_3x3='nor_conv_3x3')
ACCURACY = 'val/accuracy/top1'


def read_found(search_dir: Path) -> DenseCellGenotype:
    """The genotype of a search.

    Raises:
        UserError: There is none, or it is of another form than NAS-Bench-201's.
    """
    path = search_dir / 'genotype.json'
    if not path.is_file():
        raise UserError(
            f'no genotype.json in {search_dir}: a finished search writes it; run '
            + command('train.py', configs_folder().resolve() / 'search' / 'rdarts_nb201_digits.py')
            + f' --work-dir {shown_path(search_dir)}'
        )
    found = load_genotype(path)
    if not isinstance(found, DenseCellGenotype):
        raise UserError(
            f"{path}: a genotype of the space '{found.space}', but cells are compared that have "
            "one operation on each edge, as NAS-Bench-201's"
        )
    return found


def baselines_of(found: DenseCellGenotype) -> dict[str, DenseCellGenotype]:
    """The cells of one operation alone that its space has, by their names in ``BASELINES``."""
    cells = {
        name: DenseCellGenotype(found.space, (operation,) * len(found.ops))
        for name, operation in BASELINES.items()
    }
    edges = [edge for cell in build_space(found.space).cells.values() for edge in cell.edges]
    return {
        name: cell
        for name, cell in cells.items()
        if all(op in edge.candidates for op, edge in zip(cell.ops, edges, strict=True))
    }


def read_json(path: Path) -> dict[str, Any]:
    """A file that this tool has written; nothing where it is missing or damaged."""
    try:
        data = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write one at once."""
    write_atomically(path, (json.dumps(data, indent=1) + '\n').encode())


def make_config(
    config: str, options: Sequence[str], seed: int, genotype: DenseCellGenotype
) -> Config:
    """The config that trains a cell, without a work directory.

    Args:
        config (str): How to train.
        options (Sequence[str]): ``KEY=VALUE`` of it.
        seed (int): Of the training.
        genotype (DenseCellGenotype): The cell.

    Raises:
        UserError: It trains no derived network.
    """
    cfg = load_config(config, parse_options(options))
    if not cfg.get('model') or 'genotype' not in (cfg.model.get('backbone') or {}):
        raise UserError(
            f'{config} trains no derived network: its model.backbone has no genotype; '
            'use a config of configs/retrain/'
        )
    set_genotype(cfg, genotype.to_string())
    check_model(cfg)
    cfg.randomness = dict(cfg.get('randomness') or {}, seed=seed)
    return cfg


def describe(cfg: Config, genotype: DenseCellGenotype, seed: int) -> dict[str, Any]:
    """What a result depends on: a stored one counts only where all of it is the same."""
    text = json.dumps(cfg.to_dict(), sort_keys=True, default=str)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return dict(genotype=genotype.to_string(), seed=seed, config_sha256=digest)


def train(cfg: Config, folder: Path, record: dict[str, Any]) -> dict[str, Any]:
    """Train a cell, or go on with a training that was interrupted.

    Returns:
        dict: ``record`` with the test accuracy (%), parameters and seconds.
    """
    begun = read_json(folder / 'cell.json')
    resume = {key: begun.get(key) for key in record} == record
    prepare_work_dir(folder, keep=True)
    if not resume:
        begun = {}
        earlier = [path for path in folder.iterdir() if not path.name.startswith('previous_')]
        if earlier:
            print(f'  trained otherwise before: moved to {set_aside(folder, earlier)}')
    cfg.work_dir = str(folder)
    cfg.experiment_name = folder.name
    if resume and list_checkpoints(folder):
        set_resume(cfg, True)
    else:
        begun = {}
    before = float(begun.get('seconds', 0.0))
    write_json(folder / 'cell.json', dict(record, seconds=before))
    runner = build_runner(cfg, quiet=True)
    start = time.monotonic()  # not before: the first runner imports the frameworks
    try:
        runner.train()
    except Interrupted as stop:
        raise Interrupted(
            'stopped and saved: start the same command again to go on', stop.code - 128
        ) from None
    finally:
        seconds = before + time.monotonic() - start
        write_json(folder / 'cell.json', dict(record, seconds=seconds))
    scalars = runner.message_hub.log_scalars
    if ACCURACY not in scalars:
        raise UserError(f'the config measures no {ACCURACY}: set val_evaluator to Accuracy')
    return dict(
        record,
        accuracy=float(scalars[ACCURACY].current()),
        parameters=sum(parameter.numel() for parameter in runner.model.parameters()),
        seconds=seconds,
    )


def say_images(cfg: Config, search_dir: Path, config: str) -> None:
    """Say on which images the cells are trained, and whether the search was on others."""
    ours = training_images(cfg)
    print(f'images: {named(ours)}, by {shown_path(config)}')
    try:
        theirs = training_images(read_config(search_dir))
    except UserError:
        print('        no config of the search is here: whether it was on these is not known')
        return
    if not same_images(ours, theirs):
        print(f'        the search was on others: {named(theirs)}')
        own = search_dir / FILE
        if own.is_file():
            again = command('analysis/compare_cells.py', search_dir, '--config', own)
            print(f'        on its own: {again}')


def print_table(rows: dict[str, dict[str, Any]]) -> None:
    """One row a cell."""
    print(f'\n{"cell":<18} test accuracy  parameters  skips  seconds')
    for label, row in rows.items():
        print(
            f'{label:<18} {row["accuracy"]:>11.2f} %  {row["parameters"]:>10,}'
            f'  {row["skip_connections"]:>5}  {row["seconds"]:>7.1f}'
        )


def compare_cells(
    search_dir: Path,
    config: str,
    seed: int = 0,
    work_dir: str | None = None,
    cfg_options: Sequence[str] = (),
) -> None:
    """Train the cell that a search found beside the all-skip and the all-3x3 cell, all alike.

    Args:
        search_dir (Path): Work directory of a search in NAS-Bench-201's space, or one of its form.
        config (str): How to train.
        seed (int): Of every training. Defaults to 0.
        work_dir (str, optional): Where to write. Defaults to ``compare`` in ``search_dir``.
        cfg_options (Sequence[str]): ``KEY=VALUE`` of the config. Defaults to none.

    Raises:
        UserError: There is no found cell, or the config does not train one.
        Interrupted: It was stopped; the same call again goes on.
    """
    if (search_dir / 'genotype.json').is_file():
        load_config(config, parse_options(cfg_options))  # imports a space of one's own
    cells = dict(found=read_found(search_dir))
    labels = {name: name.replace('_', ' ') for name in ('found', *BASELINES)}
    for name, baseline in baselines_of(cells['found']).items():
        if baseline == cells['found']:
            labels['found'] = f'found = {labels[name]}'
            print(f'the found cell is the {labels[name]} cell: it is trained once')
        else:
            cells[name] = baseline
    # all configs first, so that a mistake in one costs no training
    configs = {
        name: make_config(config, cfg_options, seed, genotype) for name, genotype in cells.items()
    }
    say_images(configs['found'], search_dir, config)
    folder = Path(work_dir or search_dir / 'compare')
    lock_work_dir(folder)
    prepare_work_dir(folder, keep=True)
    path = folder / 'results.json'
    stored = read_json(path).get('cells', {})
    rows = {}
    for number, (name, genotype) in enumerate(cells.items(), 1):
        record = describe(configs[name], genotype, seed)
        row = stored.get(name, {})
        finished = 'accuracy' in row and all(row.get(key) == record[key] for key in record)
        state = 'trained already' if finished else 'training ...'
        place = f'[{number}/{len(cells)}] {labels[name]}'
        print(f'{place}: {genotype.to_string()}  {state}', flush=True)
        if not finished:
            row = train(configs[name], folder / name, record)
            row['skip_connections'] = count_skips(genotype)
            stored = {**stored, name: row}
            write_json(path, dict(schema=1, cells=stored))
        rows[labels[name]] = row
    print_table(rows)
    print(f'\nsaved in: {shown_path(path)}')
