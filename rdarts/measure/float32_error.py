"""Error of a step's gradients in float32, in every execution: its distance to plain in float64."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from rdarts.architect.gradients import gradient_of
from rdarts.errors import UserError
from rdarts.measure.describe import describe, divide, heading
from rdarts.measure.search import Search
from rdarts.measure.settings import StepSettings
from rdarts.utils.wording import plural

PARTS = ('weights', 'alpha')
aten = torch.ops.aten
DRAWS = (
    *(aten.rand_like, aten.randn_like, aten.bernoulli, aten.multinomial),
    *(aten.uniform_, aten.normal_, aten.exponential_, aten.bernoulli_),
    *(aten._sample_dirichlet, aten._standard_gamma),
)


class DrawnInFloat32(TorchDispatchMode):
    """Within, what is drawn in float64 are the numbers that would be drawn in float32.

    From one state, a generator may draw others for either type.
    """

    def __torch_dispatch__(
        self,
        function: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if function.overloadpacket not in DRAWS or args[0].dtype != torch.float64:
            return function(*args, **kwargs)
        found = function(args[0].float(), *args[1:], **kwargs)
        if function._schema.is_mutable:
            return args[0].copy_(found)
        return found.double() if found.is_floating_point() else found


def images_of(search: Search) -> Tensor:
    """The images of L_train as the network reads them."""
    return search.model.data_preprocessor(search.batches['train'], True)['inputs']


def gradients(search: Search, images: Tensor, seed: int) -> list[Tensor]:
    """Gradients of L_train in float64: of all weights in one vector, and of all of alpha.

    Those of what was not drawn are zero. What is drawn is that of the seed, in every execution and
    of either type.
    """
    alphas = list(search.alphas.values())
    for alpha in alphas:
        alpha.requires_grad_(True)
    torch.manual_seed(seed)
    with DrawnInFloat32():
        losses = search.model(images, search.batches['train']['data_samples'], mode='loss')
        found = gradient_of(search.model.parse_losses(losses)[0], [*search.weights, *alphas])
    flat = [grad.double().flatten() for grad in found]
    weights, alpha = flat[: len(search.weights)], flat[len(search.weights) :]
    return [torch.cat(part) if part else torch.zeros(0) for part in (weights, alpha)]


def errors(settings: StepSettings, seed: int) -> dict[str, list[float | None]]:
    """Execution -> relative distances of weights' gradients and of alpha's, for one seed.

    None where the gradient is zero: FairNAS has no alpha, and the loss does not reach that of
    binary gates.
    """
    settings = replace(settings, seed=seed)
    exact = Search(settings, 'plain')
    images = images_of(exact)
    state = {key: value.clone() for key, value in exact.model.state_dict().items()}
    exact.model.double()
    reference = gradients(exact, images.double(), seed)
    result = {}
    for execution in settings.executions:
        search = Search(settings, execution, state=state)
        found = gradients(search, images_of(search), seed)
        pairs = zip(found, reference, strict=True)
        result[execution] = [
            float((one - other).norm() / other.norm()) if other.any() else None
            for one, other in pairs
        ]
    return result


def summarise(settings: StepSettings, found: list[dict[str, list[float | None]]]) -> dict[str, Any]:
    """Means over seeds, their ratio to plain's, and every seed's figures; None of what is zero."""
    result: dict[str, Any] = {}
    for i, part in enumerate(PARTS):
        for execution in settings.executions:
            values = [seed[execution][i] for seed in found]
            result[f'{execution}_{part}'] = None if None in values else statistics.fmean(values)
            result[f'{execution}_{part}_seeds'] = values
        ratio = divide(result.get(f'fused_{part}'), result.get(f'plain_{part}'))
        result[f'ratio_{part}'] = ratio
    return dict(result, seeds=len(found), **describe(settings))


def print_table(settings: StepSettings, result: dict[str, Any]) -> None:
    """The same for people."""
    print(f'{heading(settings)}, {plural(result["seeds"], "seed")}\n')
    print(f'{"execution":<24}{"weights":>12}{"x plain":>9}{"alpha":>12}{"x plain":>9}')
    for execution in settings.executions:
        cells = ''
        for part in PARTS:
            error = result[f'{execution}_{part}']
            ratio = divide(error, result.get(f'plain_{part}'))
            cells += '           -' if error is None else f'{error:>12.3e}'
            cells += '        -' if ratio is None else f'{ratio:>9.2f}'
        print(f'{execution:<24}{cells}')
    print('\nrelative L2 distance of float32 gradients to those of plain in float64')


def float32_error(settings: StepSettings, seeds: int = 5) -> dict[str, Any]:
    """The figures of :func:`summarise`.

    Args:
        settings (StepSettings): Prepared ones.
        seeds (int): How many, from the settings' on. Defaults to 5.

    Raises:
        UserError: There is no seed, or the settings have no meaning for float32.
    """
    if seeds < 1:
        raise UserError(f'--seeds must be 1 or more, but is {seeds}')
    if settings.amp or settings.order != 1:
        raise UserError('--amp and --order 2 have no meaning for the error of float32')
    return summarise(settings, [errors(settings, settings.seed + i) for i in range(seeds)])
