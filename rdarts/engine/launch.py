"""From a config file to a runner, and from a library's error to one clear line."""

from __future__ import annotations

import copy
import importlib.util
import io
import logging
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine import registry as mmengine_registry
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import is_distributed
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.model import is_model_wrapper
from mmengine.registry import MODEL_WRAPPERS, RUNNERS, Registry
from mmengine.runner import Runner

from rdarts import registry as rdarts_registry
from rdarts.checkpoint.directory import find_checkpoint, list_checkpoints, set_aside
from rdarts.checkpoint.hub_codec import unpack_message_hub
from rdarts.checkpoint.reading import read_named, safe_loaders
from rdarts.checkpoint.weights import load_weights
from rdarts.configuration import as_data
from rdarts.configuration.build_errors import unknown_type, why_unbuilt
from rdarts.configuration.changes import changes
from rdarts.configuration.check import check_config
from rdarts.configuration.custom_imports import read_with_imports
from rdarts.configuration.epochs import follow_epochs
from rdarts.configuration.filling import (
    KEYS,
    fill_in,
    fill_widths,
    lacks_width,
    require_classes,
)
from rdarts.configuration.nearest_config import nearest_config
from rdarts.configuration.options import check_elsewhere, check_names, merge_options
from rdarts.configuration.type_names import complete_type_names
from rdarts.engine.checkpoint_hook import last_good_of
from rdarts.engine.first_lines import FirstLinesHook
from rdarts.errors import RunFailed, UserError, nearest
from rdarts.genotypes import load_genotype, published_names
from rdarts.utils.commands import shown_path
from rdarts.utils.files import write_atomically
from rdarts.utils.folder_lock import FolderLock, cannot_write
from rdarts.utils.machine_errors import explain_machine
from rdarts.utils.ranks import is_main_rank

RUN_FILES = (
    'genotype.json', 'genotypes', 'search_log.jsonl', 'split.json', 'config.py', 'config.json',
    'last_checkpoint', 'report.html', 'retrain.py', 'images.json'
)  # fmt: skip
SPACES = ('DARTS', 'NASBench201', 'MobileNetLike')
SUPERNETS = tuple(f'rdarts.{space}Supernet' for space in SPACES)
DERIVED_NETS = tuple(f'rdarts.{space}Net' for space in SPACES)
VECTOR_HEADS = ('LinearClsHead',)  # ours pools by itself
TEST_HOOKS = ('timer', 'logger', 'sync_buffers', 'visualization')


# Errors


def leave_group() -> None:
    """End a distributed run together: a process that ends before the others may abort."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def explain(error: BaseException) -> tuple[str, int] | None:
    """The line and exit code of what libraries raise for a user's mistake, or for a full machine.

    Returns:
        tuple[str, int] | None: None for a defect.
    """
    name = unknown_type(error)
    if name is not None:
        return f"unknown type '{name}': {nearest(name, _all_names())}", 2
    if isinstance(error, ImportError) and 'install' in str(error):  # as packages ask for others
        return f'a component of the config needs a package: {str(error).splitlines()[0]}', 2
    misfit = why_unbuilt(error)
    if misfit is not None:
        return f'an entry of the config does not fit: {misfit}', 2
    line = explain_machine(error)
    return None if line is None else (line, 1)


def _registries() -> Iterator[Registry]:
    for module in (rdarts_registry, mmengine_registry):
        for value in vars(module).values():
            if isinstance(value, Registry):
                yield value


def _all_names() -> set[str]:
    names = set()
    for registry in _registries():
        prefix = 'rdarts.' if registry.scope == 'rdarts' else ''
        names.update(prefix + name for name in registry.module_dict)
        names.update(_of_children(registry))
    return names


def _of_children(registry: Registry) -> dict[str, Any]:
    """What other packages have added to one of mmengine's registries."""
    children = [child for child in registry.children.values() if child.scope != 'rdarts']
    return {name: kind for child in children for name, kind in child.module_dict.items()}


# Configs


