"""One network at a time, drawn uniformly: SPOS (https://arxiv.org/abs/1904.00420)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import torch
from torch import Tensor

from rdarts.architect.relaxations.base import Relaxation
from rdarts.genotypes import Genotype, form_named
from rdarts.models.mixed_ops.mixing import Relaxed
from rdarts.registry import RELAXATIONS
from rdarts.search_spaces import EdgeGroup, SearchSpace


@RELAXATIONS.register_module()
class SinglePath(Relaxation):
    """There is no alpha: each forward runs one random genotype of the space, with weights of 1.

    Its choices (:meth:`rdarts.genotypes.Genotype.choices`) are uniform. What a genotype of the
    space leaves out does not run: in the DARTS space a node reads two of the nodes before it,
    uniformly, where RLNAS's code reaches two by dropping edges at random or filling up those of
    ``none``. SPOS's published code draws uniformly within a bin of multiply-adds, which is itself
    drawn; the paper says uniformly.

    It draws from torch's generator of the CPU, so that nothing waits for a device. The architect
    :class:`~rdarts.architect.architects.path_training.PathTraining` goes with it.
    """

    sampled = True
    no_gradient = (
        'paths are drawn uniformly, and there is no alpha: set '
        "default_hooks.architect.architect.type='rdarts.PathTraining'"
    )

    def __init__(self) -> None:
        super().__init__()
        # says on which device weights are wanted, and of which type, as alpha does elsewhere
        self.register_buffer('like', torch.zeros(()), persistent=False)

    def groups(self, space: SearchSpace) -> tuple[EdgeGroup, ...]:
        """See :meth:`Relaxation.groups`: none."""
        return ()

    def passes(self, space: SearchSpace) -> int:
        """How many networks one step of the weights is of: here one."""
        return 1

    def draws(self, space: SearchSpace) -> list[dict[str, Relaxed]]:
        """The networks of one step of the weights.

        Args:
            space (SearchSpace): Of the candidates that are alive.

        Returns:
            list[dict[str, Relaxed]]: For each of the :meth:`passes`: group -> weights, [edges,
            candidates], and which candidates run, on the CPU.
        """
        form = form_named(space.genotype)
        chosen = [int(torch.randint(ways, ())) for ways in form.choices(space)]
        return [path_of(form.of_choices(space, chosen), space, self.like)]

    def forward(
        self, arch_parameters: Mapping[str, Tensor], space: SearchSpace, phase: str
    ) -> dict[str, Relaxed]:
        """See :meth:`Relaxation.forward`: the first one of :meth:`draws`, in any phase."""
        return self.draws(space)[0]

    def expected(
        self,
        arch_parameters: Mapping[str, Tensor],
        space: SearchSpace,
        drawn: Mapping[str, Relaxed] | None = None,
    ) -> dict[str, Tensor]:
        """See :meth:`Relaxation.expected`: all candidates of an edge alike."""
        found = {}
        for group in space.groups:
            count = len(group.candidates)
            found[group.name] = self.like.new_full((len(group.edges), count), 1 / count)
        return found


def path_of(genotype: Genotype, space: SearchSpace, like: Tensor) -> dict[str, Relaxed]:
    """The mixing by which a supernet runs one genotype.

    Args:
        genotype (Genotype): The genotype.
        space (SearchSpace): Of the candidates that are alive.
        like (Tensor): Of the type, and on the device, that weights are wanted in.

    Returns:
        dict[str, Relaxed]: Group -> weights, [edges, candidates]: how often the genotype has each;
        and which run, on the CPU.

    Raises:
        UserError: It is of another space.
    """
    kept = {graph.name: Counter(graph.edges) for graph in genotype.validate(space).graphs(space)}
    found = {}
    for group in space.groups:
        edges = [space.cells[group.cell].edges[edge] for edge in group.edges]
        counts = [
            [kept[group.cell][edge.source, edge.target, name] for name in group.candidates]
            for edge in edges
        ]
        found[group.name] = one_path(torch.tensor(counts), like)
    return found


def one_path(counts: Tensor, like: Tensor) -> Relaxed:
    """What mixes a group by whole numbers.

    Args:
        counts (Tensor): [edges, candidates], on the CPU.
        like (Tensor): See :func:`path_of`.
    """
    weights = counts.to(like.device, like.dtype, non_blocking=True)
    return Relaxed(weights, counts > 0)
