"""Small data sets in official layouts, written for tests."""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import pickle
import runpy
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from forks import MEASURES, fork_server, measured
from quick_runs import measure_small_rates, sync_nothing, write_configs_as_they_come

Arrays = tuple[np.ndarray, np.ndarray]


def make_images(count: int, size: int, num_classes: int, seed: int) -> Arrays:
    """Noise whose mean colour tells the class, so that a network can learn it.

    Returns:
        tuple: uint8 [count, size, size, 3] and int64 [count]; labels go round the classes.
    """
    rng = np.random.RandomState(seed)
    labels = np.arange(count) % num_classes
    colours = np.random.RandomState(0).randint(60, 196, (num_classes, 1, 1, 3))
    noise = rng.randint(-60, 60, (count, size, size, 3))
    return (colours[labels] + noise).astype(np.uint8), labels


def dump_batch(path: Path, batch: dict[str, Any], bytes_keys: bool = False) -> None:
    """Pickle a batch with protocol 2, as Python 3 writes it."""
    if bytes_keys:
        batch = {key.encode(): value for key, value in batch.items()}
    path.write_bytes(pickle.dumps(batch, protocol=2))


def to_rows(images: np.ndarray) -> np.ndarray:
    """[N, H, W, 3] to the batches' [N, 3 H W]."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(len(images), -1)


def write_cifar(
    folder: Path, name: str, n_train: int, n_test: int, bytes_keys: bool = False
) -> dict[str, Arrays]:
    """Write ``cifar10`` or ``cifar100`` as official batches.

    Args:
        folder: What a config names as ``data_root``; made where it is missing.
        name: ``cifar10`` (five train batches) or ``cifar100`` (one).
        n_train: Train images in all.
        n_test: Test images.
        bytes_keys: Write the keys as ``bytes``.

    Returns:
        dict: ``train`` and ``test``: images uint8 [N, 32, 32, 3] and labels int64 [N].
    """
    if name == 'cifar10':
        target, key, num_classes = Path(folder, 'cifar-10-batches-py'), 'labels', 10
        files = dict(train=[f'data_batch_{i}' for i in range(1, 6)], test=['test_batch'])
    else:
        target, key, num_classes = Path(folder, 'cifar-100-python'), 'fine_labels', 100
        files = dict(train=['train'], test=['test'])
    target.mkdir(parents=True, exist_ok=True)
    written = {}
    for seed, (split, count) in enumerate(dict(train=n_train, test=n_test).items(), 1):
        images, labels = written[split] = make_images(count, 32, num_classes, seed)
        shares = np.array_split(np.arange(count), len(files[split]))
        for file, rows in zip(files[split], shares, strict=True):
            batch = {'data': to_rows(images[rows]), key: labels[rows].tolist()}
            dump_batch(target / file, batch, bytes_keys)
    return written


def write_imagenet16(folder: Path, n_train: int, n_val: int) -> dict[str, Arrays]:
    """Write ImageNet16 as official batches: ten of train images, and ``val_data``.

    Args:
        folder: What a config names as ``data_root``; made where it is missing.
        n_train: Train images of the first 120 classes. Each batch gets one more, of class 121,
            which ImageNet16-120 leaves out.
        n_val: Validation images.

    Returns:
        dict: ``train`` and ``test``: images uint8 [N, 16, 16, 3] and labels int64 [N] from 0,
        without those of class 121.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    written = dict(train=make_images(n_train, 16, 120, 1), test=make_images(n_val, 16, 120, 2))
    images, labels = written['train']
    for i, rows in enumerate(np.array_split(np.arange(n_train), 10), 1):
        extra = np.zeros((1, 3 * 16 * 16), np.uint8)
        dump_batch(
            target / f'train_data_batch_{i}',
            dict(
                data=np.concatenate([extra, to_rows(images[rows])]),
                labels=[121, *(labels[rows] + 1).tolist()],
                mean=np.zeros(3 * 16 * 16),
            ),
        )
    images, labels = written['test']
    dump_batch(target / 'val_data', dict(data=to_rows(images), labels=(labels + 1).tolist()))
    return written


