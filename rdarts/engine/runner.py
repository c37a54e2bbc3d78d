"""The runner of a config: mmengine's, which reads what it loads as data and says what is wrong."""

from __future__ import annotations

import copy
import io
import logging
import sys
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.hooks import Hook
from mmengine.registry import LOOPS, MODEL_WRAPPERS, RUNNERS
from mmengine.runner import Runner

from rdarts.checkpoint.hub_codec import unpack_message_hub
from rdarts.checkpoint.reading import read_named, safe_loaders
from rdarts.checkpoint.weights import load_weights
from rdarts.configuration import as_data
from rdarts.configuration.changes import changes
from rdarts.configuration.filling import require_classes
from rdarts.engine.checkpoint_hook import last_good_of
from rdarts.engine.compiling import check_compile, compile_backbone
from rdarts.engine.first_lines import FirstLinesHook
from rdarts.engine.optimizers import step_together, wrappers_of
from rdarts.errors import Interrupted, RunFailed, UserError, nearest
from rdarts.utils.files import write_atomically
from rdarts.utils.logging import quiet_log
from rdarts.utils.machine_errors import explain_machine
from rdarts.utils.ranks import is_main_rank
from rdarts.utils.terminal import has_bar, is_quiet
from rdarts.utils.wrapped import unwrapped

TEST_HOOKS = ('timer', 'logger', 'sync_buffers', 'visualization')


class _StoreConfigHook(Hook):
    """Stores the config of a run that is resumed, once nothing has refused it.

    Args:
        before (dict): The config of the last start as data; empty where it is not known.
    """

    priority = 'LOWEST'

    def __init__(self, before: Mapping[str, Any]) -> None:
        self.before = before

    def before_train(self, runner) -> None:
        """See mmengine."""
        if not is_main_rank():
            return
        cfg = copy.deepcopy(runner.cfg)
        # a start by the stored config begins as the first one did
        cfg.resume, cfg.load_from = False, self.before.get('load_from')
        runner.write_config(cfg)


class OwnRunner:
    """What every runner of ours does otherwise than mmengine's.

    What it loads, and whatever it builds, is read as data: see ``safe_loaders``. The config of an
    earlier start is not written over before it is resumed. Under DDP, operations that a relaxation
    leaves out, or that are dropped on the way, need no gradient. Hooks that have an
    ``after_training(runner)`` are called however a training ends.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        with safe_loaders():
            super().__init__(*args, **kwargs)

    def train(self) -> Any:
        """See mmengine.

        Raises:
            UserError: A key of the config names a module that the model lacks.
        """
        for key in ('activation_checkpointing', 'efficient_conv_bn_eval'):
            names = self.cfg.get(key) or ()
            for name in [names] if isinstance(names, str) else names:
                model = unwrapped(self.model)
                if name not in dict(model.named_modules()):
                    children = ', '.join(child for child, _ in model.named_children())
                    raise UserError(f"{key}: the model has no module '{name}', but {children}")
        try:
            with safe_loaders():
                return super().train()
        finally:
            self.call_hook('after_training')
            _release_memory()

    def val(self) -> Any:
        """See mmengine."""
        with safe_loaders():
            return super().val()

    def test(self) -> Any:
        """See mmengine."""
        with safe_loaders():
            return super().test()

    def build_optim_wrapper(self, optim_wrapper: Any) -> Any:
        """As mmengine's; optimizers step all parameters together."""
        found = super().build_optim_wrapper(optim_wrapper)
        for one in wrappers_of(found):
            step_together(one.optimizer)
        return found

    def _maybe_compile(self, target: str) -> None:
        """What mmengine calls to compile a whole step, which alpha's takes no part in."""
        if target == 'train_step':
            compile_backbone(self.model, self.cfg.get('compile'))

    def dump_config(self) -> None:
        """As mmengine's, and ``config.json`` beside it, which is what is read of a run.

        A run that is resumed finds what changed, and writes both once it goes on.
        """
        self.changed: list[str] = []  # for the log, which is not open yet in UTF-8
        if not is_main_rank():
            return
        if not self.cfg.get('resume'):
            self.write_config()
            return
        places = [Path(self.work_dir)]
        if self.cfg.get('load_from'):  # --resume FILE in a new work directory
            places.append(Path(self.cfg.load_from).parent)
        before = next((place for place in places if (place / as_data.FILE).is_file()), None)
        try:
            stored = {} if before is None else as_data.read_config(before)
        except UserError as error:  # of this rank alone: the others would wait for it
            self.changed = [f'{error}: what changed since the last start is not known']
            stored = {}
        lines = changes(stored, as_data.as_data(self.cfg.to_dict())) if stored else []
        self.changed += [f'changed since the last start: {line}' for line in lines]
        self.register_hook(_StoreConfigHook(stored))

    def write_config(self, cfg: Config | None = None) -> None:
        """Write ``config.py`` and ``config.json``.

        Args:
            cfg (Config, optional): Defaults to the run's.
        """
        cfg = cfg or self.cfg
        files = {'config.py': cfg.pretty_text.encode(), as_data.FILE: as_data.to_json(cfg)}
        for name, data in files.items():
            write_atomically(Path(self.work_dir, name), data)

    def wrap_model(self, model_wrapper_cfg: dict[str, Any] | None, model: torch.nn.Module) -> Any:
        """As mmengine's; where candidates are left out, DDP expects parameters without gradient.

        Raises:
            UserError: It samples, and the ranks are seeded differently.
        """
        relaxations = _relaxations(model) if self.distributed else []
        sampled = any(one.sampled for one in relaxations)
        prunes = leaves_out(relaxations) or getattr(loop_class(self.cfg), 'prunes', False)
        prunes = prunes or self.cfg.get('find_unused_parameters', False)  # before a phase
        if self.distributed and prunes:
            if sampled and (self.cfg.get('randomness') or {}).get('diff_rank_seed'):
                raise UserError(
                    'randomness.diff_rank_seed is True, but the ranks of a relaxation that samples '
                    'must draw the same candidates: set it to False'
                )
            model_wrapper_cfg = expect_unused(model_wrapper_cfg)
        return super().wrap_model(model_wrapper_cfg, model)


