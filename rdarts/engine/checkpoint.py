"""Checkpoints: written whole or not at all, and read without running anything from them."""

from __future__ import annotations

import errno
import os
import pickle
import re
import shutil
import signal
import threading
import time
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Literal
from urllib.parse import urlparse

import numpy as np
import torch
from mmengine.dist import all_gather_object, all_reduce, get_dist_info, is_main_process
from mmengine.fileio import get_file_backend
from mmengine.hooks import CheckpointHook, EMAHook
from mmengine.logging import HistoryBuffer, print_log
from mmengine.model import is_model_wrapper
from mmengine.runner.checkpoint import (
    CheckpointLoader,
    get_deprecated_model_names,
    get_external_models,
    get_mmcls_models,
    get_torchvision_models,
)
from torch import Tensor, nn

from rdarts.checkpoint.layout import add_layout, check_layout
from rdarts.checkpoint.plain_numpy import named_stand_ins, unwrap
from rdarts.checkpoint.run_state import (
    check_loss_scaler,
    check_message_hub,
    check_meta,
    check_optimizer,
    check_schedulers,
    check_state_dict,
)
from rdarts.checkpoint.schema import EntryError, Flag, Items, Spec, Table, check_entry, like
from rdarts.configuration.declarations import Count, NotNegative, Positive
from rdarts.errors import Interrupted, RunFailed, UserError, is_defect
from rdarts.registry import HOOKS
from rdarts.utils.machine_errors import explain_machine
from rdarts.utils.random_state import check_random_state, get_random_state
from rdarts.utils.stop_signals import catch_signals, signal_name

NAME = re.compile(r'(?:epoch_(\d+)_)?iter_(\d+)\.pth')
HISTORY = 10_000  # logged values of each scalar that a checkpoint keeps, for smoothed logs


# Reading


@contextmanager
def _only_safe(globals_: list[Any]) -> Iterator[None]:
    """Let torch's reader admit these beside its own, and nothing that others have let it admit.

    torch 2.4 has no context manager for it.
    """
    before = list(torch.serialization.get_safe_globals())
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals(globals_)
    try:
        yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


def _history_data() -> list[Any]:
    """The history of the log, which mmengine's own checkpoint hook pickles with its methods.

    A method is pickled as ``getattr(HistoryBuffer, name)``: what stands for ``getattr`` here gives
    these four and nothing else.
    """

    def method(owner: Any, name: Any) -> Any:
        if owner is HistoryBuffer and name in ('min', 'max', 'current', 'mean'):
            return getattr(HistoryBuffer, name)
        raise pickle.UnpicklingError('function builtins.getattr')

    method.__module__ = 'builtins'
    method.__name__ = method.__qualname__ = 'getattr'
    return [HistoryBuffer, method]


def read_checkpoint(filename: str | os.PathLike, map_location: Any = 'cpu') -> dict[str, Any]:
    """Load a checkpoint file: the only way in.

    ``weights_only=True`` without a fallback; the entry ``meta['config']``, which mmengine would
    execute, is dropped.

    Args:
        filename (str | PathLike): The file.
        map_location (Any): As ``torch.load``'s. Defaults to ``'cpu'``.

    Raises:
        UserError: The file is missing or damaged, or holds more than data.
    """
    path = Path(filename).expanduser()
    if not path.is_file():
        raise UserError(f'checkpoint not found: {path}')
    admitted = [*named_stand_ins(), *_history_data()]
    damaged = f'checkpoint {path} is damaged or no checkpoint'
    try:
        with open(path, 'rb') as file, _only_safe(admitted):
            _check_sums(path, file)
            checkpoint = unwrap(torch.load(file, map_location=map_location, weights_only=True))
    except pickle.UnpicklingError as error:
        refused = re.search(r'refused: ([^\n]+)', str(error))
        match = re.search(r'(?:GLOBAL|global|class|function)s?:? `?([\w.]+\.[\w.]+)', str(error))
        if refused is not None:
            raise UserError(
                f'checkpoint {path} refused: it holds {refused[1]}; a checkpoint may hold only '
                'tensors, numbers, strings, lists and dicts'
            ) from None
        if match is None:
            raise UserError(damaged) from None
        raise UserError(
            f'checkpoint {path} refused: it would run code ({match[1]}); a checkpoint may hold '
            'only tensors, numbers, strings, lists and dicts'
        ) from None
    except OSError as error:
        # zipfile's and torch's own; torch 2.4 seeks before the beginning of a file that was cut
        if error.errno in (None, errno.EINVAL):
            raise UserError(damaged) from None
        raise UserError(f'checkpoint {path} cannot be read: {error.strerror}') from None
    except UserError:
        raise
    except Exception as error:  # damaged bytes make torch's reader fail in nearly any way
        if is_defect(error):
            raise
        if 'allocate memory' in str(error) or isinstance(error, MemoryError):
            raise RunFailed(f'checkpoint {path} cannot be read: out of memory') from None
        raise UserError(damaged) from None
    if not isinstance(checkpoint, dict):
        raise UserError(f'checkpoint {path} holds no dict, but {type(checkpoint).__name__}')
    if isinstance(checkpoint.get('meta'), dict):
        checkpoint['meta'].pop('config', None)
    return checkpoint


