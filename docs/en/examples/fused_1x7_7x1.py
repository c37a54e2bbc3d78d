"""A fused candidate of one's own: ReLU, a 1x7 and a 7x1 convolution, batch norm."""

import torch
import torch.nn.functional as F

from rdarts.models.fused.candidates.base import FusedCandidate, Terms
from rdarts.models.fused.node import cast
from rdarts.models.kernels import to_nchw, to_nhwc
from rdarts.models.layers import StackedBatchNorm2d, StackedConv2d, StackedSequence, is_relu
from rdarts.registry import FUSED_CANDIDATES


@FUSED_CANDIDATES.register_module()
class Conv1x7Then7x1(FusedCandidate):
    """y = B A relu(x): A of all edges is one convolution, B one with a group an edge."""

    def __init__(self, first, second, norm):
        self.convs, self.norms = (first, second), (norm,)

    @classmethod
    def match(cls, operation):
        kinds = (StackedConv2d, StackedConv2d, StackedBatchNorm2d)
        if type(operation) is not StackedSequence or len(operation) != 4:
            return None
        relu, *layers = operation
        if not is_relu(relu) or any(type(x) is not k for x, k in zip(layers, kinds, strict=True)):
            return None
        sizes = [tuple(conv.weight.shape[-2:]) for conv in layers[:2]]
        return cls(*layers) if sizes == [(1, 7), (7, 1)] else None

    def parameters(self):
        return [conv.weight for conv in self.convs]

    def convolve(self, r, weights):
        """[N, C, H, W] -> [N, E O, h, w]."""
        for conv, weight, groups in zip(self.convs, weights, (1, len(weights[0])), strict=True):
            args = dict(conv.args, groups=groups)
            r = F.conv2d(r, weight.flatten(0, 1), **args)
        return r

    def forward(self, node, part, params, save):
        weights = [cast(weight, node.image.dtype) for weight in params]
        y = to_nhwc(self.convolve(to_nchw(node.image).relu(), weights))
        moments = node.backend.moments(y)
        edges = len(part.edges)
        y = y.unflatten(3, (edges, -1)).permute(3, 0, 1, 2, 4)  # [E, N, h, w, O]
        save(y)
        return Terms(y.unbind(0), moments.unflatten(1, (edges, -1)).transpose(0, 1))

    def backward(self, node, part, params, saved, grad, sink):
        a, b, c = grad.coefficients.unbind(0)
        pairs = zip(grad.images, saved.tensors[0], a, b, c, strict=True)
        dy = torch.cat([(ae * g + be * y + ce).to(y.dtype) for g, y, ae, be, ce in pairs], 3)
        with torch.enable_grad():
            r = to_nchw(node.image).relu().requires_grad_()
            weights = [cast(w.detach(), r.dtype).requires_grad_(grad.want_weights) for w in params]
            y = self.convolve(r, weights)
        wanted = [r, *weights] if grad.want_weights else [r]
        dr, *found = torch.autograd.grad(y, wanted, to_nchw(dy))
        sink.add_before_relu(to_nhwc(dr))
        return found if grad.want_weights else [None, None]
