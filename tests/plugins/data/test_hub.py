"""The hub's formats on the disk give the rows that `datasets` gives; a failure says what to do."""

import json
from dataclasses import replace
from pathlib import Path
from socket import socket
from typing import Any

import pandas
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value, load_dataset
from datasets.exceptions import DatasetNotFoundError
from defaults import default
from row_files import reader
from servers import stub_server

from etude.config.composition import compose
from etude.config.config_file import to_experiment
from etude.config.registry import build
from etude.data.corpus import read
from etude.errors import ConfigError, DataError
from etude.plugins.data import hub
from etude.plugins.data.hub import advice
from etude.records import BadRow, Labelled, Record, Text

FEATURES = Features({"text": Value("string"), "label": ClassLabel(names=["neg", "pos"])})


def records(config: Any) -> list[Any]:
    return [one for one in build(config).records() if isinstance(one, Record | BadRow)]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A folder that `save_to_disk` wrote, with two splits."""
    train = Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]}, features=FEATURES)
    held_out = Dataset.from_dict({"text": ["c"], "label": [1]}, features=FEATURES)
    folder = tmp_path / "saved"
    DatasetDict({"train": train, "validation": held_out}).save_to_disk(folder)
    return folder


def test_a_saved_folder_gives_a_split_with_the_names_of_its_classes(saved: Path) -> None:
    config = reader("label", saved, "hub")
    assert records(config) == [Labelled("a", "neg"), Labelled("b", "pos")]
    config.split = "validation"
    assert records(config) == [Labelled("c", "pos")]
    config.path = str(saved / "validation")  # a single data set, which is the split `train`
    config.split = "train"
    assert records(config) == [Labelled("c", "pos")]
    config.split = "dev"
    with pytest.raises(DataError, match=r"Unknown split 'dev'. Available: \['train'\]"):
        records(config)


@pytest.mark.parametrize("suffix", ["csv", "json", "jsonl", "parquet", "txt"])
def test_a_folder_of_files_gives_what_datasets_loads(suffix: str, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    texts = [f"文档 {i}" for i in range(5)]
    frame = pandas.DataFrame({"text": texts})
    file = folder / f"train.{suffix}"
    (folder / f"test.{suffix}").write_text("")
    match suffix:
        case "csv":
            frame.to_csv(file, index=False)
        case "parquet":
            frame.to_parquet(file)
            frame.to_parquet(folder / "test.parquet")
        case "txt":
            file.write_text("\n".join(texts))
        case _:
            file.write_text("\n".join(json.dumps({"text": text}) for text in texts))
    loaded = load_dataset(str(folder), split="train", streaming=True)
    found = records(reader("text", folder, "hub"))
    assert found == [Text(row["text"]) for row in loaded] == [Text(text) for text in texts]
    assert not [*(tmp_path / "cache").rglob("*.arrow")], "a copy was made"


def test_the_fingerprint_of_a_folder_is_that_of_its_contents(saved: Path, tmp_path: Path) -> None:
    before = build(reader("label", saved, "hub")).fingerprint()
    assert build(reader("label", saved, "hub")).fingerprint() == before
    (saved / "train" / "state.json").write_text("{}")
    assert build(reader("label", saved, "hub")).fingerprint() != before


def test_a_place_is_named_by_split_and_row(tmp_path: Path) -> None:
    Dataset.from_dict({"text": ["a", ""]}).save_to_disk(tmp_path / "one")
    _, bad = records(reader("text", tmp_path / "one", "hub"))
    assert bad == BadRow(f"{tmp_path / 'one'}/train:2", "field 'text' is empty")


@pytest.mark.parametrize("split", ["test", "train+test", "test[:10%]"])
def test_a_test_split_is_never_trained_on(split: str) -> None:
    with pytest.raises(ConfigError, match=r"data\.split must not be a test split"):
        to_experiment(compose("train", ["data=hub", "data.path=a", f"data.split='{split}'"]).config)


def test_knobs_of_the_hub_are_refused_for_a_folder(saved: Path) -> None:
    with pytest.raises(DataError, match="have no effect"):
        build(default("data/hub", path=str(saved), revision="main"))


def test_a_missing_network_is_one_screen_that_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in ("datasets.config.HF_HUB_OFFLINE", "huggingface_hub.constants.HF_HUB_OFFLINE"):
        monkeypatch.setattr(module, True)
    config = default("data/hub", path="no/such-data", config="small")
    for attempt in (build(config).fingerprint, lambda: records(config)):
        with pytest.raises(DataError) as error:
            attempt()
        assert str(error.value).startswith("data=hub data.path=no/such-data: Couldn't reach")
        assert "load_dataset('no/such-data', 'small').save_to_disk(" in str(error.value)
    assert capsys.readouterr().err == ""


def test_a_hub_that_does_not_answer_is_reported_without_a_retry(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with socket() as silent:  # accepts connections and never answers
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
        monkeypatch.setattr(hub, "ANSWER_S", 0.1)
        with pytest.raises(DataError, match=f"Couldn't reach 'a' on the Hub: {url}: timed out"):
            build(default("data/hub", path="a")).fingerprint()
    with stub_server(str) as answers:  # with status 501
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", answers.url)
        hub.require_answer("a")


def test_a_gated_data_set_names_its_page_and_the_login() -> None:
    found = advice(default("data/hub", path="meta/x"), DatasetNotFoundError("gated"))
    assert "https://huggingface.co/datasets/meta/x" in found
    assert "hf auth login" in found
    assert advice(default("data/hub", path="x"), ValueError("Bad split")) == ""


def test_a_held_out_split_is_the_validation_side(saved: Path) -> None:
    config = default("data/hub", path=str(saved), val_split="validation")
    records = read(config)
    assert [*records.train] == [Text("a"), Text("b")]
    assert [*records.val] == [Text("c")]
    with pytest.raises(ValueError, match=r"no effect with data\.val_split"):
        replace(config, val_fraction=0.2)