def _check_sums(path: Path, file: BinaryIO) -> None:
    """torch's reader does not compare the checksums of what it reads."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            broken = archive.testzip()
        if broken:
            raise UserError(f'checkpoint {path} is damaged (checksum of {broken})')
    file.seek(0)


def _read_url(url: str, map_location: Any = 'cpu') -> dict[str, Any]:
    folder = Path(torch.hub.get_dir(), 'checkpoints')
    path = folder / Path(urlparse(url).path).name
    if not path.is_file():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path))
        except OSError as error:
            raise UserError(f'checkpoint {url} cannot be downloaded: {error}') from None
    return read_checkpoint(path, map_location)


def _read_hub(filename: str, map_location: Any = 'cpu') -> dict[str, Any]:
    scheme, _, name = filename.partition('://')
    if scheme in ('torchvision', 'modelzoo'):
        urls = get_torchvision_models()
    elif scheme == 'mmcls':
        urls = get_mmcls_models()
    else:
        urls = get_external_models()
        name = get_deprecated_model_names().get(name, name)
    if name not in urls:
        raise UserError(f'checkpoint {filename}: no model of that name')
    url = urls[name]
    if not url.startswith(('http://', 'https://')):
        return read_checkpoint(url, map_location)
    return _read_url(url, map_location)


def _refuse(filename: str, map_location: Any = 'cpu') -> dict[str, Any]:
    raise UserError(f'checkpoint {filename}: copy it to a local file first')


SCHEMES: dict[str, Callable[..., dict[str, Any]]] = {
    **dict.fromkeys(('http://', 'https://'), _read_url),
    **dict.fromkeys(
        ('modelzoo://', 'torchvision://', 'open-mmlab://', 'openmmlab://', 'mmcls://'), _read_hub
    ),
}


def read_named(filename: str | os.PathLike, map_location: Any = 'cpu') -> dict[str, Any]:
    """:func:`read_checkpoint` of a file, a URL, or the name of a public model.

    Raises:
        UserError: It is missing, cannot be read or downloaded, or is of a storage that only
            mmengine's own loaders, which unpickle anything, can read.
    """
    filename = os.fspath(filename)
    scheme = re.match(r'[\w-]+(?::\w+)?://', filename)
    if scheme is None:
        return read_checkpoint(filename, map_location)
    return SCHEMES.get(scheme[0], _refuse)(filename, map_location)


_LOADERS = threading.RLock()
_before: list[dict[str, Any]] = []  # mmengine's own table, once for each run that goes on


@contextmanager
def safe_loaders() -> Iterator[None]:
    """Let whatever loads a checkpoint by mmengine meanwhile read it as data.

    mmengine's loaders fall back to unsafe unpickling; ``load_from``, ``resume`` and every
    ``init_cfg`` come through its one table, which is as before afterwards.
    """
    with _LOADERS:
        before = _before[0] if _before else CheckpointLoader._schemes
        _before.append(before)
        CheckpointLoader._schemes = OrderedDict(
            (prefix, read_named if prefix in ('', *SCHEMES) else _refuse) for prefix in before
        )
    try:
        yield
    finally:
        with _LOADERS:
            _before.pop()
            if not _before:
                CheckpointLoader._schemes = before


# The message hub as plain data


def _plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(_plain(item) for item in value)
    if isinstance(value, dict):
        return all(isinstance(key, str) and _plain(item) for key, item in value.items())
    return value is None or isinstance(value, (str, int, float, bool))


def _without_numpy(value: Any) -> Any:
    """Numpy's numbers as Python's, so that anybody's ``weights_only=True`` loads them."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {key: _without_numpy(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_numpy(item) for item in value]
    return value


