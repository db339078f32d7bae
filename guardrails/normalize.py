"""Other readings of the same text: what a reader sees or a model decodes, whatever the code points are.

Knows nothing of categories or models. Every function is linear in the length of its input.
"""

import itertools
import operator
import re
import unicodedata
from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from . import decode
from .decode import Edit

_LAYERS = 2
"""How deep codes are read that are nested in each other."""
_LONG, _BLOCK = 4096, 256
"""Of a longer text only the deepest other reading counts, and of that only the blocks (characters) that read otherwise."""


class Form(NamedTuple):
    """One reading of a text."""

    text: str
    """What is read."""
    starts: Sequence[int]
    """Where each character of it comes from in the raw text; falling where the text runs backwards."""
    how: str
    """raw, plain, or what was undone to read it: base64, leetspeak, base64+rot13 ..."""

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return the span of the raw text that a span of this one was read from."""
        places = self.starts[start:end]
        return (min(places), max(places) + 1) if len(places) else (0, 0)


def forms(text: str) -> tuple[Form, ...]:
    """Return the raw text and each other reading of it that is language; the guard judges by the worst of them.

    They are four at most, and two of a long text: itself and what else can be read in it.
    """
    raw = _raw(text)
    readings = [raw, plain := _plain(raw)]
    reading = raw
    for _ in range(_LAYERS):
        shown = _apply(reading, decode.hidden(reading.text))
        bare = plain if shown is raw else _plain(shown)
        reading = _apply(bare, decode.encoded(bare.text))
        readings.append(reading)
        if reading is plain:
            break
        reading = reading if len(text) <= _LONG else _excerpt(reading, raw)
    if len(text) > _LONG:
        readings = [raw, _excerpt(readings[-1], raw)]
    # Spaces alone make no other reading.
    different: dict[str, Form] = {}
    for form in (form for form in readings if form.text or form is raw):
        different.setdefault(" ".join(form.text.split()), form)
    return tuple(different.values())


def plain_form(text: str) -> Form:
    """Return the plain spelling of a text together with where it comes from."""
    return _plain(_raw(text))


def plain_spelling(text: str) -> str:
    """Undo compatibility characters, invisible characters, look-alike letters and s p a c e d letters."""
    return plain_form(text).text


def without_surrogates(text: str) -> str:
    """Replace lone surrogates, which no tokenizer can read."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _raw(text: str) -> Form:
    return Form(text, range(len(text)), "raw")


# --- plain spelling ----------------------------------------------------------------------------------------------------

# Letters that stand apart: in words that stand further or otherwise apart ("h o w  t o", "h.o.w t.o"), evenly (four or more
# with the same between them: "b.o.m.b"), or with any one sign between; each up to a letter that no word goes on behind.
_SPACED_WORDS = re.compile(r"(?<!\w)[^\W_](?:[ .\-_*]{1,4}[^\W_]){3,}")
_EVENLY_SPACED = re.compile(r"(?<!\w)[^\W_]([ .\-_*]+)[^\W_](?:\1[^\W_]){2,}")
_SPACED = re.compile(r"(?<!\w)[^\W_](?:[ .\-_*][^\W_]){3,}")
_LAST_LETTER = re.compile(r"[^\W_](?!\w)")
_SPACES = re.compile(r" {2,}|^ | \Z")
_INVISIBLE = {"Cf", "Cc", "Co", "Cs"}
# Accents stacked on any letter, variation selectors and empty letters; the marks a script needs are not among them.
_HIDING = re.compile(
    "[\u0300-\u036f\u115f\u1160\u180b-\u180f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\u2800\ufe00-\ufe0f\ufe20-\ufe2f"
    "\U000e0100-\U000e01ef]"
)
# Vowel signs that may become one with the letter before, though they are no marks to unicodedata.combining.
_JOINING = frozenset("\u09be\u09d7\u0b3e\u0b56\u0b57\u0bbe\u0bd7\u0cc2\u0cd5\u0cd6\u0d3e\u0d57\u0dcf\u0ddf\u102e\u1b35")
_LONGEST = 4
"""Letters that one character may stand for."""
# Letters in circles, squares and brackets, and those that flags are made of.
_PICTURED = {
    first + at: ord("a" if first == 0x249C else "A") + at
    for first in (0x249C, 0x1F110, 0x1F130, 0x1F150, 0x1F170, 0x1F1E6)
    for at in range(26)
}
# Small capitals and phonetic letters that no widely written language uses.
_PHONETIC = str.maketrans(
    "ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘꞯʀꜱᴛᴜᴠᴡʏᴢɑɡɩɕɖɠɦɨʝɭɱɲɳɵʠɼʂʈʋʉʐ",
    "abcdefghijklmnopqrstuvwyzagicdghijlmnnoqrstvuz",
)
# Letters of other scripts that look like Latin ones.
_CYRILLIC = "аеорсухіјѕԁһкмтвнгӏԛԝѵьпёїүҳАВЕНІЈКМОРСТУХЅӀԌԚԜ", "aeopcyxijsdhkmtbhrlqwvbneiyxABEHIJKMOPCTYXSIGQW"
_GREEK = "αβγεηικμνορσςτυχωϳΑΒΕΖΗΙΚΜΝΟΡΤΥΧͿ", "abyenikuvopoctuxwjABEZHIKMNOPTYXJ"
_ARMENIAN = "օսոհցզգյւքՍՕԼՏ", "ounhgqqjlpUOLS"
_CHEROKEE = "ᎠᎡᎢᎥᎩᎪᎫᎬᎳᎷᎻᎽᏀᏂᏃᏏᏒᏔᏕᏙᏚᏞᏟᏢᏦᏧᏴ", "DRTiYAJEWMHYGhZbRWSVSLCPKdB"
_LOOKALIKES = {
    place: letter
    for theirs, latin in (_CYRILLIC, _GREEK, _ARMENIAN, _CHEROKEE)
    for place, letter in str.maketrans(theirs, latin).items()
}
_OTHER_SCRIPT = re.compile("[\u0370-\u058f\u13a0-\u13fd\uab70-\uabbf]")
_AROUND = 3
"""How many words on either side tell in which script a word is."""


