"""A pruned checkpoint from a trained one: ranked, cut, and its statistics taken anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from distill.checkpoint import RECORD, Checkpoint, CheckpointRecord, save_checkpoint
from distill.corpus import Corpus, open_corpus
from distill.importance import Pair, denoising, mean_si_sdr, refresh_statistics, taylor_importance
from distill.losses import LossWeights
from distill.mixing import Mixer, MixSettings, Mixture, evaluation_items
from distill.pruning import MULTIPLE, groups, prune, smaller, strongest
from distill.unet import UNet, UNetConfig
from export.counting import macs_per_frame, parameters_of
from export.pipeline import training_corpus
from export.subjects import features_example
from runtime.stft import StftContract
from targets.errors import InputError

BATCHES, BATCH = 16, 8  # of training mixtures: what importance and statistics are taken from
HELD_OUT_ITEMS, HELD_OUT_SECONDS = 24, 4.0
SHARES = 64  # a target of work is met in sixty-fourths
CARRIED_OVER = ("corpus", "licence:")

Progress = Callable[[str, float], None]


class Stage(BaseModel):
    """One row of the table: a network, and its SI-SDR in dB on mixtures it was not trained on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    widths: tuple[int, ...]
    hidden: int
    parameters: int
    macs_per_second: float
    si_sdr: float


@dataclass(frozen=True)
class Share:
    """How much to keep: a share of channels and latents, or the most work."""

    keep: float | None = None
    most_macs_per_second: float | None = None


def prune_checkpoint(
    checkpoint: Checkpoint,
    share: Share,
    output: Path,
    data: str | None,
    progress: Progress,
    seed: int = 0,
) -> list[Stage]:
    """Write the pruned checkpoint to ``output``; rows before, after the cut, and as written.

    Importance and statistics come from training mixtures, scores from held-out ones of ``data``
    (default: what the checkpoint was trained on). Raises InputError.
    """
    if (output / RECORD).exists():
        raise InputError(
            f"{output} holds a checkpoint already.", hint="Choose another folder with -o."
        )
    network, contract = checkpoint.network, checkpoint.record.contract
    groups(network.config)  # refuses what is not pruned, before anything slow
    sizes = _sizes(checkpoint, share)
    corpus = training_corpus(checkpoint) if data is None else open_corpus(data)
    progress("mixing", 0.05)
    batches = _batches(checkpoint, corpus, seed)
    held_out = evaluation_items(corpus, corpus.held_out, HELD_OUT_ITEMS, HELD_OUT_SECONDS, seed)
    stages = [_stage("before", network, contract, held_out)]
    progress("ranking", 0.3)
    loss = denoising(contract, _section(checkpoint, "loss", LossWeights))
    ranked = taylor_importance(network, loss, batches)
    progress("cutting", 0.7)
    pruned = prune(network, strongest(ranked, sizes))
    stages.append(_stage("cut", pruned, contract, held_out))
    progress("statistics", 0.85)
    if sizes != network.config:
        refresh_statistics(pruned, contract, batches)
    stages.append(_stage("statistics anew", pruned, contract, held_out))
    save_checkpoint(output, pruned, _record(checkpoint, pruned, corpus))
    return stages


def macs_per_second(config: UNetConfig, contract: StftContract) -> float:
    """Multiply-accumulates of a network of these sizes."""
    macs = macs_per_frame(UNet(config), features_example(config.bins))
    return macs * contract.steps_per_second


def _sizes(checkpoint: Checkpoint, share: Share) -> UNetConfig:
    config, contract = checkpoint.network.config, checkpoint.record.contract
    if share.keep is not None:
        return smaller(config, share.keep)
    most = share.most_macs_per_second
    assert most is not None
    if macs_per_second(config, contract) <= most:
        return config
    low, high = 0, SHARES  # ``low`` is affordable or 0, ``high`` is not
    while high - low > 1:
        middle = (low + high) // 2
        affordable = macs_per_second(smaller(config, middle / SHARES), contract) <= most
        low, high = (middle, high) if affordable else (low, middle)
    if low == 0:
        least = macs_per_second(smaller(config, 1 / SHARES), contract)
        raise InputError(
            f"No network of this depth is as small as {most:g} MAC/s.",
            hint=f"With {MULTIPLE} channels a level and {MULTIPLE} latents it has {least:,.0f}; "
            "fewer levels or coarser hops need a network trained anew.",
        )
    return smaller(config, low / SHARES)


def _batches(checkpoint: Checkpoint, corpus: Corpus, seed: int) -> list[Pair]:
    mixer = Mixer(corpus, "train", _section(checkpoint, "mixing", MixSettings), seed)
    drawn = (mixer.rows(BATCH * index, BATCH) for index in range(BATCHES))
    return [(torch.from_numpy(noisy), torch.from_numpy(clean)) for noisy, clean in drawn]


def _section(checkpoint: Checkpoint, name: str, model: type[Any]) -> Any:
    """A section of the recipe that the checkpoint was made by; defaults where it has none."""
    try:
        return model.model_validate(checkpoint.record.recipe.get(name, {}))
    except ValidationError as error:
        raise InputError(
            f"The {name} in the recipe of {checkpoint.path} cannot be used here: "
            f"{error.errors()[0]['msg']}.",
            hint="Prune where the checkpoint was trained, or distil it again.",
        ) from error


def _stage(name: str, network: UNet, contract: StftContract, held_out: list[Mixture]) -> Stage:
    config = network.config
    return Stage(
        name=name,
        widths=config.widths,
        hidden=config.hidden,
        parameters=parameters_of(network),
        macs_per_second=macs_per_second(config, contract),
        si_sdr=mean_si_sdr(network, contract, held_out),
    )


def _record(checkpoint: Checkpoint, pruned: UNet, corpus: Corpus) -> CheckpointRecord:
    parent = checkpoint.record
    carried = {
        name: value for name, value in parent.provenance.items() if name.startswith(CARRIED_OVER)
    }
    return parent.model_copy(
        update={
            "preset": "pruned",
            "architecture": pruned.config,
            "scores": {},
            "provenance": {
                **carried,
                "parent_sha256": checkpoint.sha256,
                "parent_preset": parent.preset,
                "pruning": "first-order Taylor importance, batch-norm statistics anew",
                "pruning_data": corpus.name,
                "pruning_data_sha256": corpus.fingerprint,
            },
        }
    )
