"""What needs no model: personal data and credentials by their form, and lists of phrases.

Knows nothing of categories or policies. A finding has a form that hardly anything else has: what could as well be a date,
a version or an order number is none. Every function is linear in the length of its input.
"""

import ipaddress
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from .normalize import plain_form, plain_spelling


class Finding(NamedTuple):
    """A place in a text that holds personal data or a credential."""

    kind: str
    """email, phone, card, iban, ip or key."""
    start: int
    """Where it begins."""
    end: int
    """Where it ends."""


def find_pii(text: str) -> list[Finding]:
    """Return the personal data and credentials in a text, in order and without overlaps."""
    taken, found = bytearray(len(text)), []
    for kind, pattern, valid in _KINDS:
        for match in pattern.finditer(text):
            span = valid(match)
            if span and taken.find(1, *span) < 0:
                taken[span[0] : span[1]] = b"\1" * (span[1] - span[0])
                found.append(Finding(kind, *span))
    return sorted(found, key=lambda finding: finding.start)


def redact(text: str, findings: Iterable[Finding]) -> str:
    """Replace each finding by its kind in brackets: [email]."""
    pieces, at = [], 0
    for kind, start, end in sorted(findings, key=lambda finding: finding.start):
        if start >= at:
            pieces += text[at:start], f"[{kind}]"
            at = end
    return "".join((*pieces, text[at:]))


# --- each kind: a pattern, and what else must hold ---------------------------------------------------------------------

_Span = tuple[int, int] | None


def _as_it_is(match: re.Match[str]) -> _Span:
    return match.span()


_KEY = re.compile(
    r"""(?<![\w-])(?:
      (?:AKIA|ASIA)[A-Z0-9]{16}
    | gh[pousr]_[A-Za-z0-9]{36,255} | github_pat_\w{22,255}
    | sk-(?=[\w-]{0,40}[A-Za-z0-9]{16})(?=[\w-]{0,60}[0-9])[\w-]{20,200} | [sr]k_(?:live|test)_[A-Za-z0-9]{16,200}
    | xox[abeoprs]-(?=[A-Za-z-]{0,8}[0-9])[A-Za-z0-9-]{10,200}
    | AIza[\w-]{35}
    | eyJ[\w-]{8,}+\.eyJ[\w-]{8,}+\.[\w-]{8,}+
    )(?![\w-])
    | -----BEGIN\ [A-Z ]{0,24}PRIVATE\ KEY(?:\ BLOCK)?-----
      (?:(?:[^-]|-(?!----)){0,16384}-----END\ [A-Z ]{0,24}PRIVATE\ KEY(?:\ BLOCK)?-----|(?:\s?[A-Za-z0-9+/=]{32,}+)*)
    """,
    re.VERBOSE | re.ASCII,
)

_EMAIL = re.compile(r"(?<![\w.%+-])\w[\w.%+-]{0,63}+@(?:[\w-]{1,63}\.){1,8}([^\W\d_]{2,24})(?![\w@-]|:[\w/~])")
_FILES = frozenset(("css", "gif", "html", "jpeg", "jpg", "js", "json", "png", "svg", "ts", "webp"))


def _email(match: re.Match[str]) -> _Span:
    return None if match[1].lower() in _FILES else match.span()


_IBAN = re.compile(r"(?<![A-Za-z0-9])([A-Za-z]{2})[0-9]{2}(?=[ -]?[A-Za-z0-9])")
_IBAN_LENGTHS = {
    country: length
    for length, countries in {
        15: "NO", 16: "BE", 18: "DK FI FO GL NL SD", 19: "MK SI", 20: "AT BA EE KZ LT LU XK MN", 21: "CH CR HR LI LV",
        22: "BG BH DE GB GE IE ME RS", 23: "AE GI IL IQ OM TL SO", 24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST", 26: "IS TR", 27: "BI DJ FR GR IT MC MR SM", 28: "AL AZ BY CY DO GT HU LB NI PL SV",
        29: "BR EG PS QA UA", 30: "JO KW MU YE", 31: "MT SC", 32: "LC", 33: "RU",
    }.items()
    for country in countries.split()
}  # fmt: skip


