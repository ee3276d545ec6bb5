"""HTML: everything that is not made there is escaped, on one line, and of bounded length."""

from html.parser import HTMLParser

import pytest

from fastprep.reports.markup import Html, element, facts, folded, joined, name, table, text

NASTY = "<script>alert('\"&')</script>\u202e\x1b[2J\ud800\n"


class Elements(HTMLParser):
    """Collects the elements of a page, its attributes and its text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.texts = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.texts.append(data)


@pytest.mark.parametrize(
    "made",
    [
        lambda: text(NASTY),
        lambda: name(NASTY),
        lambda: element("p", NASTY, title=NASTY),
        lambda: joined([NASTY, element("b", NASTY)], NASTY),
        lambda: table([NASTY], [[NASTY]], NASTY),
        lambda: facts([(NASTY, NASTY)]),
        lambda: folded(NASTY, text(NASTY)),
    ],
)
def test_nothing_gets_through_as_html(made):
    page = made()
    found = Elements(page)
    assert "script" not in found.tags
    assert not [key for key, _ in found.attributes if key.startswith("on")]
    shown = "<script>alert('\"&')</script>\\u202e\\x1b[2J\\ud800\\n"
    values = [*found.texts, *(value for _, value in found.attributes)]
    assert shown in "".join(values)
    page.encode("utf-8")


def test_texts_are_of_bounded_length_and_names_are_whole_in_their_tooltips():
    assert text("x" * 5, 4) == "xxx…"
    assert len(text("x" * 10**6)) == 2000
    assert name("x" * 41) == f'<bdi title="{"x" * 41}">{"x" * 39}…</bdi>'
    assert name("قطة") == "<bdi>قطة</bdi>"


def test_what_is_html_stays_and_attributes_have_their_names():
    assert element("p", Html("<b>x</b>"), aria_label="y", class_=None) == '<p aria-label="y"><b>x</b></p>'
    assert element("img", src="data:x") == '<img src="data:x">'
