"""Put this folder on the path: pytest's importlib mode does not, and the scripts need each other."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
