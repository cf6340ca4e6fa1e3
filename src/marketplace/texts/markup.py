"""HTML, Office documents and embedded data in texts that sellers paste: only their words stay.

Python's HTML parser takes "a <b and c> d" for a tag, and its patch versions read bad HTML differently.
"""

import html
import re

MAX_ROUNDS = 8  # "&amp;lt;b&amp;gt;" takes three

_ELEMENTS = (
    "a abbr acronym address applet area article aside audio b base basefont bdi bdo bgsound big blink blockquote body "
    "br button canvas caption center cite code col colgroup data datalist dd del details dfn dialog dir div dl dt em "
    "embed fieldset figcaption figure font footer form frame frameset g h1 h2 h3 h4 h5 h6 head header hgroup hr html i "
    "iframe img input ins kbd label legend li line link main map mark marquee menu meta meter nav nobr noframes "
    "noscript object ol optgroup option output p param path picture polygon pre progress q rect rp rt ruby s samp "
    "script search section select slot small source span strike strong style sub summary sup svg table tbody td "
    "template textarea tfoot th thead time title tr track tt u ul use var video wbr xml"
)
_INLINE = (  # they separate no words: H<sub>2</sub>O
    "a abbr acronym b bdi bdo big cite code data del dfn em font i ins kbd mark nobr q s samp small span strike strong "
    "sub sup time tt u var wbr"
)
_ATTRIBUTES_WITHOUT_VALUE = (
    "allowfullscreen async autoplay checked compact controls defer disabled hidden itemscope loop multiple muted "
    "nohref noresize noshade nowrap readonly required reversed selected"
)
ELEMENTS = frozenset(_ELEMENTS.split())
INLINE = frozenset(_INLINE.split())
ATTRIBUTES_WITHOUT_VALUE = frozenset(_ATTRIBUTES_WITHOUT_VALUE.split())
_SIGN = re.compile(r"[<&]|base64|[A-Za-z0-9+/]{60}|Definitions \*/|Normal\s+0\s")
_HIDDEN = re.compile(
    r"<!--.*?(?:-->|\Z)"
    r"|<(style|script|head|template|svg|math|xml|[wmvx]:\w+|o:(?!p\b)\w+)(?:\s[^<>]*)?(?<!/)>(.*?)(?:(</\1\s*>)|\Z)"
    r"|<!\[endif\]\s*-?-?>|<(?:!(?!\[CDATA\[)[a-zA-Z\[]|\?[a-zA-Z])[^<>]*>",
    re.IGNORECASE | re.DOTALL,
)
# What programs that drop tags alone leave of a text from Word.
_WORD = re.compile(
    r"/\*\s*(?:Style|Font|List|Page) Definitions\s*\*/[^{}]{0,200}\{[^{}]*\}(?:[^{}]{0,200}\{[^{}]*\})*"
    r"|\bNormal\s+0(?:\s+\d+)?(?:\s+(?:false|true)){3}(?:\s+(?:X-NONE|[A-Z]{2}(?:-[A-Z]{2})?)\b)*"
    r"(?:\s+MicrosoftInternetExplorer\d)?"
)
_CDATA = re.compile(r"<!\[CDATA\[|\]\]>")
_ATTRIBUTES = r"""(?:\s|/)(?:[^<>"']++|"[^"]*+"|'[^']*+'){0,200}+|(?:\s|/)[^<>]*"""
_TAG = re.compile(rf"<(/?)([a-zA-Z][\w.-]*(?::[a-zA-Z][\w.-]*)?)({_ATTRIBUTES})?>", re.DOTALL)
_CUT_TAG = re.compile(r"<[a-zA-Z][\w.:-]*\s+[\w:-]+=[^<>]*\Z")  # where a marketplace cuts long descriptions
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});|&(?:nbsp|amp|lt|gt|quot)\b")
# A word that no seller types, or lines of up to 80 characters and a last one.
_DATA = (
    r"(?:(?:[A-Za-z0-9+/]{60,80}\s+)+(?=\S*[A-Z0-9+/=])[A-Za-z0-9+/]{1,80}={0,2}(?![A-Za-z0-9+/])"
    r"|[A-Za-z0-9+/]{60,}={0,2})"
)
_DATA_ADDRESS = re.compile(rf"data:[\w.+-]+/[\w.+-]+(?:;[\w=.+-]+)*;base64,\s*(?:{_DATA}|[A-Za-z0-9+/%_-]*=*)")
_BASE64 = re.compile(rf"(?<![\w+/=.:?&%@-]){_DATA}")
_MIN_BASE64 = 100  # characters


def strip_markup(text: str) -> str:
    """Return a text without tags, and without the content of styles, scripts, comments and Office's elements.

    Entities are decoded, also several times over, and base64 data is left out. Signs that are no markup stay.

    >>> strip_markup("<style>p {margin: 0}</style><p>Oak&nbsp;table</p>5 < 6 &lt;b&gt;new&lt;/b&gt;")
    ' Oak\\xa0table 5 < 6 new'
    """
    if not _SIGN.search(text):
        return text
    for _ in range(MAX_ROUNDS):
        before = text
        text = _BASE64.sub(_drop_data, _DATA_ADDRESS.sub(" ", text))
        text = _WORD.sub(" ", _CDATA.sub(" ", _drop_hidden(text)))
        closed = {match[2].casefold() for match in _TAG.finditer(text) if match[1]}
        text = _TAG.sub(lambda match, closed=closed: _drop_tag(match, closed), text)  # type: ignore[misc]
        text = _CUT_TAG.sub(" ", text)
        text = _ENTITY.sub(_decode_entity, text)
        if text == before:
            break
    return text


def _drop_hidden(text: str) -> str:
    """Return a text without the content of comments, styles, scripts and Office's elements."""
    for _ in range(MAX_ROUNDS):
        before = text
        text = _HIDDEN.sub(_drop_element, text)
        if text == before:
            break
    return text


def _drop_element(match: re.Match[str]) -> str:
    """Return a space. Behind a tag that is never closed, only code is left out: "a <style> dress" holds none."""
    name = match[1]
    is_code = name is not None and name.casefold() in ("style", "script") and any(sign in match[2] for sign in "{}=")
    return " " if name is None or match[3] or is_code else f" {match[2]}"


def _drop_tag(match: re.Match[str], closed: set[str]) -> str:
    """Return nothing or a space for a tag, and any other text in angle brackets as it is."""
    name = match[2].casefold()
    attributes = match[3] or ""
    is_tag = match[1] or name in ELEMENTS or name in closed or ":" in name or "=" in attributes
    words = set(attributes.casefold().replace("/", " ").split())
    if not is_tag or ("=" not in attributes and not words <= ATTRIBUTES_WITHOUT_VALUE):
        return match[0]
    return "" if name in INLINE or name.startswith("st1:") else " "


def _decode_entity(match: re.Match[str]) -> str:
    """Decode an entity; "&EACUTE;" and "&NBSP;" come from texts in capitals."""
    entity = match[0] if match[0].endswith(";") else f"{match[0]};"
    letter = html.unescape(entity)
    if letter == entity and entity.isupper():
        letter = html.unescape(entity.lower()).upper()
    return letter if letter != entity else match[0]


def _drop_data(match: re.Match[str]) -> str:
    data = match[0]
    is_data = (
        len(data) >= _MIN_BASE64
        and any(letter.isdigit() for letter in data)
        and any(letter.islower() for letter in data)
        and any(letter.isupper() for letter in data)
    )
    return " " if is_data else data
