"""Credentials: who we are, never shown."""

from __future__ import annotations

import os


class Credentials:
    """What proves who a client is. It never shows its secret."""

    __slots__ = ("_field", "_value", "name", "namespace")

    def __init__(self, field: str, value: str, name: str | None = None, namespace: str | None = None) -> None:
        self._field, self._value = field, value
        self.name = name
        """The credentials' name, where a broker made them."""
        self.namespace = namespace
        """Their namespace, where a broker made them."""

    @classmethod
    def file(cls, path: str | os.PathLike[str]) -> Credentials:
        """A `.creds` file, read again at each connect."""
        return cls("creds_file", os.fspath(path))

    @classmethod
    def text(cls, text: str) -> Credentials:
        """The text of a `.creds` file."""
        return cls("creds_text", text)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the text to a file that only its owner may read."""
        if self._field != "creds_text":
            raise ValueError("these credentials are a file already")
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            # An older file may have had other rights.
            os.fchmod(descriptor, 0o600)
            file.write(self._value)

    def _document(self) -> dict[str, str]:
        return {self._field: self._value}

    def __repr__(self) -> str:
        where = self._value if self._field == "creds_file" else "..."
        return f"Credentials({self._field}={where!r})"
