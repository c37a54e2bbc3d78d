"""All steps from a folder of images to the page of a trained network, resumable."""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from rdarts.apis.runs import configure_training, train
from rdarts.auto.amounts import count_words, time_words
from rdarts.auto.configs import (
    BASELINES,
    Recipe,
    baseline_config,
    network_config,
    search_config,
    write_config,
)
from rdarts.auto.evaluation import Evaluation, evaluate, verdict
from rdarts.auto.fitting import Fitted, fit
from rdarts.auto.folder import ImageFolders, inspect_folder
from rdarts.auto.images import link_images
from rdarts.auto.limits import SizeLimits, Sizes
from rdarts.auto.page import Contender, by_hand, recipe_lines, table, write_page
from rdarts.auto.plan import RESERVE, Plan, epochs_enough, make_plan
from rdarts.auto.sizes import SPACES, AutoSpace
from rdarts.auto.state import State
from rdarts.auto.timing import Timing, measure
from rdarts.checkpoint.directory import find_checkpoint
from rdarts.configuration.load import load_config
from rdarts.deploy.export import can_write_onnx, export_net
from rdarts.deploy.trained import find_run, load_trained
from rdarts.errors import Interrupted, RunFailed, UserError
from rdarts.genotypes import Genotype, dumps, load_genotype
from rdarts.measure.cost_table import CostSettings, cost_table
from rdarts.search_spaces import build_space
from rdarts.utils.commands import shown_path
from rdarts.utils.files import write_atomically
from rdarts.utils.folder_lock import FolderLock
from rdarts.utils.machine import cpu_name, threads_line

MEASURED = 0.01
"""Of the whole time, how long each kind of iteration is measured, within :data:`BOUNDS`."""
BOUNDS = (0.3, 8.0)
WHOLE = 100  # epochs of the runs that are only measured
MINUTE = 60.0  # between the checkpoints of a training, about
CACHE = '1GB'
MOST_ERRORS = 24
COST_WEIGHT = 0.01  # little: the size of the network is what meets the limits
CORES_OF_WORKER = 4
PAGE = 'report.html'


@dataclass(frozen=True)
class Settings:
    """What a run is asked for.

    Args:
        images (Path): The folder of images.
        out (Path): The folder where all goes.
        seconds (float): The whole time.
        limits (dict): ``macs``, ``params`` and ``latency`` (ms), those that are limited.
        space (str, optional): See :func:`~rdarts.auto.plan.make_plan`, as the next two.
        image_size (int, optional): Likewise.
        search_share (float): Likewise.
        held_out (float): Of the images, where no folder of held-out ones is there.
        baselines (tuple[str, ...]): Networks of torchvision that are trained beside.
        cost_weight (float): Of the costs in alpha's loss, where they are limited: see
            :func:`~rdarts.auto.configs.search_config`.
        flip (bool, optional): Whether images are mirrored. Defaults to images with a colour.
        seed (int): Of everything random.
    """

    images: Path
    out: Path
    seconds: float
    limits: Mapping[str, float] = field(default_factory=dict)
    space: str | None = None
    image_size: int | None = None
    search_share: float = 1 / 3
    held_out: float = 0.2
    baselines: tuple[str, ...] = tuple(BASELINES)
    cost_weight: float = COST_WEIGHT
    flip: bool | None = None
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """JSON data by which a run is known again, wherever its folder is."""
        data = asdict(self)
        del data['out']
        data.update(images=os.path.realpath(self.images), baselines=list(self.baselines))
        return data


def run_auto(settings: Settings, say: Callable[[str], None] = print) -> Path:
    """Search, train, evaluate and export a network for a folder of images; or go on with that.

    Args:
        settings (Settings): What is wanted.
        say (Callable): Prints a line. Defaults to ``print``.

    Returns:
        Path: The page.

    Raises:
        UserError: Folder, time or limits do not do, or the output folder holds another run.
        Interrupted: By a signal; the same call goes on.
        RunFailed: A training fails.
    """
    made = not settings.out.exists()
    found = None
    if made:  # a folder that does not do leaves nothing
        found = inspect_folder(settings.images, settings.held_out, settings.seed)
    try:
        lock = FolderLock(settings.out)
    except UserError as error:
        raise UserError(str(error).replace('--work-dir', '--out')) from None
    with lock:
        run = _Run(settings, found, say)
        try:
            return run.run()
        except UserError:
            if made and 'plan' not in run.state:  # nor does a time that is too short
                shutil.rmtree(settings.out)
            raise
        except Interrupted as stop:
            raise Interrupted(f'{stop}; the same command goes on', stop.code - 128) from None


