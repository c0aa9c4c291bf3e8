"""A loopback web server with pictures, good and bad ones, and what was asked of it."""

import contextlib
import http.server
import threading

# The limit of a request's pictures is far below this.
ENDLESS_BYTES = 1 << 30


class PictureServer(http.server.ThreadingHTTPServer):
    """Serves the given pages on loopback and remembers what was asked for."""

    daemon_threads = True

    def __init__(self, pages):
        super().__init__(("127.0.0.1", 0), Pages)
        self.pages = pages
        self.asked = []

    def url(self, path):
        return f"http://127.0.0.1:{self.server_port}{path}"

    def put(self, path, body):
        """Serves one more page and gives its address."""
        self.pages[path] = body
        return self.url(path)


class Pages(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        if self.path == "/endless":
            return self.send_endless()
        if self.path == "/loop":
            return self.send_redirect("/loop")
        if self.path.startswith("/to?"):
            return self.send_redirect(self.path.removeprefix("/to?"))
        body = self.server.pages.get(self.path)
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def send_redirect(self, target):
        self.send_response(302)
        self.send_header("Location", target)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def send_endless(self):
        self.send_response(200)
        self.end_headers()
        block = bytes(1 << 20)
        try:
            for _ in range(ENDLESS_BYTES // len(block)):
                self.wfile.write(block)
        except OSError:
            self.server.asked.append("/endless was cut off")

    def log_message(self, *_arguments):
        """The tests read `asked` instead."""


@contextlib.contextmanager
def serving(pages):
    """The server with these pages, as long as the `with` lasts."""
    server = PictureServer(pages)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