def _pack_message_hub(hub: Mapping[str, Any]) -> dict[str, Any]:
    """mmengine's message hub without its classes."""
    histories = {}
    for key, buffer in hub['log_scalars'].items():
        values, counts = (np.asarray(a, dtype=np.float64)[-HISTORY:] for a in buffer.data)
        histories[key] = [torch.from_numpy(values), torch.from_numpy(counts), buffer.max_length]
    info = _without_numpy(dict(hub['runtime_info']))
    info = {key: value for key, value in info.items() if _plain(value)}
    return dict(histories=histories, runtime_info=info, resumed_keys=dict(hub['resumed_keys']))


def unpack_message_hub(hub: Any) -> Any:
    """What mmengine takes; its own form as it is.

    Raises:
        EntryError: It is no message hub.
    """
    check_message_hub(hub)
    if 'histories' not in hub:
        return hub
    scalars = {
        key: HistoryBuffer(values.cpu().numpy(), counts.cpu().numpy(), max_length)
        for key, (values, counts, max_length) in hub['histories'].items()
    }
    return dict(
        log_scalars=scalars, runtime_info=hub['runtime_info'], resumed_keys=hub['resumed_keys']
    )


# Finding


def list_checkpoints(work_dir: str | os.PathLike) -> list[Path]:
    """The checkpoints of a work directory, newest first."""
    found = []
    for path in Path(work_dir).glob('*.pth'):
        match = NAME.fullmatch(path.name)
        if match:
            found.append((int(match[2]), match[1] is not None, path))
    return [path for *_, path in sorted(found, reverse=True)]


def _iteration(path: Path) -> int:
    return int(NAME.fullmatch(path.name)[2])


def find_checkpoint(work_dir: str | os.PathLike) -> Path | None:
    """The newest checkpoint of a work directory that can be read.

    Names every damaged one that it passes over.

    Returns:
        Path | None: None where there is no checkpoint at all.

    Raises:
        UserError: There are checkpoints, and none can be read.
    """
    paths = list_checkpoints(work_dir)
    for path in paths:
        try:
            read_checkpoint(path)
        except UserError as error:
            print_log(f'skipped: {error}', logger='current', level=30)
            continue
        return path
    if paths:
        raise UserError(f'no checkpoint in {work_dir} can be read: {len(paths)} are damaged')
    return None


def set_aside(work_dir: str | os.PathLike, paths: Sequence[Path]) -> Path:
    """Move files of a work directory into a new folder ``previous_<n>`` of it."""
    number = 1
    while Path(work_dir, f'previous_{number}').exists():
        number += 1
    target = Path(work_dir, f'previous_{number}')
    target.mkdir()
    for path in paths:
        shutil.move(path, target / path.name)
    return target


def check_resumable(checkpoint: Mapping[str, Any], model: nn.Module) -> None:
    """A run can only be resumed with the network that it was begun with.

    Raises:
        UserError: The checkpoint has other tensors or shapes than the model, or an entry has
            changed since it was saved; the line names what differs.
    """
    meta = checkpoint.get('meta')
    if not isinstance(meta, dict) or not {'epoch', 'iter'} <= meta.keys():
        raise UserError(
            'cannot resume: the checkpoint holds weights, but no state of a run (meta.epoch, '
            'meta.iter); start from its weights with --cfg-options load_from=FILE'
        )
    check_layout(checkpoint)
    saved, own = checkpoint.get('state_dict'), model.state_dict()
    check_state_dict(saved, model)
    key = first_difference(saved, own)
    if key is None:
        return
    if key in saved and key in own:
        what = 'width or depth'
        if key.startswith('head.') and saved[key].shape[1:] == own[key].shape[1:]:
            what = 'class number'
        problem = (
            f"another {what} ('{key}' is {list(saved[key].shape)} in the checkpoint and "
            f'{list(own[key].shape)} in this config)'
        )
    elif key in own:
        problem = f"the checkpoint lacks '{key}' of this config's network (another depth or space?)"
    else:
        problem = f"this config's network lacks '{key}' of the checkpoint (another depth or space?)"
    raise UserError(f'cannot resume: {problem}; resume with the config that began the run')