# Tools as processes

TOOLS = Path(__file__).resolve().parent.parent / 'tools'


@dataclass
class Finished:
    """A tool that has ended.

    Args:
        code: Exit code; -9 where SIGKILL ended it.
        out: What it printed.
        err: What it printed to stderr.
    """

    code: int
    out: str
    err: str


class ToolProcess:
    """A tool in a real process of its own, forked from a server that has torch loaded.

    Args:
        args: The tool's name under ``tools/`` and its arguments.
        env: Environment variables to set.
        cwd: Working directory. Defaults to the clone.
        forks: Whether the tools that it starts are forks of it, which need not load torch anew.
        terminal: The file of a terminal that it prints to. Defaults to files, which are read.
    """

    def __init__(
        self,
        args: Sequence[Any],
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
        forks: bool = False,
        terminal: str | None = None,
    ) -> None:
        self._files = [tempfile.NamedTemporaryFile('r', suffix=name) for name in ('out', 'err')]
        own = {key: os.environ[key] for key in ('OMP_NUM_THREADS', MEASURES) if key in os.environ}
        env = {'OMP_NUM_THREADS': '1', **own, **(env or {})}
        names = [terminal or file.name for file in self._files]
        self.process = fork_server().Process(
            target=_run_tool,
            args=([str(a) for a in args], names, env, str(cwd or TOOLS.parent), forks),
        )
        self.process.start()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self.process.pid

    def wait(self, timeout: float = 120) -> Finished:
        """Wait for its end; kills it, and fails, after ``timeout`` seconds."""
        self.process.join(timeout)
        late = self.process.is_alive()
        if late:
            self.process.kill()
            self.process.join()
        out, err = (Path(file.name).read_text() for file in self._files)
        for file in self._files:
            file.close()
        assert not late, f'no end within {timeout} s: {out}\n{err}'
        return Finished(self.process.exitcode, out, err)


def _run_tool(
    args: list[str], files: list[str], env: dict[str, str], cwd: str, forks: bool
) -> None:
    for number, name in enumerate(files, 1):
        handle = os.open(name, os.O_WRONLY)
        os.dup2(handle, number)
        os.close(handle)
    os.environ.update(env)
    os.chdir(cwd)
    if forks:
        subprocess.Popen = ForkedTool
    _run_main(args)


def _run_main(args: list[str]) -> None:
    """Run a tool as the main program of this process; raises SystemExit."""
    sys.stdout = os.fdopen(1, 'w', buffering=1, closefd=False)
    sys.stderr = os.fdopen(2, 'w', buffering=1, closefd=False)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run behind `&`
    import torch

    if 'OMP_NUM_THREADS' in os.environ:
        torch.set_num_threads(int(os.environ['OMP_NUM_THREADS']))
    write_configs_as_they_come()
    sync_nothing()
    multiprocessing.set_start_method('fork', force=True)
    path = TOOLS / args[0]
    if path.parent.name == 'benchmarks':
        measure_small_rates()
    sys.argv = [str(path), *args[1:]]
    sys.path[0] = str(path.parent)
    try:
        with measured():
            runpy.run_path(str(path), run_name='__main__')
    except SystemExit:
        raise
    except BaseException:
        traceback.print_exc()
        sys.exit(1)
    finally:
        sys.stdout.flush()


class ForkedTool(subprocess.Popen):
    """Where the command is one of our tools, a fork of this process instead of a new Python."""

    def __init__(self, args: Any, env: Any = None, **keys: Any) -> None:
        if isinstance(args, list) and args[0] == sys.executable and args[1].startswith(str(TOOLS)):
            first = keys.get('preexec_fn')
            keys['preexec_fn'] = lambda: _end_as_tool(args[1:], env or os.environ, first)
        super().__init__(args, env=env, **keys)


