"""Parameters, multiply-adds, activations, memory and latency of a network."""

from __future__ import annotations

import inspect
import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from rdarts.apis import build_net
from rdarts.configuration.load import check_model, load_config, set_genotype
from rdarts.configuration.options import parse_options
from rdarts.errors import RunFailed, UserError, is_defect
from rdarts.genotypes import load_genotype
from rdarts.measure.counts import count_activations, count_all
from rdarts.measure.describe import cpu_model
from rdarts.measure.library_networks import build_library_network
from rdarts.measure.peak_memory import Peak, read_mb
from rdarts.measure.settings import IMAGENET_FROM
from rdarts.models.backbones import BaseSupernet
from rdarts.models.declared import declared_class
from rdarts.models.multiply_adds import count_macs, plain_execution
from rdarts.registry import MODELS
from rdarts.search_spaces import SearchSpace, build_space
from rdarts.utils.machine_errors import explain_machine
from rdarts.utils.wording import plural


@dataclass(frozen=True)
class NetworkSettings:
    """A network, and how it is measured.

    Args:
        config (str, optional): A Python config with a model; or a genotype.
        genotype (str, optional): A JSON file, a work directory, a name, or a string.
        network (str, optional): ``LIBRARY:NAME``, of torchvision or timm, instead of either.
        shape (Sequence[int]): C, H and W of an image. Defaults to 3, 32, 32.
        width (int, optional): Channels of a genotype's network. Defaults to the published ones.
        depth (int, optional): Its cells, or cells a stage. Defaults to the published ones.
        num_classes (int, optional): Defaults to 10, or 1000 from ImageNet's sizes on.
        batch_size (int): Images of memory and latency. Defaults to 1.
        repeats (int): Forward passes of the latency. Defaults to 20.
        latency (bool): Whether latency and memory are measured. Defaults to True.
        cfg_options (Sequence[str]): ``KEY=VALUE`` of the config. Defaults to none.
    """

    config: str | None = None
    genotype: str | None = None
    network: str | None = None
    shape: Sequence[int] = (3, 32, 32)
    width: int | None = None
    depth: int | None = None
    num_classes: int | None = None
    batch_size: int = 1
    repeats: int = 20
    latency: bool = True
    cfg_options: Sequence[str] = ()


def measure(settings: NetworkSettings, command: Sequence[str]) -> dict[str, Any]:
    """Count, and unless it is left out measure, a network.

    Args:
        settings (NetworkSettings): The network.
        command (Sequence[str]): Prints what :func:`memory_alone` gives, from a fresh process.

    Returns:
        dict: ``network``, ``shape``, ``parameters``, ``macs`` of convolutions and linear layers,
        ``macs_all_operations`` (None where it cannot be traced), ``activations``; with the latency
        also ``batch_size``, ``latency_ms``, ``peak_memory_mb``, ``device`` and ``threads``.

    Raises:
        UserError: Something does not fit.
        RunFailed: The fresh process has failed.
    """
    model, name, images = prepare(settings)
    check_image(model, name, images[:1])
    result: dict[str, Any] = dict(
        network=name,
        shape=list(settings.shape),
        parameters=sum(p.numel() for p in model.parameters()),
        macs=count_macs(model, images[0]),
        macs_all_operations=count_all(model, images[0]),
        activations=count_activations(model, images[0]),
    )
    if settings.latency:
        result.update(
            batch_size=settings.batch_size,
            latency_ms=latency_ms(model, images, settings.repeats),
            peak_memory_mb=memory_apart(command),
            device=torch.cuda.get_device_name() if images.is_cuda else cpu_model(),
            threads=torch.get_num_threads(),
        )
    return result


def memory_alone(settings: NetworkSettings) -> float:
    """Peak of memory above the idle network in one forward pass, in this process."""
    model, _, images = prepare(settings)
    return memory_mb(model, images)


