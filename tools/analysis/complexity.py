"""Parameters, multiply-adds, activations, memory and latency of a network."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rdarts import cli

IMAGENET_FROM = 64  # pixels a side from which a network has the ImageNet stem


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', nargs='?', help='a Python config with a model; or --genotype')
    parser.add_argument(
        '--genotype',
        metavar='GENOTYPE',
        help="a JSON file, a search's work directory, a published name (DARTS_V2), or a string",
    )
    parser.add_argument(
        '--shape',
        nargs=3,
        type=int,
        default=[3, 32, 32],
        metavar=('C', 'H', 'W'),
        help=f'of one image (default: 3 32 32); from {IMAGENET_FROM} pixels on, a network of '
        '--genotype has the ImageNet stem and sizes',
    )
    parser.add_argument('--width', type=int, help='channels C (default: as published)')
    parser.add_argument('--depth', type=int, help='cells, or cells a stage (default: as published)')
    parser.add_argument('--num-classes', type=int, help='(default: 10, or 1000 from ImageNet on)')
    parser.add_argument('--batch-size', type=int, default=1, help='of memory, latency (default: 1)')
    parser.add_argument('--repeats', type=int, default=20, help='of the latency (default: 20)')
    parser.add_argument('--no-latency', action='store_true', help='count only')
    cli.add_cfg_options(parser)
    parser.add_argument('--json', action='store_true', help='one JSON object')
    parser.add_argument('--memory-only', action='store_true', help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == '__main__':
    cli.start(parse_args)  # before the imports below, which take seconds

import torch
from mmengine.config import Config
from torch import Tensor, nn

from rdarts.apis import build_net
from rdarts.apis.dry_run import count_macs
from rdarts.configuration.load import check_model, load_config, set_genotype
from rdarts.configuration.options import parse_options
from rdarts.errors import RunFailed, UserError
from rdarts.genotypes import CellGenotype, LayerwiseGenotype, load_genotype
from rdarts.measure.peak_memory import Peak, read_mb
from rdarts.registry import MODELS


def check_args(args: argparse.Namespace) -> None:
    """Raise a UserError for what does not fit."""
    if args.config is None and args.genotype is None:
        raise UserError('give a config or --genotype')
    for name in ('width', 'depth', 'num_classes', 'batch_size', 'repeats'):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise UserError(f'--{name.replace("_", "-")} must be 1 or more, but is {value}')
    if min(args.shape) < 1:
        raise UserError(f'--shape must be three positive numbers, but is {args.shape}')
    if args.config is not None:
        for name in ('width', 'depth', 'num_classes'):
            if getattr(args, name) is not None:
                raise UserError(f'--{name.replace("_", "-")} goes with --genotype, not a config')


def build(args: argparse.Namespace) -> tuple[nn.Module, str]:
    """The network in evaluation mode, and what it is."""
    if args.config is None:
        return build_from_genotype(args)
    cfg = load_config(args.config, parse_options(args.cfg_options))
    if args.genotype is not None:
        set_genotype(cfg, args.genotype)
    check_model(cfg, starts=False)
    return build_from_config(cfg, args)


def build_from_genotype(args: argparse.Namespace) -> tuple[nn.Module, str]:
    genotype = load_genotype(args.genotype)
    large = min(args.shape[1:]) >= IMAGENET_FROM
    stem = 'imagenet' if large else 'cifar'
    classes = args.num_classes or (1000 if large else 10)
    layers = isinstance(genotype, LayerwiseGenotype)
    if layers and (args.width or args.depth):
        raise UserError("--width and --depth are of cells: those of layers are its space's")
    depth = 'num_cells' if isinstance(genotype, CellGenotype) else 'cells_per_stage'
    sizes = {} if layers else {'channels': args.width, depth: args.depth}
    net = build_net(
        genotype,
        classes,
        stem=stem,
        in_channels=args.shape[0],
        **{key: value for key, value in sizes.items() if value is not None},
    )
    backbone = net.backbone
    what = f'{len(genotype.operations())} layers'
    if not layers:
        what = f'{backbone.channels} channels, {getattr(backbone, depth)} {depth.replace("_", " ")}'
    return net.eval(), f'{type(backbone).__name__}, {stem} stem, {what}, {classes} classes'


def build_from_config(cfg: Config, args: argparse.Namespace) -> tuple[nn.Module, str]:
    from mmengine.registry import init_default_scope

    if not cfg.get('model'):
        raise UserError(f'{args.config} has no model')
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    model = MODELS.build(cfg.model).eval()
    name = f'{type(model).__name__} of {args.config}'
    if hasattr(model, 'bbox_head') or hasattr(model, 'roi_head'):
        # what follows depends on the image: proposals
        parts = [model.backbone, *([model.neck] if model.with_neck else [])]
        return nn.Sequential(*parts).eval(), f'backbone and neck of {name}'
    head = getattr(model, 'head', None)
    if head is not None and getattr(head, 'auxiliary', None) is not None:
        head.auxiliary = None  # in training only
    return model, name


def count_activations(model: nn.Module, image: Tensor) -> int:
    """Numbers in the outputs of all convolutions and linear layers."""
    total = 0

    def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
        nonlocal total
        total += output.numel()

    handles = [
        module.register_forward_hook(hook)
        for module in model.modules()
        if isinstance(module, (nn.Conv2d, nn.Linear))
    ]
    try:
        with torch.no_grad():
            model(image[None])
    finally:
        for handle in handles:
            handle.remove()
    return total


def count_all(model: nn.Module, image: Tensor) -> int | None:
    """mmengine's count, which has norms and pooling too; None where it cannot trace."""
    import logging

    from mmengine.analysis import FlopAnalyzer

    logging.getLogger('mmengine.analysis').setLevel(logging.ERROR)
    try:
        counter = FlopAnalyzer(model, (image[None],))
        counter.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        return int(counter.total())
    except Exception:  # its tracer fails in any way on what it does not know
        return None


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


def memory_apart(args: argparse.Namespace) -> float:
    """The same in a fresh process."""
    command = [sys.executable, __file__, *sys.argv[1:], '--memory-only']
    done = subprocess.run(command, text=True, capture_output=True)
    if done.returncode:
        raise RunFailed((done.stderr.strip().splitlines() or ['no memory was measured'])[-1])
    return float(done.stdout.split()[-1])


def main() -> int:
    args = parse_args()
    check_args(args)
    torch.manual_seed(0)
    model, name = build(args)
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    model = model.to(device)
    images = torch.randn(args.batch_size, *args.shape, device=device)
    if args.memory_only:
        print(memory_mb(model, images))
        return 0
    result: dict[str, Any] = dict(
        network=name,
        shape=args.shape,
        parameters=sum(p.numel() for p in model.parameters()),
        macs=count_macs(model, images[0]),
        macs_all_operations=count_all(model, images[0]),
        activations=count_activations(model, images[0]),
    )
    if not args.no_latency:
        result.update(
            batch_size=args.batch_size,
            latency_ms=latency_ms(model, images, args.repeats),
            peak_memory_mb=memory_apart(args),
            device=torch.cuda.get_device_name() if device.type == 'cuda' else cpu_name(),
            threads=torch.get_num_threads(),
        )
    print(json.dumps(result) if args.json else table(result))
    return 0


def cpu_name() -> str:
    try:
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else platform.processor()


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
            ('measured on', f'{result["device"]}, {result["threads"]} threads'),
        ]
    return '\n'.join(f'{key:<38}{value}' for key, value in rows)


if __name__ == '__main__':
    sys.exit(cli.run_guarded(main))
