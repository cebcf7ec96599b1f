"""One file is read as any kind of record: the container and the record are two choices."""

from pathlib import Path

import pytest
from row_files import reader, rows_of

from etude.cli.main import main
from etude.config.composition import compose
from etude.config.config_file import load_config, save_config, to_experiment
from etude.errors import ConfigError
from etude.records import Pair, Preference, Text, Unused

ROW = '{"q": {"text": "a"}, "good": "b", "bad": "c"}\n'


def test_one_file_is_read_as_any_record_by_its_column_map(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(ROW)
    columns = {"prompt": "q.text", "chosen": "good", "rejected": "bad"}
    assert rows_of(reader("preference", file, **columns)) == [Preference("a", "b", "c")]
    pair, *unused = rows_of(reader("pair", file, source="q.text", target="good"))
    assert (pair, unused) == (Pair("a", "b"), [Unused("field 'bad'")])
    assert rows_of(reader("text", file, text="good"))[0] == Text("b")


def test_a_column_map_is_typed_on_the_command_line_and_survives_a_saved_config(
    tmp_path: Path,
) -> None:
    line = ["objective=dpo", "data=jsonl", "data/record=preference", "data.path=rows.jsonl"]
    line += ["data.columns.prompt=q.text", "data.columns.system=null", "init_from=a"]
    config = to_experiment(compose("train", line).config)
    save_config(config, tmp_path)
    assert load_config(tmp_path) == config
    assert vars(config.data)["columns"] == {"prompt": "q.text", "system": None}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "data.columns.promt=q",
            "data.columns has no 'promt'.\n  data/record=pair reads: source, target",
        ),
        ("data.columns.source=null", "data: columns.source must name a field"),
        ("data.columns.source=", "data: columns.source must name a field"),
        ("data.columns.source=[a]", "data.columns.source"),
        ("data.pack=false", "data.pack and intra_document have no effect with data/record=pair"),
    ],
)
def test_a_column_map_that_no_record_reads_is_refused(override: str, message: str) -> None:
    line = ["data=jsonl", "data/record=pair", "data.path=a", override]
    with pytest.raises(ConfigError) as error:
        to_experiment(compose("train", line).config)
    assert str(error.value).startswith(message)


def test_the_page_of_a_record_lists_the_names_of_the_column_map(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["show", "data/record=preference"]) == 0
    shown = capsys.readouterr().out
    for name in ("system", "tools", "prompt", "chosen", "rejected", "margin", "probability"):
        assert f"data.columns.{name} = " in shown