def first_difference(saved: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str | None:
    """The first tensor that is in one state dict alone, or has another shape in the other."""
    for key in [*own, *saved]:
        if key not in saved or key not in own or saved[key].shape != own[key].shape:
            return key
    return None


HEADS = ('head.', 'bbox_head.', 'roi_head.', 'mask_head.', 'decode_head.')


def load_weights(
    model: nn.Module,
    checkpoint: Mapping[str, Any],
    name: str | os.PathLike,
    new_head: bool = False,
    prefix: str = '',
) -> None:
    """Load the weights of a checkpoint, whole or not at all.

    What belongs to an auxiliary head is left out where the model has none.

    Args:
        model (nn.Module): The model.
        checkpoint (dict): What :func:`read_checkpoint` gave: with a ``state_dict``, or one itself.
        name (str | PathLike): The file, for the error.
        new_head (bool): Whether the model's heads keep the weights that they have. Defaults to
            False.
        prefix (str): Of the checkpoint's keys that are the model's, such as ``'backbone.'``;
            others are left out. Defaults to none.

    Raises:
        UserError: A tensor is missing, too many or of another shape; the line names the first.
    """
    state = checkpoint.get('state_dict', checkpoint)
    state = {key: value for key, value in state.items() if isinstance(value, torch.Tensor)}
    state = {key.removeprefix('module.'): value for key, value in state.items()}
    if prefix:
        state = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        if not state:
            raise UserError(f"{name}: no weights of a '{prefix.rstrip('.')}' are in it")
    own = model.state_dict()
    state = {
        key: value
        for key, value in state.items()
        if key in own or not re.search(r'(?:^|\.)auxiliary\.', key)
    }
    if new_head:
        state = {key: value for key, value in state.items() if not key.startswith(HEADS)}
        state.update({key: value for key, value in own.items() if key.startswith(HEADS)})
    key = first_difference(state, own)
    if key is not None:
        if key not in state:
            problem = f"it lacks '{key}'"
        elif key not in own:
            problem = f"its '{key}' is not in this network"
        else:
            problem = (
                f"its '{key}' is {list(state[key].shape)}, but {list(own[key].shape)} is needed"
            )
        hint = 'use the config and genotype that it was made with'
        if key.startswith(HEADS):
            hint = '--new-head loads all but the head, for other classes'
        raise UserError(f'checkpoint {name} does not fit this network: {problem}; {hint}')
    model.load_state_dict(state)


def load_backbone(
    backbone: nn.Module, filename: str | os.PathLike, prefix: str | None = None
) -> None:
    """Load what ``init_cfg=dict(type='Pretrained', checkpoint=...)`` names.

    Args:
        backbone (nn.Module): The network.
        filename (str | PathLike): A file or a URL.
        prefix (str, optional): Of the keys that are the network's. Defaults to ``'backbone'``
            where there are such keys, else to none.

    Raises:
        UserError: It cannot be read, or is of another network.
    """
    if not filename:
        raise UserError("init_cfg: type='Pretrained' needs a checkpoint")
    checkpoint = read_named(filename)
    if prefix is None:
        keys = [
            str(key).removeprefix('module.') for key in checkpoint.get('state_dict', checkpoint)
        ]
        prefix = 'backbone' if any(key.startswith('backbone.') for key in keys) else ''
    load_weights(backbone, checkpoint, filename, prefix=f'{prefix.rstrip(".")}.' if prefix else '')
    print_log(f'Loaded {type(backbone).__name__} from {filename}', logger='current')


# Writing


def write_atomically(path: Path, data: bytes) -> None:
    """Write a small file whole or not at all.

    Raises:
        OSError: It cannot be written; ``filename`` says which file. What was there stays.
    """
    temporary = path.with_name(f'.{path.name}.tmp')
    try:
        with open(temporary, 'wb') as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):  # on a broken disk that fails too
            temporary.unlink(missing_ok=True)
        if error.errno is not None:
            error.filename = str(path)
        raise


