"""The page of faults: each row names tests that there are."""

import re

import pytest
from pages import ROOT

PAGE = ROOT / "docs" / "guide" / "faults.md"
if not PAGE.exists():
    pytest.skip("this copy of the tests has no documentation beside it", allow_module_level=True)


def test_every_row_names_tests_that_exist():
    missing, n_found = [], 0
    for line in PAGE.read_text().splitlines():
        if not line.startswith("| ") or line.startswith(("| fault", "|---")):
            continue
        cell = line.rstrip(" |").rpartition(" | ")[2]
        path = None
        for word in re.findall(r"`([^`]+)`", cell):
            file, _, name = word.partition("::")
            path = file or path
            found = [folder / path for folder in (ROOT / "tests", *ROOT.glob("tests/*/"), *ROOT.glob("tests/*/*/"))]
            texts = [candidate.read_text() for candidate in found if candidate.is_file()]
            n_found += bool(name and any(f"def {name}(" in text for text in texts))
            if not texts or (name and not any(f"def {name}(" in text for text in texts)):
                missing.append(word)
    assert missing == []
    assert n_found > 100
