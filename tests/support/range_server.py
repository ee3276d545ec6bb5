"""A small HTTP server on loopback, of files with ranges and ETags, that counts what it is asked for and fails as it is told."""

import contextlib
import hashlib
import http.server
import random
import socket
import struct
import threading
import time
import urllib.parse

_PIECE = 1 << 18  # bytes that are sent together


class RangeServer:
    """Files by name. `delay_s`, `fault_share`, `short_share`, `is_dead`, `status` and the two rates may be set at any time.

    `status`, if it is not None, is the one of all answers, which are empty then.

    The rates are those at which bytes are sent: all connections together, and each of them; None for as fast as they go.

    Attributes
    ----------
    files : dict of str to bytes
    requests : list of (str, int, int)
        Name, first byte and number of bytes of each GET that was answered.
    n_heads, n_lists, n_faults, n_refused : int
    most_at_once : int
        Requests that were under way at a time.
    list_quote : str
        What is around the ETags in lists, which S3 and Google's have, and Azure's does not.
    """

    def __init__(self):
        self.files, self.tags, self.requests = {}, {}, []
        self.n_heads = self.n_lists = self.n_faults = self.n_refused = 0
        self.n_now = self.most_at_once = 0
        self.list_quote = '"'
        self.delay_s, self.fault_share, self.short_share, self.is_dead, self.has_tags = 0.0, 0.0, 0.0, False, True
        self.status = self.bytes_per_s = self.connection_bytes_per_s = None
        self._free_at = 0.0
        self.lock, self._random = threading.Lock(), random.Random(7)
        outer = self

        class Handler(_Handler):
            server_of_files = outer

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads, request_queue_size = True, 64

            def handle_error(self, request, address):
                pass  # a client that went away

        self._server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def put(self, name, content):
        """Store a file, or another version of it, and return its address."""
        self.files[name], self.tags[name] = content, f'"{hashlib.md5(content).hexdigest()}"'
        return f"{self.url}/{name}"

    @property
    def n_bytes(self):
        """Bytes that were sent."""
        return sum(n for _, _, n in self.requests)

    @property
    def n_requests(self):
        """Requests of any kind."""
        return len(self.requests) + self.n_heads + self.n_lists

    def forget(self):
        """Count from zero."""
        self.requests, self.n_heads, self.n_lists, self.n_faults, self.most_at_once = [], 0, 0, 0, 0

    def draw(self):
        """Return a number in 0..1 for a request."""
        with self.lock:
            return self._random.random()

    def send(self, content, write):
        """Write bytes at the rates that are set."""
        free_at = time.monotonic()
        for first in range(0, len(content), _PIECE):
            piece = content[first : first + _PIECE]
            if self.connection_bytes_per_s is not None:
                free_at += len(piece) / self.connection_bytes_per_s
                time.sleep(max(0.0, free_at - time.monotonic()))
            if self.bytes_per_s is not None:
                with self.lock:
                    self._free_at = max(self._free_at, time.monotonic()) + len(piece) / self.bytes_per_s
                    until = self._free_at
                time.sleep(max(0.0, until - time.monotonic()))
            write(piece)

    def close(self):
        """End."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version, disable_nagle_algorithm = "HTTP/1.1", True
    server_of_files: RangeServer

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        mine = self.server_of_files
        with mine.lock:
            mine.n_heads += 1
        self._answer(is_head=True)

    def do_GET(self):
        self._answer(is_head=False)

    def _answer(self, is_head):
        mine = self.server_of_files
        with mine.lock:
            mine.n_now += 1
            mine.most_at_once = max(mine.most_at_once, mine.n_now)
        try:
            self._answer_later(is_head)
        finally:
            with mine.lock:
                mine.n_now -= 1

    def _answer_later(self, is_head):
        mine, name = self.server_of_files, self.path.lstrip("/")
        time.sleep(mine.delay_s)
        if mine.is_dead:
            return self._reset()
        if mine.status is not None:
            with mine.lock:
                mine.n_refused += 1
            return self._empty(mine.status)
        bucket, _, query = name.partition("?")
        if "list-type=2" in query:
            return self._list(bucket, urllib.parse.parse_qs(query))
        content = mine.files.get(name)
        if content is None:
            return self._empty(404)
        wanted, tag = self.headers.get("If-Match"), mine.tags[name]
        if wanted is not None and wanted != tag:
            return self._empty(412)
        drawn = mine.draw()
        if not is_head and drawn < mine.fault_share:
            with mine.lock:
                mine.n_faults += 1
            return self._reset() if drawn < mine.fault_share / 2 else self._empty(503)
        first, stop = 0, len(content)
        if (asked := self.headers.get("Range")) is not None:
            low, _, high = asked.removeprefix("bytes=").partition("-")
            first, stop = int(low), min(int(high) + 1, stop) if high else stop
        self.send_response(206 if asked else 200)
        if mine.has_tags:
            self.send_header("ETag", tag)
        self.send_header("Last-Modified", "Thu, 01 Oct 2026 00:00:00 GMT")
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{stop - 1}/{len(content)}")
        self.send_header("Content-Length", str(stop - first))
        self.end_headers()
        if is_head:
            return None
        if drawn > 1 - mine.short_share:
            with mine.lock:
                mine.n_faults += 1
            self.wfile.write(content[first : (first + stop) // 2])
            return self._reset()
        mine.send(memoryview(content)[first:stop], self.wfile.write)
        with mine.lock:
            mine.requests.append((name, first, stop - first))
        return None

    def _list(self, bucket, query):
        """Answer a list of keys as S3 does, with ETags."""
        mine, prefix, deep = self.server_of_files, query.get("prefix", [""])[0], "delimiter" not in query
        with mine.lock:
            mine.n_lists += 1
        items = ""
        for name, content in sorted(mine.files.items()):
            key = name.removeprefix(f"{bucket}/")
            if name != key and key.startswith(prefix) and (deep or "/" not in key[len(prefix) :]):
                tag = mine.tags[name].replace('"', mine.list_quote)
                tag = f"<ETag>{tag}</ETag>" if mine.has_tags else ""
                items += f"<Contents><Key>{key}</Key><LastModified>2026-10-01T00:00:00.000Z</LastModified>{tag}"
                items += f"<Size>{len(content)}</Size></Contents>"
        answer = f"<ListBucketResult><IsTruncated>false</IsTruncated>{items}</ListBucketResult>".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def _empty(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _reset(self):
        with contextlib.suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.wfile.flush()
            self.connection.close()
        self.close_connection = True
