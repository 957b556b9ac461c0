"""The Python testee: does through the public package what the runner says, one JSON line in, one out."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gc
import itertools
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict, is_dataclass
from datetime import datetime
from typing import Any

import natsune
from natsune import ConsumerConfig, Credentials, StreamConfig, TlsOptions

Args = dict[str, Any]
PLACE = (
    "stream",
    "consumer",
    "domain",
    "stream_sequence",
    "consumer_sequence",
    "num_delivered",
    "num_pending",
    "timestamp_ns",
)


def describe(value: Any) -> Any:
    """A document as the runner reads it."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, dict):
        return {name: describe(each) for name, each in value.items()}
    if isinstance(value, list):
        return [describe(each) for each in value]
    return value.isoformat() if isinstance(value, datetime) else value


class Testee:
    def __init__(self) -> None:
        self.objects: dict[str, Any] = {}
        self.tasks: dict[int, asyncio.Task[None]] = {}
        self.events: dict[str, list[natsune.Event]] = {}
        self.news = asyncio.Condition()
        self.background: set[asyncio.Task[None]] = set()

    def keep(self, name: str | None, value: Any) -> None:
        if name:
            self.objects[name] = value

    def message(self, found: Any, name: str | None = None) -> Any:
        if found is None:
            return None
        told: Args = {
            "subject": found.subject,
            "data": base64.b64encode(found.data).decode(),
            "headers": [list(pair) for pair in found.headers],
        }
        if isinstance(found, natsune.StoredMessage):
            return told | {"sequence": found.sequence, "timestamp_ns": found.timestamp_ns, "reply": None}
        told |= {"reply": found.reply, "status": found.status}
        if isinstance(found, natsune.JetStreamMessage):
            place = found.metadata
            told["metadata"] = {field: getattr(place, field) for field in PLACE}
        if name:
            self.keep(name, found)
            told["as"] = name
        return told

    async def run(self, op: str, name: str | None, on: Any, args: Args) -> Any:
        method = getattr(self, "op_" + op, None)
        if method is None:
            raise LookupError(f"unknown operation {op}")
        return await method(name, on, args) or {}

    # Connection

    async def op_connect(self, name: str, on: None, args: Args) -> None:
        for field, make in (("creds_text", Credentials.text), ("creds_file", Credentials.file)):
            if field in args:
                args["creds"] = make(args.pop(field))
        if "tls" in args:
            args["tls"] = TlsOptions(**args["tls"])
        client = await natsune.connect(**args)
        self.keep(name, client)
        self.events[name] = []
        self.spawn(self.collect_events(name, client.events()))

    def spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self.background.add(task)
        task.add_done_callback(self.background.discard)

    async def collect_events(self, name: str, events: AsyncIterator[natsune.Event]) -> None:
        with contextlib.suppress(natsune.NatsError):
            async for event in events:
                async with self.news:
                    self.events[name].append(event)
                    self.news.notify_all()

    async def op_next_event(self, name: None, on: natsune.Client, args: Args) -> Any:
        mine = next(events for key, events in self.events.items() if self.objects.get(key) is on)
        async with asyncio.timeout(args["timeout"]), self.news:
            while True:
                for event in mine:
                    if event.kind == args["kind"]:
                        mine.remove(event)
                        return {key: each for key, each in describe(event).items() if each is not None}
                await self.news.wait()

    async def op_close(self, name: None, on: natsune.Client, args: Args) -> None:
        await on.close()

    async def op_drain(self, name: None, on: natsune.Client, args: Args) -> None:
        await on.drain()

    async def op_reconnect(self, name: None, on: natsune.Client, args: Args) -> None:
        await on.reconnect()

    async def op_closed(self, name: None, on: natsune.Client, args: Args) -> Any:
        return {"reason": await on.closed()}

    async def op_flush(self, name: None, on: natsune.Client, args: Args) -> Any:
        return describe(await on.flush())

    async def op_rtt(self, name: None, on: natsune.Client, args: Args) -> Any:
        return {"seconds": await on.rtt()}

    async def op_stats(self, name: None, on: natsune.Client, args: Args) -> Any:
        return describe(on.stats())

    async def op_server_info(self, name: None, on: natsune.Client, args: Args) -> Any:
        return describe(on.server_info)

    async def op_max_payload(self, name: None, on: natsune.Client, args: Args) -> Any:
        return {"value": on.max_payload}

    async def op_new_inbox(self, name: None, on: natsune.Client, args: Args) -> Any:
        return {"value": on.new_inbox()}

    # Publish and subscribe

    async def op_publish(self, name: None, on: natsune.Client, args: Args) -> None:
        await on.publish(args["subject"], payload(args), reply=args.get("reply"), headers=pairs(args))

    async def op_try_publish(self, name: None, on: natsune.Client, args: Args) -> Any:
        pressed = on.try_publish(args["subject"], payload(args), reply=args.get("reply"), headers=pairs(args))
        return {"accepted": "pressure" if pressed else "ok"}

    async def op_publish_many(self, name: None, on: natsune.Client, args: Args) -> Any:
        for number in range(args.get("from", 0), args.get("from", 0) + args["count"]):
            data = str(number).ljust(args.get("size", 0)).encode()
            if args.get("try"):
                on.try_publish(args["subject"], data)
            else:
                await on.publish(args["subject"], data)
        return {"published": args["count"]}

    async def op_wait_writable(self, name: None, on: natsune.Client, args: Args) -> None:
        await on.wait_writable()

    async def op_subscribe(self, name: str, on: natsune.Client, args: Args) -> None:
        self.keep(name, await on.subscribe(args.pop("subject"), **args))

    async def op_next(self, name: str | None, on: Any, args: Args) -> Any:
        found = await on.next(args["timeout"])
        return {"message": self.message(found, name)}

    async def op_collect(self, name: None, on: Any, args: Args) -> Any:
        found: list[Any] = []
        ended = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(args["timeout"]) as limit:
                async for message in on:
                    found.append(message)
                    if args.get("settle"):
                        await settle(message, args["settle"], args)
                    if len(found) == args["count"]:
                        ended = False
                        break
        ended = ended and not limit.expired()
        if not args.get("brief"):
            return {"messages": [self.message(each) for each in found], "ended": ended}
        texts = [each.data.decode().strip() for each in found]
        ordered = all(a.isdigit() and b.isdigit() and int(b) == int(a) + 1 for a, b in itertools.pairwise(texts))
        ends = {"first": texts[0], "last": texts[-1]} if texts else {}
        return {"count": len(found), "ordered": ordered, "ended": ended} | ends

    async def op_batches(self, name: None, on: natsune.Subscription, args: Args) -> Any:
        count = largest = 0
        async with asyncio.timeout(args["timeout"]):
            async for batch in on.batches(args["max"]):
                count, largest = count + len(batch), max(largest, len(batch))
                if count >= args["count"]:
                    return {"count": count, "largest": largest, "ended": False}
        return {"count": count, "largest": largest, "ended": True}

    async def op_unsubscribe(self, name: None, on: natsune.Subscription, args: Args) -> None:
        await on.unsubscribe(args.get("after"))

    async def op_sub_drain(self, name: None, on: natsune.Subscription, args: Args) -> None:
        await on.drain()

    async def op_sub_stats(self, name: None, on: natsune.Subscription, args: Args) -> Any:
        return describe(on.stats())

    async def op_serve(self, name: None, on: natsune.Subscription, args: Args) -> None:
        async def serve() -> None:
            async for message in on:
                data = payload(args) if "data" in args else message.data
                await message.respond(data, headers=pairs(args))

        self.spawn(serve())

    async def op_respond(self, name: None, on: natsune.Message, args: Args) -> None:
        await on.respond(payload(args))

    async def op_request(self, name: None, on: natsune.Client, args: Args) -> Any:
        reply = await on.request(args["subject"], payload(args), headers=pairs(args), timeout=args.get("timeout"))
        return {"message": self.message(reply)}

    async def op_requests(self, name: None, on: natsune.Client, args: Args) -> Any:
        told: Args = {"ok": 0, "errors": {}, "mismatched": 0}
        numbers = iter(range(args["count"]))

        async def work() -> None:
            for number in numbers:
                try:
                    reply = await on.request(args["subject"], str(number), timeout=args.get("timeout"))
                except natsune.NatsError as error:
                    told["errors"][error.code] = told["errors"].get(error.code, 0) + 1
                else:
                    told["ok" if reply.data == str(number).encode() else "mismatched"] += 1

        await asyncio.gather(*(work() for _ in range(args["parallel"])))
        return told

    # JetStream

    async def op_js_publish(self, name: None, on: natsune.Client, args: Args) -> Any:
        subject, data, headers = args.pop("subject"), payload(args), pairs(args)
        args.pop("data", None), args.pop("headers", None)
        return describe(await on.jetstream().publish(subject, data, headers=headers, **args))

    async def op_js_publish_many(self, name: None, on: natsune.Client, args: Args) -> Any:
        js, numbers, acks = on.jetstream(), iter(range(args["count"])), []

        async def work() -> None:
            for number in numbers:
                acks.append((await js.publish(args["subject"], str(number))).sequence)

        await asyncio.gather(*(work() for _ in range(args["parallel"])))
        return {"count": len(acks), "first": min(acks), "last": max(acks)}

    async def op_account_info(self, name: None, on: natsune.Client, args: Args) -> Any:
        return describe(await on.jetstream().account_info())

    async def op_create_stream(self, name: None, on: natsune.Client, args: Args) -> Any:
        return describe((await on.jetstream().create_stream(StreamConfig(**args["config"]))).cached_info)

    async def op_update_stream(self, name: None, on: natsune.Client, args: Args) -> Any:
        return describe((await on.jetstream().update_stream(StreamConfig(**args["config"]))).cached_info)

    async def op_create_or_update_stream(self, name: None, on: natsune.Client, args: Args) -> Any:
        return describe((await on.jetstream().create_or_update_stream(StreamConfig(**args["config"]))).cached_info)

    async def op_stream_info(self, name: None, on: natsune.Client, args: Args) -> Any:
        return describe(await on.jetstream().stream(args["stream"]).info())

    async def op_delete_stream(self, name: None, on: natsune.Client, args: Args) -> None:
        await on.jetstream().delete_stream(args["stream"])

    async def op_purge_stream(self, name: None, on: natsune.Client, args: Args) -> Any:
        stream = on.jetstream().stream(args.pop("stream"))
        return {"purged": await stream.purge(**args)}

    async def op_create_consumer(self, name: str | None, on: natsune.Client, args: Args) -> Any:
        stream = on.jetstream().stream(args["stream"])
        return self.made(name, await stream.create_consumer(ConsumerConfig(**args["config"])))

    async def op_update_consumer(self, name: str | None, on: natsune.Client, args: Args) -> Any:
        stream = on.jetstream().stream(args["stream"])
        return self.made(name, await stream.update_consumer(ConsumerConfig(**args["config"])))

    async def op_create_or_update_consumer(self, name: str | None, on: natsune.Client, args: Args) -> Any:
        stream = on.jetstream().stream(args["stream"])
        return self.made(name, await stream.create_or_update_consumer(ConsumerConfig(**args["config"])))

    def made(self, name: str | None, consumer: natsune.Consumer) -> Any:
        self.keep(name, consumer)
        return describe(consumer.cached_info)

    async def op_consumer(self, name: str, on: natsune.Client, args: Args) -> None:
        self.keep(name, on.jetstream().consumer(args["stream"], args["name"]))

    async def op_consumer_info(self, name: None, on: natsune.Client, args: Args) -> Any:
        return describe(await on.jetstream().consumer(args["stream"], args["consumer"]).info())

    async def op_delete_consumer(self, name: None, on: natsune.Client, args: Args) -> None:
        await on.jetstream().stream(args["stream"]).delete_consumer(args["consumer"])

    async def op_consumer_next(self, name: str | None, on: natsune.Consumer, args: Args) -> Any:
        return {"message": self.message(await on.next(args["timeout"]), name)}

    async def op_fetch(self, name: str | None, on: natsune.Consumer, args: Args) -> Any:
        found = await on.fetch(args.pop("max_messages"), **args)
        return {"messages": [self.message(each, name and f"{name}.{at}") for at, each in enumerate(found)]}

    async def op_consume(self, name: str, on: natsune.Consumer, args: Args) -> None:
        self.keep(name, await on.consume(**args))

    async def op_consume_stop(self, name: None, on: natsune.Consumption, args: Args) -> None:
        on.stop()

    async def op_consume_drain(self, name: None, on: natsune.Consumption, args: Args) -> None:
        await on.drain()

    async def op_settle(self, name: None, on: natsune.JetStreamMessage, args: Args) -> None:
        await settle(on, args["verb"], args)

    async def op_get_message(self, name: None, on: natsune.Client, args: Args) -> Any:
        stream = on.jetstream().stream(args.pop("stream"))
        return {"message": self.message(await stream.get(**args))}

    async def op_delete_message(self, name: None, on: natsune.Client, args: Args) -> None:
        await on.jetstream().stream(args["stream"]).delete_message(args["sequence"])

    async def op_read_stream(self, name: str, on: natsune.Client, args: Args) -> None:
        self.keep(name, on.jetstream().stream(args["stream"]).read(start=args.get("start")))

    # Broker and lifecycle

    async def op_broker_start(self, name: str, on: None, args: Args) -> Any:
        broker = await natsune.Broker.start(**args)
        self.keep(name, broker)
        return {"url": broker.url, "monitor_url": broker.monitor_url}

    async def op_broker_namespace(self, name: None, on: natsune.Broker, args: Args) -> Any:
        return describe(await on.create_namespace(args["name"]))

    async def op_broker_credentials(self, name: None, on: natsune.Broker, args: Args) -> Any:
        made = await on.create_credentials(args["namespace"], args["name"])
        return made._document()

    async def op_broker_delete_namespace(self, name: None, on: natsune.Broker, args: Args) -> None:
        await on.delete_namespace(args["name"])

    async def op_broker_delete_credentials(self, name: None, on: natsune.Broker, args: Args) -> None:
        await on.delete_credentials(args["namespace"], args["name"])

    async def op_broker_stop(self, name: None, on: natsune.Broker, args: Args) -> None:
        await on.stop()

    async def op_panic(self, name: None, on: None, args: Args) -> None:
        client = next(each for each in self.objects.values() if isinstance(each, natsune.Client))
        natsune._native.inject_panic()
        if args["export"] == "publish":
            client.try_publish("panic")
        else:
            await client.flush()

    async def op_drop(self, name: None, on: Any, args: Args) -> None:
        for key in [key for key, value in self.objects.items() if value is on]:
            del self.objects[key]
        del on
        gc.collect()

    async def op_cancel(self, name: None, on: None, args: Args) -> None:
        self.tasks[args["target"]].cancel()


