"""The runs of a study of detection: searches, retrainings, detectors, and their evaluations."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rdarts.checkpoint.directory import list_checkpoints
from rdarts.configuration.load import load_config
from rdarts.configuration.options import parse_options
from rdarts.errors import UserError
from rdarts.genotypes import load_genotype
from rdarts.study.detection_study import DetectionStudy, search_config, stem_of
from rdarts.study.figures import FIGURES
from rdarts.study.run import Run
from rdarts.study.searches import settings_of, train_command
from rdarts.utils.commands import TOOLS

WEIGHTS = 'model.backbone.init_cfg.checkpoint'


@dataclass(frozen=True)
class Detector:
    """A detector over one network, with one seed.

    Args:
        network (str): Of its row.
        seed (int): Of its training.
        detector (str): As the study has it.
        data (str): Likewise.
    """

    network: str
    seed: int
    detector: str
    data: str

    @property
    def name(self) -> str:
        """What its run is called."""
        return f'{self.detector} on {self.data}: {self.network}, seed {self.seed}'


class DetectionRuns:
    """The runs, each known as soon as what it needs has ended.

    Args:
        plan (DetectionStudy): What is trained.
    """

    def __init__(self, plan: DetectionStudy) -> None:
        self.plan = plan
        self.runs: list[Run] = []
        """Those that are known."""
        self.retrainings: dict[tuple[str, int], Run] = {}  # by network and seed
        self.trainings: dict[Detector, Run] = {}
        self.evaluations: dict[Detector, Run] = {}
        self._after: dict[Path, Callable[[], list[Run]]] = {}
        self._loaded: dict[tuple[str, tuple[str, ...]], Any] = {}

    @property
    def detectors(self) -> list[Detector]:
        """All that the study has, known or not."""
        return [
            Detector(name, seed, *pair)
            for name in self.plan.names
            for seed in self.plan.all_seeds
            for pair in self.plan.pairs
        ]

    def first(self) -> list[Run]:
        """The runs that need no other.

        Raises:
            UserError: A config cannot be read.
        """
        found = []
        for name in self.plan.names:
            for seed in self.plan.all_seeds:
                folder = Path(self.plan.work_dir) / name / f'seed_{seed}'
                if name in self.plan.networks:
                    found += self._with_weights(name, seed, folder, self.plan.networks[name])
                else:
                    found.append(self._search(name, seed, folder))
        return found

    def follow(self, run: Run) -> list[Run]:
        """What can begin once a run is done; where that cannot be told, the run has its error.

        Args:
            run (Run): One of :attr:`runs`.
        """
        after = self._after.pop(run.folder, None)
        try:
            return after() if after else []
        except UserError as error:
            run.error = str(error)
            return []

    def walk(self) -> None:
        """Make all runs known that follow those that are done by now."""
        queue = self.first()
        while queue:
            run = queue.pop(0)
            if run.state() == 'done':
                queue += self.follow(run)

    def _search(self, name: str, seed: int, folder: Path) -> Run:
        run = self._train(
            f'{name}, seed {seed} (search)',
            str(search_config(name)),
            folder,
            seed,
            self.plan.search_options,
        )
        self._after[folder] = lambda: self._with_weights(name, seed, folder, str(folder))
        return run

    def _with_weights(self, name: str, seed: int, folder: Path, genotype: str) -> list[Run]:
        if self.plan.retrain is None:
            return self._detectors(name, seed, folder, genotype, None)
        target = folder / Path(self.plan.retrain).stem
        run = self._train(
            f'{name}, seed {seed} (retraining)',
            self.plan.retrain,
            target,
            seed,
            self.plan.retrain_options,
            genotype,
        )
        self.retrainings[name, seed] = run
        self._after[target] = lambda: self._detectors(name, seed, folder, genotype, target)
        return [run]

    def _detectors(
        self, name: str, seed: int, folder: Path, genotype: str, retrained: Path | None
    ) -> list[Run]:
        weights = None
        if retrained is not None:
            checkpoints = list_checkpoints(retrained)
            if not checkpoints:
                raise UserError(f'{retrained}: no checkpoint, whose weights a detector begins with')
            weights = checkpoints[0]
        found = []
        for pair in self.plan.pairs:
            one = Detector(name, seed, *pair)
            target = folder / stem_of(pair[0], self.plan.space, pair[1])
            options = self.plan.options[pair]
            run = self._train(
                f'{one.name} (detector)',
                self.plan.config_of(*pair),
                target,
                seed,
                options,
                genotype,
                weights,
            )
            self.trainings[one] = run
            self._after[target] = lambda one=one, target=target: [self._evaluation(one, target)]
            found.append(run)
        return found

    def _evaluation(self, one: Detector, source: Path) -> Run:
        checkpoints = list_checkpoints(source)
        if not checkpoints:
            raise UserError(f'{source}: no checkpoint, which is evaluated')
        folder = source / 'evaluation'
        command = [sys.executable, str(TOOLS / 'test.py'), str(source / 'config.py'), str(source)]
        command += ['--work-dir', str(folder / 'test'), '--out', str(folder / FIGURES)]
        settings = dict(
            training=self.trainings[one].settings,
            checkpoint=[checkpoints[0].name, checkpoints[0].stat().st_mtime_ns],
        )
        run = Run(f'{one.name} (evaluation)', folder, command, settings, redo=True)
        self.evaluations[one] = run
        self.runs.append(run)
        return run

    def _train(
        self,
        name: str,
        config: str,
        folder: Path,
        seed: int,
        options: list[str],
        genotype: str | None = None,
        weights: Path | None = None,
    ) -> Run:
        key = (config, tuple(options))
        if key not in self._loaded:
            self._loaded[key] = load_config(config, parse_options(options))
        settings = settings_of(config, self._loaded[key], seed, options)
        given = [*options, f'{WEIGHTS}={str(weights)!r}'] if weights else options
        command = train_command(config, folder, seed, given)
        if genotype is not None:
            command += ['--genotype', genotype]
            settings['genotype'] = load_genotype(genotype).to_string()
        if weights is not None:
            settings['weights'] = [weights.name, weights.stat().st_mtime_ns]
        run = Run(name, folder, command, settings, resume=('--resume',))
        self.runs.append(run)
        return run
