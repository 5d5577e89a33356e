"""What the processes of a batch tell each other: claims, finished and failed results, in one hidden file."""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from mezzotint.errors import InputError
from mezzotint.images import owners
from mezzotint.images.atomic import shown

NAME = ".mezzotint-batch.sqlite"
FORMAT = 1
BEAT_SECONDS = 30.0
"""How often a process says that it still works on what it claimed."""
STALE_SECONDS = 120.0
"""A claim whose process cannot be looked up is given up when nothing was heard of it for so long."""

_APPLICATION = 0x6D7A7431  # "mzt1"
_BUSY_SECONDS = 30.0
_TABLES = (
    "CREATE TABLE claims (output BLOB PRIMARY KEY, owner TEXT NOT NULL, token TEXT NOT NULL, host TEXT NOT NULL,"
    " beat REAL NOT NULL)",
    "CREATE TABLE finished (output BLOB NOT NULL, recipe TEXT NOT NULL, size INTEGER NOT NULL, sha256 TEXT NOT NULL,"
    " record TEXT, PRIMARY KEY (output, recipe))",
    "CREATE TABLE failed (output BLOB PRIMARY KEY, input BLOB NOT NULL, reason TEXT NOT NULL, time REAL NOT NULL)",
)


@dataclass(frozen=True)
class Claim:
    """A result that a process works on: `owner` as of `owners.mark`, `beat` when it was last heard of."""

    output: bytes
    owner: str
    token: str
    host: str
    beat: float

    def __str__(self) -> str:
        pid = owners.pid_of(self.owner)
        return f"process {pid} on {self.host}" if pid is not None else f"a process on {self.host}"


@dataclass(frozen=True)
class Watch:
    """Knows which claims were given up: their process has ended, or was not heard of for two minutes.

    How long is measured by the clock of this process alone, as those of two machines may differ.
    """

    seen: dict[tuple[bytes, str], tuple[float, float]] = field(default_factory=dict)

    def is_dead(self, claim: Claim) -> bool:
        alive = owners.lives(claim.owner)
        if alive is not None:
            return not alive
        now = time.monotonic()
        beat, since = self.seen.get((claim.output, claim.token), (None, now))
        if beat != claim.beat:
            since = now
        self.seen[claim.output, claim.token] = (claim.beat, since)
        return now - since >= STALE_SECONDS


