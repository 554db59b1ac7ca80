"""What counts towards the size that `nox -s size` prints."""

from pathlib import Path

from tests import size


def written(folder: Path, **lines: int) -> list[Path]:
    for name, count in lines.items():
        (folder / f"{name}.py").write_text("x = 1\n" * count)
    return size.modules(folder)


def test_a_one_line_init_file_is_not_counted(tmp_path: Path) -> None:
    assert size.size(written(tmp_path, __init__=1, one=70)) == size.Size(71, 1)


def test_modules_below_sixty_lines_are_small(tmp_path: Path) -> None:
    assert [path.stem for path in size.small(written(tmp_path, __init__=5, big=60, little=59))] == ["little"]


def test_names_that_stand_twice_are_counted(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    written(tmp_path / "inner", files=1)

    assert size.namesakes(written(tmp_path, files=1, other=1)) == {"files": 2}
