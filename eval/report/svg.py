"""Makes a figure part of a page: its colours follow the page's, its letters are text, and it says in words what it shows.

What comes out holds no style, no address and no id but its own, so that a page may forbid everything that is not its own.
"""

import io
import re
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from matplotlib.figure import Figure

from .figures import ROLES
from .samples import one_line

_LINK = "{http://www.w3.org/1999/xlink}href"
_ROLE_OF = {colour: role for role, colour in ROLES.items()}
_KEPT = ("stroke-width", "font-size", "font-weight", "text-anchor")
_DROPPED = ("metadata", "style")
_LONGEST = 20_000
"""Characters of what a figure tells: many systems on many suites."""
_NUMBER = re.compile(r"-?\d+\.\d+")


def inline(name: str, title: str, told: str, figure: Figure) -> str:
    """Return a figure as SVG for HTML; `told` says its numbers in words, for those who do not see it."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    drawn = ElementTree.fromstring(file.getvalue())
    root = Element("svg", {"viewBox": drawn.attrib["viewBox"], "role": "img", "aria-labelledby": f"{name}-title {name}-desc"})
    for tag, text in (("title", title), ("desc", told)):
        ElementTree.SubElement(root, tag, {"id": f"{name}-{tag}"}).text = one_line(text, _LONGEST)
    for child in drawn:
        root.extend(_plain(child, name))
    return ElementTree.tostring(root, encoding="unicode")


def _plain(element: Element, name: str) -> list[Element]:
    """Return an element as the page takes it, or what it holds where it says nothing itself."""
    tag = element.tag.rpartition("}")[2]
    if tag in _DROPPED:
        return []
    children = [plain for child in element for plain in _plain(child, name)]
    attributes = _attributes(element, tag, name)
    if tag in ("g", "defs") and not attributes and not (tag == "defs" and children):
        return children
    if attributes.get("fill") == "none" and not any(key in attributes for key in ("class", "stroke")):
        return []
    made = Element(tag, attributes)
    made.text = element.text if tag == "text" else None
    made.extend(children)
    return [made]


def _attributes(element: Element, tag: str, name: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in element.attrib.items():
        if key == "id" and tag == "path":
            found["id"] = f"{name}-{value}"
        elif key == _LINK:
            found["href"] = f"#{name}-{value[1:]}"
        elif key in ("d", "x", "y", "width", "height"):
            found[key] = _NUMBER.sub(lambda number: f"{float(number[0]):.2f}".rstrip("0").rstrip("."), " ".join(value.split()))
    return found | _style(element.attrib.get("style", ""))


def _style(style: str) -> dict[str, str]:
    """Return a style as attributes, with classes for what the page colours."""
    said = dict(part.strip().split(": ", 1) for part in style.split(";") if ": " in part)
    found = {key: value for key, value in said.items() if key in _KEPT}
    classes = []
    for key, prefix in (("fill", "f"), ("stroke", "k")):
        colour = said.get(key)
        if colour in _ROLE_OF:
            classes.append(f"{prefix}-{_ROLE_OF[colour]}")
        elif colour:
            found[key] = colour
    return found | ({"class": " ".join(classes)} if classes else {})
