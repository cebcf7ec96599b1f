"""Settings found by benchmarking: once per machine, stored in each run and reused on resume."""

import ctypes
import json
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from etude.errors import ConfigError
from etude.files.cache import cached_folder
from etude.files.json_file import reading
from etude.files.run_folder import HARDWARE
from etude.files.seal import read_sealed_json, sealed_fault, write_sealed


@dataclass(frozen=True)
class Hardware:
    """Precision of fp32 matrix products and number of threads on this machine."""

    matmul_precision: str
    """torch.set_float32_matmul_precision: highest, or medium if it is faster and as accurate."""
    threads: int
    speedup: float
    """Measured speedup of the chosen precision over torch's default."""

    def apply(self) -> None:
        """Applies the settings to this process."""
        torch.set_float32_matmul_precision(self.matmul_precision)
        torch.set_num_threads(self.threads)
        keep_freed_pages()


def refuse_missing(accelerator: str) -> None:
    """Raises ConfigError for an accelerator that this machine does not have."""
    available = {"gpu": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available.get(accelerator, True):
        seen = ", ".join(["cpu", *(name for name in available if available[name])])
        raise ConfigError(
            f"trainer.accelerator={accelerator}: no {accelerator.upper()} is available.\n"
            f"  Available: {seen}; trainer.accelerator=auto chooses the fastest."
        )


def load_or_benchmark(folder: Path) -> Hardware:
    """Returns the settings stored in a run folder; stores this machine's if there are none.

    The machine is benchmarked once, so the jobs of a sweep use the same settings.
    """

    def write(inside: Path) -> None:
        (inside / HARDWARE).write_text(json.dumps(asdict(benchmark()), indent=2) + "\n", "utf-8")

    file = folder / HARDWARE
    if not file.exists() or sealed_fault(file):
        if file.exists():
            print(f"{file} is damaged; it now has the settings of this machine.", file=sys.stderr)
        threads = torch.get_num_threads()
        cached = cached_folder(f"hardware/torch{torch.__version__}-{threads}threads", write)
        write_sealed(file, (cached / HARDWARE).read_text(encoding="utf-8"))
    with reading(file):
        return Hardware(**read_sealed_json(file))


def benchmark(size: int = 512, rounds: int = 7) -> Hardware:
    """Benchmarks a matrix product at "highest" and "medium" precision.

    On some CPUs "medium" uses oneDNN's fp32 kernels: twice as fast and as accurate. On others it
    uses bf16, with errors a thousand times larger. It is chosen only if its error is within that
    of a different fp32 summation order and it is at least 5 % faster.
    """
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(size, size, generator=generator) for _ in range(2))
    exact = a.double() @ b.double()
    seconds: dict[str, list[float]] = {"highest": [], "medium": []}
    errors: dict[str, float] = {}
    before = torch.get_float32_matmul_precision()
    for _ in range(rounds):
        for precision, times in seconds.items():
            torch.set_float32_matmul_precision(precision)
            start = time.perf_counter()
            product = a @ b
            times.append(time.perf_counter() - start)
            errors[precision] = float((product - exact).abs().max())
    torch.set_float32_matmul_precision(before)
    speedup = statistics.median(seconds["highest"]) / statistics.median(seconds["medium"])
    is_better = errors["medium"] <= 8 * errors["highest"] and speedup > 1.05
    return Hardware(
        "medium" if is_better else "highest", torch.get_num_threads(), speedup if is_better else 1.0
    )


def keep_freed_pages() -> None:
    """Makes glibc keep freed pages: writing to fresh pages is eight times slower."""
    trim_threshold = -1
    mmap_max = -4
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # not glibc, such as on macOS
        return
    mallopt(mmap_max, 0)
    mallopt(trim_threshold, 2**31 - 1)
