import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from etude.data.file_search import describe_skipped, find_files
from etude.errors import DataError

TXT = (".txt",)


def write(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def names(path: Path | str, root: Path) -> list[str]:
    return [str(file.relative_to(root)) for file in find_files(str(path), TXT).paths]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Visible files at three depths, and everything that is no data or a link."""
    root = write(
        tmp_path / "corp",
        *(f"{folder}{i}.txt" for folder in ("", "a/", "a/deep/", "z/") for i in range(3)),
        *(".git/logs/x.txt", ".ipynb_checkpoints/a-checkpoint.txt", ".hidden.txt"),
        *("run/config.yaml", "run/steps.jsonl", "run/samples.txt", "run/tokenizer/x.txt"),
        *("wandb/offline/output.txt", "mlruns/0/note.txt", "lightning_logs/version_0/x.txt"),
        *("gpt2/config.json", "gpt2/tokenizer_config.json", "gpt2/merges.txt"),
        *("sweep/jobs/0.json", "sweep/leaderboard.md", "sweep/notes.txt"),
    )
    write(tmp_path / "elsewhere", "linked/1.txt", "one.txt")
    (root / "linked").symlink_to(tmp_path / "elsewhere" / "linked")
    (root / "one.txt").symlink_to(tmp_path / "elsewhere" / "one.txt")
    (root / "a" / "again").symlink_to(root / "z")
    (root / "a" / "loop").symlink_to(root)
    (root / "up").symlink_to("..")
    write(tmp_path, "unrelated.txt")
    (root / "self").symlink_to("self")
    (root / "broken.txt").symlink_to("nowhere")
    os.mkfifo(root / "pipe.txt")
    return root


def test_a_folder_a_pattern_and_a_link_name_the_same_files_in_the_same_order(
    corpus: Path, tmp_path: Path
) -> None:
    found = names(corpus, corpus)
    assert len(found) == len(set(found)) == 14
    assert {"linked/1.txt", "one.txt", "a/deep/0.txt"} <= set(found)
    assert names(corpus / "**" / "*.txt", corpus) == found
    assert names(f"{corpus}/**/**/*.txt", corpus) == found
    assert names(f"{tmp_path}/c*/**/*.txt", corpus) == found
    (tmp_path / "link").symlink_to(corpus)
    assert names(tmp_path / "link", tmp_path / "link") == found
    assert names(tmp_path / "link" / "**" / "*", tmp_path / "link") == found


def test_each_file_is_read_once_under_the_name_that_sorts_first(corpus: Path) -> None:
    files = find_files(str(corpus), TXT).paths
    assert len({file.resolve() for file in files}) == len(files)
    assert list(files) == sorted(files)


def test_what_is_not_read_is_counted_by_kind(corpus: Path) -> None:
    write(corpus, "a/table.csv", "b.CSV", "Makefile")
    assert find_files(str(corpus), TXT).skipped == {
        "hidden folders": 2,
        "hidden files": 1,
        "run folders": 1,
        "sweep folders": 1,
        "model folders": 1,
        "folders of experiment trackers": 3,
        ".csv files": 2,
        "suffixless files": 1,
        "broken links and special files": 3,
        "links to a folder above": 2,
    }


def test_the_cache_of_etude_is_no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "a.txt", "prepared/records/x.txt")
    monkeypatch.setenv("ETUDE_CACHE", str(tmp_path / "prepared"))
    assert names(tmp_path, tmp_path) == names(tmp_path / "**", tmp_path) == ["a.txt"]


def test_many_kinds_are_described_in_one_line() -> None:
    skipped = {f".{i} files": 10 - i for i in range(9)}
    assert describe_skipped(skipped).startswith(".0 files (10), .1 files (9)")
    assert describe_skipped(skipped).endswith("and 3 more kinds")


def test_many_links_between_folders_are_searched_once(tmp_path: Path) -> None:
    """Followed without a guard, 12 folders with links to each other have 12! paths."""
    for i in range(12):
        write(tmp_path, f"{i}/{i}.txt")
    for i in range(12):
        for j in range(12):
            (tmp_path / str(i) / f"link{j}").symlink_to(tmp_path / str(j))
    assert len(names(tmp_path, tmp_path)) == len(names(tmp_path / "**", tmp_path)) == 12


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.txt", ["b,c.txt", "book [1].txt"]),
        ("book [1].txt", ["book [1].txt"]),
        ("b,c.txt", ["b,c.txt"]),
        ("[ab]*.txt", ["b,c.txt", "book [1].txt"]),
        ("d[1]", ["d[1]/x.txt"]),
        ("d[1]/*", ["d[1]/x.txt"]),
        ("d*/x.txt", ["d[1]/x.txt"]),
        ("*/book [2].txt", ["e/book [2].txt"]),
        ("**/book*", ["book [1].txt", "e/book [2].txt"]),
        ("**", ["b,c.txt", "book [1].txt", "c.bin", "d[1]/x.txt", "e/book [2].txt"]),
        ("c.bin", ["c.bin"]),
    ],
)
def test_names_may_contain_the_signs_of_patterns(
    pattern: str, found: list[str], tmp_path: Path
) -> None:
    write(tmp_path, "b,c.txt", "book [1].txt", "c.bin", "d[1]/x.txt", "e/book [2].txt")
    assert names(f"{tmp_path}/{pattern}", tmp_path) == found


def test_a_tilde_is_the_home_folder_or_a_letter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(write(tmp_path, "a.txt", "~notes.txt")))
    monkeypatch.chdir(tmp_path)
    assert find_files("~/a.txt", TXT).paths == (tmp_path / "a.txt",)
    assert find_files("~notes.txt", TXT).paths == (Path("~notes.txt"),)


def test_compressed_files_and_capital_suffixes_belong_to_a_folder(tmp_path: Path) -> None:
    written = ("a.TXT", "b.txt.GZ", "c.txt.bz2", "d.txt.xz", "e.txt.zst")
    assert names(write(tmp_path, *written, "f.gz"), tmp_path) == list(written)


def test_what_is_named_itself_is_read_even_if_hidden_or_in_a_run(corpus: Path) -> None:
    for name in (".hidden.txt", "run/samples.txt", "wandb/offline/output.txt"):
        assert names(corpus / name, corpus) == [name]
    assert names(corpus / ".git", corpus) == [".git/logs/x.txt"]
    assert names(corpus / "wandb", corpus) == ["wandb/offline/output.txt"]
    assert names(corpus / ".*.txt", corpus) == [".hidden.txt"]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("absent.txt", "matches no file"),
        ("corp/*.md", "matches no file"),
        ("corp/*", "Not read: hidden files (1)"),
        ("corp/run", "Not read: run folders (1)"),
        ("corp/run/*.txt", "Not read: run folders (1)"),
        (
            "corp/csv",
            "contains no file with suffix .txt (or .gz, .bz2, .xz, .zst). Not read: .csv files (2)",
        ),
        ("corp/d*", "folder/**"),
    ],
)
def test_a_path_without_a_file_is_refused_with_what_is_there(
    path: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "corp/run/config.yaml", "corp/run/steps.jsonl", "corp/run/a.txt")
    write(tmp_path, "corp/csv/a.csv", "corp/csv/b.csv", "corp/.x.txt", "corp/deep/a.txt")
    with pytest.raises(DataError, match=f"data.path={path.replace('*', '[*]')} ") as raised:
        find_files(path, TXT)
    assert reason in str(raised.value)
    assert f"Relative paths start at {tmp_path}" in str(raised.value)


def test_a_folder_that_cannot_be_listed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path) -> Iterator[Path]:
        raise PermissionError(13, "Permission denied", str(folder))

    write(tmp_path, "a.txt")
    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(DataError, match=r"cannot be read: .*Permission denied"):
        find_files(str(tmp_path), TXT)
