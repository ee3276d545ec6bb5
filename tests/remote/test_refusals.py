"""Stores that refuse: whatever they say, one line at once that names the address and the way out, and no secret."""

import base64

import obstore  # noqa: F401 - without it these tests are skipped
import pytest

from fastprep.loader import Loader
from fastprep.remote.failures import lacks_credentials, may_pass, one_line

KEY = base64.b64encode(b"s3cret").decode()
SIGNATURE = "sv=2022-11-02&sp=r&sig=s3cret%3D"


def options_of(cloud, url):
    """Storage options for a cloud whose endpoint is a server of ours."""
    return {
        "s3://bucket": {"endpoint": url, "region": "us-east-1", "access_key_id": "a", "secret_access_key": KEY},
        "gs://bucket": {"base_url": url, "skip_signature": True},
        "az://data": {"endpoint": url, "account_name": "a", "account_key": KEY},
        "az://signed": {"endpoint": url, "account_name": "a", "sas_key": SIGNATURE},
    }[cloud]


@pytest.mark.parametrize("cloud", ["s3://bucket", "gs://bucket", "az://data", "az://signed"])
@pytest.mark.parametrize("name", ["x.h5", "x-*.h5"])
@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (401, PermissionError, "access is denied; pass credentials by storage_options="),
        (403, PermissionError, "access is denied; pass credentials by storage_options="),
        (404, FileNotFoundError, "there is no|no file matches"),
        (400, OSError, "the request is refused: .* 400 Bad Request"),
        (500, OSError, r"\d+ tries in \d+ s failed, the last one: .* 500"),
    ],
)
def test_each_status_of_each_cloud_is_one_line(server, cloud, name, status, kind, words):
    server.status = status
    options = {**options_of(cloud, server.url), "retry_config": {"retry_timeout": 0.1}}
    with pytest.raises(kind, match=words) as error:
        Loader(f"{cloud}/{name}", 4, None, storage_options=options)
    message = str(error.value)
    assert f"{cloud}/{name}" in message
    assert "\n" not in message
    assert "s3cret" not in message
    assert KEY not in message
    assert server.n_refused == 1 or status == 500


def test_a_server_of_the_web_that_wants_a_password_is_told_by_a_header(server):
    server.status = 401
    with pytest.raises(PermissionError, match=r'x.h5: access is denied; pass storage_options=.*"Authorization"'):
        Loader(f"{server.url}/x.h5", 4, None)


def test_an_endpoint_of_the_environment_without_encryption_has_to_be_allowed(server, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    with pytest.raises(OSError, match=r's3://bucket/x.h5: the request is refused: .*"allow_http": True'):
        Loader("s3://bucket/x.h5", 4, None, storage_options={"region": "us-east-1", "skip_signature": True})
    assert server.n_requests == 0
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    with pytest.raises(FileNotFoundError):
        Loader("s3://bucket/x.h5", 4, None, storage_options={"region": "us-east-1", "skip_signature": True})
    assert server.n_requests == 1


def test_where_there_are_no_credentials_the_error_says_what_to_pass(server, monkeypatch):
    """The service that has those of a machine in a cloud is asked, at an address that is the same everywhere."""
    monkeypatch.setattr("fastprep.remote.fetching._CREDENTIALS_S", 0.0)

    class Nowhere:
        base = "s3://bucket"

        def facts(self, key):
            class GenericError(Exception):
                pass

            raise GenericError(
                "Generic S3 error: Error performing PUT http://169.254.169.254/latest/api/token in 1.8ms - "
                "Server returned non-2xx status code: 403 Forbidden: denied"
            )

    monkeypatch.setattr("fastprep.remote.sessions.StoreOfProcess", lambda base, options: Nowhere())
    with pytest.raises(PermissionError, match=r's3://bucket/x.h5: there are no credentials.*"skip_signature": True'):
        Loader("s3://bucket/x.h5", 4, None)


def test_a_signature_is_not_in_what_is_said_of_an_error():
    error = OSError(f"Error performing GET https://a.blob.core.windows.net/data/x.h5?{SIGNATURE} in 2 ms - lost\nmore")
    assert one_line(error) == "Error performing GET https://a.blob.core.windows.net/data/x.h5?*** in 2 ms - lost"


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("Error performing HEAD http://h/x - Server returned non-2xx status code: 429 Too Many Requests", True),
        ("Error performing HEAD http://h/x - Server returned non-2xx status code: 503 Slow Down", True),
        ("Error performing HEAD http://h/x - HTTP error: error sending request", True),
        ("Error performing HEAD http://h/x - Server returned non-2xx status code: 409 Conflict", False),
        ("Received redirect without LOCATION, this normally indicates an incorrectly configured region", False),
    ],
)
def test_what_may_pass_is_tried_again(text, passes):
    assert may_pass(OSError(text)) == passes
    assert not lacks_credentials(OSError(text))
