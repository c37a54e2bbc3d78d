"""The time of a training-free score, over that of the passes that its definition needs.

Score and passes take turns within one process, on the same network and images. A ratio is the
median of the quotients of their turns, over all networks.
"""

from __future__ import annotations

import inspect
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rdarts.apis import build_net
from rdarts.errors import UserError, nearest
from rdarts.genotypes import form_named
from rdarts.measure.describe import cpu_model
from rdarts.measure.search import now
from rdarts.measure.settings import check_clock, usual_device
from rdarts.models.declared import declared_class
from rdarts.registry import RANKINGS, SCORES, build
from rdarts.sampling.scores import Batch, Candidate
from rdarts.sampling.scores.gradients import layers_of
from rdarts.search_spaces import build_space

MOST = 1.5  # that a ratio may be

Passes = Callable[[nn.Module, Sequence[Batch]], object]


def _weights(network: nn.Module) -> list[Tensor]:
    return [layer.weight for layer in layers_of(network)]


def _forward(network: nn.Module, batches: Sequence[Batch]) -> None:
    with torch.no_grad():
        network(batches[0].images)


def _backward(network: nn.Module, batches: Sequence[Batch]) -> None:
    """To the weights, batch by batch."""
    for batch in batches:
        loss = F.cross_entropy(network(batch.images), batch.labels)
        torch.autograd.grad(loss, _weights(network), allow_unused=True)


def _hessian_vector(network: nn.Module, batches: Sequence[Batch]) -> None:
    weights = _weights(network)
    loss = F.cross_entropy(network(batches[0].images), batches[0].labels)
    first = torch.autograd.grad(loss, weights, create_graph=True, allow_unused=True)
    reached = [one for one in first if one is not None and one.requires_grad]
    torch.autograd.grad(reached, weights, [one.detach() for one in reached], allow_unused=True)


def _to_images(network: nn.Module, batches: Sequence[Batch]) -> None:
    images = batches[0].images.clone().requires_grad_()
    torch.autograd.grad(network(images).sum(), images, allow_unused=True)


def _to_outputs(network: nn.Module, batches: Sequence[Batch]) -> None:
    """Of convolutions and linear layers."""
    outputs: list[Tensor] = []
    hooks = [
        one.register_forward_hook(lambda layer, inputs, output: outputs.append(output))
        for one in layers_of(network)
    ]
    loss = F.cross_entropy(network(batches[0].images), batches[0].labels)
    for hook in hooks:
        hook.remove()
    torch.autograd.grad(loss, outputs, allow_unused=True)


def _pull_backs(network: nn.Module, batches: Sequence[Batch]) -> None:
    """From each feature to the one before."""
    features: list[Tensor] = []
    hooks = [
        one.register_forward_hook(lambda layer, inputs, output: features.append(output))
        for one in network.backbone.feature_layers()
    ]
    network(batches[0].images)
    for hook in hooks:
        hook.remove()
    for before, after in pairwise(features):
        if after.requires_grad:  # not of a cell that no image reaches
            torch.autograd.grad(after, before, torch.ones_like(after), True, allow_unused=True)


def _flow(network: nn.Module, batches: Sequence[Batch]) -> None:
    """Of one image, in a network that :func:`_without_batch_norm` gives."""
    image = torch.ones_like(batches[0].images[:1], dtype=torch.float64)
    torch.autograd.grad(network(image).sum(), _weights(network), allow_unused=True)


def _without_batch_norm(network: nn.Module) -> nn.Module:
    """A copy in float64."""
    network = deepcopy(network).double()
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(parent, name, nn.Identity())
    return network


@dataclass(frozen=True)
class Case:
    """A score and what it is compared with.

    Args:
        score (str): Its name in ``SCORES``, or that of a ranking in ``RANKINGS``.
        passes (Callable): The passes of its definition, of network and batches.
        what (str): These in words.
        prepare (Callable, optional): Gives the network of the passes, untimed. Defaults to the
            scored one.
        ranks (bool): Whether it is a ranking, whose measuring is timed. Defaults to False.
    """

    score: str
    passes: Passes
    what: str
    prepare: Callable[[nn.Module], nn.Module] = lambda network: network
    ranks: bool = False


ONE_BACKWARD = 'forward, backward to the weights'
CASES = dict(
    naswot=Case('NASWOT', _forward, 'forward'),
    swap=Case('SWAP', _forward, 'forward'),
    zico=Case('ZiCo', _backward, f'{ONE_BACKWARD}, of two batches'),
    az_nas=Case('AZNAS', _pull_backs, 'forward, a pull-back a pair of features', ranks=True),
    snip=Case('Snip', _backward, ONE_BACKWARD),
    grasp=Case('Grasp', _hessian_vector, f'{ONE_BACKWARD}, Hessian-vector product'),
    fisher=Case('Fisher', _to_outputs, 'forward, backward to the outputs of layers'),
    synflow=Case('SynFlow', _flow, f'{ONE_BACKWARD}, of one image', _without_batch_norm),
    jacob_cov=Case('JacobCov', _to_images, 'forward, backward to the images'),
    grad_norm=Case('GradNorm', _backward, ONE_BACKWARD),
    plain=Case('Plain', _backward, ONE_BACKWARD),
)


