"""A scripted OpenAI-compatible endpoint, the model behind the Letta server under test.

    llm_stub.py PORT      (standard library only, loopback only)

It answers GET /v1/models, POST /v1/chat/completions (plain and streamed) and
POST /v1/embeddings. A test scripts the answer through its own message:
"[[words N MS]]" answers N words, streamed one every MS ms; anything else is
answered with "echo: <the text>".
"""
import base64
import hashlib
import json
import re
import struct
import sys
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODEL = "gpt-4o-mini"
WORDS = re.compile(r"\[\[words (\d+) (\d+)\]\]")
EMBEDDING_DIMENSIONS = 1536


def script(messages):
    """The pieces of the answer to the newest user message, and the seconds between them."""
    content = next((m["content"] for m in reversed(messages) if m["role"] == "user"), "")
    text = content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)
    words = WORDS.search(text)
    if words:
        count, pause_ms = map(int, words.groups())
        return [f"word-{i} " for i in range(count)], pause_ms / 1000
    return re.findall(r"\S+\s*", "echo: " + text), 0


def embedding(text):
    digest = hashlib.sha256(text.encode()).digest()
    return [(digest[i % len(digest)] - 127.5) / 2048 for i in range(EMBEDDING_DIMENSIONS)]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def end_headers(self):
        # One request per connection, on purpose. Letta 0.16.8 makes a new
        # OpenAI client for each call and leaves it to the garbage collector;
        # a connection still open then is closed behind asyncio's back, its
        # file number is reused by the next database connection, and that one
        # hangs for the driver's 60 s timeout. Closing here avoids the race.
        self.send_header("Connection", "close")
        super().end_headers()

    def do_GET(self):
        self.send_json({"object": "list", "data": [
            {"id": MODEL, "object": "model", "created": 0, "owned_by": "stub", "max_model_len": 128000}]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.endswith("/embeddings"):
            self.embeddings(body)
        elif body.get("stream"):
            self.chat_stream(body)
        else:
            self.chat(body)

    def embeddings(self, body):
        texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
        vectors = [embedding(str(text)) for text in texts]
        if body.get("encoding_format") == "base64":
            vectors = [base64.b64encode(struct.pack(f"<{len(v)}f", *v)).decode() for v in vectors]
        self.send_json({"object": "list", "model": body["model"], "usage": {"prompt_tokens": 1, "total_tokens": 1},
                        "data": [{"object": "embedding", "index": i, "embedding": v} for i, v in enumerate(vectors)]})

    def chat(self, body):
        pieces, pause = script(body["messages"])
        time.sleep(pause * len(pieces))
        message = {"role": "assistant", "content": "".join(pieces).strip()}
        self.send_json({**self.completion("chat.completion", message=message, finish_reason="stop"), "usage": USAGE})

    def chat_stream(self, body):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.end_headers()
        pieces, pause = script(body["messages"])
        try:
            for piece in pieces:
                time.sleep(pause)
                self.event(self.completion("chat.completion.chunk", delta={"role": "assistant", "content": piece}))
            self.event(self.completion("chat.completion.chunk", delta={}, finish_reason="stop"))
            self.event({**self.completion("chat.completion.chunk"), "choices": [], "usage": USAGE})
            self.wfile.write(b"data: [DONE]\n\n")
        except ConnectionError:
            pass

    @staticmethod
    def completion(kind, finish_reason=None, **choice):
        return {"id": "chatcmpl-" + uuid.uuid4().hex, "object": kind, "created": int(time.time()), "model": MODEL,
                "choices": [{"index": 0, "finish_reason": finish_reason, **choice}]}

    def event(self, data):
        self.wfile.write(b"data: " + json.dumps(data).encode() + b"\n\n")
        self.wfile.flush()

    def send_json(self, data):
        raw = json.dumps(data).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}

if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
