"""Reads the bytes of each connection with h11, and prints each request as a line of JSON."""

import json
import pathlib
import sys

import h11


def requests(data: bytes):
    """The requests in the bytes of one connection."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(data)
    connection.receive_data(b"")
    head, body = None, bytearray()
    while True:
        event = connection.next_event()
        if event is h11.PAUSED:
            connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
            connection.send(h11.EndOfMessage())
            connection.start_next_cycle()
        elif isinstance(event, h11.Request):
            head, body = event, bytearray()
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            assert not event.headers, "trailers"
            yield {
                "method": head.method.decode(),
                "target": head.target.decode(),
                "headers": [[n.decode("latin-1"), v.decode("latin-1")] for n, v in head.headers],
                "body": body.hex(),
            }
            connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
            connection.send(h11.EndOfMessage())
            if connection.our_state is h11.MUST_CLOSE:
                assert connection.trailing_data[0] == b"", "more behind the last request"
                return
            connection.start_next_cycle()
        else:
            assert isinstance(event, h11.ConnectionClosed), event
            return


for path in sorted(pathlib.Path(sys.argv[1]).glob("*.bytes"), key=lambda p: int(p.stem)):
    for request in requests(path.read_bytes()):
        print(json.dumps({"connection": int(path.stem), **request}))
