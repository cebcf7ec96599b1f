"""MLflow: a SQLite store in the run folder, or the server that $MLFLOW_TRACKING_URI names.

https://mlflow.org/docs/latest; needs the extra `mlflow`. `mlflow ui --backend-store-uri
sqlite:///<run>/mlflow.db` shows the run. A resumed run continues in the same MLflow run.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import Any

from etude import plugin, require
from etude.config import LoggerConfig
from etude.training import Tracker

ID = "mlflow_run_id"
LONGEST = 6000
"""Maximum characters of a config value in MLflow."""
AT_ONCE = 100
"""Maximum config values per MLflow call."""


@dataclass
class MlflowConfig(LoggerConfig):
    experiment: str = "etude"
    """Name of the MLflow experiment."""
    uri: str | None = None
    """URI of the store; null = $MLFLOW_TRACKING_URI, else mlflow.db in the run folder."""

    def __post_init__(self) -> None:
        require(self.experiment != "", "experiment must not be empty")
        require(self.uri != "", "uri must not be empty")


@plugin(MlflowConfig, extra="mlflow")
class Mlflow(Tracker):
    """Opens its run when something is first logged."""

    def __init__(self, config: MlflowConfig, folder: Path) -> None:
        super().__init__(folder)
        self.config = config
        self._client: Any = None  # MlflowClient: imported only where it is used
        self._id = ""

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        from mlflow.entities import Param

        client = self._open()
        there = client.get_run(self._id).data.params  # MLflow lets no parameter change
        given = [
            Param(_key(k), str(v)[:LONGEST]) for k, v in params.items() if _key(k) not in there
        ]
        for tag in params.get("tags", ()):
            client.set_tag(self._id, tag, "")
        for start in range(0, len(given), AT_ONCE):
            client.log_batch(self._id, params=given[start : start + AT_ONCE])

    def log_metrics(self, metrics: Mapping[str, int | float], step: int | None = None) -> None:
        from mlflow.entities import Metric

        now = int(time() * 1000)
        numbers = {name: value for name, value in metrics.items() if name != "step"}
        given = [
            Metric(_key(name), float(value), now, step or 0) for name, value in numbers.items()
        ]
        self._open().log_batch(self._id, metrics=given)

    def log_table(self, name: str, rows: Sequence[Mapping[str, Any]], step: int) -> None:
        logged = [{"step": step, **row} for row in rows]
        self._open().log_dict(self._id, {"rows": logged}, f"{name}/step-{step:09d}.json")

    def log_picture(self, name: str, picture: Any, step: int) -> None:
        self._open().log_image(self._id, picture, f"{name}/step-{step:09d}.png")

    def close(self, succeeded: bool) -> None:
        client = self._client
        self._client = None
        if client is not None:
            client.set_terminated(self._id, "FINISHED" if succeeded else "FAILED")

    def _open(self) -> Any:
        if self._client is None:
            os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read on import
            from mlflow.tracking import MlflowClient

            for name in ("mlflow", "alembic"):  # they log every table they create
                logging.getLogger(name).setLevel(logging.WARNING)
            place = self.config.uri or os.environ.get("MLFLOW_TRACKING_URI")
            client = MlflowClient(place or f"sqlite:///{self.folder.absolute() / 'mlflow.db'}")
            self._id = self._run_of(client, None if place else self.folder.absolute() / "mlflow")
            self._client = client
        return self._client

    def _run_of(self, client: Any, artifacts: Path | None) -> str:
        """Id of the run to continue, or of a new one."""
        kept = self.folder / ID
        if kept.exists():
            run_id: str = kept.read_text(encoding="utf-8").strip()
            client.update_run(run_id, status="RUNNING")
            return run_id
        found = client.get_experiment_by_name(self.config.experiment)
        place = None if artifacts is None else artifacts.as_uri()
        experiment = (
            found.experiment_id
            if found
            else client.create_experiment(self.config.experiment, artifact_location=place)
        )
        tags = {"etude.folder": str(self.folder), "etude.group": self.folder.absolute().parent.name}
        new_id: str = client.create_run(experiment, run_name=self.name, tags=tags).info.run_id
        kept.write_text(new_id + "\n", encoding="utf-8")
        return new_id


def _key(name: str) -> str:
    """The name, with characters that MLflow rejects replaced by underscores."""
    return "".join(c if c.isalnum() or c in "_-. /" else "_" for c in name)
