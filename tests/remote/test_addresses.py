"""Which texts are addresses, which keys match a pattern, and what is said where obstore is missing."""

import re
import sys

import pytest

from fastprep import CenterCrop, show
from fastprep.loader import Loader
from fastprep.remote import is_address
from fastprep.remote.addresses import matches, prefix_of, split


@pytest.mark.parametrize("path", ["s3://b/x.h5", "gs://b/x.h5", "az://c/x.h5", "https://h/x.h5", "http://h:80/a/x.h5"])
def test_addresses(path):
    assert is_address(path)
    base, key = split(path)
    assert f"{base}/{key}" == path


@pytest.mark.parametrize("path", ["x.h5", "/a/x.h5", "s3:/b/x.h5", "file:///x.h5", "a:b", "images", "y.h5:s3://", 3, None])
def test_what_is_none(path):
    assert not is_address(path)


@pytest.mark.parametrize("path", ["s3://", "s3://bucket", "s3://bucket/", "https:///x.h5"])
def test_an_address_without_a_file_is_refused(path):
    with pytest.raises(ValueError, match="must name a store and a file"):
        split(path)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("https://me:s3cret@h/x.h5", "must have no password, got 'https://***@h/x.h5': pass storage_options=.*Authorization"),
        ("https://me:s3cret@h", "must have no password, got 'https://***@h/'"),
        ("https://me:s3:cr@et@h/s3cret/x.h5?a=s3cret", r"must have no query, got 'https://***@h/s3cret/x.h5?***'"),
        ("s3://key:s3cret@bucket/x.h5", "must have no password, got 's3://***@bucket/x.h5': pass keys by storage_options="),
        ("https://h/x.h5?s3cret=1", "must have no query, got 'https://h/x.h5?***': pass headers or keys"),
        ("s3://b/x.h5?X-Amz-Date=2026&X-Amz-Signature=s3cret", "must have no query, got 's3://b/x.h5?***'"),
    ],
)
def test_passwords_and_signatures_are_refused_and_not_repeated(address, words):
    with pytest.raises(ValueError, match=re.escape(words).replace(r"\.\*", ".*")) as caught:
        split(address)
    assert "s3cret" not in str(caught.value).replace("/s3cret/", "")


@pytest.mark.parametrize(
    "address", ["abfss://data@account.dfs.core.windows.net/x.h5", "s3://b/y=202?/m=01/x.h5", "https://me@h/x.h5"]
)
def test_what_looks_like_a_password_or_a_query_and_is_none(address):
    assert "/".join(split(address)) == address


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("a/*.h5", ["a/x.h5", "a/.h5"], ["a/b/x.h5", "x.h5", "a/x.h5x"]),
        ("**/*.h5", ["x.h5", "a/x.h5", "a/b/x.h5"], ["a/x.txt"]),
        ("a/x-[0-2]?.h5", ["a/x-01.h5"], ["a/x-31.h5", "a/x-1.h5", "a/x-1/.h5"]),
    ],
)
def test_patterns_match_as_in_a_shell(pattern, matching, others):
    assert all(matches(key, pattern) for key in matching)
    assert not any(matches(key, pattern) for key in others)
    assert all(key.startswith(prefix_of(pattern)) for key in matching)


def test_without_obstore_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(ModuleNotFoundError, match=r"python -m pip install 'fastprep\[remote\]'"):
        Loader("https://example.invalid/x.h5", 4, CenterCrop(4))


def test_a_command_says_so_in_one_line(capsys):
    assert show.main(["https://me:s3cret@h/x.h5"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("fastprep.show: an address must have no password, got 'https://***@h/x.h5': ")
    assert message.count("\n") == 1