def load_config(path: str | os.PathLike, options: dict[str, Any] | None = None) -> Config:
    """Load a config file and apply options to it.

    Args:
        path (str | PathLike): A Python config.
        options (dict, optional): Dotted keys and their values.

    Raises:
        UserError: The file is missing or no valid config, an option would have no effect, or a key
            holds what its component does not take: see :mod:`rdarts.configuration.check`.
    """
    path = str(path)
    if not os.path.isfile(path):  # unlike pathlib's, also of a name that is too long
        raise UserError(f'config not found: {path}: {nearest_config(path)}')
    MMLogger.get_current_instance().addFilter(quiet_log)
    try:
        cfg = read_with_imports(path)
    except UserError as error:
        if 'mmdet' in str(error):
            check_detection(path)
        raise
    except Exception as error:
        if 'mmdet' in str(error):
            check_detection(path)
        line = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise UserError(f'config {path} cannot be read: {line}') from error
    follow_epochs(cfg)
    before = {key: cfg.get(key) for key in KEYS}
    if options:
        merge_options(cfg, options, path)
    if cfg.get('default_scope') == 'mmdet':
        check_detection(path)
    _drop_scope(cfg._cfg_dict)
    complete_type_names(cfg._cfg_dict, cfg.get('default_scope'))
    check_names(cfg)
    check_config(cfg.to_dict(), whole=False)
    check_elsewhere(options or {})
    fill_in(cfg, before, options or ())
    if ((cfg.get('model') or {}).get('backbone') or {}).get('type') not in DERIVED_NETS:
        _fit_heads(cfg)
    check_config(cfg.to_dict())
    return cfg


def check_detection(config: str) -> None:
    """What detection needs must be installed.

    Raises:
        UserError: mmdetection, or the compiled operators of mmcv, are missing.
    """
    missing = 'mmdetection' if importlib.util.find_spec('mmdet') is None else None
    if missing is None and importlib.util.find_spec('mmcv._ext') is None:
        missing = 'mmcv with compiled operators'
    if missing is not None:
        raise UserError(
            f'{config} needs {missing}: run `make install-detection` (in a clone) or `python '
            'tools/install_detection.py`'
        )


def set_genotype(cfg: Config, genotype: str) -> None:
    """Give the network of a config its genotype.

    Args:
        cfg (Config): The config; detection's have the same key.
        genotype (str): See :func:`rdarts.genotypes.load_genotype`.

    Raises:
        UserError: It cannot be read, or the config's backbone takes none.
    """
    backbone = (cfg.get('model') or {}).get('backbone') or {}
    if 'genotype' not in backbone:
        raise UserError(
            f"--genotype: the config's backbone, {backbone.get('type')}, takes none: use a config "
            'of configs/retrain or configs/detection'
        )
    space = backbone.get('space')
    # As data, so that the dumped config says it all
    backbone['genotype'] = load_genotype(genotype, space).to_dict()
    if cfg.model.get('head'):  # a detector has none to fill in
        fill_widths(cfg)


def check_model(cfg: Config, starts: bool = True) -> None:
    """A derived network needs a genotype, and its head must take what it gives.

    Args:
        cfg (Config): The config.
        starts (bool): Whether its weights are those of the config, not of a checkpoint that is
            evaluated or resumed. Defaults to True.

    Raises:
        UserError: It has none, the head takes another number of channels, or what is to stay
            as it was trained was not trained.
    """
    backbone = (cfg.get('model') or {}).get('backbone') or {}
    if 'genotype' in backbone and backbone['genotype'] is None:
        raise UserError(
            f'{backbone.get("type")} needs a genotype: --genotype FILE, the work directory of a '
            f'search, or one of {", ".join(published_names())}'
        )
    if backbone.get('type') in DERIVED_NETS:
        if starts:
            _check_start(cfg, backbone)
    _fit_heads(cfg)
    require_classes(cfg)


def _check_start(cfg: Config, backbone: dict[str, Any]) -> None:
    given = backbone.get('init_cfg') or {}
    many = [given] if isinstance(given, dict) else given
    pretrained = next((one for one in many if one.get('type') == 'Pretrained'), given)
    kept = backbone.get('frozen_stages', -1) >= 0 or backbone.get('norm_eval')
    if isinstance(pretrained, dict) and pretrained.get('type') == 'Pretrained':
        missing = not pretrained.get('checkpoint')
    else:
        missing = bool(kept) and not pretrained and not cfg.get('load_from')
    if missing:
        raise UserError(
            'the backbone starts from the weights of a retraining: --cfg-options '
            'model.backbone.init_cfg.checkpoint=FILE; without them: model.backbone.init_cfg=None '
            'model.backbone.frozen_stages=-1 model.backbone.norm_eval=False'
        )


