"""The contrast suite's held-out prompts in disguise: the same words in other code points, codes and ciphers.

A guard that reads plain text well must read these as well; groups are the disguises, `plain` among them.
"""

import base64
import codecs
import string
import urllib.parse
from collections.abc import Callable

_ASCII = range(0x21, 0x7F)
_FULL_WIDTH = {code: code + 0xFEE0 for code in _ASCII}
_LOOK_ALIKES = str.maketrans("aceiopsxyABCEHKMOPTX", "асеіорѕхуАВСЕНКМОРТХ")
_LEET = str.maketrans("aeiost", "431057")
_BOLD = {ord(c): 0x1D41A + i for i, c in enumerate(string.ascii_lowercase)} | {
    ord(c): 0x1D400 + i for i, c in enumerate(string.ascii_uppercase)
}

DISGUISES: dict[str, Callable[[str], str]] = {
    "plain": lambda text: text,
    "full width": lambda text: text.translate(_FULL_WIDTH),
    "mathematical bold": lambda text: text.translate(_BOLD),
    "zero width": lambda text: "\u200b".join(text),
    "tag characters": lambda text: "Hello" + "".join(chr(0xE0000 + ord(char)) for char in text if ord(char) < 0x80),
    "look-alike letters": lambda text: text.translate(_LOOK_ALIKES),
    "leetspeak": lambda text: text.translate(_LEET),
    "spaced out": lambda text: "   ".join(" ".join(word) for word in text.split()),
    "reversed": lambda text: text[::-1],
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "hex": lambda text: text.encode().hex(),
    "url": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "url of spaces": urllib.parse.quote,
    "rot13": lambda text: codecs.encode(text, "rot13"),
}
