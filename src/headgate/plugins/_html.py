"""HTML that is read as browsers read it, changed where selectors say, and written again; in a job process."""

from __future__ import annotations

import html
import importlib
import re
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from headgate import ConfigError

from ._bodies import BadBody
from ._bounds import bounded

NAME = re.compile(r"[A-Za-z_:@][A-Za-z0-9_:@.-]*")
WHOLE = re.compile(r"<(?:!doctype|html|head|body)[\s>/]", re.IGNORECASE)
"""What only a whole page has; anything else is a part of one."""


class InAttribute(BaseModel):
    """A text in the value of an attribute, and what stands in its place."""

    model_config = ConfigDict(extra="forbid")

    find: str = Field(min_length=1, description="The text.")
    by: str = Field(description="What stands there then.")


class Rule(BaseModel):
    """Elements and what becomes of them, in the order of these settings."""

    model_config = ConfigDict(extra="forbid")

    select: str = Field(description="A CSS selector: `main a[href^='http://']`.")
    once: bool = Field(default=False, description="Whether only the first element is changed.")
    set: dict[str, str] = Field(default={}, description="Attributes and their values.")
    replace: dict[str, InAttribute] = Field(default={}, description="Texts in values of attributes.")
    remove_attributes: list[str] = Field(default=[], description="Attributes that go.")
    text: str | None = Field(default=None, description="A text that the element has instead of its content.")
    html: str | None = Field(default=None, description="HTML that it has instead of its content.")
    prepend: str | None = Field(default=None, description="HTML before its content.")
    append: str | None = Field(default=None, description="HTML after its content.")
    before: str | None = Field(default=None, description="HTML before the element.")
    after: str | None = Field(default=None, description="HTML after the element.")
    unwrap: bool = Field(default=False, description="Whether it goes, and its content stays.")
    remove: bool = Field(default=False, description="Whether it goes with its content.")

    @field_validator("select")
    @classmethod
    def _select(cls, select: str) -> str:
        try:
            library = _library()
        except ImportError:
            raise ConfigError(
                "selectors need the library `selectolax`", hint="pip install 'headgate[plugins]'"
            ) from None
        try:
            library.LexborHTMLParser("<p>").css(select)
        except library.SelectolaxError:
            raise ConfigError(f"`{select}` is not a valid selector", hint="write `a.more`") from None
        return select

    @model_validator(mode="after")
    def _something(self) -> Rule:
        for name in (*self.set, *self.replace, *self.remove_attributes):
            if not NAME.fullmatch(name):
                raise ConfigError(f"`{name}` is not a valid attribute name", hint="write `href`")
        if self.text is not None and self.html is not None:
            raise ConfigError("an element has one content", hint="write `text` or `html`")
        said = self.model_dump(exclude={"select", "once"})
        if not any(value is not None and value not in (False, {}, []) for value in said.values()):
            raise ConfigError(f"nothing becomes of `{self.select}`", hint="write `remove: true`")
        return self


def rewritten(rules: list[Rule], body: bytes, most_bytes: int, seconds: float, most_memory: int) -> bytes:
    """The page after all rules, as it was if none is for it; raises `BadBody`."""
    library = _library()
    try:
        page = body.decode()
    except UnicodeDecodeError:
        raise BadBody("the page is not UTF-8") from None
    with bounded(seconds, most_memory):
        is_whole = WHOLE.search(page) is not None
        tree = library.LexborHTMLParser(page, is_fragment=not is_whole, fragment_tag="template")
        if not sum(_apply(tree, rule) for rule in rules):
            return body
        made: bytes = (tree.html or "").encode("utf-8", "replace")
    if len(made) > most_bytes:
        raise BadBody("the page becomes too large", 413)
    return made


def _library() -> Any:
    return importlib.import_module("selectolax.lexbor")


def _apply(tree: Any, rule: Rule) -> int:
    """How many elements a rule has changed: the inner ones first, since an outer one may go with them."""
    found = tree.css(rule.select)[: 1 if rule.once else None]
    for element in reversed(found):
        _change(tree, element, rule)
    return len(found)


def _change(tree: Any, element: Any, rule: Rule) -> None:
    attributes = element.attrs
    for name, value in rule.set.items():
        attributes[name] = value
    for name, change in rule.replace.items():
        if name in attributes:
            attributes[name] = (attributes[name] or "").replace(change.find, change.by)
    for name in rule.remove_attributes:
        if name in attributes:
            del attributes[name]
    content = rule.html if rule.text is None else html.escape(rule.text, quote=False)
    if content is not None:
        element.inner_html = content
    _insert(tree, element, rule)
    if rule.unwrap:
        element.unwrap()
    elif rule.remove:
        element.decompose()


def _insert(tree: Any, element: Any, rule: Rule) -> None:
    if rule.prepend is not None:
        first = element.first_child
        for node in _nodes(tree, rule.prepend):
            if first is None:
                element.insert_child(node, move=True)
            else:
                first.insert_before(node, move=True)
    if rule.append is not None:
        for node in _nodes(tree, rule.append):
            element.insert_child(node, move=True)
    if rule.before is not None:
        for node in _nodes(tree, rule.before):
            element.insert_before(node, move=True)
    if rule.after is not None:
        for node in reversed(_nodes(tree, rule.after)):
            element.insert_after(node, move=True)


def _nodes(tree: Any, text: str) -> list[Any]:
    holder = tree.create_node("div")
    holder.inner_html = text
    return list(holder.iter(include_text=True))
