"""Reports in a browser: they load nothing, no error is in its console, and the page never scrolls sideways."""

import numpy as np
from browser import open_in_browser
from report_pages import drawn_evaluation, drawn_state, evaluation_page, run_page

WIDTHS = [400, 1280]
FORBIDDEN = '<p style="width:2000px">wide</p><img src="http://127.0.0.1:9/x.png"><script>document.title = "run"</script>'


def test_pages_fit_any_window_and_load_and_run_nothing(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (160, 120, 3), dtype=np.uint8)
    many = evaluation_page(drawn_evaluation(900, 300, several=False))
    pages = {
        "run": run_page(drawn_state(30, several=True), folder="runs/" + "x" * 200, remarks=["<script>alert(3)</script>"]),
        "evaluation": evaluation_page(drawn_evaluation(), image=noise, runs={"<u>runs/one": drawn_state(3)}),
        "several": evaluation_page(drawn_evaluation(several=True)),
        "many classes": many,
        "without labels": evaluation_page(drawn_evaluation(labels=False)),
    }
    found, console = open_in_browser(pages, WIDTHS, tmp_path)
    for name, (needed, room, _, title) in found.items():
        assert needed <= room, name
        assert title.startswith(("Training run x", "Evaluation on <i>test.h5"))
    assert {width for _, _, width, _ in found.values()} == set(WIDTHS)
    assert console == []


def test_the_browser_sees_what_is_wrong(tmp_path):
    planted = run_page(drawn_state(1)).replace("</main>", f"{FORBIDDEN}</main>")
    found, console = open_in_browser({"planted": planted}, WIDTHS[:1], tmp_path)
    needed, room, _, title = found["planted 400"]
    assert needed > room
    assert title == "Training run one"
    assert [word for word in ("http://127.0.0.1:9/x.png", "inline script") if not any(word in line for line in console)] == []
