"""Import every module of the package with torchvision made impossible to import."""

from __future__ import annotations

import importlib
import pkgutil
import sys

# None in sys.modules makes any `import torchvision` raise ImportError, installed or not.
sys.modules["torchvision"] = None  # type: ignore[assignment]

import mezzotint  # noqa: E402

names = [module.name for module in pkgutil.walk_packages(mezzotint.__path__, "mezzotint.")]
failures = []
for name in names:
    if name.endswith("__main__"):
        continue
    try:
        importlib.import_module(name)
    except ImportError as error:
        failures.append(f"{name}: {error}")
print("\n".join(failures) or f"{len(names)} modules import without torchvision")
sys.exit(bool(failures))