def memory_apart(command: Sequence[str]) -> float:
    """What a command prints last, in a fresh process."""
    done = subprocess.run(command, text=True, capture_output=True)
    if done.returncode:
        raise RunFailed((done.stderr.strip().splitlines() or ['no memory was measured'])[-1])
    return float(done.stdout.split()[-1])


def prepare(settings: NetworkSettings) -> tuple[nn.Module, str, Tensor]:
    """The network on its device, what it is, and images [N, C, H, W] of noise."""
    check(settings)
    torch.manual_seed(0)
    model, name = build(settings)
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    images = torch.randn(settings.batch_size, *settings.shape, device=device)
    return model.to(device), name, images


def check(settings: NetworkSettings) -> None:
    """Raise a UserError for what does not fit."""
    if settings.network is not None:
        for name in ('config', 'genotype', 'width', 'depth'):
            if getattr(settings, name) is not None:
                raise UserError(f'--network is a network by itself: leave out the {name}')
        if settings.shape[0] != 3:
            raise UserError(f'--network reads 3 channels: --shape says {settings.shape[0]}')
    elif settings.config is None and settings.genotype is None:
        raise UserError('give a config, --genotype or --network')
    if settings.cfg_options and settings.config is None:
        raise UserError('--cfg-options goes with a config, which is not given')
    for name in ('width', 'depth', 'num_classes', 'batch_size', 'repeats'):
        value = getattr(settings, name)
        if value is not None and value < 1:
            raise UserError(f'--{name.replace("_", "-")} must be 1 or more, but is {value}')
    if min(settings.shape) < 1:
        raise UserError(f'--shape must be three positive numbers, but is {settings.shape}')
    if settings.config is not None:
        for name in ('width', 'depth', 'num_classes'):
            if getattr(settings, name) is not None:
                raise UserError(f'--{name.replace("_", "-")} goes with --genotype, not a config')


def build(settings: NetworkSettings) -> tuple[nn.Module, str]:
    """The network in evaluation mode, and what it is."""
    if settings.network is not None:
        classes = _classes(settings)
        network = build_library_network(settings.network, classes)
        return network, f'{settings.network}, {classes} classes'
    if settings.config is None:
        return build_from_genotype(settings)
    cfg = load_config(settings.config, parse_options(settings.cfg_options))
    if settings.genotype is not None:
        set_genotype(cfg, settings.genotype)
    check_model(cfg, starts=False)
    return build_from_config(cfg, settings)


def build_from_genotype(settings: NetworkSettings) -> tuple[nn.Module, str]:
    genotype = load_genotype(settings.genotype)
    stem = 'imagenet' if _is_large(settings) else 'cifar'
    classes = _classes(settings)
    supernet = _resized_as(build_space(genotype.space))
    if supernet is None and (settings.width or settings.depth):
        raise UserError("--width and --depth are of cells: those of layers are its space's")
    sizes = {}
    if supernet is not None:
        sizes = {'channels': settings.width, supernet.DEPTH: settings.depth}
    net = build_net(
        genotype,
        classes,
        stem=stem,
        in_channels=settings.shape[0],
        **{key: value for key, value in sizes.items() if value is not None},
    )
    backbone = net.backbone
    what = plural(len(genotype.operations()), 'layer')
    if supernet is not None:
        depth = supernet.describe_depth(getattr(backbone, supernet.DEPTH))
        what = f'{backbone.channels} channels, {depth}'
    return net.eval(), f'{type(backbone).__name__}, {stem} stem, {what}, {classes} classes'


def _is_large(settings: NetworkSettings) -> bool:
    """Whether images are as large as ImageNet's."""
    return min(settings.shape[1:]) >= IMAGENET_FROM


def _classes(settings: NetworkSettings) -> int:
    return settings.num_classes or (1000 if _is_large(settings) else 10)


