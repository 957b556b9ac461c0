"""What users give: wrong types and odd values are said clearly, at once."""

from __future__ import annotations

import array
import asyncio
import copy
import pickle
import stat
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from support import client, run

import natsune

NO_HEADERS: list[Any] = [
    {"a": 1},
    {"a": b"x"},
    {"a": None},
    {1: "a"},
    {"a": ["1", 2]},
    [("a",)],
    [("a", "b", "c"), ("d",)],
    [("a", 1)],
    "abc",
    b"abc",
    5,
]


@run
async def test_what_are_no_headers() -> None:
    async with client() as nc:
        for headers in NO_HEADERS:
            with pytest.raises(natsune.InvalidArgumentError, match=r"headers are") as caught:
                nc.publish("a", headers=headers)
            assert caught.value.detail["field"] == "headers"
            with pytest.raises(natsune.InvalidArgumentError, match=r"headers are"):
                await nc.request("a", headers=headers)
        for names in ({"a b": "c"}, {"": "c"}, {"a": "b\r\nc: d"}):
            with pytest.raises(natsune.InvalidArgumentError):
                nc.publish("a", headers=names)


@run
async def test_headers_of_every_kind_arrive() -> None:
    async with client() as nc, nc.subscribe("h") as sub:
        given: list[Any] = [
            natsune.Headers([("A", "1"), ("a", "2")]),
            {"A": "1", "a": ("2",)},
            [["A", "1"], ["a", "2"]],
            iter([("A", "1"), ("a", "2")]),
        ]
        for headers in given:
            nc.publish("h", headers=headers)
            message = await sub.next(20)
            assert message is not None
            assert list(message.headers) == [("A", "1"), ("a", "2")]


@run
async def test_payloads_of_every_kind_arrive() -> None:
    async with client() as nc, nc.subscribe("p") as sub:
        payloads: list[Any] = [b"abc", bytearray(b"abc"), memoryview(b"xabc")[1:], array.array("B", b"abc"), "abc"]
        payloads += [memoryview(b"a_b_c")[::2]]
        for payload in payloads:
            nc.publish("p", payload)
            message = await sub.next(20)
            assert message is not None
            assert message.data == b"abc"
            # A message has a buffer itself.
            nc.publish("p", message)  # type: ignore[arg-type]
            again = await sub.next(20)
            assert again is not None
            assert again.data == b"abc"
        wrong: list[Any] = [5, 1.5, ["a"], {"a": 1}, object(), array.array("i", [1])]
        for payload in wrong:
            for publish in (nc.publish, nc.try_publish):
                with pytest.raises(TypeError, match="a payload is bytes"):
                    publish("p", payload)
            with pytest.raises(TypeError, match="a payload is bytes"):
                await nc.request("p", payload)
            with pytest.raises(TypeError, match="a payload is bytes"):
                await nc.jetstream().publish("p", payload)


@run
async def test_times_that_are_none() -> None:
    async with client() as nc, nc.subscribe("quiet") as sub:
        for timeout in (-1, float("nan"), timedelta(seconds=-1)):
            with pytest.raises(natsune.InvalidArgumentError):
                await sub.next(timeout)
        for timeout in (-1, -0.001, float("nan"), float("inf"), 1e300, timedelta(seconds=-1)):
            with pytest.raises(natsune.InvalidArgumentError) as caught:
                await nc.request("quiet", timeout=timeout)
            assert caught.value.detail["field"] == "timeout"
        assert nc.stats().requests_waiting == 0
        for short in (0, 0.0001, timedelta(milliseconds=1)):
            with pytest.raises(natsune.NatsTimeoutError):
                await nc.request("quiet", timeout=short)


@run
async def test_options_that_are_none() -> None:
    with pytest.raises(natsune.InvalidArgumentError, match="finite"):
        natsune.connect(connect_timeout=float("nan"))
    wrong: list[dict[str, Any]] = [
        {"connect_timeout": -1},
        {"max_reconnects": -1},
        {"name": 5},
        {"servers": ["nats://127.0.0.1:1", 5]},
        {"servers": "nats://127.0.0.1:1", "user": "a", "token": "b"},
    ]
    for options in wrong:
        with pytest.raises(natsune.InvalidArgumentError):
            await natsune.connect(**options)
    for creds in ("user.creds", Path("user.creds")):
        with pytest.raises(natsune.InvalidArgumentError, match=r"Credentials\.file"):
            natsune.connect(creds=creds)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        natsune.connect(conect_timeout=1)  # type: ignore[call-arg]


def test_a_secret_of_the_wrong_type_is_not_repeated() -> None:
    async def connect(**options: Any) -> None:
        with pytest.raises(natsune.InvalidArgumentError) as caught:
            await natsune.connect("nats://127.0.0.1:1", **options)
        assert "271828" not in f"{caught.value} {caught.value.detail}"

    for option in ("token", "password", "nkey_seed"):
        asyncio.run(connect(user="u", **{option: 271828}) if option == "password" else connect(**{option: 271828}))


def test_credentials_are_written_for_their_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "a.creds"
    file.write_text("older, longer and readable by all")
    file.chmod(0o644)
    natsune.Credentials.text("secret").save(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text() == "secret"
    with pytest.raises(ValueError, match="file already"):
        natsune.Credentials.file(file).save(file)


def test_made_credentials_are_not_shown() -> None:
    assert "SECRET" not in repr(natsune.CredentialsInfo(name="a", creds_text="SECRET"))


@run
async def test_credentials_say_whose_they_are() -> None:
    with TemporaryDirectory() as folder:
        async with natsune.Broker.start(store_dir=folder, namespaces=True) as broker:
            namespace = await broker.create_namespace("shop")
            made = await broker.create_credentials("shop", "api")
            assert (made.name, made.namespace) == ("api", "shop")
            (info,) = await broker.credentials("shop")
            assert (info.name, info.namespace, info.namespace_id) == ("api", "shop", namespace.id)
            assert info.public_key.startswith("U")
            assert info.creds_text is None


def test_errors_can_be_copied_and_pickled() -> None:
    for kind in natsune.NatsError.__subclasses__():
        error = kind("what was wrong", detail={"field": "x"}, retryable=True, applied="maybe")
        for other in (copy.copy(error), pickle.loads(pickle.dumps(error))):
            assert type(other) is kind
            assert str(other) == "what was wrong"
            assert (other.code, other.detail) == (kind.code, {"field": "x"})
            assert (other.retryable, other.applied) == (True, "maybe")


@run
async def test_messages_are_not_pickled() -> None:
    async with client() as nc, nc.subscribe("m") as sub:
        nc.publish("m", b"x")
        message = await sub.next(20)
        with pytest.raises(TypeError, match="pickle"):
            pickle.dumps(message)
        with pytest.raises(TypeError):
            natsune.Message()
