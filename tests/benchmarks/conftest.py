from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# The benchmarks are run from the root of the repository and are no part of the package or of its source archive.
sys.path.insert(0, str(ROOT))
collect_ignore_glob = [] if (ROOT / "benchmarks" / "peers").is_dir() else ["test_*.py"]
