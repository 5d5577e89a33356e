"""Errors that a user can act on: one line that names the value, the limit and the way out."""

from __future__ import annotations


class MezzotintError(ValueError):
    """A problem that the caller can mend; its message is one complete line."""


class InputError(MezzotintError):
    """A picture or folder cannot be read, written or used."""


class UsageError(MezzotintError):
    """An option or argument is wrong, known before the first picture."""


class WeightsError(MezzotintError):
    """A file of weights is missing, damaged, of another method or of a refused kind."""