def _fit_heads(cfg: Config) -> None:
    """Head and neck must take the channels that the network gives; what is left out is filled in.

    A derived network waits for its genotype, and then for :func:`check_model`.
    """
    model = cfg.get('model') or {}
    backbone = model.get('backbone')
    if not isinstance(backbone, dict) or backbone.get('genotype', '') is None:
        return
    known = backbone.get('type') in (*SUPERNETS, *DERIVED_NETS)
    if not known and not lacks_width(cfg):
        return
    net = fill_widths(cfg)
    if not known:
        return
    head, neck = model.get('head') or {}, model.get('neck') or {}
    if not neck and head.get('type') in VECTOR_HEADS:
        raise UserError(
            f'model.neck is missing: {head["type"]} takes vectors, which GlobalAveragePooling '
            'makes of the features'
        )
    given = {}
    if 'in_channels' in head:
        given['head.in_channels'] = (head['in_channels'], net.out_channels)
    if head.get('auxiliary') and backbone.get('auxiliary'):
        taken = head['auxiliary'].get('in_channels')
        given['head.auxiliary.in_channels'] = (taken, net.auxiliary_channels)
    if isinstance(neck.get('in_channels'), (list, tuple)):
        widths = [net.out_widths[index] for index in net.out_indices]
        given['neck.in_channels'] = (list(neck['in_channels']), widths)
    wrong = {f'model.{key}': pair for key, pair in given.items() if pair[0] != pair[1]}
    if wrong:
        key, (value, right) = next(iter(wrong.items()))
        options = ' '.join(f'{key}={right}'.replace(' ', '') for key, (_, right) in wrong.items())
        raise UserError(f'{key} is {value}, but the network gives {right} features: set {options}')


