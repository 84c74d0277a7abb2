"""A server that misbehaves in each way that servers do."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NOW = datetime(2024, 5, 1, 12, 2, tzinfo=UTC)
BODY = b"radar" * 20_000
PATTERN = r"radar_(?P<time>\d{12})\.h5"
FILE = "/radar_202405011200.h5"


class Server(ThreadingHTTPServer):
    """A server whose answers are functions of the handler, by path; counts what is asked."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.pages, self.asked, self.seen = {}, Counter(), []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address):
        """Clients that hang up are what is tested here."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.asked[self.path] += 1
        self.server.seen.append((self.path, dict(self.headers)))
        page = self.server.pages.get(self.path.split("?")[0])
        if page is None:
            return send(self, b"", 404)
        return page(self, self.server.asked[self.path])

    def log_message(self, *_):
        """Say nothing."""


def send(handler, body=BODY, status=200, length=None, **headers):
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body) if length is None else length))
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)
    if length is not None and length > len(body):
        handler.close_connection = True


def names(*minutes):
    return [f"radar_{NOW - timedelta(minutes=2 + m):%Y%m%d%H%M}.h5" for m in minutes]
