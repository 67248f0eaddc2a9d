"""``sordino data scan``: what it lists, what it skips, and what it refuses."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from distill.corpus import SPLITS, open_corpus
from distill.data_cli import data
from distill.manifest import load_manifest, manifest_clips, scan
from distill.mixing import Mixer, MixSettings
from targets.errors import InputError
from tests.distill.recordings import bursts, tone, write


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Eight speakers of two files each and nine noises: mixed formats, rates and channels."""
    speech, noise = tmp_path / "speech", tmp_path / "noise"
    formats = [("wav", 8_000, 1), ("flac", 44_100, 2), ("ogg", 48_000, 1), ("mp3", 22_050, 2)]
    for number in range(16):
        suffix, rate, channels = formats[number % 4]
        samples = bursts(number, 0.5 * rate / 16_000)[:, None].repeat(channels, axis=1)
        write(speech / f"anna{number // 2}/{number}.{suffix}", samples, rate)
    for number in range(9):
        write(noise / f"rain/{number}.wav", bursts(50 + number, 0.5))
    return speech, noise


def test_a_scan_opens_as_a_corpus(folders: tuple[Path, Path], tmp_path: Path) -> None:
    manifest = scan(*folders, tmp_path / "manifest", licence="CC0-1.0", noise_licence="CC-BY-4.0")
    assert manifest.skipped == ()
    assert len(manifest.recordings) == 25
    assert load_manifest(tmp_path / "manifest") == manifest
    corpus = open_corpus(tmp_path / "manifest")
    assert corpus.licences == {"CC0-1.0": "16 clips", "CC-BY-4.0": "9 clips"}
    assert not corpus.synthetic
    for clips in (corpus.speech, corpus.noise):
        groups = [{clip.group for clip in clips(split)} for split in SPLITS]
        assert all(groups)
        assert sum(map(len, groups)) == len(set.union(*groups))
    assert {clip.type for clip in corpus.noise("train")} == {"rain"}
    item = Mixer(corpus, "test", MixSettings(seconds=0.5), 0).item(0)
    assert np.isfinite(item.noisy).all()


