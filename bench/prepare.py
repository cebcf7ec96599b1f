"""Preparation of raw text: `etude data` against the usual route through `datasets`, in turns.

    python bench/prepare.py [text.jsonl] [MB] [rounds]

Both read the same JSON Lines with the same tokenizer (byte-level BPE of 8,192 tokens, trained on
the beginning of the text) and write rows of 256 tokens. `datasets` maps the tokenizer and the
grouping with two processes, as in transformers' run_clm.py, and saves the result to disk. Each
command starts with an empty cache. Without a file, the text is the docstrings and the source code
of the installed Python packages, each once.

Prints the median of the ratios of each round: wall time and CPU time, with the start of the command
and without it (less the time for the first 100 documents), the peak memory of all processes of a
command (proportional set size: a page that n processes share counts 1/n in each), and bytes on
disk. Then the seconds of a second start, which reads the cache.
"""

import ast
import json
import os
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import psutil
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

MB = 10**6
SEQ_LEN = 256
VOCAB = 8192


@dataclass(frozen=True)
class Cost:
    """What a command took: seconds, CPU seconds, and peak bytes in memory and on disk."""

    seconds: float
    cpu_seconds: float
    memory: int
    disk: int

    def after(self, start: "Cost") -> "Cost":
        """The same cost without the time of the start."""
        times = self.seconds - start.seconds, self.cpu_seconds - start.cpu_seconds
        return Cost(*times, self.memory, self.disk)


def main() -> int:
    given = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    n_bytes = int(float(sys.argv[2]) * MB) if len(sys.argv) > 2 else 20 * MB
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 5
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        text = place / "text.jsonl"
        lines = documents() if given is None else given.open("rb")
        text.write_bytes(b"".join(_first(lines, n_bytes)))
        train_tokenizer(text, place / "tokenizer")
        few = place / "few.jsonl"
        few.write_bytes(b"".join(islice(text.open("rb"), 100)))
        print(f"{text.stat().st_size / MB:.1f} MB; load {os.getloadavg()[0]:.1f}", flush=True)
        pairs: list[tuple[Cost, Cost]] = []
        starts: list[tuple[Cost, Cost]] = []
        again: list[Cost] = []
        for number in range(rounds):
            folders = [place / f"{name}{number}" for name in ("etude", "datasets")]
            starts.append(costs(few, place, [place / f"few_{one.name}" for one in folders]))
            pairs.append(costs(text, place, folders))
            again.append(cost(etude(text, place), folders[0]))
            print(*map(shown, (*pairs[-1], again[-1])), sep=" | ", flush=True)
    started = [
        tuple(one.after(start) for one, start in zip(*both, strict=True))
        for both in zip(pairs, starts, strict=True)
    ]
    for name in ("seconds", "cpu_seconds"):
        print(f"{name} without the start: {ratio(started, name)}")
    for name in ("seconds", "cpu_seconds", "memory", "disk"):
        print(f"{name}: {ratio(pairs, name)}")
    seconds = [[one.seconds for one in side] for side in zip(*starts, strict=True)]
    print("start: étude {:.1f} s, datasets {:.1f} s".format(*map(statistics.median, seconds)))
    print(f"second start: {statistics.median(one.seconds for one in again):.1f} s")
    return 0


def ratio(pairs: Sequence[Sequence[Cost]], name: str) -> str:
    """The median of the ratios of a cost, for people."""
    ratios = [getattr(theirs, name) / getattr(ours, name) for ours, theirs in pairs]
    return f"datasets takes {statistics.median(ratios):.2f} times as much"


def costs(text: Path, place: Path, folders: Sequence[Path]) -> tuple[Cost, Cost]:
    """What étude and `datasets` take to prepare a text, each in a folder of its own."""
    ours, theirs = folders
    return cost(etude(text, place), ours), cost(usual(text, place), theirs)


def etude(text: Path, place: Path) -> list[str]:
    """The command that prepares a text with étude."""
    overrides = ["objective=clm", "data=jsonl", f"data.path={text}", f"data.seq_len={SEQ_LEN}"]
    tokenizer = ["tokenizer=pretrained", f"tokenizer.path={place / 'tokenizer'}"]
    return [sys.executable, "-m", "etude", "data", *overrides, *tokenizer]


