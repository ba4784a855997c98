"""Raw requests, good and bad, by name. All carry a credential that the gate knows."""

import random

from lab import KEY

GOOD_TARGET = "/v9/things"


def request(line=None, host="Host: gw.test", headers=(), end="\r\n", body=b""):
    """A request in its parts; each may be wrong in its own way."""
    line = line if line is not None else f"GET {GOOD_TARGET} HTTP/1.1"
    lines = [line, *([host] if host is not None else []), f"Authorization: Bearer {KEY}", *headers]
    return (end.join(lines) + end + end).encode("latin-1") + body


def by_hand():
    """One input for each thing that can be wrong, and for each that is right."""
    yield "good", request()
    for version in ("1.0", "1.1", "0.9", "1.2", "2.0", "1.10", "1", "01.1", "1.1 "):
        yield f"version {version}", request(f"GET {GOOD_TARGET} HTTP/{version}")
    for method in "GET HEAD POST PUT PATCH DELETE OPTIONS TRACE CONNECT FOO get G_T PRI PROPFIND M-SEARCH".split():
        yield f"method {method}", request(f"{method} {GOOD_TARGET} HTTP/1.1", headers=["Content-Length: 0"])
    targets = r"""/ /a /a/ //a /a//b /./a /a/../b /a/. /%2e/a /%2E%2E/a /a%2fb /a%2Fb /a%5cb /a\b /a;b /a;b=c /%00 /%
        /%zz /%2 /a%20b /a+b /a%0ab /a%0d%0ab /a#b /a?b#c /a?b=%00 /a?b=%0a /a?b=/../ /a?b=<x> /a?b="x" /a?b={x} /a?b=[x]
        /a?b=|x /a?b=\x /a?b=^x /a?b=`x /a?? /a?;b /{a} /[a] /a|b /a^b /a`b /<a> /"a" /~a /a:b /a@b /a,b /a!b /a$b /a&b
        /a'b /(a) /*a /=a /%C3%A9 /%c3%a9 /%FF /%C0%AF /%E2%80%AE /%41 /%7e * a a/b http://gw.test/a http://evil.test/a
        https://gw.test/a http://u@gw.test/a gw.test:80 ?a #a /%25 /%252e /a%3Fb /a%23b /a%3b""".split()
    for target in targets:
        yield f"target {target}", request(f"GET {target} HTTP/1.1")
    for length in (1000, 7000, 9000, 70000):
        yield f"target of {length} bytes", request(f"GET /{'a' * length} HTTP/1.1")
    hosts = ["gw.test", "GW.TEST", "gw.test.", "gw.test:80", "gw.test:0", "gw.test:99999", "gw.test:", "gw.test:x",
             "", " ", "a b", "a,b", "a, b", "u@gw.test", "gw.test/x", "gw.test?x", "gw.test#x", "[::1]", "[::1]:80",
             "[::1", "::1", "127.0.0.1", "a\tb", "a\\b", "xn--a", "-a", "a_b", "*", "<a>", "a\x00b", "a\xe9", "gw..test",
             "a%20b", "a|b", "a\x7f"]
    for host in hosts:
        yield f"host {host!r}", request(host=f"Host: {host}")
    yield "no host", request(host=None)
    yield "no host in 1.0", request(f"GET {GOOD_TARGET} HTTP/1.0", host=None)
    yield "two hosts", request(headers=["Host: gw.test"])
    yield "two different hosts", request(headers=["Host: evil.test"])
    headers = ["X-A: 1", "X-A:1", "X-A:", "X-A: ", "X-A : 1", " X-A: 1", "X-A", ": 1", "X A: 1", "X-A: 1\r\n folded",
               "X-A: \x00", "X-A: \x01", "X-A: \x7f", "X-A: \x0b", "X-A: a\rb", "X-A: a\nb", "X-A: \xe9", "X_A: 1",
               "X(A): 1", "X@A: 1", "\"X\": 1", "X-\xe9: 1", "X-A: a\tb", "X/A: 1", "Connection: close", "TE: trailers",
               "Connection: Upgrade\r\nUpgrade: h2c", "Connection: Upgrade\r\nUpgrade: websocket", "Upgrade: x",
               "Connection: host", "Connection: content-length", "Connection: authorization", "Connection: ,,",
               "Keep-Alive: x", "Expect: 100-continue", "Expect: x", "Cookie: a\r\nCookie: b", "Range: bytes=0-",
               "Transfer-Encoding: identity", "Transfer-Encoding:", "Content-Length: 0", "Content-Length: 00",
               "Content-Length: ", "Content-Length: -0", "Content-Length: +0", "Content-Length: 0, 0",
               "Content-Length: 0\r\nContent-Length: 0", "Transfer-Encoding: chunked, identity", "HTTP2-Settings: x",
               "X-A: " + "a" * 3000, "X-A: " + "a" * 9000, "X-A: " + "a" * 40000]
    for header in headers:
        yield f"header {header[:60]!r} of {len(header)}", request(headers=[header])
    for count in (30, 60, 63, 99, 120):
        yield f"{count} headers", request(headers=[f"X-{n}: 1" for n in range(count)])
    line = f"POST {GOOD_TARGET} HTTP/1.1"
    for length in ("3", "03", "+3", "-3", "0x3", "3 ", " 3", "3\t", "3,3", "3, 3", "3.0", "3\x0b", "99999999999999999999", "\xb3"):
        yield f"length {length!r}", request(line, headers=[f"Content-Length: {length}"], body=b"abc")
    for pair in (("3", "3"), ("3", "4"), ("4", "3")):
        yield f"lengths {pair}", request(line, headers=[f"Content-Length: {n}" for n in pair], body=b"abc")
    chunked = b"3\r\nabc\r\n0\r\n\r\n"
    codings = ["chunked", "Chunked", "CHUNKED", " chunked", "chunked ", "\tchunked", "xchunked", "chunked;a", "\"chunked\"",
               "chunked,", ",chunked", "chunked, chunked", "gzip, chunked", "chunked, gzip", "identity, chunked", "\x0bchunked",
               "chunked\x0b", "chun ked", "chunked\r\nTransfer-Encoding: chunked", "\r\n chunked", "gzip", "x"]
    for coding in codings:
        yield f"coding {coding!r}", request(line, headers=[f"Transfer-Encoding: {coding}"], body=chunked)
    for name in ("transfer-encoding", "TRANSFER-ENCODING", "Transfer_Encoding", "Transfer-Encoding ", " Transfer-Encoding"):
        yield f"coding in {name!r}", request(line, headers=[f"{name}: chunked"], body=chunked)
    both = ["Content-Length: 13", "Transfer-Encoding: chunked"]
    yield "length and chunked", request(line, headers=both, body=chunked)
    yield "chunked and length", request(line, headers=both[::-1], body=chunked)
    yield "chunked in 1.0", request(f"POST {GOOD_TARGET} HTTP/1.0", headers=both[1:], body=chunked)
    bodies = [b"0\r\n\r\n", b"3\r\nabc\r\n0\r\n\r\n", b"03\r\nabc\r\n0\r\n\r\n", b"3 \r\nabc\r\n0\r\n\r\n", b" 3\r\nabc\r\n0\r\n\r\n",
              b"+3\r\nabc\r\n0\r\n\r\n", b"0x3\r\nabc\r\n0\r\n\r\n", b"3;a\r\nabc\r\n0\r\n\r\n", b"3;a=b\r\nabc\r\n0\r\n\r\n",
              b"3\nabc\n0\n\n", b"3\r\nabc0\r\n\r\n", b"3\r\nabcd\r\n0\r\n\r\n", b"3\r\nabc\r\n0\r\nX: 1\r\n\r\n", b"g\r\n\r\n",
              b"3\r\nabc\r\n00\r\n\r\n", b"3\r\nabc\r\n0\r\n\n", b"3\r\nabc\r\n0\n\r\n", b"A\r\n0123456789\r\n0\r\n\r\n", b"a\r\n0123456789\r\n0\r\n\r\n",
              b"ffffffffffffffffff\r\nabc", b"-1\r\nabc", b"\r\nabc\r\n0\r\n\r\n", b"00000003\r\nabc\r\n0\r\n\r\n", b"000000000003\r\nabc\r\n0\r\n\r\n"]
    for body in bodies:
        yield f"chunks {body!r}", request(line, headers=["Transfer-Encoding: chunked"], body=body)
    for method in ("GET", "HEAD", "DELETE", "OPTIONS"):
        framed = f"{method} {GOOD_TARGET} HTTP/1.1"
        yield f"{method} with a body", request(framed, headers=["Content-Length: 3"], body=b"abc")
        yield f"{method} with chunks", request(framed, headers=["Transfer-Encoding: chunked"], body=chunked)
    yield "bare line feeds", request(end="\n")
    yield "bare carriage returns", request(end="\r")
    for before in (b"\r\n", b"\n", b" ", b"\r", b"\x00", b"\xef\xbb\xbf"):
        yield f"{before!r} before", before + request()
    for line in (f"GET  {GOOD_TARGET} HTTP/1.1", f"GET\t{GOOD_TARGET} HTTP/1.1", f"GET {GOOD_TARGET}  HTTP/1.1", f"GET {GOOD_TARGET}",
                 f"GET {GOOD_TARGET} http/1.1", f"GET {GOOD_TARGET} x HTTP/1.1", f" GET {GOOD_TARGET} HTTP/1.1", f"GET {GOOD_TARGET} HTTP/1.1\t"):
        yield f"line {line!r}", request(line)


