"""The report page: how it reads runs, and the HTML that it writes."""

import fcntl
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from recorded import report_data, run, write_lines

from etude.cli.pages.report import evaluations
from etude.cli.pages.report.curves import MAX_POINTS, cost, curve_data, panels, thin_indices
from etude.cli.pages.report.groups import groups_of, labels
from etude.cli.pages.report.markup import script_json, table, tag
from etude.cli.pages.report.page import page
from etude.cli.pages.report.runs import RunState, find, names, read
from etude.cli.pages.report.view import View
from etude.config.schema.trainer import Best
from etude.experiments.job import State as JobState
from etude.files.sweep_folder import JOBS, PRUNED


def written(*folders: Path, metric: str = "val/loss", watch: float | None = None) -> str:
    found = find([str(folder) for folder in folders])
    return page(View(found.runs, metric, Best.lowest), found.problems, watch)


def test_seconds_accumulate_over_resumes_and_an_incomplete_last_line_is_ignored(
    tmp_path: Path,
) -> None:
    folder = run(tmp_path / "a", n=0)
    lines = [{"step": s, "loss": 1.0, "seconds": t} for s, t in enumerate((1, 2, 0.5, 1.5), 1)]
    write_lines(folder / "steps.jsonl", lines)
    with (folder / "steps.jsonl").open("a") as file:
        file.write('{"step": 5, "lo')
    made = read(folder, "a")
    assert [row["seconds"] for row in made.steps] == [1, 2, 2.5, 3.5]
    assert made.damages == []


def test_a_run_is_running_while_its_process_holds_the_lock(tmp_path: Path) -> None:
    folder = run(tmp_path / "a", finished=False)
    assert read(folder, "a").state is RunState.ended
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert read(folder, "a").state is RunState.running
    assert read(folder, "a").state is RunState.ended
    (folder / "summary.json").write_text('{"stopped_early": true}')
    assert read(folder, "a").state is RunState.early
    (folder / PRUNED).touch()
    assert read(folder, "a").state is RunState.pruned


def test_jobs_are_ordered_by_number_and_failed_ones_are_named(tmp_path: Path) -> None:
    for job in (10, 9, 2):
        run(tmp_path / f"sweep/{job}", lr=job / 10)
    (tmp_path / "sweep" / JOBS).mkdir()
    job = {"job": 3, "state": JobState.failed, "exit_code": 5, "error": "loss is NaN\n more"}
    (tmp_path / "sweep" / JOBS / "3.json").write_text(json.dumps(job))
    found = find([str(tmp_path / "sweep")])
    assert [one.name for one in found.runs] == ["2", "9", "10"]
    assert len(found.problems) == 1
    assert found.problems[0].endswith("3 failed with exit code 5: loss is NaN")


def test_names_are_the_fewest_trailing_parts_that_are_unique() -> None:
    assert names([Path("/x/a/0"), Path("/x/a/1")]) == ["0", "1"]
    assert names([Path("/x/a/0"), Path("/x/b/0")]) == ["a/0", "b/0"]
    assert names([]) == []


def test_runs_that_differ_only_in_seed_and_folder_form_a_group(
    tmp_path: Path,
) -> None:
    for seed, lr in ((0, 0.1), (1, 0.1), (0, 0.2)):
        run(tmp_path / f"{lr}-{seed}", seed=seed, lr=lr)
    runs = find([str(tmp_path)]).runs
    groups = groups_of(runs)
    assert [(group.label, group.members) for group in groups] == [
        ("optimizer.lr=0.1", (0, 1)),
        ("optimizer.lr=0.2", (2,)),
    ]
    assert labels(runs, groups)[1] == "0.1-1 · optimizer.lr=0.1 · seed 1"


