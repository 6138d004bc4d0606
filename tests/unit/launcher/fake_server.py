"""A stand-in for a server of the stack: answers with its nonce, takes the bucket, or ends at once."""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    nonce = ""
    state = Path()

    def do_GET(self) -> None:
        self._answer(self.nonce.encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with (self.state / "posted.log").open("ab") as log:
            log.write(self.path.encode() + b" " + body + b"\n")
        self._answer(b"{}")

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    name, port, nonce, folder = sys.argv[1:]
    sys.stderr.write(f"{name} begins\n")
    Handler.nonce, Handler.state = nonce, Path(folder)
    if (Handler.state / f"{name}.broken").exists():
        sys.exit(f"{name}: cannot open its database")
    HTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()


if __name__ == "__main__":
    main()
