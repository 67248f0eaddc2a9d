"""The folder of a user's own profiles."""

from pathlib import Path

import pytest

from targets.catalog import BUILTIN, list_targets, load_target, origin_of
from targets.errors import InputError
from targets.own import own_folder, own_names, own_profiles
from targets.writing import profile_text
from tests.targets.test_catalog import OWN


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SORDINO_TARGETS", str(tmp_path))
    return tmp_path


def test_where_the_folder_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SORDINO_TARGETS", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert own_folder() == tmp_path / ".config" / "sordino" / "targets"
    assert own_names() == ()  # there is none
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")  # which its specification has us ignore
    assert own_folder() == tmp_path / ".config" / "sordino" / "targets"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    assert own_folder() == tmp_path / "xdg" / "sordino" / "targets"
    monkeypatch.setenv("SORDINO_TARGETS", "~/mine")
    assert own_folder() == tmp_path / "mine"


def test_a_profile_of_the_folder_is_found_by_name(folder: Path) -> None:
    (folder / "my-board.toml").write_text(OWN, "utf-8")
    target = load_target("my-board")
    assert target.name == "my-board"
    assert origin_of(target) == "custom"
    assert target not in list_targets()
    with pytest.raises(InputError) as caught:
        load_target("my-bord")
    assert "'my-board'" in caught.value.hint


def test_a_broken_file_hinders_no_other(folder: Path) -> None:
    (folder / "my-board.toml").write_text(OWN, "utf-8")
    (folder / "broken.toml").write_bytes(b"\xff\xfe")
    (folder / "other.toml").write_text(OWN, "utf-8")  # it calls itself my-board
    (folder / "folder.toml").mkdir()
    (folder / "notes.txt").write_text("no profile", "utf-8")
    assert load_target("my-board").core == "cortex-m4"
    assert load_target("cortex-m4").core == "cortex-m4"
    found = {one.path.stem: one for one in own_profiles(BUILTIN)}
    assert set(found) == {"broken", "folder", "my-board", "other"}
    assert found["my-board"].target is not None
    assert all(one.reason for name, one in found.items() if name != "my-board")
    with pytest.raises(InputError, match="calls itself 'my-board'"):
        load_target("other")
    with pytest.raises(InputError):
        load_target("broken")


@pytest.mark.parametrize("changed", [True, False])
def test_a_builtin_name_cannot_be_taken(folder: Path, changed: bool) -> None:
    shipped = load_target("cortex-m4")
    text = profile_text(shipped)
    if changed:
        text = text.replace("clock_mhz = 64", "clock_mhz = 640")
        assert "640" in text
    (folder / "cortex-m4.toml").write_text(text, "utf-8")
    assert load_target("cortex-m4") == shipped
    (listed,) = own_profiles(BUILTIN)
    assert listed.target is None
    assert "built-in" in listed.reason


def test_names_do_not_lead_out_of_the_folder(folder: Path, tmp_path: Path) -> None:
    (tmp_path.parent / "outside.toml").write_text(OWN, "utf-8")
    for name in ("../outside", str(tmp_path.parent / "outside")):
        with pytest.raises(InputError, match="No target"):
            load_target(name)
