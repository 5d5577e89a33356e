"""Training: run files, crops, the loop, resume states."""

from mezzotint.training.loop import DivergedError, Moment, Trained, train
from mezzotint.training.run_file import Run, read_run
from mezzotint.training.start import Checked, check, start

__all__ = ["Checked", "DivergedError", "Moment", "Run", "Trained", "check", "read_run", "start", "train"]