def payload(args: Args) -> bytes:
    return base64.b64decode(args.get("data") or "")


def pairs(args: Args) -> list[tuple[str, str]] | None:
    found = args.get("headers")
    return [(name, value) for name, value in found] if found else None


async def settle(message: natsune.JetStreamMessage, verb: str, args: Args) -> None:
    if verb == "ack_sync":
        await message.ack_sync()
    elif verb == "nak":
        message.nak(args.get("delay"))
    elif verb == "term":
        message.term(args.get("reason"))
    else:
        getattr(message, verb)()


def say(line: Any) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


async def answer(testee: Testee, request: Args) -> None:
    number = request["n"]
    try:
        args = {key: value for key, value in request.get("args", {}).items() if value is not None}
        on = testee.objects[request["on"]] if request.get("on") else None
        del request["on"]
        say({"n": number, "ok": await testee.run(request["op"], request.get("as"), on, args)})
    except natsune.NatsError as error:
        failure = {"code": error.code, "message": error.message, "detail": error.detail}
        say({"n": number, "err": failure | {"retryable": error.retryable, "applied": error.applied}})
    except asyncio.CancelledError:
        say({"n": number, "err": {"code": "cancelled", "message": ""}})
    except Exception as error:
        say({"n": number, "err": {"code": "foreign", "message": f"{type(error).__name__}: {error}"}})
    finally:
        testee.tasks.pop(number, None)


async def main() -> None:
    testee = Testee()
    reader = asyncio.StreamReader(limit=1 << 26)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    say({"hello": {"language": "python", "version": natsune.__version__}})
    while line := await reader.readline():
        request = json.loads(line)
        testee.tasks[request["n"]] = asyncio.create_task(answer(testee, request))


asyncio.run(main())
