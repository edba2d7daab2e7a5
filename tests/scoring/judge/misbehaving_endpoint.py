"""A chat-completions endpoint on this machine: it does what it is told, wrongly too, and keeps what it was asked."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = str | Callable[[BaseHTTPRequestHandler], None]
"""An answer's text, or what is done instead of answering."""


def status(code: int, body: str = "{}", **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    """Answer with a status and a body."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        handler.send_header("Content-Type", "application/json")
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body.encode())))
        handler.end_headers()
        handler.wfile.write(body.encode())

    return reply


def cut(handler: BaseHTTPRequestHandler) -> None:
    """Promise a body and hang up."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [')
    handler.close_connection = True


def chat(text: str, tokens: int | None = 100) -> Callable[[BaseHTTPRequestHandler], None]:
    """Answer as a model does."""
    content: dict[str, Any] = {
        "id": "1", "object": "chat.completion", "created": 0, "model": "judge",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
    }  # fmt: skip
    if tokens is not None:
        content["usage"] = {"prompt_tokens": tokens - 1, "completion_tokens": 1, "total_tokens": tokens}
    return status(200, json.dumps(content))


class Endpoint:
    """What the server was asked, and how many requests were open at once."""

    def __init__(self, answer: Callable[[dict[str, Any], int], Reply], pause: float) -> None:
        self.answer, self.pause = answer, pause
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.open = self.most_open = 0
        self.lock = threading.Lock()
        self.url = ""

    def users(self) -> list[str]:
        """The user messages, in the order in which they came."""
        return [request["messages"][-1]["content"] for request in self.requests]


@contextmanager
def serve(answer: Callable[[dict[str, Any], int], Reply], pause: float = 0.0) -> Iterator[Endpoint]:
    """Run the endpoint; `answer(request, how many came before)` says what each gets."""
    endpoint = Endpoint(answer, pause)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with endpoint.lock:
                number = len(endpoint.requests)
                endpoint.requests.append(request)
                endpoint.keys.append(self.headers.get("Authorization", ""))
                endpoint.open += 1
                endpoint.most_open = max(endpoint.most_open, endpoint.open)
            time.sleep(endpoint.pause)
            with endpoint.lock:
                endpoint.open -= 1
            reply = endpoint.answer(request, number)
            (chat(reply) if isinstance(reply, str) else reply)(self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    endpoint.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