def test_paths_are_relative_below_the_manifest_and_absolute_elsewhere(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    beside = scan(*folders, tmp_path / "m.json")
    assert beside.recordings[0].path == "speech/anna0/0.wav"
    (tmp_path / "runs").mkdir()
    away = scan(*folders, tmp_path / "runs/m.json")
    assert Path(away.recordings[0].path).is_absolute()
    assert len(manifest_clips(tmp_path / "runs/m.json")) == 25
    moved = tmp_path.rename(tmp_path.with_name(tmp_path.name + "-moved"))
    assert len(manifest_clips(moved / "m.json")) == 25


def test_splits_do_not_depend_on_where_the_folders_are(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    first = scan(*folders, tmp_path / "m.json")
    for folder in folders:
        folder.rename(tmp_path / f"other-{folder.name}")
    again = scan(tmp_path / "other-speech", tmp_path / "other-noise", tmp_path / "m.json")
    assert [(r.group, r.split) for r in first.recordings] == [
        (r.group, r.split) for r in again.recordings
    ]


def test_files_directly_in_the_folder_are_speakers_of_their_own(tmp_path: Path) -> None:
    for number in range(5):
        write(tmp_path / f"s/{number}.wav", bursts(number, 0.3))
    write(tmp_path / "n/hiss.wav", bursts(9, 0.3))
    manifest = scan(tmp_path / "s", tmp_path / "n", tmp_path / "m.json")
    speakers = {r.group for r in manifest.recordings if r.kind == "speech"}
    assert speakers == {f"speech/{number}.wav" for number in range(5)}


def test_the_same_recording_under_two_speakers_counts_as_one(tmp_path: Path) -> None:
    for number in range(6):
        write(tmp_path / f"s/p{number}/a.wav", bursts(number, 0.3))
    write(tmp_path / "s/p5/copy.wav", bursts(0, 0.3))
    write(tmp_path / "n/hiss.wav", bursts(9, 0.3))
    manifest = scan(tmp_path / "s", tmp_path / "n", tmp_path / "m.json")
    group = {r.path: r.group for r in manifest.recordings}
    assert group["s/p5/a.wav"] == group["s/p5/copy.wav"] == group["s/p0/a.wav"]


def test_what_cannot_be_used_is_listed_and_the_rest_kept(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    speech, _ = folders
    (speech / "anna0/text.wav").write_text("this is text")
    (speech / "anna0/empty.flac").write_bytes(b"")
    write(speech / "anna0/none.wav", np.zeros(0, np.float32))
    write(speech / "anna0/silent.wav", np.zeros(8000, np.float32))
    write(speech / "anna0/blip.wav", tone(0.01))
    nan = tone(0.5)
    nan[100] = np.nan
    soundfile.write(speech / "anna0/nan.wav", nan, 16_000, subtype="FLOAT")
    (speech / "anna0/._hidden.wav").write_text("left by a file manager")
    (speech / "notes.txt").write_text("not looked at")
    manifest = scan(*folders, tmp_path / "m.json")
    reasons = {Path(skipped.path).stem: skipped.reason for skipped in manifest.skipped}
    assert set(reasons) == {"text", "empty", "none", "silent", "blip", "nan"}
    assert "not an audio file" in reasons["text"]
    assert "NaN" in reasons["nan"]
    assert len(manifest.recordings) == 25


def run(*arguments: object) -> Result:
    return CliRunner().invoke(data, ["scan", *map(str, arguments)], standalone_mode=False)


def test_the_command_prints_a_summary_and_warnings(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    (folders[0] / "broken.wav").write_text("text")
    result = run(*folders, "-o", tmp_path / "m.json")
    assert result.exception is None
    assert "speech" in result.output
    assert "Skipped 1 files" in result.output
    result = run(*folders, "-o", tmp_path / "m.json", "--json")
    summary = json.loads(result.stdout)
    assert summary["splits"]["speech"]["train"]["groups"] == 6
    assert sum(split["files"] for split in summary["splits"]["noise"].values()) == 9
    assert len(summary["skipped"]) == 1


def test_bad_folders_are_bad_input(folders: tuple[Path, Path], tmp_path: Path) -> None:
    speech, noise = folders
    output = tmp_path / "m.json"
    empty = tmp_path / "empty"
    empty.mkdir()
    unreadable = tmp_path / "unreadable"
    unreadable.mkdir()
    (unreadable / "a.wav").write_text("text")
    a_file = next(noise.rglob("*.wav"))
    for first, second, message in (
        (tmp_path / "none", noise, "does not exist"),
        (speech, a_file, "is a file, not a folder"),
        (speech, empty, "No recordings in"),
        (unreadable, noise, "No usable recording in .* is not an audio file"),
        (speech, speech / "anna0", "overlap"),
        (speech, speech, "overlap"),
    ):
        result = run(first, second, "-o", output)
        assert isinstance(result.exception, InputError)
        assert result.exception.exit_code == 2
        assert result.exception.hint
        with pytest.raises(InputError, match=message):
            raise result.exception
    assert not output.exists()
    with pytest.raises(InputError, match="is a folder"):
        scan(speech, noise, empty)
    with pytest.raises(InputError, match="No folder"):
        scan(speech, noise, tmp_path / "nowhere/m.json")


def test_a_failed_scan_keeps_the_manifest_that_was_there(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    output = tmp_path / "m.json"
    scan(*folders, output)
    before = output.read_bytes()
    assert isinstance(run(folders[0], tmp_path / "none", "-o", output).exception, InputError)
    assert output.read_bytes() == before
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_a_folder_that_cannot_be_written_is_bad_input(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(InputError, match="cannot be written \\(read-only file system\\)"):
        scan(*folders, tmp_path / "m.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["noise", "speech"]


def test_files_that_are_gone_are_counted_and_the_first_is_named(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    scan(*folders, tmp_path / "m.json")
    for number in (2, 5):
        (folders[1] / f"rain/{number}.wav").unlink()
    with pytest.raises(InputError, match=r"2 of 25 .*noise/rain/2\.wav") as caught:
        open_corpus(tmp_path / "m.json")
    assert "scan again" in caught.value.hint


def test_a_file_that_was_replaced_is_noticed(folders: tuple[Path, Path], tmp_path: Path) -> None:
    scan(*folders, tmp_path / "m.json")
    write(folders[1] / "rain/3.wav", bursts(1, 0.9))
    with pytest.raises(InputError, match=r"1 recordings changed .*noise/rain/3\.wav"):
        open_corpus(tmp_path / "m.json")


def test_a_manifest_with_mistakes_is_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    output = tmp_path / "m.json"
    scan(*folders, output)
    whole = json.loads(output.read_text())

    def refused(changed: object, message: str) -> None:
        output.write_text(json.dumps(changed))
        with pytest.raises(InputError, match=message):
            open_corpus(output)

    refused({**whole, "colour": "red"}, "colour")
    refused({**whole, "schema": "sordino-manifest/9"}, "schema")
    refused({**whole, "recordings": []}, "no recordings")
    crossing = json.loads(json.dumps(whole))
    first = crossing["recordings"][0]
    first["split"] = "test" if first["split"] != "test" else "train"
    refused(crossing, "more than one split")
    output.write_text("{ not json")
    with pytest.raises(InputError, match="not a manifest"):
        open_corpus(output)
