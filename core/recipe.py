"""Settings: frozen dataclasses that hold the only defaults, and YAML files that carry values.

All problems of a file are reported together, unknown keys included. This module knows no particular recipe.
"""

import contextlib
import copy
import difflib
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from .errors import RecipeError, UsageError

T = TypeVar("T")

LIKE = "like"
"""The key of a recipe that names another, whose values hold where it has none."""
_UNREADABLE: Any = object()
"""Stands for a value of the wrong kind, so that what holds it is told of but not checked further."""

_NOT_YAML = (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError)
"""What PyYAML raises over a text: its own errors, and those its readers of numbers and dates let through."""


def load(cls: type[T], name: str, folder: Path, overrides: Sequence[str] = ()) -> T:
    """Read the recipe `name` (a file, or a name in `folder`) with `key.sub=value` overrides into `cls`.

    One that says `like: OTHER` has that one's values where it has none itself; a path is looked for beside it. Raises
    UsageError for an unknown name, RecipeError with all problems otherwise.
    """
    path = _find(name, folder)
    values = dict(read_yaml(path))
    if LIKE in values:
        other = _find(str(values.pop(LIKE)), folder, path.parent)
        under = read_yaml(other)
        if LIKE in under:
            raise RecipeError(str(path), [f"{LIKE}: {other} is itself like another; name that one"])
        values = _over(under, values)
    return build(cls, values, str(path), overrides)


def _find(name: str, folder: Path, beside: Path = Path()) -> Path:
    path = beside / name if name.endswith((".yaml", ".yml")) else folder / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.yaml")))
        raise UsageError(f"there is no recipe {name}; known ones: {known}, or give the path of a .yaml file")
    return path


def _over(under: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of one mapping, and beneath them another's."""
    merged = dict(under)
    for key, value in values.items():
        below = merged.get(key)
        merged[key] = _over(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def build(cls: type[T], values: Mapping[str, Any], where: str, overrides: Sequence[str] = ()) -> T:
    """Build a settings dataclass from plain values, or raise RecipeError with every problem found."""
    problems: list[str] = []
    merged = _with_overrides(values, overrides, problems)
    made = _dataclass(cls, merged, "", problems)
    if problems:
        raise RecipeError(where, problems)
    return made


def plain(settings: Any) -> dict[str, Any]:
    """Return a settings dataclass as JSON-ready values, every default written out."""
    return asdict(settings)


def read_yaml(path: Path) -> Mapping[str, Any]:
    """Read a YAML file that must hold a mapping."""
    try:
        # libyaml, where it is built in, reads the corpus eight times as fast.
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except _NOT_YAML as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark else ""
        raise RecipeError(str(path), [f"{line}not valid YAML"]) from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise RecipeError(str(path), ["it must hold keys and values"])
    return values


def _with_overrides(values: Mapping[str, Any], overrides: Sequence[str], problems: list[str]) -> dict[str, Any]:
    merged = copy.deepcopy(dict(values))
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key:
            problems.append(f"--set {override}: write it as key=value")
            continue
        *path, last = key.split(".")
        target = merged
        for part in path:
            if not isinstance(target.setdefault(part, {}), dict):
                target[part] = {}
            target = target[part]
        try:
            target[last] = yaml.safe_load(text)
        except _NOT_YAML:
            target[last] = text
    return merged


def _dataclass(cls: type[T], values: Mapping[str, Any], at: str, problems: list[str]) -> Any:
    hints = get_type_hints(cls)
    known = {f.name: f for f in fields(cls)}  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            problems.append(f"unknown key {at}{key}" + (f" (did you mean {near[0]}?)" if near else ""))
    arguments = {}
    for name, field in known.items():
        if name in values:
            arguments[name] = _value(hints[name], values[name], f"{at}{name}", problems)
        elif field.default is MISSING and field.default_factory is MISSING:
            problems.append(f"{at}{name} is missing")
            arguments[name] = _UNREADABLE
    if _UNREADABLE in arguments.values():
        return _UNREADABLE
    made = cls(**arguments)
    check = getattr(made, "problems", None)
    if check is not None:
        problems.extend(f"{at}{problem}" for problem in check())
    return made


def _value(hint: Any, value: Any, at: str, problems: list[str]) -> Any:
    origin = get_origin(hint)
    if is_dataclass(hint):
        if not isinstance(value, dict):
            problems.append(f"{at} must hold keys and values")
            return _UNREADABLE
        return _dataclass(hint, value, f"{at}.", problems)  # type: ignore[arg-type]
    if origin in (Union, types.UnionType):
        if value is None and type(None) in get_args(hint):
            return None
        return _value(next(a for a in get_args(hint) if a is not type(None)), value, at, problems)
    if origin is Literal:
        # The type counts too: 4.0 is not 4, and True is not 1.
        known = any(value == each and type(value) is type(each) for each in get_args(hint))
        return _expect(known, value, at, "one of " + ", ".join(map(str, get_args(hint))), problems)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            return _expect(False, value, at, "a list", problems)
        items = tuple(_value(get_args(hint)[0], item, f"{at}[{i}]", problems) for i, item in enumerate(value))
        return _UNREADABLE if _UNREADABLE in items else items
    if origin in (dict, Mapping):
        if not isinstance(value, dict):
            return _expect(False, value, at, "a mapping", problems)
        entries = {str(k): _value(get_args(hint)[1], item, f"{at}.{k}", problems) for k, item in value.items()}
        return _UNREADABLE if _UNREADABLE in entries.values() else entries
    return _scalar(hint, value, at, problems)


def _scalar(hint: type, value: Any, at: str, problems: list[str]) -> Any:
    if hint is bool:
        return _expect(isinstance(value, bool), value, at, "true or false", problems)
    if hint is int:
        return _expect(isinstance(value, int) and not isinstance(value, bool), value, at, "a whole number", problems)
    if hint is float:
        # PyYAML reads 1e-4 (no dot) as text, which nobody means.
        if isinstance(value, str):
            with contextlib.suppress(ValueError):
                value = float(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            with contextlib.suppress(OverflowError):
                return float(value)
        return _expect(False, value, at, "a number", problems)
    return _expect(isinstance(value, hint), value, at, "text", problems)


def _expect(fine: bool, value: Any, at: str, what: str, problems: list[str]) -> Any:
    if not fine:
        problems.append(f"{at} must be {what}, not {str(value)[:40]!r}")
    return value if fine else _UNREADABLE