@dataclass(frozen=True)
class State:
    """The state of the batches whose results lie in `folder` and below, in the file `NAME` of that folder.

    Every call opens the file, does its work in one transaction and closes it, so that any number of processes can
    share it and nothing is lost when one of them is killed. `token` tells this batch from all others. Results are
    given as paths and known by their place in the folder. Every method raises InputError, one line that names the
    file and the way out, where the file is damaged, of a newer format, or cannot be written.
    """

    folder: Path
    token: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def path(self) -> Path:
        return self.folder / NAME

    def prepare(self) -> None:
        """Make the file if there is none, and check that it can be written."""
        with self._transaction() as connection:
            # A write, so that SQLite clears up what a killed process may have left beside the file.
            connection.execute(f"PRAGMA user_version = {FORMAT}")

    def claim(self, outputs: Sequence[Path], *, watch: Watch) -> Claim | None:
        """Claim all of `outputs` for this batch, or none: then return a living process's claim of one of them."""
        names = [self._name(path) for path in outputs]
        with self._transaction() as connection:
            for name in names:
                row = connection.execute("SELECT * FROM claims WHERE output = ?", (name,)).fetchone()
                if row is not None and row[2] != self.token:
                    found = Claim(*row)
                    if not watch.is_dead(found):
                        return found
            row = (owners.mark(), self.token, socket.gethostname(), time.time())
            connection.executemany(
                "INSERT OR REPLACE INTO claims VALUES (?, ?, ?, ?, ?)", [(name, *row) for name in names]
            )
        return None

    def beat(self, outputs: Sequence[Path]) -> None:
        """Say that this batch still works on what it claimed."""
        rows = [(time.time(), self._name(path), self.token) for path in outputs]
        with self._transaction() as connection:
            connection.executemany("UPDATE claims SET beat = ? WHERE output = ? AND token = ?", rows)

    def release(self, outputs: Sequence[Path]) -> None:
        """Give up this batch's claims of `outputs`."""
        with self._transaction() as connection:
            self._release(connection, outputs)

    def finish(self, output: Path, *, recipe: str, content: Path, record: str | None) -> None:
        """Note that `output` has, or is about to have, the bytes of the file `content`, made by `recipe`."""
        size, digest = content.stat().st_size, _sha256(content)
        with self._transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO finished VALUES (?, ?, ?, ?, ?)",
                (self._name(output), recipe, size, digest, record),
            )

    def settle(self, outputs: Sequence[Path], *, recipes: Mapping[Path, str]) -> None:
        """Note that `outputs` are there: forget failures, other `recipes` than those they were made by, and claims."""
        with self._transaction() as connection:
            for path in outputs:
                connection.execute("DELETE FROM failed WHERE output = ?", (self._name(path),))
            for path, recipe in recipes.items():
                connection.execute("DELETE FROM finished WHERE output = ? AND recipe != ?", (self._name(path), recipe))
            self._release(connection, outputs)

    def fail(self, outputs: Sequence[Path], *, source: Path, reason: str) -> None:
        """Note why there are no `outputs` of the input `source`, and give up the claims."""
        text = reason.encode("utf-8", "backslashreplace").decode("utf-8")
        with self._transaction() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO failed VALUES (?, ?, ?, ?)",
                [(self._name(path), os.fsencode(source), text, time.time()) for path in outputs],
            )
            self._release(connection, outputs)

    def known(self, output: Path, *, recipe: str) -> str | None:
        """The record of `output` if it was made by `recipe` and has still the same bytes.

        None also where no record was kept because the file holds its own.
        """
        if not self.path.is_file():
            return None
        with self._transaction(write=False) as connection:
            row = connection.execute(
                "SELECT size, sha256, record FROM finished WHERE output = ? AND recipe = ?",
                (self._name(output), recipe),
            ).fetchone()
        if row is None or row[2] is None:
            return None
        try:
            same = (output.stat().st_size, _sha256(output)) == (row[0], row[1])
        except OSError:
            return None  # gone or unreadable: the checks of outputs say what is wrong
        return row[2] if same else None

    def results(self) -> frozenset[Path]:
        """The files that batches finished in this folder and below; empty where there was none."""
        if not self.path.is_file():
            return frozenset()
        with self._transaction(write=False) as connection:
            rows = connection.execute("SELECT DISTINCT output FROM finished").fetchall()
        return frozenset(self.folder / os.fsdecode(name) for (name,) in rows)

    def _name(self, path: Path) -> bytes:
        return os.fsencode(path.relative_to(self.folder).as_posix())

    def _release(self, connection: sqlite3.Connection, outputs: Sequence[Path]) -> None:
        rows = [(self._name(path), self.token) for path in outputs]
        connection.executemany("DELETE FROM claims WHERE output = ? AND token = ?", rows)

    @contextmanager
    def _transaction(self, *, write: bool = True) -> Iterator[sqlite3.Connection]:
        """One transaction, whole or not at all; a write sees no other process's write begin before it has ended."""
        try:
            # Closing rolls back what was not committed, Ctrl-C included.
            with closing(sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None)) as connection:
                connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
                self._check(connection)
                yield connection
                connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._problem(error) from error

    def _check(self, connection: sqlite3.Connection) -> None:
        """Make the tables of a new file; refuse a file of another kind or of a newer format."""
        ((application,),) = connection.execute("PRAGMA application_id").fetchall()
        ((version,),) = connection.execute("PRAGMA user_version").fetchall()
        ((tables,),) = connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
        if (application, version, tables) == (0, 0, 0):
            for statement in _TABLES:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {_APPLICATION}")
            connection.execute(f"PRAGMA user_version = {FORMAT}")
        elif application != _APPLICATION:
            raise InputError(f"{shown(self.path)} is no state of a batch: move it, or choose another folder with -o")
        elif version != FORMAT:
            raise InputError(
                f"{shown(self.path)} has format {version}, and this version of mezzotint reads {FORMAT}: "
                "use a newer one, or delete the file; the pictures stay"
            )

    def _problem(self, error: sqlite3.Error) -> InputError:
        name, kind = shown(self.path), getattr(error, "sqlite_errorname", "")
        if kind.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT", "SQLITE_ERROR")):
            return InputError(f"{name} is damaged ({error}): delete it; the pictures stay")
        if kind.startswith(("SQLITE_FULL", "SQLITE_IOERR")):
            return InputError(f"{name} cannot be written ({error}): make room, or choose another folder with -o")
        if kind.startswith("SQLITE_BUSY"):
            return InputError(
                f"{name} is locked by another program for more than {_BUSY_SECONDS:g} s: end that program, or choose "
                "another folder with -o"
            )
        return InputError(
            f"{name} cannot be made or written ({error}): make it and its folder writable, or delete it, "
            "or choose another folder with -o"
        )


@contextmanager
def beating(state: State, outputs: Sequence[Path]) -> Iterator[None]:
    """Within the block say every half minute that this batch still works on `outputs`."""
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(BEAT_SECONDS):
            # The next one comes in half a minute, and nobody takes over before four were missed.
            with suppress(InputError):
                state.beat(outputs)

    thread = threading.Thread(target=beat, name="mezzotint-beat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
