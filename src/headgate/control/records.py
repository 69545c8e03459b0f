"""Records and messages: frozen, typed, written as JSON and read back with every field checked.

How it works: a subclass lists its fields as annotations, as a dataclass does, and type checkers see a frozen dataclass
whose arguments are named. `dataclasses` itself is not used: its import takes 20 ms, in every process.
`MessageKinds` is what one end of a channel understands: another kind, an unknown or missing field, a value of another
type or another version is a `MessageError` that names it.
"""

import json
import re
import types
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Union, dataclass_transform, get_args, get_origin, get_type_hints

VERSION = 1
"""Of all messages together; raised when a program of before would misread one."""


class MessageError(ValueError):
    """What arrived is not a message that this program understands; the text says why."""


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Record:
    """A frozen set of named values; a value that does not fit its field's type raises MessageError."""

    def __init__(self, **values: Any) -> None:
        fields = _fields(type(self))
        for name in values:
            if name not in fields:
                raise MessageError(f"`{_name(type(self))}` has no field `{name}`")
        for name, (hint, as_is) in fields.items():
            if name in values:
                value = values[name]
                if type(value) not in as_is:
                    value = _checked(value, hint, f"{_name(type(self))}.{name}")
            elif hasattr(type(self), name):
                value = getattr(type(self), name)
            else:
                raise MessageError(f"`{_name(type(self))}` lacks the field `{name}`")
            self.__dict__[name] = value

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"`{_name(type(self))}` is frozen: `{name}` cannot be set")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]  # it may hold lists

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.__dict__.items())})"

    def plain(self) -> dict[str, Any]:
        """The fields as JSON knows them."""
        return {name: _plain(value) for name, value in self.__dict__.items()}


class Message(Record):
    """A record that is sent alone, under the name of its class."""

    __slots__ = ("_encoded",)  # which is no field
    _encoded: ClassVar[bytes]

    def encode(self) -> bytes:
        """As JSON, with its kind and the version; without a line end. Done once: the same may be for every worker."""
        try:
            return self._encoded
        except AttributeError:
            whole = {"kind": _name(type(self)), "version": VERSION, **self.plain()}
            object.__setattr__(self, "_encoded", json.dumps(whole).encode())
            return self._encoded


MOST_KNOWN = 64
"""Messages of one end that are remembered as they came."""


class MessageKinds:
    """The kinds of messages that one end of a channel understands."""

    def __init__(self, kinds: Iterable[type[Message]]) -> None:
        self._kinds = {_name(kind): kind for kind in kinds}
        self._known: dict[bytes, Message] = {}
        """Those that say little more than their kind, and so are always the same: somebody waits for most of them."""

    def decode(self, data: bytes | bytearray) -> Message:
        """The message in `data`; MessageError says what is wrong with it."""
        data = bytes(data)
        if (known := self._known.get(data)) is not None:
            return known
        try:
            values = json.loads(data)
        except ValueError as error:
            raise MessageError(f"not a control message: {error}") from None
        if not isinstance(values, dict) or "kind" not in values:
            raise MessageError("not a control message: it has no `kind`")
        kind, version = values.pop("kind"), values.pop("version", None)
        if version != VERSION:
            raise MessageError(
                f"a control message of version `{version}`; this program speaks version {VERSION}\n"
                "  hint: after installing another version, `headgate upgrade` starts it"
            )
        if kind not in self._kinds:
            raise MessageError(f"`{kind}` is not a control message that is understood here")
        message = self._kinds[kind](**values)
        if len(self._known) < MOST_KNOWN and all(one is None or type(one) is bool for one in values.values()):
            self._known[data] = message
        return message


_NAMES: dict[type[Record], str] = {}


def _name(kind: type[Record]) -> str:
    """`ticket_keys` for `TicketKeys`."""
    if kind not in _NAMES:
        _NAMES[kind] = re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()
    return _NAMES[kind]


_FIELDS: dict[type[Record], dict[str, tuple[Any, frozenset[type]]]] = {}


def _fields(kind: type[Record]) -> dict[str, tuple[Any, frozenset[type]]]:
    """The types of a record's fields, and of which types a value is taken as it is."""
    if kind not in _FIELDS:
        hints = get_type_hints(kind)
        _FIELDS[kind] = {
            name: (hint, _taken_as_is(hint))
            for name, hint in hints.items()
            if get_origin(hint) is not ClassVar
        }
    return _FIELDS[kind]


def _taken_as_is(hint: Any) -> frozenset[type]:
    """The types whose values need no further look: most values are of these, in messages that somebody waits for."""
    if get_origin(hint) in (Union, types.UnionType):
        return frozenset(one for option in get_args(hint) for one in _taken_as_is(option))
    if get_origin(hint) is not None or not isinstance(hint, type):
        return frozenset()
    return frozenset((float, int)) if hint is float else frozenset((hint,))


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return value.plain()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _checked(value: Any, hint: Any, where: str) -> Any:
    """`value` as the field's type; a record may come as its plain fields."""
    origin = get_origin(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        options = get_args(hint)
        if value is None and type(None) in options:
            return None
        (hint,) = [option for option in options if option is not type(None)]
        return _checked(value, hint, where)
    if origin is list and isinstance(value, list | tuple):
        (item,) = get_args(hint)
        return [_checked(one, item, f"{where}[{index}]") for index, one in enumerate(value)]
    if origin is dict and isinstance(value, dict):
        _, item = get_args(hint)
        return {str(key): _checked(one, item, f"{where}[{key!r}]") for key, one in value.items()}
    if origin is None and _fits(value, hint):
        return value
    if isinstance(value, dict) and isinstance(hint, type) and issubclass(hint, Record):
        build: Callable[..., Record] = hint
        return build(**value)
    raise MessageError(f"`{where}` is not a valid {getattr(hint, '__name__', hint)}: `{str(value)[:60]}`")


def _fits(value: Any, hint: type) -> bool:
    if hint is float:
        return isinstance(value, float | int) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)
