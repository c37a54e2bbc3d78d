"""A launch of several processes: joined, and left together."""

from __future__ import annotations

import os

import torch
from mmengine.config import Config
from mmengine.dist import is_distributed

from rdarts.errors import UserError


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


def leave_group() -> None:
    """End a distributed run together: a process that ends before the others may abort."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
