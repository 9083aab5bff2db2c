"""Many requests at once from one thread: HTTP/1.1 by hand on asyncio."""
# SPDX-License-Identifier: Apache-2.0
import asyncio
import json


class Answer:
    def __init__(self, status, body):
        self.status, self.body = status, body

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.status} {self.body[:300]!r}"


async def get(port, path, timeout=120, host="localhost", method="GET"):
    """One request on a connection of its own. A connection that ends early raises, and so does one that never ends."""
    async with asyncio.timeout(timeout):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            status = int(head.split(" ", 2)[1])
            fields = {k.lower(): v.strip() for k, v in (x.split(":", 1) for x in head.split("\r\n")[1:] if ":" in x)}
            if "content-length" in fields:
                return Answer(status, (await reader.readexactly(int(fields["content-length"]))).decode())
            body = b""
            while (size := int(await reader.readline(), 16)) > 0:
                body += await reader.readexactly(size)
                await reader.readline()
            return Answer(status, body.decode())
        finally:
            writer.close()