def _resized_as(space: SearchSpace) -> type[BaseSupernet] | None:
    """The supernet whose width and depth the space's network has, too; None of layers."""
    takes = inspect.signature(declared_class(space, 'network')).parameters
    if space.supernet is None or 'channels' not in takes:
        return None
    supernet = declared_class(space, 'supernet')
    return supernet if getattr(supernet, 'DEPTH', None) in takes else None


def build_from_config(cfg: Config, settings: NetworkSettings) -> tuple[nn.Module, str]:
    if not cfg.get('model'):
        raise UserError(f'{settings.config} has no model')
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    model = MODELS.build(cfg.model).eval()
    name = f'{type(model).__name__} of {settings.config}'
    if hasattr(model, 'bbox_head') or hasattr(model, 'roi_head'):
        # what follows depends on the image: proposals
        parts = [model.backbone, *([model.neck] if model.with_neck else [])]
        return nn.Sequential(*parts).eval(), f'backbone and neck of {name}'
    head = getattr(model, 'head', None)
    if head is not None and getattr(head, 'auxiliary', None) is not None:
        head.auxiliary = None  # in training only
    return model, name


def check_image(model: nn.Module, name: str, image: Tensor) -> None:
    """Raise a UserError where a network does not take an image of noise.

    Args:
        model (nn.Module): In evaluation mode.
        name (str): What it is, for the line.
        image (Tensor): [1, C, H, W].
    """
    reads: list[int] = []

    def note(conv: nn.Conv2d, inputs: Any) -> None:
        reads.append(conv.in_channels)

    convs = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    handles = [conv.register_forward_pre_hook(note) for conv in convs]
    try:
        with torch.no_grad(), plain_execution(model):
            model(image)
    except Exception as error:  # whatever networks of other packages say of it
        if isinstance(error, UserError) or is_defect(error) or explain_machine(error):
            raise
        _, channels, height, width = image.shape
        if reads and reads[0] != channels:
            given = plural(channels, 'channel')
            line = f'--shape has {given}, but the network reads {reads[0]}: {name}'
        else:
            why = (str(error).split('\n')[0] or type(error).__name__).strip()
            line = f'--shape: {height} x {width} pixels do not go through {name}: {why}'
        raise UserError(line) from error
    finally:
        for handle in handles:
            handle.remove()


def latency_ms(model: nn.Module, images: Tensor, repeats: int) -> float:
    """The median of forward passes, after three that do not count."""
    times = []
    with torch.no_grad():
        for step in range(repeats + 3):
            begin = time.perf_counter()
            model(images)
            if images.is_cuda:
                torch.cuda.synchronize()
            if step >= 3:
                times.append(time.perf_counter() - begin)
    return 1e3 * statistics.median(times)


def memory_mb(model: nn.Module, images: Tensor) -> float:
    """Peak of memory above the idle network in one forward pass."""
    if images.is_cuda:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        with torch.no_grad():
            model(images)
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    before = read_mb('VmRSS')
    with Peak() as peak, torch.no_grad():
        model(images)
    return peak.mb - before


def table(result: dict[str, Any]) -> str:
    """The same for people."""
    everything = result['macs_all_operations']
    rows = [
        ('network', result['network']),
        ('image', ' x '.join(map(str, result['shape']))),
        ('parameters', f'{result["parameters"]:,}'),
        ('MACs, convolutions and linear layers', f'{result["macs"]:,}'),
        ('all operations, by mmengine', 'unknown' if everything is None else f'{everything:,}'),
        ('activations, of the same layers', f'{result["activations"]:,}'),
    ]
    if 'latency_ms' in result:
        rows += [
            (f'latency, batch {result["batch_size"]}', f'{result["latency_ms"]:.1f} ms'),
            ('peak memory above idle', f'{result["peak_memory_mb"]:.0f} MB'),
            ('measured on', f'{result["device"]}, {plural(result["threads"], "thread")}'),
        ]
    return '\n'.join(f'{key:<38}{value}' for key, value in rows)
