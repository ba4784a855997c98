"""An upstream of event streams: an event every 20 ms, each with the time at which it was sent.

    events.py PORT

A stream goes on until the client leaves. `every N us` in the request's body asks for another pace. The clock
is the system's monotonic one, which every process reads alike.
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
            body = await reader.readexactly(int(length[1])) if length else b""
            pace = re.search(rb"every (\d+) us", body)
            await stream(writer, int(pace[1]) / 1e6 if pace else INTERVAL)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def stream(writer, interval):
    writer.write(HEAD)
    while True:
        event = b"data: %d\n\n" % time.monotonic_ns()
        writer.write(b"%x\r\n%s\r\n" % (len(event), event))
        await writer.drain()
        await asyncio.sleep(interval)


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), backlog=4096)
    await server.serve_forever()


asyncio.run(main())
