"""What becomes of elements of pages, as settings say it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from headgate import ConfigError, HtmlRules


class InAttribute(BaseModel):
    """A text in the value of an attribute, and what stands in its place."""

    model_config = ConfigDict(extra="forbid")

    find: str = Field(min_length=1, max_length=1024, description="The text.")
    by: str = Field(max_length=65536, description="What stands there then.")


class Rule(BaseModel):
    """Elements and what becomes of them, in the order of these settings."""

    model_config = ConfigDict(extra="forbid")

    select: str = Field(
        max_length=1000,
        description="A CSS selector: `main a[href^='http://']`. Names, `.class`, `#id`, attributes, `:not()`, "
        "`:nth-child()`, `:nth-of-type()`, descendants and children can be used.",
    )
    once: bool = Field(default=False, description="Whether only the first element is changed.")
    set: dict[str, str] = Field(default={}, description="Attributes and their values.")
    replace: dict[str, InAttribute] = Field(default={}, description="Texts in values of attributes.")
    remove_attributes: list[str] = Field(default=[], description="Attributes that go.")
    add_classes: list[str] = Field(default=[], description="Classes that are added.")
    remove_classes: list[str] = Field(default=[], description="Classes that go.")
    text: str | None = Field(default=None, description="A text that the element has instead of its content.")
    html: str | None = Field(default=None, description="HTML that it has instead of its content.")
    prepend: str | None = Field(default=None, description="HTML before its content.")
    append: str | None = Field(default=None, description="HTML after its content.")
    before: str | None = Field(default=None, description="HTML before the element.")
    after: str | None = Field(default=None, description="HTML after the element.")
    unwrap: bool = Field(default=False, description="Whether it goes, and its content stays.")
    remove: bool = Field(default=False, description="Whether it goes with its content.")

    @model_validator(mode="after")
    def _valid(self) -> Rule:
        try:
            HtmlRules([self.told()])
        except ValueError as error:
            problem, _, hint = str(error).partition("; hint: ")
            raise ConfigError(problem, hint=hint or None) from None
        return self

    def told(self) -> dict[str, Any]:
        """The rule as `HtmlRules` takes it."""
        replaced = [(name, one.find, one.by) for name, one in self.replace.items()]
        return {**self.model_dump(), "replace": replaced}
