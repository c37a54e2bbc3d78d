"""How far the weights of a supernet turned: RLNAS (https://arxiv.org/abs/2101.11834)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from rdarts.checkpoint.reading import read_checkpoint
from rdarts.checkpoint.weights import load_weights
from rdarts.configuration.declarations import check_arguments
from rdarts.engine.going_on import is_alpha, network_of
from rdarts.errors import UserError
from rdarts.genotypes import Genotype
from rdarts.hooks.initial_weights import INITIAL
from rdarts.models.alpha import find_alpha_owner
from rdarts.models.backbones.search_cell import mixed_operations
from rdarts.models.mixed_ops.mixed_op import MixedOp
from rdarts.registry import EVALUATORS
from rdarts.sampling.derived import COSTS, DerivedNetworks
from rdarts.sampling.evaluators.base import Evaluator
from rdarts.sampling.inherited import inherited_supernet, path_of_supernet
from rdarts.sampling.result import Result
from rdarts.search_spaces import SearchSpace

if TYPE_CHECKING:
    from mmengine.config import Config

POOLS = ('avg_pool_3x3', 'max_pool_3x3')


@EVALUATORS.register_module()
class Angle(Evaluator):
    r"""Answers with the angle between a network's weights at the start of its supernet and now.

    With V the vector of a network's weights, in the supernet as it was made and as it was trained,

    .. math:: \arccos \frac{V_0 \cdot V}{|V_0| |V|}

    in radians, of which the largest is the best. V has, for each path through each cell from an
    input to an output, the weights of its operations one after the other, so that an operation
    counts as often as paths have it; and once all weights that every network has: stem,
    preprocessing, reductions, head. A pooling of C channels stands for 9 C numbers 1 / 9, a skip
    connection without weights for nothing, and a ``none`` cuts its paths. A network without any
    path has the angle 0. All is computed once in double precision, and a query costs no pass of the
    network. Costs are ``params`` and ``macs`` of the derived network.

    The published codes of the DARTS space and of the layerwise space, unlike that of
    NAS-Bench-201, have an identity matrix for a skip connection: ``identity=True``. That of the
    layerwise space leaves out the batch norms of layers that all networks have, and the last one
    of a block; that of the DARTS space counts the weights of dilated convolutions' batch norms for
    their biases, too. Here all weights count.

    Args:
        identity (bool): Whether a skip connection without weights stands for an identity matrix.
            Defaults to False.

    Raises:
        UserError: ``identity`` is no truth value.
    """

    known_costs = COSTS

    def __init__(self, identity: bool = False) -> None:
        check_arguments(self, identity=identity)
        self.identity = identity

    def prepare(self, space: SearchSpace, seed: int, cfg: Config | None = None) -> None:
        """See :meth:`Evaluator.prepare`.

        Raises:
            UserError: There is no supernet, it is of another space, or its initial weights were not
                kept.
        """
        super().prepare(space, seed, cfg)
        path = path_of_supernet(cfg).with_name(INITIAL)
        if not path.is_file():
            raise UserError(
                f'the initial weights of the supernet are not there ({path}), which a hook keeps: '
                "train it with default_hooks.initial_weights=dict(type='rdarts.InitialWeightsHook')"
            )
        trained, initial = inherited_supernet(cfg, space, 'cpu'), network_of(cfg)
        load_weights(initial, read_checkpoint(path), path)
        self.compare(initial, trained)
        self.networks = DerivedNetworks(cfg, space, seed)

    def compare(self, initial: nn.Module, trained: nn.Module) -> None:
        """Take the weights of a supernet at its start and now.

        Args:
            initial, trained (Module): Two models of one supernet of the space.
        """
        owner, other = find_alpha_owner(trained), find_alpha_owner(initial)
        self._edges = {
            cell: [np.zeros((len(edge.candidates), 3)) for edge in topology.edges]
            for cell, topology in owner.space.cells.items()
        }
        pairs = zip(mixed_operations(owner), mixed_operations(other), strict=True)
        for (cell, after), (_, before) in pairs:
            self._add(cell, before, after)
        inside = {
            id(parameter)
            for module in trained.modules()
            if isinstance(module, MixedOp)
            for parameter in module.parameters()
        }
        weights = dict(initial.named_parameters())
        self._always = sum(
            _products(weights[name], parameter)
            for name, parameter in trained.named_parameters()
            if id(parameter) not in inside and not is_alpha(name)
        )

    def _add(self, cell: str, before: MixedOp, after: MixedOp) -> None:
        """Add what a mixed operation's candidates have to those of their edges."""
        labels = [f'{edge.source}_{edge.target}' for edge in self.space.cells[cell].edges]
        old, new = (dict(mixed.named_parameters()) for mixed in (before, after))
        for edge, label in enumerate(after.labels):
            sums = self._edges[cell][labels.index(label)]
            for place, name in enumerate(after.candidates[edge]):
                found = [
                    _products(old[key][index], new[key][index])
                    for _, key, index in after.entries(edge, place)
                    if key in new
                ]
                sums[place] += sum(found) if found else self._constant(name, after)

    def _constant(self, name: str, mixed: MixedOp) -> float:
        """What stands for a candidate without weights, multiplied by itself."""
        if name in POOLS:
            return mixed.in_channels / 9  # 9 C numbers 1 / 9
        if name == 'skip_connect' and self.identity:
            return float(min(mixed.in_channels, mixed.out_channels))
        return 0.0

    def __call__(self, genotype: Genotype) -> Result:
        """See :meth:`Evaluator.__call__`."""
        return Result(self.angle(genotype), self.networks.costs(genotype))

    def angle(self, genotype: Genotype) -> float:
        """The angle of a genotype, in radians; NaN where a weight of it is not finite.

        Raises:
            UserError: It is of another space.
        """
        total = np.array(self._always)
        for graph in genotype.validate(self.space).graphs(self.space):
            kept = [edge for edge in graph.edges if edge[2] != 'none']
            counts = _paths(kept, graph.num_inputs, graph.num_nodes, graph.output)
            if not any(counts):
                return 0.0
            edges = self.space.cells[graph.name].edges
            places = {(edge.source, edge.target): i for i, edge in enumerate(edges)}
            for (source, target, name), count in zip(kept, counts, strict=True):
                place = places[source, target]
                candidate = edges[place].candidates.index(name)
                total += count * self._edges[graph.name][place][candidate]
        product, old, new = total.tolist()
        cosine = product / math.sqrt(old * new)
        # of weights that are not finite there is none
        return math.acos(max(-1.0, min(1.0, cosine))) if math.isfinite(cosine) else math.nan


def _products(before: Tensor, after: Tensor) -> np.ndarray:
    """Of two tensors: the product, and the squares of both norms."""
    old, new = before.detach().double().flatten(), after.detach().double().flatten()
    return torch.stack([old @ new, old @ old, new @ new]).numpy()


def _paths(
    edges: list[tuple[int, int, str]], inputs: int, nodes: int, output: tuple[int, ...]
) -> list[int]:
    """How many paths from an input to a node of the output have each edge."""
    into = [1] * inputs + [0] * (nodes - inputs)
    out = [int(node in output) for node in range(nodes)]
    for source, target, _ in sorted(edges, key=lambda edge: edge[1]):
        into[target] += into[source]
    for source, target, _ in sorted(edges, key=lambda edge: -edge[0]):
        out[source] += out[target]
    return [into[source] * out[target] for source, target, _ in edges]