class _Run:
    def __init__(
        self, settings: Settings, found: ImageFolders | None, say: Callable[[str], None]
    ) -> None:
        self.settings, self.found, self.say = settings, found, say
        self.out = settings.out
        self.state = State.open(self.out, settings.to_dict())
        self.images = self.out / 'images'

    def run(self) -> Path:
        """All steps, those that have ended left out."""
        if 'plan' not in self.state:
            self._plan()
        self.plan = Plan(**self.state['plan'])
        self.recipe = Recipe(**self.plan.recipe)
        self.space: AutoSpace = SPACES[self.plan.space]
        self._say_plan()
        self._train('search', 'search', self.plan.search_epochs)
        if 'fitted' not in self.state:
            self._fit()
        fitted = self.fitted
        self._train('retrain', 'training of the network found', fitted.epochs, fitted.genotype)
        for name, one in self.plan.baselines.items():
            self._train(name, f'training of {BASELINES[name]}', one['epochs'])
        for name in ('retrain', *self.plan.baselines):
            if not self.state.ended(f'evaluation of {name}'):
                self._evaluate(name)
        return self._page()

    # Steps

    def _plan(self) -> None:
        """Look at the images, and choose what is done."""
        settings = self.settings
        with self.state.step('looking'):
            if self.found is None:
                self.found = inspect_folder(settings.images, settings.held_out, settings.seed)
            if not self.images.exists():
                link_images(self.found, self.images)
            found = self.found
            self.state.keep('folder', found.lines())
            self.state.keep('unreadable', list(found.unreadable))
            self.state.keep('train_images', len(found.train))
            for line in found.lines():
                self.say(line)
        with self.state.step('measuring'), tempfile.TemporaryDirectory() as temporary:
            self.say('measuring steps ...')
            trial = Path(temporary, 'trial.py')

            def measure_search(space: AutoSpace, recipe: Recipe) -> Timing:
                text = search_config(space, recipe, WHOLE, 1e-3, WHOLE, self._cost_weight)
                return measure(write_config(trial, text), None, self._measured())

            def measure_baseline(name: str, recipe: Recipe) -> Timing:
                text = baseline_config(name, recipe, WHOLE, WHOLE)
                return measure(write_config(trial, text), None, self._measured())

            flip = settings.flip if settings.flip is not None else not found.grey
            plan = make_plan(
                found,
                dict(
                    data_root=str(self.images.absolute()),
                    flip=flip,
                    seed=settings.seed,
                    workers=_workers(),
                    cache=CACHE,
                ),
                settings.seconds,
                measure_search,
                measure_baseline,
                lambda: settings.seconds - self.state.spent(),
                settings.baselines,
                settings.space,
                settings.image_size,
                settings.search_share,
            )
            self._write_configs(plan)
        self.state.keep('plan', plan.to_dict())

    def _write_configs(self, plan: Plan) -> None:
        """The configs of the search and of the baselines; checks the limits on the way."""
        space, recipe, settings = SPACES[plan.space], Recipe(**plan.recipe), self.settings
        every = _every(plan.search_seconds / plan.search_epochs)
        path = self.out / 'search.py'
        given = space, recipe, plan.search_epochs, plan.alpha_lr, every, self._cost_weight
        write_config(path, search_config(*given))
        SizeLimits(space, path, settings.limits).check()
        if 'latency' in settings.limits:
            costs = (self.out / 'costs.json').absolute()
            cost_table(load_config(path), str(path), CostSettings()).write(costs)
            write_config(path, search_config(*given, str(costs)))
        for name, one in plan.baselines.items():
            text = baseline_config(name, recipe, one['epochs'], _every(one['epoch_seconds']))
            write_config(self.out / f'{name}.py', text)

    def _say_plan(self) -> None:
        if not self.state.ended('search'):
            for line in self.plan.lines():
                self.say(line)
            limits = ', '.join(f'{k} {count_words(v)}' for k, v in self.settings.limits.items())
            if limits:
                self.say(f'limits:   {limits}')
            if not _writes_onnx():
                self.say('export:   none: pip install onnx onnxscript')
            self.say(f'all:      {time_words(self.settings.seconds)}, in {shown_path(self.out)}')

    def _train(self, name: str, what: str, epochs: int, genotype: str | None = None) -> None:
        """Run a config of the folder, or go on with it."""
        if self.state.ended(name):
            return
        folder = self.out / name
        with self.state.step(name, folder):
            self.say(f'\n{what}: {epochs} epochs, in {shown_path(folder)}')
            cfg = configure_training(
                self.out / f'{name}.py', work_dir=folder, genotype=genotype, starts=False
            )
            began = folder.is_dir() and find_checkpoint(folder) is not None
            train(cfg, resume=began)

    def _fit(self) -> None:
        """Choose how large the network of the found cell is, and how long it is trained."""
        settings, recipe = self.settings, self.recipe
        found = load_genotype(self.out / 'search', self.space.name)
        spent = self.state.seconds('search')

        def left() -> float:
            # what other steps have taken beyond their shares is gone, but for a fifth
            whole = settings.seconds * (1 - RESERVE) - self.state.spent()
            whole -= self.plan.share * len(self.plan.baselines)
            return max(0.2 * self.plan.share, min(self.plan.share - spent, whole))

        with self.state.step('fitting'), tempfile.TemporaryDirectory() as temporary:
            trial = Path(temporary, 'trial.py')

            def measure_network(genotype: Genotype, sizes: Sizes) -> Timing:
                text = network_config(self.space, recipe, sizes, WHOLE, WHOLE)
                config = write_config(trial, text)
                return measure(config, genotype.to_string(), self._measured())

            limits = SizeLimits(self.space, self.out / 'search.py', settings.limits)
            enough = epochs_enough(self.state['train_images'], recipe.batch_size)
            fitted = fit(found, limits, measure_network, left, enough)
            every = _every(fitted.epoch_seconds)
            text = network_config(self.space, recipe, fitted.sizes, fitted.epochs, every)
            write_config(self.out / 'retrain.py', text)
            genotype = load_genotype(fitted.genotype, self.space.name)
            write_atomically(self.out / 'genotype.json', dumps(genotype).encode())
        self.state.keep('fitted', fitted.to_dict())

    @property
    def fitted(self) -> Fitted:
        """The network that is trained."""
        return Fitted(**self.state['fitted'])

    def _evaluate(self, name: str) -> None:
        """Evaluate a trained network on the held-out images, and export it."""
        with self.state.step(f'evaluation of {name}'):
            trained = load_trained(*find_run(self.out / name))
            found = evaluate(trained, self.images / 'val', MOST_ERRORS)
            size = None
            if _writes_onnx():
                path = self.out / ('net.onnx' if name == 'retrain' else f'{name}.onnx')
                size = export_net(trained.net, trained.description, [path])[0].size
            self.state.keep(f'result of {name}', dict(evaluation=found.to_dict(), size=size))

    def _page(self) -> Path:
        """Write the page, and say what it says."""
        fitted, plan = self.fitted, self.plan
        names = {'retrain': 'found', **{name: BASELINES[name] for name in plan.baselines}}
        contenders = []
        for name, title in names.items():
            result = self.state[f'result of {name}']
            epochs, seconds = str(fitted.epochs), self.state.seconds(name)
            if name == 'retrain':
                epochs = f'{plan.search_epochs} + {fitted.epochs}'
                seconds += self.state.seconds('search')
            else:
                epochs = str(plan.baselines[name]['epochs'])
            evaluation = Evaluation(**result['evaluation'])
            contenders.append(Contender(title, evaluation, epochs, seconds, result['size']))
        trained = load_trained(*find_run(self.out / 'retrain'))
        others = [(one.name, one.evaluation) for one in contenders[1:]]
        said = verdict(contenders[0].evaluation, others)
        path = self.out / PAGE
        try:
            write_page(
                path,
                f'{self.settings.images.resolve().name}: a network by rdarts auto',
                said,
                contenders,
                load_genotype(fitted.genotype, self.space.name),
                build_space(self.space.name),
                fitted.sizes,
                trained.description.classes,
                trained.description.input,
                by_hand(self.out, self.recipe.image_size, {n: names[n] for n in plan.baselines}),
                self._facts(),
                f'{cpu_name()}, {threads_line(torch.get_num_threads())}',
            )
        except OSError as error:
            raise RunFailed(f'{path} cannot be written: {error.strerror}') from None
        self.say('')
        for line in table(contenders):
            self.say(line)
        self.say(f'\n{said}')
        self.say(f'page:     {shown_path(path)}')
        return path

    def _facts(self) -> list[tuple[str, Sequence[str]]]:
        fitted, steps = self.fitted, self.state['steps']
        limits = self.settings.limits
        lines = [
            f'limited: {name} {count_words(fitted.limited[name])} of {count_words(most)}'
            for name, most in limits.items()
        ]
        if fitted.thinned:
            lines.append(
                'the cell that the search found was within the limits at no size: operations '
                'were replaced by cheaper ones until it was'
            )
        spent = [f'{time_words(one["seconds"]):>12}  {name}' for name, one in steps.items()]
        whole = f'{time_words(self.state.seconds()):>12}  in all, of '
        spent.append(whole + time_words(self.settings.seconds))
        found = [
            ('Images', self.state['folder']),
            ('Plan', self.plan.lines()),
            ('Recipe', recipe_lines(self.recipe)),
            ('Time', spent),
        ]
        return [*found, ('Limits', lines)] if lines else found

    @property
    def _cost_weight(self) -> float:
        """Of costs in alpha's loss: none where nothing is limited."""
        return self.settings.cost_weight if self.settings.limits else 0.0

    def _measured(self) -> float:
        return min(BOUNDS[1], max(BOUNDS[0], MEASURED * self.settings.seconds))


def _every(epoch_seconds: float) -> int:
    """Epochs between two checkpoints."""
    return max(1, int(MINUTE / epoch_seconds))


def _workers() -> int:
    """Processes that load images: none where the cores have enough to do by training."""
    if torch.cuda.is_available():
        return 4
    return min(4, (os.cpu_count() or 1) // CORES_OF_WORKER)


def _writes_onnx() -> bool:
    packages = ('onnx', 'onnxscript')
    return can_write_onnx() and all(importlib.util.find_spec(name) for name in packages)