def sync_folder(folder: Path) -> None:
    """Make what was renamed in a folder outlast a power cut, where the file system can."""
    if os.name != 'posix':
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(number)


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """Saves at the end of epochs and, within them, every so many iterations or minutes.

    A checkpoint is written beside, synced and renamed; then ``last_checkpoint`` likewise; then
    the oldest are deleted. It holds the random states too. SIGTERM, SIGINT and SIGHUP (of a closed
    terminal; not where it is ignored, as under nohup) say what is being finished, save after the
    running iteration and raise :class:`Interrupted`; a second SIGINT stops at once. A validation
    is left at its next batch: :class:`SearchTrainLoop` makes it up when it is resumed.

    Args:
        interval (int): Epochs between two checkpoints. Defaults to 1.
        iter_interval (int): Iterations between two within an epoch; 0 for none. Defaults to 0.
        minutes (float): Minutes between two within an epoch; 0 for none. Defaults to 0.
        max_keep_ckpts (int): Newest checkpoints kept, at least 2: should one be damaged, there is
            another. -1 keeps all. Defaults to 3.
        out_dir (str, optional): A local folder for them. Defaults to the work directory.
        **kwargs: See mmengine's ``CheckpointHook``.

    Raises:
        UserError: ``max_keep_ckpts`` is neither -1 nor positive, ``out_dir`` is not local, or the
            checkpoint is to leave out what resuming needs.
    """

    # what is saved is named iter_<n>.pth, by which a resumed run finds it
    fixed_arguments = ('by_epoch', 'filename_tmpl')

    def __init__(
        self,
        interval: Positive = 1,
        iter_interval: Count = 0,
        minutes: NotNegative = 0.0,
        max_keep_ckpts: Positive | Literal[-1] = 3,
        **kwargs: Any,
    ) -> None:
        if type(max_keep_ckpts) is not int or not (max_keep_ckpts == -1 or max_keep_ckpts > 0):
            raise UserError(
                'checkpoint: max_keep_ckpts must be a positive whole number, or -1 to keep all, '
                f'but is {max_keep_ckpts!r}'
            )
        for name in ('save_optimizer', 'save_param_scheduler'):
            if not kwargs.get(name, True):
                raise UserError(
                    f'checkpoint: {name}={kwargs[name]} leaves out what resuming needs: a resumed '
                    'run would not go on as it began; leave it out'
                )
        if '://' in str(kwargs.get('out_dir') or ''):
            raise UserError(
                f'checkpoint: out_dir must be a local folder, but is {kwargs["out_dir"]}'
            )
        super().__init__(interval=interval, by_epoch=True, max_keep_ckpts=-1, **kwargs)
        self._validated = False
        self._of_ranks: list[dict[str, Any]] = []
        self._buffers: dict[str, torch.Tensor] = {}
        self.iter_interval = iter_interval
        self.minutes = minutes
        self.asked = max_keep_ckpts
        self.keep = None if max_keep_ckpts == -1 else max(2, max_keep_ckpts)
        self.dry_run = False  # True: signals stop at once, and nothing is saved
        self._signal = 0
        self._doing = ''  # what a signal waits for
        self._epoch_saved = 0
        self._val_batches: int | None = None
        self._speaks = True
        self._pid = os.getpid()
        self._handlers: dict[int, Any] = {}
        self._saved_at = time.monotonic()

    def before_train(self, runner) -> None:
        # what mmengine's does, less its deprecated file client
        self.out_dir = self.out_dir or runner.work_dir
        self.file_backend = get_file_backend(self.out_dir)
        if self.save_best is not None and len(self.key_indicators) == 1:
            self.best_ckpt_path = runner.message_hub.runtime_info.get('best_ckpt')
        self._saved_at = time.monotonic()
        buffers = dict(runner.model.named_buffers())
        for key, value in self._buffers.items():
            buffers[key].copy_(value)
        self._buffers = {}
        if self.asked == 1:
            runner.logger.info(
                'max_keep_ckpts=1: two checkpoints are kept, in case that the newest is damaged'
            )
        if is_main_process():
            self._clear(runner)
        self._pid = os.getpid()
        self._speaks = is_main_process()
        self._doing = 'what comes before the first iteration'
        if not self.dry_run and threading.current_thread() is threading.main_thread():
            self._handlers = catch_signals(self._note_signal)

    def _clear(self, runner) -> None:
        """Half-written files of a killed run, and checkpoints past the one that is resumed."""
        folder = Path(self.out_dir)
        for path in folder.glob('.*.pth.tmp'):
            path.unlink()
        newer = [path for path in list_checkpoints(folder) if _iteration(path) > runner.iter]
        if newer:
            # else they would be taken for the newest of this run
            target = set_aside(folder, newer)
            runner.logger.info(f'Checkpoints after iteration {runner.iter} moved to {target}')
        # a kill between a checkpoint and these leaves them for the next save, which may not come
        kept = list_checkpoints(folder)
        if kept and runner.iter:
            write_atomically(folder / 'last_checkpoint', os.fsencode(kept[0]))
            for old in kept[self.keep :]:
                old.unlink()

    def after_train(self, runner) -> None:
        self._restore_handlers()
        super().after_train(runner)

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        if not runner._resume:
            return
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        check_resumable(checkpoint, model)
        meta, length = checkpoint['meta'], checkpoint.get('epoch_length')
        own = len(runner.train_dataloader)
        check_meta(meta, length, own)
        if meta['seed'] != runner.seed:
            raise UserError(
                f'cannot resume: the run was begun with seed {meta["seed"]}, not {runner.seed}; '
                f'leave --seed out or set it to {meta["seed"]}'
            )
        if length is not None and length != own:
            raise UserError(
                f'cannot resume: an epoch had {length} iterations and now has {own} (another '
                'batch size, data set or number of processes?); resume with what began the run'
            )
        for key in ('random_state', 'message_hub', 'optimizer'):
            if key not in checkpoint:
                raise UserError(
                    f'cannot resume: the checkpoint has no entry {key}, without which the run '
                    'would go on otherwise than it began; start from its weights with '
                    '--cfg-options load_from=FILE'
                )
        check_message_hub(checkpoint['message_hub'])
        self._check_training(runner, checkpoint)
        check_random_state(checkpoint['random_state'], 'random_state')
        check_entry(checkpoint.get('validated', False), Flag(), 'validated')
        ranks = checkpoint.get('ranks', [])
        self._check_ranks(ranks, model)

        rank = get_dist_info()[0]
        checkpoint['message_hub'] = unpack_message_hub(checkpoint['message_hub'])
        runner.train_loop.random_state = checkpoint['random_state']
        runner.train_loop.validated = checkpoint.get('validated', False)
        if ranks:
            runner.train_loop.random_state = ranks[rank]['random_state']
            self._buffers = ranks[rank]['buffers']

    @staticmethod
    def _check_training(runner, checkpoint: dict) -> None:
        """Optimizer, loss scaler and schedulers."""
        wrapper, saved, meta = runner.optim_wrapper, checkpoint['optimizer'], checkpoint['meta']
        check_entry(saved, Table(others=Spec()), 'optimizer')
        saved = dict(saved)
        saved.pop('base_param_settings', None)
        scaler = getattr(wrapper, 'loss_scaler', None)
        if (scaler is not None) != ('loss_scaler' in saved):
            began, now = ('with', 'without') if scaler is None else ('without', 'with')
            raise UserError(
                f'cannot resume: the run was begun {began} the loss scaling of --amp fp16, and '
                f'goes on {now} it; resume with what began the run'
            )
        if scaler is not None:
            check_loss_scaler(saved.pop('loss_scaler'), scaler, 'optimizer.loss_scaler')
        if hasattr(wrapper, 'optimizer'):
            check_optimizer(saved, wrapper.optimizer, 'optimizer')
        schedulers = runner.param_schedulers
        if not schedulers:
            return
        if 'param_schedulers' not in checkpoint:
            raise EntryError('param_schedulers', 'is missing')
        saved = checkpoint['param_schedulers']
        done = (meta['epoch'], meta['iter'])
        if not isinstance(schedulers, dict):
            check_schedulers(saved, schedulers, *done, 'param_schedulers')
            return
        check_entry(saved, Table(dict.fromkeys(schedulers, Spec())), 'param_schedulers')
        for name, own in schedulers.items():
            check_schedulers(saved[name], own, *done, f'param_schedulers.{name}')

    @staticmethod
    def _check_ranks(ranks: Any, model: nn.Module) -> None:
        """What each process of a distributed run had for itself."""
        world_size = get_dist_info()[1]
        entry = Table(dict(random_state=Spec(), buffers=Table(others=Spec())))
        check_entry(ranks, Items(entry), 'ranks')
        count = 0 if world_size == 1 else world_size
        if len(ranks) != count:
            raise UserError(
                f'cannot resume: the run was begun on {max(1, len(ranks))} processes, not '
                f'{world_size}; resume with what began the run'
            )
        buffers = Table({key: like(value) for key, value in model.named_buffers()})
        for index, of_rank in enumerate(ranks):
            check_random_state(of_rank['random_state'], f'ranks[{index}].random_state')
            # a wrapper's names begin with `module.`
            own = {key.removeprefix('module.'): v for key, v in of_rank['buffers'].items()}
            check_entry(own, buffers, f'ranks[{index}].buffers')

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        for key, tensor in checkpoint['state_dict'].items():
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                raise RunFailed(
                    f"'{key}' holds NaN or infinite values after iteration {runner.iter + 1}; "
                    f'not saved. {last_good_of(runner)}'
                )
        checkpoint['message_hub'] = _pack_message_hub(checkpoint['message_hub'])
        checkpoint['random_state'] = _training_state(runner)
        checkpoint['ranks'] = self._of_ranks
        checkpoint['epoch_length'] = len(runner.train_dataloader)
        checkpoint['validated'] = self._validated
        add_layout(checkpoint)

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        self._doing = f'iteration {runner.iter + 1}'

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        stop = self._stop_agreed()
        due = self.iter_interval and (runner.iter + 1) % self.iter_interval == 0
        if self.minutes:
            elapsed = torch.tensor(time.monotonic() - self._saved_at)
            due = due or self._agreed(elapsed >= 60 * self.minutes)
        if due or stop:
            self._save(runner, epoch=runner.epoch, iteration=runner.iter + 1, epoch_end=False)
        if stop:
            self._stop(stop, f'after iteration {runner.iter + 1}')
        ends = (runner.iter + 1) % len(runner.train_dataloader) == 0
        self._doing = f'epoch {runner.epoch + 1}' if ends else f'iteration {runner.iter + 2}'

    def after_train_epoch(self, runner) -> None:
        if self.every_n_epochs(runner, self.interval, self.save_begin) or (
            self.save_last and self.is_last_train_epoch(runner)
        ):
            self._save(runner, epoch=runner.epoch + 1, iteration=runner.iter, epoch_end=True)
            self._epoch_saved = runner.epoch + 1

    def before_val(self, runner) -> None:
        self._doing = f'a batch of the validation of epoch {runner.epoch}'
        batches = torch.tensor(len(runner.val_dataloader))
        if get_dist_info()[1] > 1:  # a process may have fewer than another
            batches = batches.to(_dist_device())
            all_reduce(batches, 'min')
        self._val_batches = int(batches)
        self._stop_validation(runner)

    def after_val_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        if batch_idx < self._val_batches:
            self._stop_validation(runner, begun=True)

    def after_val(self, runner) -> None:
        self._doing = f'iteration {runner.iter + 1}'

    def _stop_validation(self, runner, begun: bool = False) -> None:
        """Stop at a validation, which the resumed run makes up.

        Args:
            runner (Runner): The runner.
            begun (bool): Whether the validation has begun, and averaged weights with it.
                Defaults to False.
        """
        stop = self._stop_agreed() if hasattr(runner.train_loop, 'validated') else 0
        if not stop:
            return
        if self._epoch_saved != runner.epoch:
            for hook in runner.hooks if begun else ():
                if isinstance(hook, EMAHook):  # puts the weights that are trained back
                    hook.after_val_epoch(runner)
            self._save(runner, epoch=runner.epoch, iteration=runner.iter, epoch_end=True)
        self._stop(stop, f'in the validation of epoch {runner.epoch}')

    def _stop(self, number: int, where: str) -> None:
        """End the run, which is saved.

        Raises:
            Interrupted: Always.
        """
        self._restore_handlers()
        raise Interrupted(
            f'stopped by {signal_name(number)} {where}; '
            'saved: start the same command with --resume to go on',
            number,
        )

    def _save_checkpoint_with_step(self, runner, step, meta) -> None:
        # called once more by `save_best`, after the validation, to keep the best score
        self._validated = True
        try:
            self._save(runner, epoch=meta['epoch'], iteration=meta['iter'], epoch_end=True)
        finally:
            self._validated = False

    def _save(self, runner, epoch: int, iteration: int, epoch_end: bool) -> None:
        name = f'iter_{iteration}.pth'
        if epoch_end:
            name = f'epoch_{epoch}_{name}'
        folder = Path(self.out_dir)
        path, temporary = folder / name, folder / f'.{name}.tmp'
        self._of_ranks = _gather_ranks(runner)
        self.last_ckpt = str(path)
        try:
            runner.save_checkpoint(
                str(folder),
                temporary.name,
                save_optimizer=self.save_optimizer,
                save_param_scheduler=self.save_param_scheduler,
                meta=dict(epoch=epoch, iter=iteration),
                by_epoch=True,
            )
            if is_main_process():
                with open(temporary, 'rb+') as file:
                    os.fsync(file.fileno())
                os.replace(temporary, path)
                sync_folder(folder)  # before an older one is deleted
                write_atomically(folder / 'last_checkpoint', os.fsencode(path))
                if self.keep is not None:
                    for old in list_checkpoints(folder)[self.keep :]:
                        old.unlink()
        except OSError as error:
            with suppress(OSError):  # on a broken disk that fails too
                temporary.unlink(missing_ok=True)
            if error.errno is not None:
                error.filename = None  # it is named already
            raise RunFailed(
                f'cannot write the checkpoint {path}: '
                f'{explain_machine(error) or error.strerror or error}. '
                f'{last_good_of(runner)}'
            ) from None
        finally:
            self._of_ranks = []
        self._saved_at = time.monotonic()

    def _note_signal(self, number: int, frame: Any) -> None:
        if os.getpid() != self._pid:
            return  # a forked worker: Ctrl-C is its parent's matter
        if self._signal and number == signal.SIGINT:
            raise KeyboardInterrupt
        first, self._signal = not self._signal, number
        if first and self._speaks:
            line = (
                f'{signal_name(number)}: stops after {self._doing}, with a checkpoint; '
                'Ctrl-C again stops at once\n'
            )
            with suppress(OSError):  # nobody reads it; `print` is not for handlers of signals
                os.write(2, (b'\n' if os.isatty(2) else b'') + line.encode())

    def _restore_handlers(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def _stop_agreed(self) -> int:
        """The signal that any rank got."""
        flag = torch.tensor(self._signal)
        if get_dist_info()[1] > 1:
            flag = flag.to(_dist_device())
            all_reduce(flag, 'max')
        return int(flag)

    def _agreed(self, condition: torch.Tensor) -> bool:
        """What rank 0 and all others say alike: true where any says so."""
        flag = condition.int()
        if get_dist_info()[1] > 1:
            flag = flag.to(_dist_device())
            all_reduce(flag, 'max')
        return bool(flag)


def _training_state(runner) -> dict[str, Any]:
    """The random state of this process, as training will need it next."""
    state = getattr(runner.train_loop, 'random_state', None)
    return get_random_state() if state is None else state


def _gather_ranks(runner) -> list[dict[str, Any]]:
    """What each rank has for itself: random state and buffers (running statistics).

    Empty for a single process, whose state dict says it all.
    """
    if get_dist_info()[1] == 1:
        return []
    buffers = {key: value.cpu() for key, value in runner.model.named_buffers()}
    return all_gather_object(dict(random_state=_training_state(runner), buffers=buffers))


def _dist_device() -> torch.device:
    backend = torch.distributed.get_backend()
    return torch.device('cuda') if backend == 'nccl' else torch.device('cpu')


def last_good_of(runner) -> str:
    """:func:`last_good` of the folder where a run saves its checkpoints, if it does."""
    hook = next((h for h in runner.hooks if isinstance(h, CheckpointHook)), None)
    if getattr(hook, 'dry_run', False):
        return 'A dry run saves nothing.'
    return last_good(getattr(hook, 'out_dir', None) or runner.work_dir)


def last_good(work_dir: str | os.PathLike) -> str:
    """One clause that names the newest checkpoint and how to go on from it."""
    paths = list_checkpoints(work_dir)
    if not paths:
        return 'There is no checkpoint yet.'
    return f'Last good checkpoint: {paths[0]} (go on from it with --resume).'


# A forked worker, such as mmdet's at VOC's evaluation, is ended by SIGTERM at once. A handler in
# Python would not do: it may never run where the worker waits for a lock. The signal is held back
# until the worker has put the handler off, so that none is lost in between.
_held = threading.local()


def _before_fork() -> None:
    handler = signal.getsignal(signal.SIGTERM)
    if getattr(handler, '__func__', None) is AtomicCheckpointHook._note_signal:
        _held.mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _after_fork(child: bool) -> None:
    mask = getattr(_held, 'mask', None)
    if mask is not None:
        _held.mask = None
        if child:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


if hasattr(os, 'register_at_fork'):  # not on Windows
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=partial(_after_fork, False),
        after_in_child=partial(_after_fork, True),
    )
