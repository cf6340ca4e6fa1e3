"""Markup: what sellers paste loses tags and code, and keeps every word; signs that are no markup stay."""

import base64
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.texts.listing_text import plain_text
from marketplace.texts.markup import strip_markup

WORD = (
    "<!--[if gte mso 9]><xml><w:WordDocument><w:View>Normal</w:View></w:WordDocument></xml><![endif]-->"
    '<style>p.X {margin:0cm; font-family:"Some Serif";}</style>'
)
DATA = base64.b64encode(random.Random(1).randbytes(300)).decode()
LINES = base64.encodebytes(random.Random(2).randbytes(300)).decode()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"{WORD}<p>Oak table</p>", "Oak table"),
        ("<SCRIPT type='x'>if (a < b) c()</SCRIPT >Oak", "Oak"),
        ("<xml><w:View>Normal</w:View><w:Zoom>0</w:Zoom></xml>Oak", "Oak"),
        ('<w:LatentStyles x="1"><w:LsdException Name="Normal">Normal</w:LsdException></w:LatentStyles>Oak', "Oak"),
        ('<?xml:namespace prefix = o ns = "urn:x" /><p>Oak<o:p></o:p></p><o:p>&nbsp;</o:p>table', "Oak table"),
        ('<st1:place w:st="on">Leeds</st1:place>', "Leeds"),
        ("<![if !supportLists]>- <![endif]>Oak", "- Oak"),
        ("<![CDATA[<p>Oak</p>]]>", "Oak"),
        ("<!DOCTYPE html><html><head><title>Shop</title></head><body>Oak</body></html>", "Oak"),
        ("Oak Normal 0 21 false false false EN-GB X-NONE AR-SA MicrosoftInternetExplorer4 table", "Oak table"),
        ('Oak /* Style Definitions */ table.Mso {mso-style-name:"x"; a:b;} p.Mso {margin:0} table', "Oak table"),
        ("<html><head><body>Oak</body>", "Oak"),
        ("Oak<!-- /* Style Definitions */ p.MsoNormal", "Oak"),  # cut after so many characters
        ('Oak <span class="MsoNor', "Oak"),
        ("Oak<style>p.MsoNormal {mso", "Oak"),
        ("H<sub>2</sub>O", "H2O"),
        ("<td nowrap>a</td><td>b</td><br/>c", "a b c"),
        ('<a title="a > b" href=x>go</a>', "go"),
        ("<price>5</price>", "5"),
        ("&lt;p&gt;Oak&lt;/p&gt; &amp;lt;b&amp;gt;table", "Oak table"),
        ("&EACUTE;T&Eacute; &AMP; &#39;x&#x27; &NBSP;R&D &nbsp", "ÉTÉ & 'x' R&D"),
        (f'Oak <img src="data:image/png;base64,{DATA}" alt="x"> table', "Oak table"),
        (f"Oak data:image/png;base64,{DATA} table", "Oak table"),
        (f"Oak {DATA} table", "Oak table"),
        (f"Oak {LINES} table", "Oak table"),
    ],
)
def test_only_the_words_stay(text: str, words: str) -> None:
    assert " ".join(strip_markup(text).split()) == words
    assert plain_text(text) == words


@pytest.mark.parametrize(
    "text",
    [
        "a < b and c > d",
        "a <b and c> d",
        "small if a <b and c = d",
        "5<6, I <3 you, <<< SALE >>>, <NEW>, <!!!>",
        "mail <joe@example.com>, see <https://example.com/a>",
        "R&D, AT&T, tax&registration, a&copy2",
        "https://example.com/" + "Ab1" * 50,
        "Normal 0 % finance, {a: b} /* new */",
        "A" * 200 + "!" * 200,
        "--> look here <--",
    ],
)
def test_signs_that_are_no_markup_stay(text: str) -> None:
    assert strip_markup(text) == text


def test_what_follows_a_tag_that_is_never_closed_stays() -> None:
    assert strip_markup("a <style> dress; size 10").split() == ["a", "dress;", "size", "10"]


@given(st.lists(st.sampled_from([*"<>/!-[]&;:=\"' ab1", "style", "&lt;", "<b>", "<!--", "base64,"]), max_size=40))
def test_no_text_raises_an_error_and_nothing_is_left_to_strip(parts: list[str]) -> None:
    text = strip_markup("".join(parts))
    assert strip_markup(text) == text


@pytest.mark.parametrize(
    "part", ["<", "<b ", '<a "', "<style>", "<w:a>", "<!--", "&amp;amp;lt;", "data:a/a;", "<a =", "A" * 60 + " ", "</a"]
)
def test_the_time_grows_with_the_length_alone(part: str) -> None:
    """A part that takes time by the square of the length would take minutes."""
    start = time.monotonic()
    strip_markup(part * (200_000 // len(part)))
    assert time.monotonic() - start < 30
