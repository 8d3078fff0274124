"""MLflow: a run in the store that MLFLOW_TRACKING_URI names, by default a database file beside the runs."""

from __future__ import annotations

import os

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # before the import, which would begin it

from mlflow import MlflowClient

from suite.trackers.content import PROJECT, Content, flat


def log(content: Content) -> str:
    """Write parameters, curves, and the report with its figures as artifacts."""
    runs = content.folder.resolve().parent
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{runs / 'mlflow.db'}"
    client = MlflowClient(uri)
    known = client.get_experiment_by_name(PROJECT)
    local = None if "MLFLOW_TRACKING_URI" in os.environ else (runs / "mlartifacts").as_uri()
    experiment = known.experiment_id if known else client.create_experiment(PROJECT, local)
    run = client.create_run(experiment, run_name=content.name).info.run_id
    status = "FAILED"
    try:
        for name, text in flat(content.settings).items():
            client.log_param(run, name, text)
        client.set_tag(run, "mlflow.note.content", content.headline)
        for name, values in content.curves.items():
            for step, value in values.items():
                client.log_metric(run, name, value, step=step)
        for path in content.files:
            if path.is_dir():
                client.log_artifacts(run, str(path), path.name)
            else:
                client.log_artifact(run, str(path))
        status = "FINISHED"
    finally:
        client.set_terminated(run, status)
    return f"run {run} in {uri} (mlflow ui --backend-store-uri {uri})"