def _drop_scope(value: Any) -> None:
    """Forget that parts came from `rdarts::...`: their types are already written in full.

    mmengine marks them with our scope, in which mmpretrain's types would not be found.
    """
    if isinstance(value, dict):
        if value.get('_scope_') == 'rdarts':
            del value['_scope_']
        for item in value.values():
            _drop_scope(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _drop_scope(item)


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


def set_amp(cfg: Config, dtype: str) -> None:
    """Switch mixed precision on.

    Args:
        cfg (Config): The config.
        dtype (str): ``'bf16'``, or ``'fp16'`` with loss scaling on a GPU.

    Raises:
        UserError: float16 without a GPU.
    """
    if dtype == 'fp16':
        if not torch.cuda.is_available():
            raise UserError('--amp fp16 needs a GPU: use --amp bf16 on a CPU')
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.dtype = 'float16'
    else:
        cfg.optim_wrapper.type = 'rdarts.BFloat16OptimWrapper'


def set_launcher(cfg: Config, launcher: str) -> None:
    """Join the process group; on a CPU by gloo, which mmengine would not do.

    Raises:
        UserError: The launcher's environment is missing.
    """
    cfg.launcher = launcher
    if launcher == 'none' or torch.cuda.is_available() or is_distributed():
        return
    if launcher != 'pytorch':
        raise UserError(f'--launcher {launcher} needs GPUs; on CPUs use tools/dist_train.sh')
    missing = [key for key in ('RANK', 'WORLD_SIZE', 'MASTER_ADDR') if key not in os.environ]
    if missing:
        raise UserError(
            f'--launcher pytorch: {missing[0]} is not set; start by tools/dist_train.sh CONFIG N'
        )
    try:
        torch.distributed.init_process_group('gloo')
    except Exception as error:
        port = os.environ.get('MASTER_PORT')
        line = (str(error).splitlines() or [''])[0]
        raise UserError(
            f'cannot join the process group at port {port}: {line}; choose a free port with PORT='
        ) from None
    cfg.model_wrapper_cfg = dict(
        type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False
    )


# What mmengine warns of itself, or says at every checkpoint and epoch, and tells nobody anything
NOISE = ('"FileClient" will', '"HardDiskBackend" is', 'Exp name: ', 'Loads checkpoint by ')


def quiet_log(record: logging.LogRecord) -> bool:
    """A filter of log records: without noise, and with our own command for mmcv's operators.

    Returns:
        bool: Whether the record is to be logged.
    """
    text = record.getMessage()
    if text.startswith('Line NMS is not compiled'):  # of mmdet, when it is imported
        if importlib.util.find_spec('mmcv._ext') is not None:
            return False
        record.args = ()
        record.msg = (
            'mmcv is installed without its compiled operators, which detection alone needs: build '
            'them by `make install-detection` (in a clone) or `python tools/install_detection.py`'
        )
    return not text.startswith(NOISE)


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


class _OwnRunner:
    """What every runner of ours does otherwise than mmengine's.

    What it loads, and whatever it builds, is read as data: see ``safe_loaders``. The config of an
    earlier start is not written over before it is resumed. Under DDP, operations that a relaxation
    leaves out need no gradient.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        with safe_loaders():
            super().__init__(*args, **kwargs)

    def train(self) -> Any:
        """See mmengine.

        Raises:
            UserError: A key of the config names a module that the model lacks.
        """
        model = self.model.module if is_model_wrapper(self.model) else self.model
        for key in ('activation_checkpointing', 'efficient_conv_bn_eval'):
            names = self.cfg.get(key) or ()
            for name in [names] if isinstance(names, str) else names:
                if name not in dict(model.named_modules()):
                    children = ', '.join(child for child, _ in model.named_children())
                    raise UserError(f"{key}: the model has no module '{name}', but {children}")
        with safe_loaders():
            return super().train()

    def val(self) -> Any:
        """See mmengine."""
        with safe_loaders():
            return super().val()

    def test(self) -> Any:
        """See mmengine."""
        with safe_loaders():
            return super().test()

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
        """As mmengine's; where the relaxation samples, DDP expects parameters without gradient.

        Raises:
            UserError: It samples, and the ranks are seeded differently.
        """
        if self.distributed and _samples(model):
            if (self.cfg.get('randomness') or {}).get('diff_rank_seed'):
                raise UserError(
                    'randomness.diff_rank_seed is True, but the ranks of a relaxation that samples '
                    'must draw the same candidates: set it to False'
                )
            model_wrapper_cfg = dict(model_wrapper_cfg or dict(broadcast_buffers=False))
            kind = model_wrapper_cfg.setdefault('type', 'MMDistributedDataParallel')
            if isinstance(kind, str):
                kind = MODEL_WRAPPERS.get(kind)
            if kind is not None and issubclass(kind, torch.nn.parallel.DistributedDataParallel):
                model_wrapper_cfg['find_unused_parameters'] = True
        return super().wrap_model(model_wrapper_cfg, model)


def _samples(model: torch.nn.Module) -> bool:
    from rdarts.models.mixed_ops.mixed_op import MixedOp

    return any(isinstance(module, MixedOp) and module.sampled for module in model.modules())


class _Runner(_OwnRunner, Runner):
    """mmengine's."""

    def train(self) -> torch.nn.Module:
        """See mmengine.

        Raises:
            RunFailed: The machine failed: memory, disk, quota, rights.
        """
        try:
            return super().train()
        except Exception as error:
            line = explain_machine(error)
            if line is None or isinstance(error, (UserError, RunFailed)):
                raise
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

        model = self.model.module if is_model_wrapper(self.model) else self.model
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
        model = self.model.module if is_model_wrapper(self.model) else self.model
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


def _runner_class(cfg: Config) -> type[Runner]:
    name = cfg.get('runner_type')
    if name is None:
        return _Runner
    own = RUNNERS.get(name)
    if own is None:
        raise UserError(f"unknown runner_type '{name}': {nearest(name, RUNNERS.module_dict)}")
    return type(own.__name__, (_OwnRunner, own), dict(__module__=own.__module__))


def build_runner(cfg: Config, quiet: bool = False) -> Runner:
    """Build the runner of a config, without the pages that mmengine prints first.

    Args:
        cfg (Config): The config, with a ``work_dir``.
        quiet (bool): Whether to keep the logger to warnings afterwards too.
    """
    require_classes(cfg)
    wrapper = (cfg.get('optim_wrapper') or {}).get('type')
    if cfg.get('train_cfg') and wrapper == 'AmpOptimWrapper' and get_device() == 'cpu':
        raise UserError(
            'optim_wrapper.type=AmpOptimWrapper needs a GPU: on a CPU, --amp computes in bfloat16'
        )
    level = cfg.get('log_level', 'INFO')
    cfg.log_level = 'WARNING'
    if cfg.get('experiment_name') is None and cfg.filename:
        cfg.experiment_name = Path(cfg.filename).stem
    if cfg.filename:
        # mmengine dumps the config under this name
        object.__setattr__(cfg, '_filename', str(Path(cfg.work_dir) / 'config.py'))
    runner = _runner_class(cfg).from_cfg(cfg)
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
    if not quiet:
        if cfg.get('train_cfg'):
            runner.register_hook(FirstLinesHook())
        for handler in runner.logger.handlers:
            if handler.level == 30:
                handler.setLevel(level)
    return runner
