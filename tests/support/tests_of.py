"""Which tests cover a module: `make test-of FILE=src/etude/objective/loss.py` runs them.

A test covers a module if it is in the mirrored place, imports it, or is listed in THROUGH_OTHERS.
"""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS, CORE, PLUGINS = ROOT / "tests", ROOT / "src/etude", ROOT / "plugins"
THROUGH_OTHERS = {
    "__main__.py": "etude/cli/test_main.py",
    "cli/completion.py": "etude/cli/test_main.py",
    "config/hydra_errors.py": "test_promises.py",
    "cli/verbs/train.py": "etude/cli/test_main.py",
    "cli/verbs/list.py": "etude/cli/test_main.py",
    "cli/verbs/show.py": "etude/cli/test_main.py",
    "cli/verbs/lineage.py": "etude/experiments/test_lineage.py",
    "cli/verbs/reproduce.py": "etude/experiments/test_reproduction.py",
    "cli/pages/plan.py": "etude/cli/verbs/test_plan.py",
    "planning/trial.py": "etude/cli/verbs/test_plan.py",
    "training/experiment.py": "etude/cli/test_main.py",
    "training/launch.py": "plugins/strategy/test_ddp.py",
    "training/progress.py": "test_promises.py",
    "training/trackers.py": "etude/training/test_run_writer.py",
    "cli/arguments.py": "etude/experiments/test_lineage.py",
    "cli/pages/report/records.py": "etude/cli/pages/test_report_page.py",
    "objective/context.py": "etude/objective/test_objective.py",
    "config/schema/blocks.py": "etude/config/test_config_file.py",
    "config/schema/curation.py": "etude/cli/verbs/test_label.py",
    "config/schema/generation.py": "etude/cli/verbs/test_generate.py",
    "config/schema/report.py": "etude/cli/verbs/test_report.py",
    "data/data_card.py": "etude/data/test_corpus.py",
    "data/tokenizer_files.py": "etude/data/test_chat_template.py",
    "data/tokenizer_source.py": "etude/data/test_tokenizer.py",
    "data/vocab.py": "etude/data/test_tokenizer.py",
    "evaluation/evaluator.py": "plugins/evaluator/test_generation.py",
    "evaluation/scorer.py": "plugins/scorer/test_exact.py",
    "laws/evaluator.py": "etude/laws/test_suites.py",
    "laws/prompting.py": "etude/laws/test_suites.py",
    "network/auxiliary_loss.py": "plugins/architecture/mlp/test_moe.py",
    "objective/corruption.py": "plugins/objective/corruption/test_infilling.py",
    "objective/ranks.py": "plugins/strategy/test_ddp.py",
    "objective/reward.py": "etude/rl/test_rewards.py",
    "planning/fake_rollout.py": "etude/planning/test_forecast.py",
    "planning/memory_meter.py": "etude/planning/test_forecast.py",
}
"""Modules that no test imports, with a test of a module that uses them."""


def covering_tests(file: Path) -> list[Path]:
    """The test files that cover a module of `src/etude` or `plugins`, sorted."""
    file = file.resolve()
    root = CORE if file.is_relative_to(CORE) else PLUGINS
    place = file.relative_to(root)
    base = TESTS / ("etude" if root == CORE else "plugins")
    found = {base / place.parent / f"test_{file.stem.lstrip('_')}.py"}
    if root == CORE and place.as_posix() in THROUGH_OTHERS:
        found.add(TESTS / THROUGH_OTHERS[place.as_posix()])
    name = ".".join(["etude", *(["plugins"] * (root == PLUGINS)), *place.with_suffix("").parts])
    found |= {test for test in TESTS.rglob("test_*.py") if name in _imports(test)}
    return sorted(test for test in found if test.is_file())


@cache
def _imports(file: Path) -> frozenset[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(names)


if __name__ == "__main__":
    tests = covering_tests(Path(sys.argv[1]))
    if not tests:
        sys.exit(f"no test covers {sys.argv[1]}")
    sys.exit(subprocess.call([sys.executable, "-m", "pytest", "-n", "2", *map(str, tests)]))