def leaves_out(relaxations: Iterable[Any]) -> bool:
    """Whether a step may leave out candidates, whose weights then have no gradient."""
    return any(one.sampled or one.prunes for one in relaxations)


def expect_unused(model_wrapper_cfg: dict[str, Any] | None) -> dict[str, Any]:
    """A wrapper's config under which DDP expects parameters without gradient."""
    found = dict(model_wrapper_cfg or dict(broadcast_buffers=False))
    kind = found.setdefault('type', 'MMDistributedDataParallel')
    if isinstance(kind, str):
        kind = MODEL_WRAPPERS.get(kind)
    if kind is not None and issubclass(kind, torch.nn.parallel.DistributedDataParallel):
        found['find_unused_parameters'] = True
    return found


def loop_class(cfg: Config) -> type | None:
    """The class of a config's training loop, where that is named."""
    kind = (cfg.get('train_cfg') or {}).get('type')
    return LOOPS.get(kind) if isinstance(kind, str) else None


def _release_memory() -> None:
    """What steps were computed in is not kept for whatever the process does next."""
    from rdarts.models.kernels import release_memory  # with the models, which are there by now

    release_memory()


def _relaxations(model: torch.nn.Module) -> list[Any]:
    from rdarts.models.alpha import AlphaOwner  # with all models, mmpretrain's among them

    return [module.relaxation for module in model.modules() if isinstance(module, AlphaOwner)]


