"""The tables of bad input are modules beside the test, which importlib mode does not look into."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
