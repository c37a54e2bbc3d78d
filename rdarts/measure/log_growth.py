"""What a search's log costs as it grows: the start of a resume, the report, the pictures."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from rdarts.configuration import as_data
from rdarts.configuration.load import load_config
from rdarts.engine.first_lines import known_peak_mb
from rdarts.engine.search_log import SCHEMA, cut
from rdarts.errors import RunFailed, UserError
from rdarts.genotypes import count_skips
from rdarts.hooks.alpha_statistics import alpha_statistics
from rdarts.hooks.search_log import says_space
from rdarts.measure.apart import run_apart
from rdarts.measure.peak_memory import Peak, read_mb
from rdarts.registry import DISCRETIZERS, RELAXATIONS, build
from rdarts.results.log import LOG
from rdarts.results.search_run import SearchRun
from rdarts.search_spaces import build_space
from rdarts.search_spaces.as_data import to_data
from rdarts.study.tables import Table
from rdarts.visualization.plot_files import plot_all
from rdarts.visualization.report import write_report

HEADER = ['epochs', 'log, MB', 'resume, s', 'report, s', 'report, MB', 'memory, MB', 'pictures, s']
DRIFT = 0.03  # of alpha in an epoch, standard deviation: genotypes go on changing


def write_log(folder: Path, cfg: Config, epochs: int, rows: int, seed: int = 0) -> None:
    """Write ``search_log.jsonl`` and ``config.json`` as a search does whose alpha drifts at random.

    Args:
        folder (Path): Where.
        cfg (Config): Of a search with alpha.
        epochs (int): How many there are.
        rows (int): Of kind ``iter`` in each; a search has one every ten iterations.
        seed (int): Of the drift. Defaults to 0.
    """
    space = build_space(cfg.model.backbone.space)
    relaxation = build(cfg.model.backbone.get('relaxation', 'rdarts.Softmax'), RELAXATIONS)
    rule = build(cfg.default_hooks.genotype.get('discretizer', space.discretizer), DISCRETIZERS)
    rule.relaxation = relaxation
    generator = torch.Generator().manual_seed(seed)
    alphas = {
        group.name: torch.zeros(len(group.edges), len(group.candidates), dtype=torch.float64)
        for group in relaxation.groups(space)
    }
    (folder / as_data.FILE).write_bytes(as_data.to_json(cfg))
    with open(folder / LOG, 'w', encoding='utf-8') as file:

        def write(kind: str, epoch: int, iteration: int, **values: Any) -> None:
            row = dict(schema=SCHEMA, kind=kind, epoch=epoch, iter=iteration, **values)
            file.write(json.dumps(row) + '\n')

        write('start', 0, 0, seed=seed, space=to_data(space))
        for epoch in range(1, epochs + 1):
            losses = (2 + torch.rand(rows, 2, generator=generator, dtype=torch.float64)).tolist()
            for row, (train, val) in enumerate(losses, 1):
                number = (epoch - 1) * rows + row
                write(
                    'iter', epoch, 10 * number, lr=0.025, loss=train, grad_norm=val,
                    arch_loss=val, arch_grad_norm=train,
                    arch_cosine=dict.fromkeys(space.cells, val / 3),
                    arch_cosine_total=dict.fromkeys(space.cells, train / 3),
                    regularizers=dict(ber=dict(lambda_=0.5, value=train, norm=val, cosine=0.1)),
                    time=round(3.0 * number, 3), memory=512.0,
                )  # fmt: skip
            for alpha in alphas.values():
                noise = torch.randn(alpha.shape, generator=generator, dtype=torch.float64)
                alpha += DRIFT * noise
            genotype = rule(alphas, space)
            write(
                'epoch', epoch, 10 * epoch * rows, genotype=genotype.to_string(),
                skip_connections=count_skips(genotype), execution='fused',
                **alpha_statistics(alphas, space, relaxation),
            )  # fmt: skip
            write('val', epoch, 10 * epoch * rows, **{'accuracy/top1': 40 + 5 * losses[0][0]})


def seconds_of(call: Callable[[], Any]) -> float:
    """Seconds of the processor that a call takes."""
    start = time.process_time()
    call()
    return time.process_time() - start


def measure(config: str, epochs: int, rows: int, folder: Path) -> dict[str, float]:
    """Write a log, and do with it what a search and its user do.

    Args:
        config (str): The config of a search with alpha.
        epochs (int): Of the log.
        rows (int): Of kind ``iter`` in each epoch.
        folder (Path): Where; it is there, and empty.

    Returns:
        dict: ``log_mb``; ``resume_s``, what the start of a resume does with the log; ``report_s``,
        ``report_mb`` and ``report_peak_mb``, the memory above the idle process while it is made;
        ``pictures_s``, of all pictures. Seconds are the processor's.
    """
    write_log(folder, load_config(config), epochs, rows)
    log, page = folder / LOG, folder / 'report.html'
    size = log.stat().st_size

    def resume() -> None:
        known_peak_mb(folder)
        cut(log, size)
        says_space(log)

    idle = read_mb('VmRSS')
    with Peak() as peak:
        report = seconds_of(lambda: write_report([SearchRun(folder, 'search')], page))
    pictures = seconds_of(lambda: list(plot_all([SearchRun(folder, 'search')], folder / 'plots')))
    return dict(
        epochs=epochs,
        log_mb=size / 1e6,
        resume_s=seconds_of(resume),
        report_s=report,
        report_mb=page.stat().st_size / 1e6,
        report_peak_mb=peak.mb - idle,
        pictures_s=pictures,
    )


def measure_all(
    config: str, epochs: Sequence[int], rows: int, command: Sequence[str]
) -> list[dict[str, float]]:
    """What :func:`measure` gives for each number of epochs, in a process of its own.

    Args:
        config, rows: See :func:`measure`.
        epochs (Sequence[int]): Of each log.
        command (Sequence[str]): Starts the tool that prints what :func:`measure` gives, as JSON,
            with the config, ``--epochs`` with one number, ``--rows``, and ``--child FOLDER``.

    Raises:
        UserError: It is no config of a search.
        RunFailed: A process has failed; the line says why.
    """
    if not load_config(config).get('arch_optimizer'):
        raise UserError(f'{config} is no config of a search: no arch_optimizer')
    found = []
    for count in epochs:
        with tempfile.TemporaryDirectory(prefix='rdarts_log_growth_') as folder:
            options = ['--epochs', str(count), '--rows', str(rows), '--child', folder]
            out, why = run_apart([*command, config, *options])
        if why:
            raise RunFailed(f'{count} epochs: {why}')
        found.append(json.loads(out.splitlines()[-1]))
    return found


def as_table(found: Sequence[dict[str, float]], config: str, rows: int) -> Table:
    """The figures for people."""
    cells = [
        [
            f'{one["epochs"]:,}', f'{one["log_mb"]:.1f}', f'{one["resume_s"]:.2f}',
            f'{one["report_s"]:.2f}', f'{one["report_mb"]:.2f}', f'{one["report_peak_mb"]:,.0f}',
            f'{one["pictures_s"]:.2f}',
        ]
        for one in found
    ]  # fmt: skip
    title = f"A log of {config}, {rows} rows of iterations an epoch; the processor's seconds"
    return Table('log_growth', title, HEADER, cells)
