"""Base class for every table in the model: frozen, no unknown keys, and shorter ways to write it."""

from __future__ import annotations

from typing import Any, ClassVar, Self, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from .errors import Locate, Path, refusal

IN_FILE = "file"
"""The context of pydantic for values that stand in a file, where a number has no spelling."""


class OneOrMany:
    """Put on the type of a list, lets one item be written in place of a list of one."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(_listed, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        many = handler(schema)
        return {"anyOf": [many["items"], many]}


def _listed(value: Any) -> Any:
    return value if isinstance(value, list | tuple) or value is None else [value]


def _expanded(cls: type[Settings], value: Any) -> Any:
    return cls.expand(value)


class Settings(BaseModel):
    """A table of settings. Unknown keys are refused; values do not change after loading."""

    # Most validators are only parts of another model's, so each is built when a value is first given to it.
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=False, defer_build=True)

    renamed: ClassVar[dict[str, str]] = {}
    """Keys that had another name once, each with the name that it has now."""

    short_forms: ClassVar[tuple[JsonSchemaValue, ...]] = ()
    """JSON Schemas of what may be written in place of the table; `expand` reads them. `{"like": key}` is the schema
    of that key: what refers to another table must go the way pydantic resolves references."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "expand" in vars(cls):
            # Tables without a short form need no call into Python, and there may be tens of thousands.
            cls._expand = model_validator(mode="before")(cast(Any, classmethod(_expanded)))  # type: ignore[attr-defined]

    @classmethod
    def expand(cls, value: Any) -> Any:
        """Turns a short form into the table it stands for; gives everything else back as it is."""
        return value

    @classmethod
    def parse(
        cls, value: Any, *, path: Path = (), locate: Locate | None = None, is_in_file: bool = False
    ) -> Self:
        """Reads `value`, which stands at `path`; what is wrong with it is a `ConfigError`."""
        try:
            return cls.model_validate(value, context=IN_FILE if is_in_file else None)
        except ValidationError as error:
            raise refusal(error, cls, prefix=path, locate=locate) from None

    @classmethod
    def build_all(cls) -> None:
        """Builds the validators of all models that are known so far, for processes that are forked from this one."""
        for model in cls.__subclasses__():
            model.model_rebuild()
            model.build_all()

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        reference = handler(schema)
        if not cls.short_forms:
            return reference
        table = handler.resolve_ref_schema(reference)
        forms = [table["properties"][form["like"]] if "like" in form else form for form in cls.short_forms]
        written = {"title": table.get("title"), "anyOf": [*forms, dict(table)]}
        table.clear()
        table.update(written)
        return reference
