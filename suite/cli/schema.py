"""`schema`: the form of a configuration file, for editors."""

from __future__ import annotations

import json


def schema() -> int:
    """Print the JSON schema of `--config` files, with which editors complete and check them."""
    from suite.config.sweep import Experiment

    print(json.dumps(Experiment.model_json_schema(), indent=1))
    return 0
