"""An upstream of event streams: an event every 20 ms, each with the time at which it was sent.

    events.py PORT

`?events=N` ends after so many; without it a stream goes on until the client leaves. The clock is the
system's monotonic one, which every process reads alike.
"""
import asyncio
import re
import sys
import time

INTERVAL = 0.02
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


async def serve(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: *(\d+)", head)
            if length:
                await reader.readexactly(int(length[1]))
            count = re.search(rb"[?&]events=(\d+)", head.split(b"\r\n")[0])
            await stream(writer, int(count[1]) if count else None)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def stream(writer, count):
    writer.write(HEAD)
    sent = 0
    while count is None or sent < count:
        event = b"data: %d\n\n" % time.monotonic_ns()
        writer.write(b"%x\r\n%s\r\n" % (len(event), event))
        await writer.drain()
        sent += 1
        await asyncio.sleep(INTERVAL)
    writer.write(b"0\r\n\r\n")
    await writer.drain()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), backlog=4096)
    await server.serve_forever()


asyncio.run(main())