class _Runner(OwnRunner, Runner):
    """mmengine's.

    Where a training ends early, by a signal or since it cannot go on, hooks that have an
    ``after_early_end(runner)`` are called.
    """

    def train(self) -> torch.nn.Module:
        """See mmengine.

        Raises:
            RunFailed: It cannot go on, or the machine failed: memory, disk, quota, rights.
            Interrupted: By a signal.
        """
        try:
            return super().train()
        except (Interrupted, RunFailed):
            self.call_hook('after_early_end')
            raise
        except Exception as error:
            line = explain_machine(error)
            if line is None or isinstance(error, UserError):
                raise
            self.call_hook('after_early_end')
            raise RunFailed(f'{line}. {last_good_of(self)}') from error

    def build_train_loop(self, loop: Any) -> Any:
        """As mmengine's; the data must have the classes of the model."""
        return self._checked(super().build_train_loop(loop))

    def build_val_loop(self, loop: Any) -> Any:
        """See :meth:`build_train_loop`."""
        return self._checked(super().build_val_loop(loop))

    def build_test_loop(self, loop: Any) -> Any:
        """See :meth:`build_train_loop`."""
        return self._checked(super().build_test_loop(loop))

    def _checked(self, loop: Any) -> Any:
        from rdarts.datasets.classes import check_num_classes  # imports mmpretrain's data sets

        model = unwrapped(self.model)
        check_num_classes(model, loop.dataloader.dataset)
        return loop

    def register_default_hooks(self, hooks: dict[str, Any] | None = None) -> None:
        """As mmengine's, but None switches off any hook: mmengine's refuses all but its own."""
        own = ('timer', 'runtime_info', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint')
        hooks = {k: v for k, v in (hooks or {}).items() if v is not None or k in own}
        super().register_default_hooks(hooks)

    def load_checkpoint(
        self, filename: str, map_location: Any = 'cpu', strict: bool = False, revise_keys: Any = ()
    ) -> dict[str, Any]:
        """Load weights, all of them; mmengine's would leave out in silence what does not fit."""
        checkpoint = read_named(filename, map_location)
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        if self._resume and 'message_hub' in checkpoint:  # of another checkpoint hook
            checkpoint['message_hub'] = unpack_message_hub(checkpoint['message_hub'])
        model = unwrapped(self.model)
        load_weights(model, checkpoint, filename, new_head=self.cfg.get('new_head', False))
        self._has_loaded = True
        self.logger.info(f'Load checkpoint from {filename}')
        return checkpoint


def _log_is_lost(handler: logging.FileHandler, record: logging.LogRecord) -> None:
    """A line could not be logged: say so once, where Python would print a traceback each time."""
    if not getattr(handler, 'said', False):
        handler.said = True
        why = explain_machine(sys.exc_info()[1]) or sys.exc_info()[1]
        print(f'warning: {handler.baseFilename} lacks lines of the log: {why}', file=sys.stderr)


def asks(cfg: Config) -> bool:
    """Whether the runner of a config trains nothing, but asks for what others have trained."""
    return getattr(runner_class(cfg), 'asks', False)


def runner_class(cfg: Config) -> type[Runner]:
    """The class of a config's runner, with what ours do otherwise.

    Raises:
        UserError: There is none of the name ``runner_type``.
    """
    name = cfg.get('runner_type')
    if name is None:
        return _Runner
    own = RUNNERS.get(name)
    if own is None:
        raise UserError(f"unknown runner_type '{name}': {nearest(name, RUNNERS.module_dict)}")
    return type(own.__name__, (OwnRunner, own), dict(__module__=own.__module__))


def check_device(cfg: Config) -> None:
    """A config must not ask for what this machine's device lacks.

    Raises:
        UserError: It does.
    """
    wrapper = cfg.get('optim_wrapper') or {}
    if cfg.get('train_cfg') and wrapper.get('type') == 'AmpOptimWrapper' and get_device() == 'cpu':
        raise UserError(
            'optim_wrapper.type=AmpOptimWrapper needs a GPU: on a CPU, --amp computes in bfloat16'
        )
    accumulated = wrapper.get('accumulative_counts', 1) if cfg.get('train_cfg') else 1
    check_compile(cfg.get('compile'), accumulated)


def build_runner(cfg: Config, quiet: bool = False) -> Runner:
    """Build the runner of a config, without the pages that mmengine prints first.

    Args:
        cfg (Config): The config, with a ``work_dir``.
        quiet (bool): Whether to keep the logger to warnings afterwards too.
    """
    require_classes(cfg)
    check_device(cfg)
    level = cfg.get('log_level', 'INFO')
    cfg.log_level = 'WARNING'
    if cfg.get('experiment_name') is None and cfg.filename:
        cfg.experiment_name = Path(cfg.filename).stem
    if cfg.filename:
        # mmengine dumps the config under this name
        object.__setattr__(cfg, '_filename', str(Path(cfg.work_dir) / 'config.py'))
    runner = runner_class(cfg).from_cfg(cfg)
    for handler in runner.logger.handlers:
        handler.addFilter(quiet_log)
        if isinstance(handler, logging.FileHandler):
            handler.handleError = partial(_log_is_lost, handler)
            if isinstance(handler.stream, io.TextIOWrapper):
                # else as the locale has it, in which the name of a folder may have no characters
                handler.stream.reconfigure(encoding='utf-8', errors='surrogateescape')
    for line in getattr(runner, 'changed', ()):
        runner.logger.warning(line)
    if cfg.get('train_cfg'):
        runner.register_hook(dict(type='rdarts.ImageCheckHook'))
        if cfg.get('max_seconds') is not None:
            runner.register_hook(dict(type='rdarts.TimeLimitHook', seconds=cfg.max_seconds))
    if not quiet:
        if cfg.get('train_cfg'):
            runner.register_hook(FirstLinesHook())
        for handler in runner.logger.handlers:
            if handler.level == 30 and (isinstance(handler, logging.FileHandler) or not is_quiet()):
                handler.setLevel(level)
        if has_bar() and (cfg.get('train_cfg') or asks(cfg)):
            runner.register_hook(dict(type='rdarts.ProgressBarHook'))
    return runner