def by_chance(count):
    """Good requests with a few bytes changed, put in or taken out; the same in every run."""
    dice = random.Random(20240229)
    pieces = [b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b"\x00", b"\x7f", b"\xff", b"%", b"%2f", b"..", b"/", b"//", b"#", b"?", b";",
              b"\\", b"Host: x\r\n", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"HTTP/1.1", b"0\r\n\r\n", b",", b"\""]
    seeds = [request(), request(f"POST {GOOD_TARGET} HTTP/1.1", headers=["Content-Length: 3"], body=b"abc"),
             request(f"POST {GOOD_TARGET} HTTP/1.1", headers=["Transfer-Encoding: chunked"], body=b"3\r\nabc\r\n0\r\n\r\n")]
    for number in range(count):
        data = bytearray(dice.choice(seeds))
        for _ in range(dice.randint(1, 3)):
            at = dice.randrange(len(data))
            what = dice.randrange(3)
            if what == 0:
                data[at] = dice.choice(b"\x00\t\n\r !\"#%&'()*+,-./:;<=>?@[\\]^_`{|}~\x7f\x80\xff0aZ")
            elif what == 1:
                data[at:at] = dice.choice(pieces)
            else:
                del data[at]
        # A change of the credential says nothing about HTTP.
        if KEY.encode() in data:
            yield f"chance {number}: {bytes(data)!r}", bytes(data)