def _iban(match: re.Match[str]) -> _Span:
    left = _IBAN_LENGTHS.get(match[1].upper(), 0) - 4
    rest = re.compile(rf"(?:[ -]?[A-Za-z0-9]){{{left}}}(?![A-Za-z0-9])").match(match.string, match.end()) if left > 0 else None
    if not rest:
        return None
    account = re.sub("[ -]", "", rest[0] + match[0])
    number = "".join(str(int(char, 36)) for char in account)
    return (match.start(), rest.end()) if int(number) % 97 == 1 else None


# Looks ahead, so that a number in front of the first four digits hides nothing.
_CARD = re.compile(
    r"(?<![\w.])(?=((?:[0-9]{4}([ -])[0-9]{4}\2[0-9]{4}\2[0-9]{4}(?:\2[0-9]{3})?|3[0-9]{3}([ -])[0-9]{6}\3[0-9]{4,5}"
    r"|[0-9]{13,19}))(?!\w|[.-][0-9]))"
)
# First digits from, to, and how many digits there are.
_ISSUERS = (
    ("4", "4", (13, 16, 19)), ("51", "55", (16,)), ("2221", "2720", (16,)), ("34", "34", (15,)), ("37", "37", (15,)),
    ("300", "305", (14,)), ("36", "36", (14,)), ("38", "39", (14,)), ("3528", "3589", (16, 17, 18, 19)),
    ("6011", "6011", (16, 19)), ("644", "659", (16, 19)), ("62", "62", (16, 17, 18, 19)),
    ("5018", "5038", range(13, 20)), ("6304", "6304", range(13, 20)), ("6759", "6763", range(13, 20)),
)  # fmt: skip


def _card(match: re.Match[str]) -> _Span:
    digits = re.sub("[ -]", "", match[1])
    issued = any(low <= digits[: len(low)] <= high and len(digits) in lengths for low, high, lengths in _ISSUERS)
    if not issued or len(set(digits)) == 1:
        return None
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return match.span(1) if (sum(map(int, digits[-1::-2])) + sum(doubled)) % 10 == 0 else None


_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = re.compile(rf"(?<![\w.-])(?<![A-Za-z]/)(?<![=<>~^!]=){_OCTET}(?:\.{_OCTET}){{3}}(?![\w-]|\.[\w-])")
_IPV6 = re.compile(r"(?<![\w:.])(?<!\w\[)(?:[0-9A-Fa-f]{0,4}:){2,7}(?:[0-9.]{7,15}|[0-9A-Fa-f]{1,4})?(?![\w:])")
_NO_ADDRESS = re.compile(
    r"(?i)\b(?:v|ver|version|release|build|firmware|update|section|chapter|clause|§|rule|article|item)\W{0,3}\Z"
)


def _ipv4(match: re.Match[str]) -> _Span:
    return None if _NO_ADDRESS.search(match.string[max(match.start() - 12, 0) : match.start()]) else match.span()


def _ipv6(match: re.Match[str]) -> _Span:
    address = match[0].rstrip(".")
    # A slice such as 1::2 is an address by its form.
    if address != "::1" and (len(address) < 6 or not re.search("[0-9]", address)):
        return None
    try:
        ipaddress.IPv6Address(address)
    except ValueError:
        return None
    return match.start(), match.start() + len(address)


_PHONE = re.compile(
    r"""(?<![\w.,:/+$€£\#\-])(?P<number>
    \+[1-9](?:[ ./()\-]{0,2}[0-9]){8,14}                              # international
    | (?<![0-9]\ )(?:                                                 # not the end of a longer number in groups
        00[1-9](?:[ ./\-]?[0-9]){8,13}
      | (?:1[-. ])?(?:\([2-9][0-9]{2}\)\ ?|[2-9][0-9]{2}(?=([-.])...\2))[-.]?[2-9][0-9]{2}[-. ][0-9]{4}  # North America
      | \(?0[1-9][0-9]{0,4}\)?[ /\-]?[0-9]{2,8}(?:[ \-][0-9]{2,8}){0,4} | 0[1-9](?:\.[0-9]{2}){4}       # trunk zero
      | 1[3-9][0-9]([ \-])[0-9]{4}\3[0-9]{4}                          # China
    ))(?![\w%€£$]|[.,:/\-][0-9])""",
    re.VERBOSE,
)
_SAID_PHONE = re.compile(
    r"(?i)\b(?:(?:tele)?(?:phone|fon)|tel|t[ée]l|fax|mobile|cell|handy|whatsapp|call|dial|sms|text)\b[^0-9\n+]{0,20}"
    r"(?<![\w.,$€£#])(?P<number>\(?[0-9](?:[ ().\-]{0,2}[0-9]){6,13})(?![\w%€£$]|[.,:/\-][0-9])"
)
_OTHER_NUMBER = re.compile(
    r"(?i)\b(?:order|invoice|ticket|tracking|isbn|issn|sku|serial|case|part|item|ref|reference|id|doi)\b[^\d\n]{0,12}\Z"
)
_DATE = re.compile(r"(?:19|20)[0-9]{2}[-. ]|[0-3]?[0-9]([-. /])[0-3]?[0-9]\1(?:19|20)[0-9]{2}(?![0-9])|(?:19|20)[0-9]{2}\b")


