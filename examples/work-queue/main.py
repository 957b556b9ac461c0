"""A worker of a work queue: takes jobs (a file each), answers with size, lines and SHA-256, acknowledges.

`main.py URL CREDS FOLDER`, where `FOLDER` holds the files that the jobs name.
"""

import asyncio
import hashlib
import json
import sys
from pathlib import Path

import natsune

LANGUAGE = "python"


async def main(url: str, creds: str, folder: str) -> None:
    async with natsune.connect(url, creds=natsune.Credentials.file(creds), name=LANGUAGE) as client:
        await client.request("demo.register", LANGUAGE)

        js = client.jetstream()
        async with js.consumer("JOBS", "workers").consume(max_messages=20) as jobs:
            async for message in jobs:
                job = json.loads(message.data)
                content = (Path(folder) / job["path"]).read_bytes()
                answer = {
                    "id": job["id"],
                    "language": LANGUAGE,
                    "size": len(content),
                    "lines": content.count(b"\n"),
                    "sha256": hashlib.sha256(content).hexdigest(),
                    "delivered": message.metadata.num_delivered,
                }
                await publish(js, json.dumps(answer), str(job["id"]))
                message.ack()


async def publish(js: natsune.JetStream, answer: str, id: str) -> None:
    while True:
        try:
            # The id makes the answer safe to repeat: the stream keeps the first.
            await js.publish("results.python", answer, id=id)
            return
        except natsune.NatsError as error:
            if not error.retryable:
                raise


asyncio.run(main(*sys.argv[1:]))
