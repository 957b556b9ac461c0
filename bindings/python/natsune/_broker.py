"""A NATS server in this process: for tests and small installations."""

from __future__ import annotations

import json
import os
from types import TracebackType

from natsune import _native
from natsune._client_types import CredentialsInfo, NamespaceInfo
from natsune._credentials import Credentials
from natsune._documents import Seconds, document, read, read_list
from natsune._loop import Loop, current
from natsune._opening import Opening


class Broker:
    """A NATS-compatible server in this process. Made by `Broker.start()`."""

    def __init__(self, loop: Loop, handle: int) -> None:
        self._loop, self._handle = loop, handle

    @staticmethod
    def start(
        *,
        host: str | None = None,
        port: int | None = None,
        monitor_port: int | None = None,
        server_name: str | None = None,
        jetstream: bool | None = None,
        store_dir: str | os.PathLike[str] | None = None,
        domain: str | None = None,
        sync_interval: Seconds | None = None,
        namespaces: bool | None = None,
        namespaces_dir: str | os.PathLike[str] | None = None,
        user: str | None = None,
        password: str | None = None,
        token: str | None = None,
        max_payload: int | None = None,
        log_file: str | os.PathLike[str] | None = None,
        config_file: str | os.PathLike[str] | None = None,
    ) -> Opening[Broker]:
        """Starts one; await it or enter it. Without options: in memory, on a free loopback port, open to all here.

        With `store_dir` streams are durable: what was acknowledged survives a crash. With `namespaces` every client
        needs credentials (`create_credentials`).
        """
        named = {
            name: os.fspath(value) if isinstance(value, os.PathLike) else value for name, value in locals().items()
        }
        options = document(named)

        async def make() -> Broker:
            loop = current()
            return Broker(loop, await loop.run(0, "broker.start", options))

        async def close(made: Broker) -> None:
            await made.stop()

        return Opening("Broker.start()", make, close)

    @property
    def url(self) -> str:
        """Where clients connect."""
        return str(json.loads(_native.info(self._handle, "url")))

    @property
    def monitor_url(self) -> str | None:
        """Where monitoring answers, if anywhere."""
        found = json.loads(_native.info(self._handle, "monitor_url"))
        return None if found is None else str(found)

    async def create_namespace(self, name: str) -> NamespaceInfo:
        """Makes a namespace."""
        return read(NamespaceInfo, await self._run("broker.create_namespace", document(name=name)))

    async def namespaces(self) -> list[NamespaceInfo]:
        """All namespaces."""
        return read_list(NamespaceInfo, await self._run("broker.list_namespaces"))

    async def delete_namespace(self, name: str) -> None:
        """Deletes a namespace with its streams and credentials; its clients are disconnected."""
        await self._run("broker.delete_namespace", document(name=name))

    async def create_credentials(self, namespace: str, name: str) -> Credentials:
        """Makes credentials: all rights in their namespace, none elsewhere. They are given out this once."""
        made = read(
            CredentialsInfo, await self._run("broker.create_credentials", document(namespace=namespace, name=name))
        )
        return Credentials("creds_text", made.creds_text or "", name=name, namespace=namespace)

    async def credentials(self, namespace: str) -> list[CredentialsInfo]:
        """What credentials a namespace has, without their secrets."""
        return read_list(CredentialsInfo, await self._run("broker.list_credentials", document(namespace=namespace)))

    async def delete_credentials(self, namespace: str, name: str) -> None:
        """Deletes credentials; their clients are disconnected."""
        await self._run("broker.delete_credentials", document(namespace=namespace, name=name))

    async def stop(self) -> None:
        """Ends it; what was acknowledged is on disk. Again is nothing."""
        await self._run("broker.stop")

    async def _run(self, verb: str, options: str = "{}") -> str:
        return await self._loop.run(self._handle, verb, options)  # type: ignore[no-any-return]

    async def __aenter__(self) -> Broker:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def __del__(self) -> None:
        _native.close_handle(self._handle)