def test_texts_of_a_run_cannot_inject_html(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&\u2028"
    folder = run(tmp_path / "<b>a")
    write_lines(folder / "samples.jsonl", [{"step": 1, "texts": [evil, evil]}])
    (folder / "data_card.json").write_text(json.dumps({"source": evil, "digest": evil}))
    (folder / "hardware.json").write_text(json.dumps({evil: evil}))
    line = {"step": 1, "loss": 1, "tokens": 1, evil: 2.0, f"val/{evil}": 3.0}
    write_lines(folder / "steps.jsonl", [line])
    tags: list[str] = []

    class Seen(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.append(tag)

    made = written(folder)
    Seen().feed(made)
    assert tags.count("script") == 2
    assert "img" not in tags
    assert "<b>a" not in made
    assert report_data(made)["panels"][0]["metrics"] == [f"val/{evil}"]


def test_the_page_loads_nothing_from_the_network(tmp_path: Path) -> None:
    made = written(run(tmp_path / "a"))
    assert "default-src 'none'" in made
    addresses = re.findall(r"(?:src|href)=\"([^\"]*)\"|url\(([^)]*)\)|@import|fetch\(", made)
    assert {link for pair in addresses for link in pair if link} <= {"data:,"} | {
        link for pair in addresses for link in pair if link.startswith("#on-")
    }


def test_a_watched_page_reloads_and_others_do_not(tmp_path: Path) -> None:
    folder = run(tmp_path / "a")
    assert report_data(written(folder, watch=7.0))["watch"] == 7
    assert report_data(written(folder))["watch"] is None


@pytest.mark.parametrize("n", [3, 50, 1000])
def test_thinning_keeps_the_ends_and_the_extremes(n: int) -> None:
    values: list[float | None] = [float(i * 7919 % 1009) for i in range(n)]
    values[n // 2] = None
    kept = thin_indices(values, 40)
    assert len(kept) <= 40
    assert {0, n - 1} <= set(kept)
    known = [value for value in values if value is not None]
    assert {min(known), max(known)} <= {values[i] for i in kept}


def test_a_long_run_is_thinned_after_smoothing_over_all_steps(tmp_path: Path) -> None:
    (made,) = curve_data(find([str(run(tmp_path / "a", n=3000))]).runs)
    train = made["tables"][0]
    assert len(train["x"]["step"]) <= MAX_POINTS
    raw, smooth, _ = train["y"]["loss"]
    assert raw[-1] == pytest.approx(2.1 + 3000**-0.5, rel=1e-5)
    assert 0 < smooth[-1] - raw[-1] < 1e-4, "as near as the last of 3000 steps is to its neighbours"
    assert len(train["y"]["lr"]) == 1, "what has no noise is not smoothed"
    assert train["x"]["flops"] == [6000 * tokens for tokens in train["x"]["tokens"]]


def test_flops_are_measured_or_6_per_parameter_of_the_run_or_of_an_equal_one(
    tmp_path: Path,
) -> None:
    done, running = run(tmp_path / "a"), run(tmp_path / "b", finished=False)
    measured = run(tmp_path / "c")
    rows = [{"step": 10, "perf/flops_per_s": 80.0, "perf/tokens_per_s": 4.0}]
    write_lines(measured / "perf.jsonl", rows)
    runs = find(list(map(str, (done, running, measured)))).runs
    costs = [made.flops if (made := cost(one, runs)) else None for one in runs]
    assert costs == [6000, 6000, 20]
    assert cost(runs[1], runs[1:2]) is None


def test_on_policy_runs_have_a_panel_of_reinforcement_metrics(
    tmp_path: Path,
) -> None:
    folder = run(tmp_path / "a", n=0)
    line = {
        "step": 1,
        "loss": 0.0,
        "reward": 0.4,
        "entropy": 2.0,
        "clip_fraction_low": 0.1,
        "lr": 1.0,
    }
    write_lines(folder / "steps.jsonl", [{**line, "val/reward": 0.5}])
    made = {panel["title"]: panel["metrics"] for panel in panels(find([str(folder)]).runs)}
    assert made == {
        "Held out": ["val/reward"],
        "Training": ["loss"],
        "Reinforcement": ["reward", "entropy", "clip_fraction_low"],
        "Optimisation": ["lr"],
    }


def test_losses_of_different_objectives_are_not_compared(tmp_path: Path) -> None:
    for objective in ("clm", "mlm"):
        for seed in (0, 1):
            folder = run(tmp_path / f"{objective}-{seed}", seed=seed)
            with (folder / "config.yaml").open("a") as file:
                file.write(f"  objective: {objective}\n")
    runs = [tmp_path / name for name in ("clm-0", "clm-1", "mlm-0", "mlm-1")]
    html = written(*runs)
    assert "is a different quantity" in html
    assert "No clear difference" not in html
    assert "No clear difference" in written(*runs, metric="loss")


def test_number_columns_are_right_aligned_and_text_is_escaped() -> None:
    made = table(["a", "<b>"], [[1, "x<y"], [None, tag("i", "&")]])
    assert '<td class="number">1</td><td>x&lt;y</td>' in made
    assert '<td class="number">–</td><td><i>&amp;</i></td>' in made


def test_json_in_a_script_element_is_unchanged() -> None:
    value: dict[str, Any] = {"a": ["</script>", "<!--", "é\u2028", None, 0.1]}
    made = script_json(value)
    assert "<" not in made
    assert json.loads(made) == value


def test_results_of_evaluations_are_shown_by_task_and_damaged_ones_named(tmp_path: Path) -> None:
    folders = [run(tmp_path / name) for name in ("a", "b")]
    metric = {"name": "accuracy", "value": 0.25, "low": 0.1, "high": 0.5}
    results = {"results": {"generation": {"metrics": [metric]}}}
    for folder in folders:
        (folder / "evaluations").mkdir()
        (folder / "evaluations/sums.json").write_text(json.dumps(results))
    (folders[1] / "evaluations/broken.json").write_text("{")
    found = find([str(folder) for folder in folders]).runs
    made = evaluations.section(View(found, "val/loss", Best.lowest))
    assert made is not None
    assert made.body.count("0.25 (0.1 to 0.5)") == 2
    assert "sums / generation" in made.body
    assert "broken / cannot be read" in made.body
