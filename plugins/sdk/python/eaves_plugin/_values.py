"""Typed values, readings and verdicts."""

from dataclasses import dataclass, field
from decimal import Decimal
from enum import IntEnum


class ValueType(IntEnum):
    """The type of an attribute, numbered as in the WIT package."""

    STRING = 0
    INTEGER = 1
    FLOAT = 2
    DECIMAL = 3
    BOOLEAN = 4
    TIMESTAMP = 5


@dataclass(frozen=True, order=True)
class Timestamp:
    """Microseconds since 1970-01-01T00:00:00Z."""

    micros: int


# By the attribute's type: `str`, `int`, `float`, `decimal.Decimal`, `bool` or `Timestamp`.
Value = str | int | float | Decimal | bool | Timestamp


def type_of(value: Value) -> ValueType:
    """The type of a value; a bool is not an integer here."""
    match value:
        case bool():
            return ValueType.BOOLEAN
        case str():
            return ValueType.STRING
        case int():
            return ValueType.INTEGER
        case float():
            return ValueType.FLOAT
        case Decimal():
            return ValueType.DECIMAL
        case Timestamp():
            return ValueType.TIMESTAMP
    raise TypeError(f"{value!r} is no value: use str, int, float, Decimal, bool or Timestamp")


def is_number(value: Value) -> bool:
    """Whether it is an integer, float or decimal."""
    return isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)


@dataclass(frozen=True, slots=True)
class Attribute:
    """The attribute a value is of."""

    index: int
    name: str
    type: ValueType
    unit: str


@dataclass(frozen=True, slots=True)
class Previous:
    """The value before, and when it was seen (microseconds since 1970)."""

    value: Value
    observed_at: int


class Reading:
    """One value with its surroundings; the same object shows each row in turn."""

    __slots__ = ("_columns", "row", "first", "end", "previous")

    def __init__(self, columns):
        self._columns = columns
        self.row = self.first = self.end = 0
        self.previous: Previous | None = None

    @property
    def value(self) -> Value:
        """The value, of its attribute's type."""
        return self._columns.value(self.row)

    @property
    def attribute(self) -> Attribute:
        """The attribute it is of."""
        return self._columns.attribute(self.row)

    @property
    def entity(self) -> str:
        """The tenant's own name for the entity."""
        return self._columns.external_ids[self._columns.batch.entity[self.row]]

    @property
    def entity_type(self) -> str:
        """The entity's type; empty if it is not known."""
        return self._columns.entity_types[self._columns.batch.entity[self.row]]

    @property
    def observed_at(self) -> int:
        """When it was seen, in microseconds since 1970-01-01T00:00:00Z."""
        return self._columns.batch.observed_at[self.row]

    def sibling(self, attribute: str) -> Value | None:
        """The value of another attribute in the same reading."""
        for row in range(self.first, self.end):
            if self._columns.attribute(row).name == attribute:
                return self._columns.value(row)
        return None


@dataclass(slots=True)
class Verdict:
    """What becomes of a value, and what is derived from it."""

    code: str | None = None
    text: str = ""
    replacement: Value | None = None
    derived: list[tuple[str, Value]] = field(default_factory=list)

    def derive(self, attribute: str, value: Value) -> "Verdict":
        """Adds a value of another attribute, for the same entity and time."""
        type_of(value)
        self.derived.append((attribute, value))
        return self


def accept() -> Verdict:
    """The value is taken as it is. Returning None says the same, faster."""
    return Verdict()


def reject(code: str, text: str) -> Verdict:
    """It is not taken: `code` for machines (`above_range`), `text` for people."""
    return Verdict(code=code, text=text)


def replace(value: Value) -> Verdict:
    """Another value is taken in its place. It must be of the attribute's type."""
    type_of(value)
    return Verdict(replacement=value)


class SettingsFault(Exception):
    """Settings that the plugin cannot work with: where, as `attributes.temperature.min`, and why."""

    def __init__(self, path: str, message: str):
        super().__init__(message)
        self.path = path
        self.message = message


class Plugin:
    """What you subclass, once."""

    name = ""
    version = ""
    attributes: list[str] | None = None
    """The only attributes it wants to see; None for all."""
    entity_types: list[str] | None = None
    """Likewise the types of entities."""
    previous: list[str] = []
    """The attributes whose previous value it wants to see."""
    settings_schema: dict | None = None
    """A JSON Schema of its settings."""

    def configure(self, settings: dict) -> None:
        """Takes the settings over; raises SettingsFault."""

    def validate(self, reading: Reading) -> Verdict | None:
        """Judges one value. What it raises fails the whole batch."""
        raise NotImplementedError