def usual(text: Path, place: Path) -> list[str]:
    """The command that prepares a text with `datasets`."""
    return [sys.executable, __file__, "--datasets", str(text), str(place / "tokenizer")]


def map_with_datasets(text: str, tokenizer_folder: str) -> None:
    """Tokenises a text and groups it into rows with `datasets`, as run_clm.py does."""
    from datasets import load_dataset
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)

    def encode(batch: dict[str, Any]) -> Any:
        return tokenizer(batch["text"])

    def group(batch: dict[str, Any]) -> dict[str, Any]:
        joined = {key: list(chain(*values)) for key, values in batch.items()}
        total = len(joined["input_ids"]) // SEQ_LEN * SEQ_LEN
        rows = {
            key: [ids[i : i + SEQ_LEN] for i in range(0, total, SEQ_LEN)]
            for key, ids in joined.items()
        }
        return {**rows, "labels": rows["input_ids"].copy()}

    raw = load_dataset("json", data_files=text, split="train")
    encoded = raw.map(encode, batched=True, num_proc=2, remove_columns=raw.column_names)
    encoded.map(group, batched=True, num_proc=2).save_to_disk(f"{os.environ['HF_HOME']}/saved")


def cost(command: list[str], folder: Path) -> Cost:
    """Runs a command whose caches and results are in a folder."""
    settings = {"ETUDE_CACHE": str(folder), "HF_HOME": str(folder), "HF_HUB_OFFLINE": "1"}
    environment = os.environ | settings
    start = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    memory = 0
    while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
        memory = max(memory, _resident(process.pid))
        time.sleep(0.05)
    assert ended[1] == 0, command
    seconds = time.perf_counter() - start
    disk = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return Cost(seconds, ended[2].ru_utime + ended[2].ru_stime, memory, disk)


def shown(one: Cost) -> str:
    """A cost for people."""
    sizes = f"{one.memory / MB:.0f} MB of memory, {one.disk / MB:.0f} MB on disk"
    return f"{one.seconds:.1f} s, {one.cpu_seconds:.1f} CPU s, {sizes}"


def train_tokenizer(text: Path, folder: Path) -> None:
    """Writes a byte-level BPE tokenizer that is trained on the first 5 MB of a text."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    with text.open("rb") as lines:
        inner.train_from_iterator(
            (json.loads(line)["text"] for line in _first(lines, 5 * MB)), trainer
        )
    folder.mkdir()
    inner.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": special[0]}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")


def documents() -> Iterator[bytes]:
    """The docstrings of the installed packages, then their source files, as lines of JSON."""
    files = sorted(Path(sysconfig.get_path("purelib")).rglob("*.py"))
    for read in (_docstrings, _source):
        for text in dict.fromkeys(chain.from_iterable(map(read, files))):
            yield json.dumps({"text": text}, ensure_ascii=False).encode() + b"\n"


def _docstrings(file: Path) -> Iterator[str]:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for source in _source(file):
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, documented) and (text := ast.get_docstring(node)):
                yield text


def _source(file: Path) -> Iterator[str]:
    """The source of a file; nothing if it is not valid."""
    with suppress(SyntaxError, ValueError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        text = file.read_text(encoding="utf-8")
        ast.parse(text)
        if "\0" not in text and text.strip():
            yield text


def _first(lines: Iterable[bytes], n_bytes: int) -> Iterator[bytes]:
    """The first lines, up to a size."""
    for line in lines:
        if (n_bytes := n_bytes - len(line)) < 0:
            return
        yield line


def _resident(pid: int) -> int:
    """The proportional set size of a process and its descendants, in bytes."""
    total = 0
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                total += one.memory_full_info().pss
    return total


if __name__ == "__main__":
    if sys.argv[1:2] == ["--datasets"]:
        map_with_datasets(*sys.argv[2:])
    else:
        sys.exit(main())