def _plain(form: Form) -> Form:
    shown = form._replace(text=_mapped(form.text, _PICTURED))
    # Only when what is invisible is gone do some neighbours meet.
    compatible = _compatible(shown)
    shown = _visible(compatible)
    shown = shown if shown is compatible else _compatible(shown)
    shown = shown._replace(text=re.sub(r"\s", " ", shown.text))
    shown = _together(_together(shown, _SPACED_WORDS, _parted), _EVENLY_SPACED, _joined)
    spaces = [found.span() for found in _SPACES.finditer(shown.text)]
    shown = _apply(shown, [Edit(start, end, " " if start and end < len(shown.text) else "", "") for start, end in spaces])
    shown = _latin(_together(shown, _SPACED, _joined))
    return form if shown.text == form.text else shown._replace(how="plain" if form.how == "raw" else form.how)


def _compatible(form: Form) -> Form:
    """Apply NFKC to the characters that it changes, together with the marks that follow them, and to any with marks."""
    if form.text.isascii():
        return form
    kinds = {ord(char): _kind(char) for char in set(form.text)}
    if "".join(kinds.values()).strip("."):
        spans = (match.span() for match in _COMPATIBLE.finditer(form.text.translate(kinds)))
        return _apply(form, [Edit(*span, unicodedata.normalize("NFKC", form.text[slice(*span)]), "") for span in spans])
    return form


# Characters that NFKC changes by themselves (c), that may join the one before (j), both (b) or neither (.). The runs are
# short: the order of marks is settled in quadratic time.
_COMPATIBLE = re.compile("(?:[cb][jb]{0,30}){1,16}|.[jb]{1,30}")


def _kind(char: str) -> str:
    if char <= "\x7f":
        return "."
    new = unicodedata.normalize("NFKC", char)
    joins = unicodedata.combining(new[0]) > 0 or "\u1160" <= new[0] <= "\u11ff" or new[0] in _JOINING
    # What takes many letters is a whole phrase and hides none.
    return (".", "c", "j", "b")[(new != char and len(new) <= _LONGEST) + 2 * joins]


def _visible(form: Form) -> Form:
    stays = {ord(char): "\1" for char in set(form.text)}
    gone = [char for char in stays if _HIDING.match(chr(char)) or _is_invisible(chr(char))]
    if not gone:
        return form
    stays |= dict.fromkeys(gone, "\0")
    starts = array("I", itertools.compress(form.starts, form.text.translate(stays).encode()))
    return form._replace(text=form.text.translate(dict.fromkeys(gone)), starts=starts)


def _is_invisible(char: str) -> bool:
    return unicodedata.category(char) in _INVISIBLE and not char.isspace()