def _end_as_tool(args: list[str], env: Any, first: Callable[[], Any] | None) -> None:
    """Be the tool until its end: a new program has no handlers of signals and no open files.

    Args:
        args: The tool's path and its arguments.
        env: The environment.
        first: What its parent has it do first; None for nothing.
    """
    code = 1
    try:
        if first is not None:
            first()
        os.closerange(3, os.sysconf('SC_OPEN_MAX'))  # Popen also waits until one of them is closed
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
        env = dict(env)
        os.environ.clear()
        os.environ.update(env)
        with contextlib.suppress(OSError):  # it may have none
            sys.stdin = os.fdopen(0, closefd=False)
        _run_main(args)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    finally:
        os._exit(code)


def run_tool(
    args: Sequence[Any],
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = 120,
    forks: bool = False,
) -> Finished:
    """Run a tool to its end: see :class:`ToolProcess`."""
    return ToolProcess(args, env, cwd, forks).wait(timeout)


DIGITS = Path('configs/search/rdarts_nb201_digits.py')


def start_fails(tmp_path: Path, *args: Any, config: Path = DIGITS) -> str:
    """The one line of a start that must fail; it leaves no run behind."""
    done = run_tool(['train.py', config, '--work-dir', tmp_path / 'run', *args])
    assert done.code == 2, done.out + done.err
    assert 'Traceback' not in done.err
    lines = [line for line in done.err.splitlines() if line.startswith('error: ')]
    assert len(lines) == 1, done.err
    assert not (tmp_path / 'run' / 'search_log.jsonl').exists()
    return lines[0]


# Small searches for the tools


@functools.cache
def search_config(name: str) -> Any:
    """A config of ``configs/search``, to be read alone."""
    from rdarts.configuration.load import load_config

    return load_config(TOOLS.parent / 'configs' / 'search' / f'{name}.py')


ASKING = (
    '/table_search.py',
    '/query_search.py',
    '/score_search.py',
    'rdarts.QuerySearch',
    "over = 'single_path'",
)
"""What is in the overlay of a method that asks, alone or in a phase after its supernet's."""


def asking_methods() -> list[str]:
    """The methods that ask: how they run says a base of their own, or one of their phases."""
    from rdarts.configuration.composition import overlays

    found = overlays(TOOLS.parent / 'configs' / 'search', 'methods')
    texts = {name: path.read_text() for name, path in found.items()}
    return sorted(name for name, text in texts.items() if any(base in text for base in ASKING))


@functools.cache
def names_of_configs() -> set[str]:
    """The configs in ``configs/search``, composed ones too."""
    from rdarts.configuration.composition import composed_configs

    folder = TOOLS.parent / 'configs' / 'search'
    return {path.stem for path in (*composed_configs(folder), *folder.glob('*.py'))}


def methods_of(space: str) -> list[str]:
    """The methods of a gradient that have a config of a space; others leave it out."""
    from rdarts.configuration.composition import methods

    asking = asking_methods()
    found = methods(TOOLS.parent / 'configs' / 'search')
    found = [method for method in found if f'{method}_{space}_c10' in names_of_configs()]
    return [method for method in found if method not in asking]


IN_PHASES = ('darts_pt', 'dots', 'drnas_progressive', 'gm_nas', 'pdarts', 'pdarts_aer')
"""The methods that search in phases."""


def configs_of_run(cfg: Any) -> list[Any]:
    """The config of each phase of a search; of one without phases, its own."""
    from rdarts.configuration.load import phases_of

    return [phase.cfg for phase in phases_of(cfg)] or [cfg]