@dataclass(frozen=True)
class ScoreSettings:
    """What is measured; the defaults are the cheap setting of NAS-Bench-201.

    Args:
        space (str): The space. Defaults to ``'nas_bench_201'``.
        channels (int): Of the first cells. Defaults to 16.
        depth (int): Cells a stage in NAS-Bench-201, else cells. Defaults to 1.
        batch_size (int): Images. Defaults to 16.
        image_size (int): Pixels a side. Defaults to 32.
        networks (int): Random ones. Defaults to 5.
        turns (int): Of each network that count. Defaults to 5.
        threads (int): Of PyTorch. Defaults to 1.
        processor_time (bool): Whether the seconds are those of processors. Defaults to False.
        seed (int): Of networks, weights and images. Defaults to 0.

    Raises:
        UserError: A number is below 1, or processor time is asked for and there is a GPU.
    """

    space: str = 'nas_bench_201'
    channels: int = 16
    depth: int = 1
    batch_size: int = 16
    image_size: int = 32
    networks: int = 5
    turns: int = 5
    threads: int = 1
    processor_time: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        check_clock(self.processor_time, usual_device())
        for name, value in vars(self).items():
            if name not in ('space', 'processor_time', 'seed') and value < 1:
                raise UserError(f'--{name.replace("_", "-")} must be 1 or more, but is {value}')


def case_of(name: str) -> Case:
    """A case by its name.

    Raises:
        UserError: There is none.
    """
    if name not in CASES:
        raise UserError(f"--scores: unknown score '{name}': {nearest(name, CASES)}")
    return CASES[name]


def measure(settings: ScoreSettings, cases: Mapping[str, Case]) -> dict[str, Any]:
    """Time scores and their passes.

    Args:
        settings (ScoreSettings): The settings.
        cases (dict[str, Case]): By name.

    Returns:
        dict: ``cases``, by name: ``s``, ``passes_s`` and ``ratio``, medians over networks and
        turns, and ``what`` the passes are; ``exceeded``, the names of those whose ratio is above
        :data:`MOST`; the settings and what it ran on.
    """
    torch.set_num_threads(settings.threads)
    clock = time.process_time if settings.processor_time else now
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    batches = [_batch(settings, place, device) for place in range(2)]
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
    for network in _networks(settings, device):
        for name, case in cases.items():
            taken[name] += _take_turns(network, case, batches, settings.turns, clock)
    rows = {
        name: dict(
            s=statistics.median(own for own, _ in pairs),
            passes_s=statistics.median(passes for _, passes in pairs),
            ratio=statistics.median(own / passes for own, passes in pairs),
            what=cases[name].what,
        )
        for name, pairs in taken.items()
    }
    exceeded = [name for name, row in rows.items() if row['ratio'] > MOST]
    kind = torch.cuda.get_device_name() if torch.cuda.is_available() else 'cpu'
    machine = dict(device=kind, cpu=cpu_model(), torch=torch.__version__)
    return dict(cases=rows, exceeded=exceeded, **vars(settings), **machine)


def _batch(settings: ScoreSettings, place: int, device: torch.device) -> Batch:
    generator = torch.Generator().manual_seed(settings.seed + place)
    shape = (settings.batch_size, 3, settings.image_size, settings.image_size)
    images = torch.randn(shape, generator=generator)
    labels = torch.randint(10, shape[:1], generator=generator)
    return Batch(images.to(device), labels.to(device))


def _networks(settings: ScoreSettings, device: torch.device) -> Iterator[nn.Module]:
    space = build_space(settings.space)
    torch.manual_seed(settings.seed)
    generator = np.random.default_rng(settings.seed)
    depth = declared_class(space, 'supernet').DEPTH
    if not {'channels', depth} <= {*inspect.signature(declared_class(space, 'network')).parameters}:
        raise UserError(
            f"--space: networks of '{space.name}' have neither channels nor a number of cells, "
            'which are what is set here'
        )
    for _ in range(settings.networks):
        genotype = form_named(space.genotype).random(space, generator)
        sizes = {'channels': settings.channels, depth: settings.depth}
        yield build_net(genotype, 10, space=space, **sizes).to(device)


def _take_turns(
    network: nn.Module,
    case: Case,
    batches: Sequence[Batch],
    turns: int,
    clock: Callable[[], float],
) -> list[tuple[float, float]]:
    """Seconds of the score and of the passes in each turn, after one that does not count."""
    score = build(case.score, RANKINGS if case.ranks else SCORES)
    batches = batches[: score.batches]
    call = score.measure if case.ranks else score
    pair = (
        partial(call, Candidate(network), batches),
        partial(case.passes, case.prepare(network).train(), batches),
    )
    found = []
    for turn in range(turns + 1):
        seconds = [0.0, 0.0]
        for place in (0, 1) if turn % 2 else (1, 0):  # neither is always the first
            begin = clock()
            pair[place]()
            seconds[place] = clock() - begin
        found.append((seconds[0], seconds[1]))
    return found[1:]


def print_table(result: Mapping[str, Any]) -> None:
    """The same for people, as Markdown."""
    depth = f'depth {result["depth"]}, batch {result["batch_size"]}'
    print(
        f'{result["space"]}, C {result["channels"]}, {depth}, {result["networks"]} networks, '
        f'{result["turns"]} turns; {result["cpu"]}, torch {result["torch"]}\n'
    )
    unit = 'core ms' if result['processor_time'] else 'ms'
    print(f'| score | passes | passes, {unit} | score, {unit} | ratio |')
    print('| --- | --- | --- | --- | --- |')
    for name, row in result['cases'].items():
        own, passes = 1000 * row['s'], 1000 * row['passes_s']
        print(f'| {name} | {row["what"]} | {passes:.1f} | {own:.1f} | {row["ratio"]:.2f} |')
