"""What a benchmark of a search step is asked for; nothing slow to load is imported here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rdarts.errors import UserError, nearest
from rdarts.utils.executions import EXECUTIONS

if TYPE_CHECKING:
    from mmengine.config import Config

    from rdarts.models.backbones import BaseSupernet

METHOD = 'rdarts'  # whose steps are taken where nothing is said
IMAGENET_FROM = 64  # pixels a side from which a network has the ImageNet stem


def supernet_of(cfg: Config) -> type[BaseSupernet]:
    """The class of a config's supernet, which says what its width and depth are.

    Raises:
        UserError: It is no supernet, or one that does not say it.
    """
    # slow to load
    from rdarts.models.backbones import BaseSupernet
    from rdarts.registry import MODELS, lookup

    name = cfg.model.backbone.type
    found = lookup(name, MODELS)
    if not issubclass(found, BaseSupernet) or not found.DEPTH:
        raise UserError(f'--space: {name} has no DEPTH, the argument that is its depth')
    return found


def order_of(cfg: Config) -> int:
    """The order of a config's search: 1, or 2 (unrolled)."""
    return cfg.default_hooks.architect.get('order', 1)


def usual_device() -> str:
    """``'cuda'`` where there is a GPU, else ``'cpu'``."""
    import torch  # slow

    return 'cuda' if torch.cuda.is_available() else 'cpu'


def check_clock(processor_time: bool, device: str) -> None:
    """Seconds of processors must be of what they compute themselves.

    Raises:
        UserError: A GPU computes.
    """
    if processor_time and device == 'cuda':
        raise UserError(
            '--processor-time: the cores wait while the GPU works; '
            'set CUDA_VISIBLE_DEVICES= to measure the CPU'
        )


@dataclass(frozen=True)
class StepSettings:
    """A search step: its space, sizes, and how often it is taken.

    Args:
        space (str): Its name in those of configs, or the path of a config that searches it.
            Defaults to ``'nb201'``.
        method (str, optional): Its name in those of configs, for a space that is named so.
            Defaults to r-DARTS there, and to what the config of a path says.
        batch_size (int): Images. Defaults to 64.
        width (int): Channels that the supernet's follow: see
            :meth:`~rdarts.models.backbones.BaseSupernet.resize`. Defaults to 16.
        depth (int, optional): Cells a stage, cells, or layers a stage. Defaults to the supernet's.
        image_size (int): Pixels a side. Defaults to 32.
        order (int, optional): 1, or 2 (unrolled). Defaults to the method's.
        amp (bool): Whether bfloat16 is measured beside float32. Defaults to False.
        checkpoint (bool): Whether the backward pass computes each cell or layer anew. Defaults to
            False.
        steps (int): Steps that count. Defaults to 20.
        warmup (int): Steps before them. Defaults to 3.
        threads (int, optional): Of PyTorch. Defaults to its own choice.
        seed (int): Of weights and images. Defaults to 0.
        processor_time (bool): Whether seconds are those that the cores work for this process, all
            of them together. Defaults to False: those that pass.
        executions (Sequence[str]): Some of ``EXECUTIONS``. Defaults to all.
        device (str, optional): ``'cpu'`` or ``'cuda'``. Defaults to a GPU where there is one.
    """

    space: str = 'nb201'
    method: str | None = None
    batch_size: int = 64
    width: int = 16
    depth: int | None = None
    image_size: int = 32
    order: int | None = None
    amp: bool = False
    checkpoint: bool = False
    steps: int = 20
    warmup: int = 3
    threads: int | None = None
    seed: int = 0
    processor_time: bool = False
    executions: Sequence[str] = EXECUTIONS
    device: str | None = None

    @property
    def is_path(self) -> bool:
        """Whether the space is the path of a config."""
        return Path(self.space).suffix == '.py'

    def config(self) -> Config:
        """The config whose steps are taken: the method's on CIFAR-10, or the one that was named.

        Raises:
            UserError: The space or method is not known, they do not fit, or it is no config of a
                search.
        """
        # slow to load
        from rdarts.configuration.composition import FIRST, methods
        from rdarts.configuration.folder import configs_folder
        from rdarts.configuration.load import load_config

        folder, before, after = configs_folder() / 'search', f'{FIRST}_', '_c10'
        if self.method is not None and self.method not in methods(folder):
            hint = nearest(self.method, methods(folder))
            raise UserError(f"--method: unknown method '{self.method}': {hint}")
        if not self.is_path:
            known = [path.stem for path in folder.glob(f'{before}*{after}.py')]
            known = [stem.removeprefix(before).removesuffix(after) for stem in known]
            if self.space not in known:
                hint = nearest(self.space, known)
                raise UserError(f"--space: unknown space '{self.space}': {hint}")
            return load_config(folder / f'{self.method or METHOD}_{self.space}{after}.py')
        if self.method is not None:
            raise UserError(f'--method is for a space by its name; {self.space} says its own')
        cfg = load_config(self.space)
        if not cfg.get('arch_optimizer'):
            raise UserError(f'--space: {self.space} is no config of a search: no arch_optimizer')
        return cfg

    def prepare(self) -> StepSettings:
        """Complete the settings, and set the number of threads.

        Raises:
            UserError: One of them is out of range or not known.
        """
        import torch  # slow

        cfg = self.config()
        supernet = supernet_of(cfg)
        depth = supernet.depth_of(cfg.model.backbone) if self.depth is None else self.depth
        threads = torch.get_num_threads() if self.threads is None else self.threads
        order = order_of(cfg) if self.order is None else self.order
        method = None if self.is_path else self.method or METHOD
        device = self.device or usual_device()
        found = replace(
            self, method=method, depth=depth, threads=threads, order=order, device=device
        )
        for name in ('batch_size', 'width', 'depth', 'image_size', 'steps', 'threads'):
            if getattr(found, name) < 1:
                option = name.replace('_', '-')
                raise UserError(f'--{option} must be 1 or more, but is {getattr(found, name)}')
        if self.warmup < 0:
            raise UserError(f'--warmup must be 0 or more, but is {self.warmup}')
        if self.checkpoint and not supernet.takes('checkpoint'):
            raise UserError(f"--checkpoint: {supernet.__name__} takes no 'checkpoint'")
        if order not in (1, 2):
            raise UserError(f'--order must be 1 or 2, but is {order}')
        check_clock(self.processor_time, device)
        for name in self.executions:
            if name not in EXECUTIONS:
                raise UserError(
                    f"--executions: unknown execution '{name}': {nearest(name, EXECUTIONS)}"
                )
        torch.set_num_threads(threads)
        return replace(found, executions=[e for e in EXECUTIONS if e in self.executions])

    def check_taken_apart(self, option: str) -> None:
        """A step is taken apart, by the profiler, in float32 and the seconds that pass.

        Args:
            option (str): That asks for it.

        Raises:
            UserError: The settings ask for something else.
        """
        for name in ('amp', 'processor_time'):
            if getattr(self, name):
                raise UserError(
                    f'{option} is of float32, in the seconds that pass: leave out '
                    f'--{name.replace("_", "-")}'
                )

    def options(self, *left_out: str) -> list[str]:
        """The settings but for the device as options of a tool, for a process that measures apart.

        Args:
            *left_out (str): Names of those that it is not told.
        """
        found: list[str] = []
        for field in fields(self):
            value, option = getattr(self, field.name), f'--{field.name.replace("_", "-")}'
            if field.name in ('device', *left_out) or value is None or value is False:
                continue
            values = [] if value is True else value if field.name == 'executions' else [value]
            found += [option, *map(str, values)]
        return found
