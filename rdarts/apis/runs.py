"""Runs of configs as the tools start them: a search or a training, and the test of a checkpoint."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import MessageHub

from rdarts.checkpoint.directory import find_checkpoint
from rdarts.configuration.load import check_model, load_config, set_amp, set_genotype
from rdarts.configuration.retraining import retraining_command, training_images
from rdarts.engine.compiling import GRAPHS
from rdarts.engine.phase_record import PhaseRecord
from rdarts.engine.phases import PhasedSearch
from rdarts.engine.runner import TEST_HOOKS, build_runner
from rdarts.engine.work_dir import lock_work_dir, prepare_work_dir, set_resume
from rdarts.errors import UserError
from rdarts.genotypes import parse_genotype
from rdarts.models.alpha import find_alpha_owner
from rdarts.search_spaces import SearchSpace
from rdarts.utils.commands import command, shown_path
from rdarts.utils.files import write_atomically
from rdarts.utils.ranks import is_main_rank

ONLY_TRAINING = (
    *('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler'),
    *('val_dataloader', 'val_cfg', 'val_evaluator'),
)
"""Keys of a config that a test does not build."""


def configure_training(
    config: str | os.PathLike,
    options: Mapping[str, Any] | None = None,
    *,
    work_dir: str | os.PathLike | None = None,
    genotype: str | None = None,
    amp: str | None = None,
    seed: int | None = None,
    deterministic: bool = False,
    new_head: bool = False,
    starts: bool = True,
    compiled: bool | str = False,
    cuda_graph: bool = False,
) -> Config:
    """The checked config of a run that trains; nothing is written yet.

    Args:
        config (str | PathLike): The config's file.
        options (dict, optional): Dotted keys of the config and their values.
        work_dir (str | PathLike, optional): Where the run writes. Defaults to the config's, else to
            ``work_dirs/<config>``.
        genotype (str, optional): What a derived network is made of, see
            :func:`rdarts.genotypes.load_genotype`. Defaults to the config's.
        amp (str, optional): ``'bf16'`` or ``'fp16'``. Defaults to float32.
        seed (int, optional): Defaults to the config's.
        deterministic (bool): Whether algorithms are deterministic. Defaults to the config's.
        new_head (bool): Whether ``load_from`` loads no head. Defaults to False.
        starts (bool): Whether the run begins anew. Defaults to True.
        compiled (bool | str): Whether ``torch.compile`` compiles the backbone, or the back end
            that it takes. Defaults to the config's ``compile``.
        cuda_graph (bool): Whether it is compiled into CUDA graphs, on a GPU. Defaults to the
            config's ``compile``.

    Raises:
        UserError: The config cannot be read, or something in it is wrong.
    """
    options = dict(options or {})
    if compiled:
        options['compile'] = dict(backend=compiled) if isinstance(compiled, str) else True
    if cuda_graph:
        options['compile'] = dict(mode=GRAPHS)
    cfg = load_config(os.fspath(config), options)
    cfg.work_dir = str(work_dir or cfg.get('work_dir') or Path('work_dirs') / Path(config).stem)
    if seed is not None:
        cfg.randomness = dict(cfg.get('randomness') or {}, seed=seed)
    if deterministic:
        cfg.randomness = dict(cfg.get('randomness') or {}, deterministic=True)
    if amp:
        set_amp(cfg, amp)
    if genotype is not None:
        set_genotype(cfg, genotype)
    check_model(cfg, starts=starts)
    cfg.new_head = new_head
    return cfg


def train(cfg: Config, resume: bool | str | None = None, from_phase: int | None = None) -> None:
    """Run what a config describes in its work directory; prints what came out of it.

    Args:
        cfg (Config): What :func:`configure_training` gives.
        resume (bool | str, optional): Whether it goes on from the newest checkpoint of its work
            directory, or the checkpoint that it goes on from. Defaults to a run that begins anew.
        from_phase (int, optional): Of a search in phases: the one that begins anew, from 0, while
            what is before it stays.

    Raises:
        UserError: Another run works in the directory, or it, a checkpoint or the data do not fit.
        RunFailed: It cannot go on.
    """
    phased = bool(cfg.get('phases'))
    _check_phased(cfg, phased, resume, from_phase)
    with lock_work_dir(cfg.work_dir):
        space = None
        if phased:
            search = PhasedSearch(cfg)
            search.run(bool(resume), from_phase)
            space = search.runs.space
        else:
            prepare_work_dir(cfg.work_dir, keep=bool(resume))
            if resume:
                set_resume(cfg, resume)
            runner = build_runner(cfg)
            runner.train()
            space = getattr(runner, 'space', None)  # of a search that asks
            if (cfg.get('default_hooks') or {}).get('genotype'):
                space = find_alpha_owner(runner.model).space
        if is_main_rank():
            if space is not None:
                _print_found(cfg, space)
            else:
                _print_trained(cfg, runner.message_hub)


def _check_phased(
    cfg: Config, phased: bool, resume: bool | str | None, from_phase: int | None
) -> None:
    """A search in phases is resumed as one, and no other run is.

    Raises:
        UserError: It is not.
    """
    if phased and isinstance(resume, str):
        raise UserError(
            f'--resume {resume}: a search in phases goes on by --resume without a file, or by '
            '--from-phase K'
        )
    if phased:
        return
    if from_phase is not None:
        raise UserError('--from-phase: the config has no phases')
    if resume and PhaseRecord.read(Path(cfg.work_dir)) is not None:
        raise UserError(
            f'cannot resume: {cfg.work_dir} holds a search in phases, and this config has none; '
            'resume with the config that began the search'
        )


def _print_found(cfg: Config, space: SearchSpace) -> None:
    """Where the genotype of a search and its report are, and what comes next."""
    path = Path(cfg.work_dir) / 'genotype.json'
    genotype = parse_genotype(path.read_text(encoding='utf-8'))
    print(f'\ngenotype: {genotype.to_string()}')
    print(f'saved in: {shown_path(path)}')
    report = path.with_name('report.html')
    if report.is_file():
        print(f'report:   {shown_path(report)}')
    following = retraining_command(cfg.work_dir, space, training_images(cfg))
    drawn = command('analysis/draw_genotype.py', Path(cfg.work_dir))
    print(f'next:     {following or drawn}')


def _print_trained(cfg: Config, hub: MessageHub) -> None:
    """What the last validation of a training gave, where its weights are, and what comes next."""
    figures = {
        key.removeprefix('val/'): scalar.current()
        for key, scalar in hub.log_scalars.items()
        if key.startswith('val/') and key not in ('val/time', 'val/data_time')
    }
    print()
    for key, value in figures.items():
        print(f'{key}: {float(value):.4f}')
    checkpoint = find_checkpoint(Path(cfg.work_dir))
    if checkpoint is not None:
        print(f'saved in: {shown_path(checkpoint)}')
    if cfg.model.get('head'):  # a detector is not exported
        print(f'next:     {command("export.py", Path(cfg.work_dir), "--out", "net.onnx")}')


def configure_test(
    config: str | os.PathLike,
    checkpoint: str | os.PathLike,
    options: Mapping[str, Any] | None = None,
    *,
    work_dir: str | os.PathLike | None = None,
    genotype: str | None = None,
) -> Config:
    """The checked config of the test of a checkpoint; nothing is written yet.

    Args:
        config (str | PathLike): The config's file.
        checkpoint (str | PathLike): A file, or a work directory for its newest.
        options (dict, optional): Dotted keys of the config and their values.
        work_dir (str | PathLike, optional): Where it writes. Defaults to ``test`` beside the
            checkpoint.
        genotype (str, optional): See :func:`configure_training`.

    Raises:
        UserError: Something in the config is wrong, it has no test images, or there is no
            checkpoint.
    """
    cfg = load_config(os.fspath(config), dict(options or {}))
    path = Path(checkpoint)
    if path.is_dir():
        found = find_checkpoint(path)
        if found is None:
            raise UserError(f'no checkpoint in {path}')
        path = found
    elif not path.is_file():
        raise UserError(f'checkpoint not found: {path}')
    if genotype is not None:
        set_genotype(cfg, genotype)
    check_model(cfg, starts=False)
    if cfg.get('test_dataloader') is None:
        raise UserError(f'{config} has no test_dataloader')
    cfg.work_dir = str(work_dir or path.parent / 'test')
    cfg.load_from, cfg.resume = str(path), False
    cfg.default_hooks = {
        key: value for key, value in cfg.default_hooks.items() if key in TEST_HOOKS
    }
    for key in ONLY_TRAINING:
        cfg[key] = None
    return cfg


def evaluate(cfg: Config, out: str | os.PathLike | None = None) -> dict[str, float]:
    """Test a checkpoint; prints the figures, such as the accuracy in %.

    Args:
        cfg (Config): What :func:`configure_test` gives.
        out (str | PathLike, optional): Where the figures are written as JSON.

    Returns:
        dict[str, float]: The figures by name.

    Raises:
        UserError: The checkpoint or the data do not fit.
    """
    prepare_work_dir(cfg.work_dir, keep=True)
    figures = {key: float(value) for key, value in build_runner(cfg).test().items()}
    if is_main_rank():
        for key, value in figures.items():
            print(f'{key}: {value:.4f}')
        if out:
            write_atomically(Path(out), (json.dumps(figures, indent=1) + '\n').encode())
    return figures
