"""The prune command: an ordinary, smaller checkpoint with a table of what it cost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from distill.checkpoint import load_checkpoint
from distill.importance import mean_si_sdr
from distill.unet import UNet
from export.counting import parameters_of
from export.prune_cli import prune as command
from export.pruned import Share, Stage, macs_per_second, prune_checkpoint
from targets.command import run
from targets.errors import InputError


@pytest.fixture(autouse=True)
def few_mixtures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.pruned.BATCHES", 2)
    monkeypatch.setattr("export.pruned.BATCH", 2)
    monkeypatch.setattr("export.pruned.HELD_OUT_ITEMS", 2)


def pruned(folder: Path, share: Share, output: Path) -> list[Stage]:
    return prune_checkpoint(load_checkpoint(folder), share, output, None, lambda stage, done: None)


def invoke(*arguments: str) -> tuple[int, str]:
    with CliRunner().isolation() as (out, *_):
        status = run(command, "sordino prune", list(arguments))
        return status, out.getvalue().decode()


def test_keeping_all_changes_nothing(run_folder: Path, tmp_path: Path) -> None:
    stages = pruned(run_folder, Share(keep=1.0), tmp_path / "same")
    before, after = load_checkpoint(run_folder), load_checkpoint(tmp_path / "same")
    for name, value in before.network.state_dict().items():
        assert torch.equal(after.network.state_dict()[name], value)
    assert len({stage.si_sdr for stage in stages}) == 1


def test_half_is_a_checkpoint_of_half_the_sizes(run_folder: Path, tmp_path: Path) -> None:
    stages = pruned(run_folder, Share(keep=0.5), tmp_path / "half")
    parent, child = load_checkpoint(run_folder), load_checkpoint(tmp_path / "half")
    assert child.network.config.widths == (4, 4, 4)  # of (6, 8, 10), to multiples of four
    assert child.network.config.hidden == 8  # 6 of 12, to the nearest multiple: halves round up
    assert child.record.provenance["parent_sha256"] == parent.sha256
    assert "run" not in child.record.provenance
    last = stages[-1]
    assert last.parameters == parameters_of(UNet(child.network.config))
    assert last.macs_per_second == macs_per_second(child.network.config, child.record.contract)
    assert [stage.name for stage in stages] == ["before", "cut", "statistics anew"]
    assert stages[0].macs_per_second > last.macs_per_second


def test_the_score_is_that_of_what_was_written(run_folder: Path, tmp_path: Path) -> None:
    from distill.corpus import open_corpus
    from distill.mixing import evaluation_items

    stages = pruned(run_folder, Share(keep=0.7), tmp_path / "most")
    child = load_checkpoint(tmp_path / "most")
    corpus = open_corpus("demo")
    items = evaluation_items(corpus, corpus.held_out, 2, 4.0, 0)
    score = mean_si_sdr(child.network, child.record.contract, items)
    assert stages[-1].si_sdr == pytest.approx(score)


def test_a_target_of_work_is_kept_and_not_undercut_by_much(
    run_folder: Path, tmp_path: Path
) -> None:
    parent = load_checkpoint(run_folder)
    most = 0.7 * macs_per_second(parent.network.config, parent.record.contract)
    stages = pruned(run_folder, Share(most_macs_per_second=most), tmp_path / "work")
    assert stages[-1].macs_per_second <= most
    assert stages[-1].macs_per_second > 0.4 * most


def test_what_cannot_be_met_is_refused_and_leaves_nothing(run_folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "none"
    with pytest.raises(InputError, match="as small as"):
        pruned(run_folder, Share(most_macs_per_second=10.0), output)
    assert not output.exists()


def test_a_checkpoint_is_not_overwritten(run_folder: Path) -> None:
    with pytest.raises(InputError, match="already"):
        pruned(run_folder, Share(keep=0.5), run_folder / "student")


def test_the_command(run_folder: Path, tmp_path: Path) -> None:
    assert invoke(str(run_folder))[0] == 2
    assert invoke(str(run_folder), "--keep", "0.5", "--target-mac-per-second", "1e6")[0] == 2
    assert invoke(str(tmp_path / "nowhere"), "--keep", "0.5")[0] == 2
    status, text = invoke(str(run_folder), "--keep", "0.5", "--json")
    assert status == 0
    record = json.loads(text)
    assert record["checkpoint"] == str(run_folder / "pruned")
    assert len(record["stages"]) == 3
    status, text = invoke(str(run_folder), "--keep", "0.5", "-o", str(tmp_path / "again"))
    assert status == 0
    assert "statistics" in text
