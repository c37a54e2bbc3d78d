"""The runs of a comparison: searches, retrainings of what they found, evaluations of networks."""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rdarts.checkpoint.directory import iteration_of, list_checkpoints
from rdarts.configuration.as_data import read_config
from rdarts.configuration.phases import split
from rdarts.errors import UserError
from rdarts.genotypes import load_genotype
from rdarts.results.digest import Digest
from rdarts.results.log import LOG, read_search_log
from rdarts.results.phases import length
from rdarts.results.queries import QUERY, that_asks
from rdarts.study.figures import FIGURES
from rdarts.study.option_layers import texts_over
from rdarts.study.run import Run
from rdarts.utils.commands import TOOLS


@dataclass(frozen=True)
class Row:
    """A search of a study whose name is not that of its config.

    Args:
        config (str): Its config.
        options (Sequence[str]): ``KEY=VALUE`` of it alone, before those of every search. Defaults
            to none.
        retrain (str, optional): Config that trains what it found. Defaults to that of all.
    """

    config: str
    options: Sequence[str] = ()
    retrain: str | None = None


@dataclass(frozen=True)
class Comparison:
    """What is compared, and how: configs of searches, each with every seed.

    Args:
        configs (Sequence[str]): Configs of searches, each of a name of its own.
        work_dir (str): Where each run has its folder ``CONFIG/seed_SEED``.
        seeds (int): How many seeds. Defaults to 10.
        first_seed (int): The first of them. Defaults to 0.
        jobs (int): Runs at a time. Defaults to 1.
        table (str, optional): The NAS-Bench-201 table. Defaults to that where data are.
        random (int, optional): Of how many random cells the best is shown. Defaults to 10.
        query_seconds (float, optional): How long the training of one cell of the table takes, by
            which local search is given the time of a search. Defaults to none.
        without_none (bool): Whether cells are also derived without ``none``. Defaults to False.
        retrain (str, optional): Config that trains what was found. Defaults to none.
        checkpoints (str, optional): Folder of trained networks, ``CONFIG/seed_SEED``, that are
            evaluated instead of searching. Defaults to none.
        cfg_options (Sequence[str]): ``KEY=VALUE`` of every search. Defaults to none.
        retrain_options (Sequence[str]): ``KEY=VALUE`` of every retraining. Defaults to none.
        rows (Mapping[str, Row]): By entry of ``configs``: of which config and with which options
            it is. Defaults to none: each is a config itself.
        absent (Mapping[str, str]): What has no run, by name, and why. Defaults to none.
        networks (Mapping[str, str]): By name: genotypes, and networks of libraries
            (``torchvision:resnet50``), which are counted. Defaults to none.
        image (Sequence[int]): C, H and W of an image for which networks, and what was found where
            it is retrained, are counted. Defaults to none: nothing is.
        remark (str): What every table says beside its title. Defaults to nothing.
    """

    configs: Sequence[str]
    work_dir: str
    seeds: int = 10
    first_seed: int = 0
    jobs: int = 1
    table: str | None = None
    random: int | None = None
    query_seconds: float | None = None
    without_none: bool = False
    retrain: str | None = None
    checkpoints: str | None = None
    cfg_options: Sequence[str] = ()
    retrain_options: Sequence[str] = ()
    rows: Mapping[str, Row] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)
    networks: Mapping[str, str] = field(default_factory=dict)
    image: Sequence[int] = ()
    remark: str = ''

    def config_of(self, entry: str) -> str:
        """The config of an entry of ``configs``."""
        return self.rows[entry].config if entry in self.rows else entry

    def options_of(self, entry: str) -> list[str]:
        """``KEY=VALUE`` of an entry's search; of what is given twice, the last counts."""
        own = self.rows[entry].options if entry in self.rows else ()
        return texts_over(own, self.cfg_options)

    def retrain_of(self, entry: str) -> str | None:
        """The config that trains what an entry's search found."""
        own = self.rows[entry].retrain if entry in self.rows else None
        return own or self.retrain

    @property
    def trainings(self) -> list[str]:
        """The configs that train what is found, each once."""
        found = map(self.retrain_of, self.configs)
        return list(dict.fromkeys(config for config in found if config))

    @property
    def all_seeds(self) -> range:
        """The seeds."""
        return range(self.first_seed, self.first_seed + self.seeds)


@dataclass(frozen=True)
class Search:
    """A config with a seed, and the run that searches.

    Args:
        config (str): Its config, or its entry of :attr:`Comparison.configs`.
        seed (int): Its seed.
        run (Run): The search, or the evaluation of the network that was trained from it.
    """

    config: str
    seed: int
    run: Run

    @property
    def method(self) -> str:
        return Path(self.config).stem


def searches(plan: Comparison, loaded: Mapping[str, Any]) -> list[Search]:
    """Every config with every seed."""
    found = []
    for config, cfg in loaded.items():
        for seed in plan.all_seeds:
            folder = Path(plan.work_dir) / Path(config).stem / f'seed_{seed}'
            options = plan.options_of(config)
            command = train_command(plan.config_of(config), folder, seed, options)
            settings = settings_of(plan.config_of(config), cfg, seed, options)
            name = f'{Path(config).stem}, seed {seed} (search)'
            run = Run(name, folder, command, settings, resume=('--resume',))
            found.append(Search(config, seed, run))
    return found


