"""How much the loss would change without a channel, to first order, over real mixtures.

The gate of a channel is a factor of one on all that it computes; without the channel it is zero.
The change is the derivative by the gate, (∂L/∂g)², its mean taken over batches (Molchanov et al.,
Importance Estimation for Neural Network Pruning, CVPR 2019, section 3.1 and 3.3). Batch norm and
ReLU scale with the gain γ and the bias β, so ∂L/∂g = Σ (γ ∂L/∂γ + β ∂L/∂β): no gate is built in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from distill import stft
from distill.losses import LossWeights, denoising_loss, si_sdr
from distill.mixing import Mixture
from distill.pruning import groups, per_channel
from distill.unet import UNet
from runtime.stft import StftContract

Pair = tuple[Tensor, Tensor]
"""Noisy and clean signals ``[batch, samples]``."""


def taylor_importance(
    network: UNet, loss: Callable[[UNet, Pair], Tensor], batches: Iterable[Pair]
) -> dict[str, Tensor]:
    """Importance ``[channels]`` of every group, by its name. Weights stay as they were.

    Raises InputError for a network that is not pruned.
    """
    parts = groups(network.config)
    total = {group.name: torch.zeros(group.channels) for group in parts}
    with _derivable(network) as parameters:
        for pair in batches:
            network.zero_grad(set_to_none=True)
            loss(network, pair).backward()
            for group in parts:
                change = torch.zeros(group.channels)
                for gain in group.gains:
                    value = parameters[gain.tensor]
                    assert value.grad is not None
                    product = (value.detach() * value.grad).cpu()
                    change += per_channel(product, gain, group.channels)
                total[group.name] += change.square()
        network.zero_grad(set_to_none=True)
    return total


@contextmanager
def _derivable(network: UNet) -> Iterator[dict[str, Tensor]]:
    """The parameters by name, with gradients, batch norm on its running statistics."""
    before = {name: value.requires_grad for name, value in network.named_parameters()}
    training = network.training
    network.requires_grad_(True).eval()
    try:
        yield dict(network.named_parameters())
    finally:
        network.train(training)
        for name, value in network.named_parameters():
            value.requires_grad_(before[name])


def denoising(contract: StftContract, weights: LossWeights) -> Callable[[UNet, Pair], Tensor]:
    """The loss that the network was trained with."""

    def loss(network: UNet, pair: Pair) -> Tensor:
        noisy, clean = pair
        level = noisy.square().mean(dim=-1).sqrt()
        estimate = _estimate(network, contract, noisy)
        return denoising_loss(contract, weights, estimate, clean, level).total

    return loss


def _estimate(network: UNet, contract: StftContract, noisy: Tensor) -> Tensor:
    spectra = stft.analyse(contract, noisy)
    mask = network(stft.features(contract, spectra)).mask
    return stft.apply_mask(contract, spectra, mask)


@torch.no_grad()
def mean_si_sdr(network: UNet, contract: StftContract, mixtures: Iterable[Mixture]) -> float:
    """Mean SI-SDR in dB of the denoised mixtures."""
    scores = []
    for mixture in mixtures:
        noisy, clean = (torch.from_numpy(x)[None] for x in (mixture.noisy, mixture.clean))
        estimate = _estimate(network, contract, noisy)
        scores.append(float(si_sdr(stft.synthesise(contract, estimate, len(mixture.clean)), clean)))
    return sum(scores) / len(scores)


@torch.no_grad()
def refresh_statistics(network: UNet, contract: StftContract, batches: Iterable[Pair]) -> None:
    """Means and variances of every batch norm anew, as averages over the batches.

    Those a network was trained with belong to the channels that it had: behind a cut they are
    wrong, and much of what a cut seems to cost is theirs.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain average
    network.train()
    for noisy, _ in batches:
        network(stft.features(contract, stft.analyse(contract, noisy)))
    network.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