def _phone(match: re.Match[str]) -> _Span:
    start, end = match.span("number")
    number = match["number"]
    digits = sum(map(str.isdigit, number))
    if not number.startswith(("+", "00")):
        groups = [len(group) for group in re.findall("[0-9]+", number)]
        # Ten or eleven digits in one piece; not four and four and four, which is how orders are numbered.
        plausible = 10 <= digits <= 11 if len(groups) == 1 else 9 <= digits <= 12 and set(groups) != {4}
        said = match.re is _SAID_PHONE and digits < 12
        if not (plausible or said) or _DATE.match(number) or _OTHER_NUMBER.search(match.string[max(start - 24, 0) : start]):
            return None
    return start + (number[0] == "(" and ")" not in number), end


_KINDS: Sequence[tuple[str, re.Pattern[str], Callable[[re.Match[str]], _Span]]] = (
    ("key", _KEY, _as_it_is),
    ("email", _EMAIL, _email),
    ("iban", _IBAN, _iban),
    ("card", _CARD, _card),
    ("ip", _IPV6, _ipv6),
    ("ip", _IPV4, _ipv4),
    ("phone", _PHONE, _phone),
    ("phone", _SAID_PHONE, _phone),
)


# --- phrases -----------------------------------------------------------------------------------------------------------

_MARKS = "".join(
    char for char in map(chr, (*range(0x300, 0x1E00), *range(0xA600, 0xAC00))) if unicodedata.category(char)[0] == "M"
)
# Writing that sets no spaces: every character is a word.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = f"[{_UNSPACED}]|(?:(?![_{_UNSPACED}])[\\w{_MARKS}])+"
_END = ""
"""What stands in the tree of words where a phrase ends."""


class PhraseList:
    """Phrases to look for in the plain spelling of a text, as whole words in any case, whatever punctuation is between."""

    def __init__(self, phrases: Iterable[str]) -> None:
        """Take the phrases; one without a word or a sign is never found."""
        spelled = [plain_spelling(phrase) for phrase in phrases]
        # A sign counts where it is a part of some phrase: C++ and C# are other words than C.
        self._signs = {char for char in "".join(spelled) if char in "#%&@" or unicodedata.category(char)[0] == "S"}
        self._word = re.compile("|".join([_WORD, *map(re.escape, sorted(self._signs))]))
        self._longest = max(map(len, spelled), default=0)
        self._tree: dict[str, Any] = {}
        for phrase in spelled:
            node = self._tree
            for word in self._word.findall(phrase):
                node = node.setdefault(word.casefold(), {})
            if node is not self._tree:
                node[_END] = {}

    def first(self, text: str) -> tuple[int, int] | None:
        """Return the span of the first phrase in a text, or None."""
        if not self._tree:
            return None
        plain = plain_form(text)
        words = [(match.start(), match.end(), match[0].casefold()) for match in self._word.finditer(plain.text)]
        for first in range(len(words)):
            node, at = self._tree, first
            while at < len(words) and (node := node.get(words[at][2])) is not None:
                if _END in node:
                    return plain.span(words[first][0], words[at][1])
                at += 1
        return None

    def matches_whole(self, text: str) -> bool:
        """Tell whether a text is one of the phrases and nothing else, not even anything that a reader does not see."""
        if len(text) > 2 * self._longest + 64 or not all(char in self._signs or _is_writing(char) for char in text):
            return False
        node = self._tree
        for word in self._word.findall(plain_spelling(text)):
            if (node := node.get(word.casefold())) is None:
                return False
        return _END in node


def _is_writing(char: str) -> bool:
    """Tell letters, digits, punctuation, spaces and the marks that scripts need from all that could hide something."""
    return unicodedata.category(char)[0] in "LNPZ" or char in "\t\n\r" or (char in _MARKS and "\u0590" < char < "\u1ab0")