def alphas_batch(batch_size: int) -> int:
    """Where alpha has a fifth of the images, as many batches as the weights, or some more."""
    return max(1, batch_size // 4)


SMALL_SEARCH = """
_base_ = {base!r}
model = dict(backbone={backbone!r}, head=dict(in_channels={features}))
{loaders}
train_cfg = dict(max_epochs=3)
default_hooks = dict(
    checkpoint=dict(iter_interval=3),
    search_log=dict(interval=1),
    architect={architect!r},
)
custom_imports = dict(imports=['test_engine.event_hooks'])
custom_hooks = {hooks!r}
"""


def write_small_search(
    folder: Path,
    *hooks: dict[str, Any],
    name: str = 'small.py',
    space: str = 'nas_bench_201',
    images: int = 48,
    batch_size: int = 4,
    architect: dict[str, Any] | None = None,
    relaxation: dict[str, Any] | None = None,
    method: str = 'rdarts',
) -> Path:
    """Write the config of a search on the digits that takes seconds.

    Three epochs of ``images / 2 / batch_size`` iterations, a checkpoint every third.

    Args:
        folder: Where to write it.
        *hooks: Custom hooks, such as those of ``test_engine/event_hooks.py``.
        name: Name of the file.
        space: ``nas_bench_201``, or a space of DARTS's cells.
        images: Images of the search, half of them for alpha.
        batch_size: Of both loaders.
        architect: Further arguments of the architect.
        relaxation: The supernet's, where it is not the method's.
        method: In NAS-Bench-201, a file of ``configs/_base_/methods``.
    """
    configs = TOOLS.parent / 'configs'
    base = [str(configs / 'search' / f'{method}_nb201_digits.py')]
    # not timed, so that two runs are the same in every bit
    backbone, features = dict(channels=2, execution='fused'), 8
    if space != 'nas_bench_201':
        parts = ('models/darts_supernet', 'datasets/digits', 'schedules/search_d0')
        base = [str(configs / '_base_' / f'{p}.py') for p in (*parts, 'search_runtime')]
        backbone, features = dict(backbone, num_cells=3, space=space), 32
        architect = dict(type='rdarts.BERArchitectHook', lambda_=1, **(architect or {}))
    if relaxation is not None:
        backbone['relaxation'] = relaxation
    sizes = dict(train=batch_size, arch=batch_size, val=256)
    whole = search_config(f'{method}_nb201_digits')
    for loader in ('arch', 'val'):
        if whole[f'{loader}_dataloader'] is None:  # the method has none
            del sizes[loader]
    if whole.train_dataloader.dataset.fraction != 0.5:
        sizes['arch'] = alphas_batch(batch_size)
    loaders = [
        f'{n}_dataloader = dict(batch_size={b}, dataset=dict(dataset=dict(limit={images})))'
        for n, b in sizes.items()
    ]
    text = SMALL_SEARCH.format(
        base=base,
        backbone=backbone,
        features=features,
        loaders='\n'.join(loaders),
        architect=architect or {},
        hooks=list(hooks),
    )
    path = Path(folder, name)
    path.write_text(text)
    return path


# A retrained network, without the training


def write_retrained(
    folder: Path,
    config: str,
    genotype: str,
    options: dict[str, Any],
    meta: dict[str, Any] | None = None,
) -> Path:
    """Write the work directory of a retraining whose weights and statistics are random.

    Args:
        folder: The work directory; made where it is missing.
        config: A name in ``configs/retrain``.
        genotype: See :func:`rdarts.genotypes.load_genotype`.
        options: Dotted keys of the config and their values.
        meta: Entry of the checkpoint.
    """
    import torch
    from mmengine.registry import DefaultScope
    from torch.nn.modules.batchnorm import _BatchNorm

    from rdarts.configuration.as_data import to_json
    from rdarts.configuration.load import load_config, set_genotype
    from rdarts.registry import MODELS

    cfg = load_config(TOOLS.parent / 'configs' / 'retrain' / f'{config}.py', options)
    set_genotype(cfg, genotype)
    folder.mkdir(parents=True, exist_ok=True)
    cfg.dump(folder / 'config.py')
    (folder / 'config.json').write_bytes(to_json(cfg))
    with torch.random.fork_rng(), DefaultScope.overwrite_default_scope('mmpretrain'):
        torch.manual_seed(0)
        model = MODELS.build(cfg.model)
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                for tensor in (module.weight, module.running_var):
                    torch.nn.init.uniform_(tensor, 0.5, 1.5)
                for tensor in (module.bias, module.running_mean):
                    torch.nn.init.normal_(tensor, std=0.2)
        torch.nn.init.normal_(model.head.fc.weight, std=1.0)
    torch.save(dict(state_dict=model.state_dict(), meta=meta or {}), folder / 'epoch_1_iter_1.pth')
    return folder


# Runners in this process


def digits_config(
    work_dir: Path,
    options: dict[str, Any] | None = None,
    images: int = 32,
    config: str = 'rdarts_nb201_digits',
    batch_size: int = 8,
    phases: bool = True,
) -> Any:
    """The config of the digits search, shrunken: 2 channels, small batches.

    Args:
        work_dir: Where a run of it writes.
        options: Dotted keys and their values.
        images: Images of the search, half of them for alpha: 32 are 2 iterations an epoch.
        config: A name in ``configs/search``.
        batch_size: Of each process.
        phases: Whether a method in phases keeps them; else it is what stands at the config's top.
    """
    from rdarts.configuration.load import load_config

    shrunken = {
        'model.backbone.channels': 2,
        'model.backbone.execution': 'fused',
        'model.head.in_channels': 8,
        'train_cfg.max_epochs': 1,
    }
    whole = search_config(config)
    for name in ('train_dataloader', 'arch_dataloader', 'val_dataloader'):
        if whole[name] is not None:  # a method of a single level has none of alpha
            shrunken[f'{name}.batch_size'] = batch_size
            shrunken[f'{name}.dataset.dataset.limit'] = images
    if whole.train_dataloader.dataset.fraction != 0.5:
        shrunken['arch_dataloader.batch_size'] = alphas_batch(batch_size)
    if whole.default_hooks.architect.get('every', 1) > 1:
        shrunken['default_hooks.architect.every'] = 2
    if whole.get('phases') and not phases:
        shrunken['phases'] = None
    if 'epochs' in (options or {}):
        del shrunken['train_cfg.max_epochs']
    cfg = load_config(whole.filename, {**shrunken, **(options or {})})
    cfg.work_dir = str(work_dir)
    return cfg


def digits_runner(
    work_dir: Path,
    options: dict[str, Any] | None = None,
    images: int = 32,
    hooks: Sequence[Any] = (),
    **keys: Any,
) -> Any:
    """A runner of :func:`digits_config`, built as ``tools/train.py`` builds it.

    Args:
        work_dir: Where it writes.
        options: Dotted keys and their values.
        images: Images of the search, half of them for alpha.
        hooks: Further hooks, as objects.
        keys: Whole entries of the config, such as ``visualizer``; ``resume`` is as ``--resume``,
            ``config`` and ``batch_size`` are those of :func:`digits_config`.
    """
    import uuid

    from rdarts.engine.runner import build_runner
    from rdarts.engine.work_dir import prepare_work_dir, set_resume

    own = {name: keys.pop(name) for name in ('config', 'batch_size') if name in keys}
    cfg = digits_config(work_dir, options, images, phases=False, **own)
    resume = keys.pop('resume', False)
    for key, value in keys.items():
        cfg[key] = value
    # mmengine keeps loggers and message hubs by name: each runner has its own
    cfg.experiment_name = uuid.uuid4().hex
    prepare_work_dir(work_dir, keep=bool(resume))
    if resume:
        set_resume(cfg, resume)
    runner = build_runner(cfg)
    for hook in hooks:
        runner.register_hook(hook)
    return runner


def search_digits(
    work_dir: Path, options: dict[str, Any] | None = None, resume: bool = False, **keys: Any
) -> Any:
    """Run :func:`digits_config` to its end, as ``tools/train.py`` does: a search in phases, too.

    Args:
        work_dir: Where it writes.
        options: Dotted keys and their values.
        resume: As ``--resume``.
        keys: Those of :func:`digits_config`.

    Returns:
        Config: What was run.
    """
    import uuid

    from rdarts.apis.runs import train

    cfg = digits_config(work_dir, options, **keys)
    cfg.experiment_name = uuid.uuid4().hex
    train(cfg, resume)
    return cfg


def log_text(work_dir: Path) -> str:
    """What the runs of a work directory have logged, all starts together."""
    return '\n'.join(path.read_text() for path in sorted(Path(work_dir).glob('*/*.log')))
