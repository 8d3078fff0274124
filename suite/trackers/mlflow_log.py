"""MLflow: a run in the store of MLFLOW_TRACKING_URI, by default a database beside the runs."""

from __future__ import annotations

import os

# Before the import, which would begin to send telemetry.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from mlflow import MlflowClient

from suite.trackers.content import PROJECT, Content, flat


def log(content: Content) -> str:
    """Write parameters, curves, and the report with its figures as artifacts."""
    runs = content.folder.resolve().parent
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    # A server knows where artifacts belong; the default store would put them in the working folder.
    artifacts = None if uri is not None else (runs / "mlartifacts").as_uri()
    uri = uri or f"sqlite:///{runs / 'mlflow.db'}"
    client = MlflowClient(uri)
    existing = client.get_experiment_by_name(PROJECT)
    experiment = (
        existing.experiment_id if existing else client.create_experiment(PROJECT, artifacts)
    )
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
        # Otherwise MLflow would show it as running for ever.
        client.set_terminated(run, status)
    return f"run {run} in {uri} (mlflow ui --backend-store-uri {uri})"
