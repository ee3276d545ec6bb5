"""A browser that opens pages, as frames of several widths, and tells what they complain of."""

import json
import re
import shutil
import subprocess

import pytest

_PARENT = """<!DOCTYPE html><meta charset="utf-8"><body><script>
const pages = %s, found = {};
for (const [name, text] of Object.entries(pages)) for (const width of %s) {
    const frame = document.createElement("iframe");
    frame.width = width; frame.height = 800; frame.srcdoc = text;
    frame.onload = () => {
        const page = frame.contentDocument, root = page.documentElement;
        found[name + " " + width] = [root.scrollWidth, root.clientWidth, frame.contentWindow.innerWidth, page.title];
        document.title = JSON.stringify(found);
    };
    document.body.append(frame);
}
</script>"""


def open_in_browser(pages, widths, folder):
    """Open pages in Chromium; skip the test where there is none.

    A page may do what its own Content-Security-Policy lets it do, and what that forbids is in the console.

    Parameters
    ----------
    pages : dict of str to str
        HTML by name.
    widths : list of int
    folder : Path

    Returns
    -------
    dict of str to (int, int, int, str)
        Width of what there is, of the room for it, of that and the scroll bar, and title, by name and width.
    list of str
        Lines of the console: errors, and what was kept from being loaded or run.
    """
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("there is no Chromium here")
    parent = folder / "parent.html"
    parent.write_text(_PARENT % (json.dumps(pages).replace("</", "<\\/"), json.dumps(widths)), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}", "--enable-logging=stderr"]
    command = [browser, *options, "--virtual-time-budget=5000", "--dump-dom", parent.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    title = re.search(r"<title>(.*?)</title>", done.stdout)
    assert title is not None, done.stderr
    found = json.loads(title[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    assert len(found) == len(pages) * len(widths)
    return found, [line for line in done.stderr.splitlines() if ":CONSOLE:" in line]