def evaluations(plan: Comparison) -> list[Search]:
    """Instead of every config with every seed: the network that was trained from it.

    Raises:
        UserError: One is not there.
    """
    found = []
    for config in plan.configs:
        for seed in plan.all_seeds:
            source = Path(plan.checkpoints) / Path(config).stem / f'seed_{seed}'
            checkpoints = list_checkpoints(source) if source.is_dir() else []
            if not checkpoints or not (source / 'config.py').is_file():
                raise UserError(
                    f'no trained network in {source}: it needs config.py and a checkpoint'
                )
            folder = Path(plan.work_dir) / Path(config).stem / f'seed_{seed}' / 'evaluation'
            command = [sys.executable, str(TOOLS / 'test.py'), str(source / 'config.py')]
            command += [str(source), '--work-dir', str(folder / 'test')]
            command += ['--out', str(folder / FIGURES)]
            settings = dict(
                source=str(source.resolve()),
                config=content_of(read_config(source)),
                checkpoint=[checkpoints[0].name, checkpoints[0].stat().st_mtime_ns],
            )
            name = f'{Path(config).stem}, seed {seed} (evaluation)'
            found.append(Search(config, seed, Run(name, folder, command, settings, redo=True)))
    return found


def retrainings(
    plan: Comparison, ended: Sequence[Search], loaded: Mapping[str, Any]
) -> dict[Path, Run]:
    """Of what searches found, by their folders.

    Args:
        plan (Comparison): What is compared.
        ended (Sequence[Search]): Searches that are done.
        loaded (Mapping[str, Config]): The configs of :attr:`Comparison.trainings`.
    """
    found = {}
    for search in ended:
        source, retrain = search.run.folder, plan.retrain_of(search.config)
        if retrain is None:
            continue
        try:
            genotype = load_genotype(source).to_string()
        except UserError as error:
            search.run.error = str(error)
            continue
        folder = source / Path(retrain).stem
        command = train_command(retrain, folder, search.seed, plan.retrain_options)
        settings = settings_of(retrain, loaded[retrain], search.seed, plan.retrain_options)
        name = f'{search.method}, seed {search.seed} (retraining)'
        command += ['--genotype', str(source)]
        settings['genotype'] = genotype
        found[source] = Run(name, folder, command, settings, resume=('--resume',))
    return found


def train_command(config: str, folder: Path, seed: int, options: Sequence[str]) -> list[str]:
    """The command that searches or trains, without what resumes it.

    Args:
        config (str): Its config.
        folder (Path): Its work directory.
        seed (int): Its seed.
        options (Sequence[str]): ``KEY=VALUE`` over the config.
    """
    command = [sys.executable, str(TOOLS / 'train.py'), config, '--work-dir', str(folder)]
    command += ['--seed', str(seed)]
    return [*command, '--cfg-options', *options] if options else command


def settings_of(config: str, cfg: Any, seed: int, options: Sequence[str]) -> dict[str, Any]:
    """What a run was started with: a folder whose run had others holds another run.

    Args:
        config (str): Its config.
        cfg (Config): The content, with the options.
        seed (int): Its seed.
        options (Sequence[str]): ``KEY=VALUE`` over the config.
    """
    return dict(
        config=Path(config).stem,
        content=content_of(cfg.to_dict()),
        seed=seed,
        options=list(options),
    )


def content_of(config: Mapping[str, Any]) -> str:
    """A hash of all that a config says: an edited config is another one."""
    return hashlib.sha256(repr(config).encode()).hexdigest()[:16]


def seconds_left(run: Run, cfg: Any, measured: Mapping[str, Any]) -> float:
    """What a search would take that has not ended: of an interrupted one, what is left of it.

    Args:
        run (Run): The search.
        cfg (Config): Its config.
        measured (dict): What a dry run says of the whole.
    """
    whole, limit = measured['expected_seconds'], cfg.get('max_seconds') or math.inf
    if run.state() not in ('resume', 'running') or not (run.folder / LOG).is_file():
        return min(whole, limit)
    config, phases = cfg.to_dict(), split(cfg)
    parts = measured.get('phases', [measured])
    queries = sum(part['expected_seconds'] for part in parts if 'seconds_per_query' in part)
    left = (whole - queries) * (1 - _share_done(run, 'epoch', length(config, phases)))
    if queries:
        left += queries * (1 - _share_done(run, QUERY, that_asks(config, phases)['budget']))
    spent = sum(Digest(run.folder).seconds().values()) if limit < math.inf else 0.0
    return min(left, max(0.0, limit - spent))


def _share_done(run: Run, kind: str, most: int | None) -> float:
    """What share of its epochs, or of its queries, need not be repeated."""
    done = max((row[kind] for row in read_search_log(run.folder, kind)), default=0)
    return done / most if most else 0.0


def training_left(run: Run | None, cfg: Any, measured: Mapping[str, Any]) -> float:
    """What a retraining would take that has not ended: of an interrupted one, what is left of it.

    Args:
        run (Run, optional): The retraining, once its search has ended.
        cfg (Config): Its config.
        measured (dict): What a dry run says of the whole.
    """
    left, done = measured['expected_seconds'], []
    if run is not None and run.state() in ('resume', 'running') and run.folder.is_dir():
        done = list_checkpoints(run.folder)
    if done:
        left *= max(0.0, 1 - iteration_of(done[0]) / measured['iterations'])
    return min(left, cfg.get('max_seconds') or math.inf)