def _together(form: Form, apart: re.Pattern[str], said: Callable[[str], str]) -> Form:
    """Put letters together that stand apart; each run of them is read once."""
    edits, at = [], 0
    while run := apart.search(form.text, at):
        behind = _LAST_LETTER.finditer(form.text, run.start(), run.end() + 1)
        ends = [last.end() for last in behind if last.end() <= run.end()]
        if found := apart.match(form.text, run.start(), ends[-1] if ends else run.start()):
            edits.append(Edit(*found.span(), said(found[0]), ""))
        # What cannot end a run that begins at its first letter cannot end one that begins at a later.
        at = found.end() if found else run.end() - 1
    return _apply(form, edits)


def _joined(letters: str) -> str:
    """Join letters; digits alone are a table or a version."""
    return re.sub(r"[ .\-_*]", "", letters) if re.search(r"[^\W\d_]", letters) else letters


def _parted(apart: str) -> str:
    """Join the letters of words that have other spaces between them than their letters have."""
    spaces = re.findall(r"[ .\-_*]+", apart)
    lengths = Counter(map(len, spaces))
    inside = max(lengths, key=lambda length: (lengths[length], -length))
    if not re.search(r"[^\W\d_]", apart):
        return apart
    if len(lengths) > 1:
        ends = [len(space) != inside for space in spaces]
    elif 0 < 2 * spaces.count(" ") <= len(spaces):
        ends = [space == " " for space in spaces]
    else:
        return apart
    letters = re.findall(r"[^\W_]", apart)
    return letters[0] + "".join(" " * end + letter for end, letter in zip(ends, letters[1:], strict=True))


def _latin(form: Form) -> Form:
    """Map look-alikes in words that mix scripts, and words of look-alikes alone unless their neighbours are foreign."""
    text = _mapped(form.text, _PHONETIC)
    words, says = text.split(" "), _mapped(text, _LOOKALIKES).split(" ")
    differs = list(map(operator.ne, words, says))
    for at in itertools.compress(range(len(words)), differs):
        around = slice(max(at - _AROUND, 0), at + _AROUND + 1)
        # A letter alone is a word in few places, and a symbol in many.
        word = len(words[at]) > 1 or sum(differs[around]) > 1
        if re.search("[A-Za-z]", words[at]) or (word and not any(map(_OTHER_SCRIPT.search, says[around]))):
            words[at] = says[at]
    return form._replace(text=" ".join(words))


def _mapped(text: str, table: Mapping[int, int]) -> str:
    return text if table.keys().isdisjoint(map(ord, set(text))) else text.translate(table)


# --- places ------------------------------------------------------------------------------------------------------------


def _apply(form: Form, edits: Sequence[Edit]) -> Form:
    """Return the form with runs replaced, and with what was undone in its name."""
    if not edits:
        return form
    pieces, starts, at = [], array("I"), 0
    for start, end, text, _, backwards in edits:
        pieces += form.text[at:start], text
        starts.extend(form.starts[at:start])
        starts.extend(_spread(form.starts[start:end][:: -1 if backwards else 1], len(text)))
        at = end
    starts.extend(form.starts[at:])
    names = [] if form.how in ("raw", "plain") else form.how.split("+")
    names = list(dict.fromkeys([*names, *(edit.how for edit in edits if edit.how)]))
    return Form("".join((*pieces, form.text[at:])), starts, "+".join(names) or form.how)


def _spread(places: Sequence[int], count: int) -> Sequence[int]:
    """Return the places of `count` characters that were read from these: the first from the first, the last from the last."""
    if len(places) == count:
        return places
    return [places[at * (len(places) - 1) // max(count - 1, 1)] for at in range(count)]


def _excerpt(form: Form, raw: Form) -> Form:
    """Return the blocks of a form that read otherwise than the raw text, and one on either side of each."""
    places = [*form.starts[::_BLOCK], len(raw.text)]
    blocks = [form.text[at : at + _BLOCK] for at in range(0, len(form.text), _BLOCK)]
    written = [raw.text[start:end] for start, end in itertools.pairwise(places)]
    differs = [old != new and old.split() != new.split() for old, new in zip(written, blocks, strict=True)]
    keep = [any(differs[max(at - 1, 0) : at + 2]) for at in range(len(blocks))]
    pieces, starts = [], array("I")
    for at in itertools.compress(range(len(blocks)), keep):
        start = at * _BLOCK
        if pieces and not keep[at - 1]:
            pieces.append("\n")
            starts.append(form.starts[start])
        pieces.append(form.text[start : start + _BLOCK])
        starts.extend(form.starts[start : start + _BLOCK])
    return Form("".join(pieces), starts, form.how) if pieces else raw
