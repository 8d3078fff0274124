"""The straight-line models are a module beside the tests; in importlib mode their folder is not on the path."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
