"""From the exported functions of `eaves:rules/validation` to the author's and back."""

import json
import math
import struct
from decimal import Context, Decimal

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports import validation as wit

from ._values import Attribute, Previous, Reading, SettingsFault, Timestamp, ValueType, type_of

_EXACT = Context(prec=60)
_MAX_REASON_BYTES = 500


def _texts(texts) -> list[str]:
    # Offsets count bytes.
    blob = texts.blob.encode()
    return [blob[a:b].decode() for a, b in zip(texts.offsets, texts.offsets[1:])]


def _signed(bits: int) -> int:
    return bits - (1 << 64) if bits >> 63 else bits


class _Columns:
    def __init__(self, batch):
        self.batch = batch
        self.external_ids = _texts(batch.entities.external_ids)
        self.entity_types = _texts(batch.entities.types)
        self.texts = _texts(batch.texts)
        names, units = _texts(batch.attributes.names), _texts(batch.attributes.units)
        types = (ValueType(int(t.value if hasattr(t, "value") else t)) for t in batch.attributes.types)
        self.attributes = [Attribute(i, n, t, u) for i, (n, t, u) in enumerate(zip(names, types, units))]

    def attribute(self, row):
        return self.attributes[self.batch.attribute[row]]

    def value(self, row):
        return self.decode(self.attribute(row).type, self.batch.bits[row])

    def decode(self, type, bits):
        match type:
            case ValueType.FLOAT:
                return struct.unpack("<d", bits.to_bytes(8, "little"))[0]
            case ValueType.STRING:
                return self.texts[bits]
            case ValueType.INTEGER:
                return _signed(bits)
            case ValueType.BOOLEAN:
                return bits != 0
            case ValueType.TIMESTAMP:
                return Timestamp(_signed(bits))
        decimals = self.batch.decimals
        coefficient = (decimals.high[bits] << 64) + decimals.low[bits]
        return Decimal(coefficient).scaleb(-decimals.scale[bits], context=_EXACT)


class _Answer:
    def __init__(self):
        self.rejected_row, self.rejected_reason, self.reasons, self.known = [], [], [], {}
        self.replaced_row, self.replaced_bits = [], []
        self.derived_row, self.derived_attribute, self.derived_bits = [], [], []
        self.derived, self.texts, self.low, self.high, self.scale = [], [], [], [], []

    def add(self, row, type, verdict):
        if verdict.code is not None:
            key = (verdict.code, verdict.text)
            if key not in self.known:
                self.known[key] = len(self.reasons)
                self.reasons.append(wit.Reason(verdict.code, _one_line(verdict.text)))
            self.rejected_row.append(row)
            self.rejected_reason.append(self.known[key])
        elif verdict.replacement is not None:
            got = type_of(verdict.replacement)
            if got != type:
                raise TypeError(f"row {row}: a value of type {got.name} cannot replace one of type {type.name}")
            self.replaced_row.append(row)
            self.replaced_bits.append(self.bits(verdict.replacement))
        for name, value in verdict.derived:
            self.derived_row.append(row)
            self.derived_attribute.append(self.attribute(name, type_of(value)))
            self.derived_bits.append(self.bits(value))

    def attribute(self, name, type):
        for index, (known, first) in enumerate(self.derived):
            if known == name:
                if first != type:
                    raise TypeError(f"derived attribute {name} is of type {first.name} here and {type.name} there")
                return index
        self.derived.append((name, type))
        return len(self.derived) - 1

    def bits(self, value):
        match type_of(value):
            case ValueType.STRING:
                self.texts.append(value.encode())
                return len(self.texts) - 1
            case ValueType.FLOAT:
                if not math.isfinite(value):
                    raise ValueError(f"{value} cannot be stored")
                return int.from_bytes(struct.pack("<d", value), "little")
            case ValueType.DECIMAL:
                return self.decimal(value)
            case ValueType.TIMESTAMP:
                value = value.micros
        bits = int(value)
        if not -(1 << 63) <= bits < 1 << 63:
            raise ValueError(f"{bits} does not fit 64 bits")
        return bits & ((1 << 64) - 1)

    def decimal(self, value):
        sign, digits, exponent = value.as_tuple()
        if not isinstance(exponent, int) or exponent < -28:
            raise ValueError(f"{value} has no place in a decimal of 28 digits after the point")
        coefficient = int("".join(map(str, digits))) * 10 ** max(exponent, 0)
        coefficient = -coefficient if sign else coefficient
        self.low.append(coefficient & ((1 << 64) - 1))
        self.high.append(coefficient >> 64)
        self.scale.append(max(-exponent, 0))
        return len(self.low) - 1

    def finish(self):
        offsets = [0] if self.texts else []
        for text in self.texts:
            offsets.append(offsets[-1] + len(text))
        types = [wit.DerivedAttribute(name, wit.ValueType(type.value)) for name, type in self.derived]
        return wit.Decision(
            self.rejected_row,
            self.rejected_reason,
            self.reasons,
            self.replaced_row,
            self.replaced_bits,
            self.derived_row,
            self.derived_attribute,
            self.derived_bits,
            types,
            wit.Texts(b"".join(self.texts).decode(), offsets),
            wit.Decimals(self.low, self.high, bytes(self.scale)),
        )


def _one_line(text: str) -> str:
    plain = "".join(c if c.isprintable() else " " for c in text)
    return plain.encode()[:_MAX_REASON_BYTES].decode(errors="ignore")


class _History:
    """The previous values of the rows: those given, and those of rows before in the call."""

    def __init__(self, columns, asked):
        self.columns, self.known, self.next = columns, {}, 0
        self.asked = [attribute.name in asked for attribute in columns.attributes]

    def find(self, reading):
        batch, row = self.columns.batch, reading.row
        key = (batch.entity[row], batch.attribute[row])
        previous = batch.previous
        if self.next < len(previous.row) and previous.row[self.next] == row:
            value = self.columns.decode(self.columns.attribute(row).type, previous.bits[self.next])
            self.known.setdefault(key, Previous(value, previous.observed_at[self.next]))
            self.next += 1
        reading.previous = self.known.get(key) if self.asked[key[1]] else None

    def remember(self, reading, verdict):
        batch, row = self.columns.batch, reading.row
        if not self.asked[batch.attribute[row]] or (verdict and verdict.code is not None):
            return
        before, now = reading.previous, reading.observed_at
        if before is None or before.observed_at <= now:
            taken = verdict.replacement if verdict and verdict.replacement is not None else reading.value
            self.known[(batch.entity[row], batch.attribute[row])] = Previous(taken, now)


class Validation(exports.Validation):
    """The interface of the WIT package."""

    author: type

    def describe(self):
        schema = self.author.settings_schema
        return wit.Description(
            self.author.name, self.author.version, self._interest(), "" if schema is None else json.dumps(schema)
        )

    def configure(self, settings):
        self._configured(settings, lambda fault: fault)
        return self._interest()

    def validate(self, batch, settings):
        plugin = self._configured(settings, wit.ValidateError_Settings)
        try:
            return _judge(plugin, batch)
        except Exception as error:
            raise Err(wit.ValidateError_Failed(f"{error.__class__.__name__}: {error}"))

    def _interest(self):
        return wit.Interest(self.author.attributes, self.author.entity_types, list(self.author.previous))

    def _configured(self, text, wrap):
        try:
            settings = json.loads(text)
            if not isinstance(settings, dict):
                raise SettingsFault("", "not a JSON object")
            plugin = self.author()
            plugin.configure(settings)
            return plugin
        except SettingsFault as fault:
            raise Err(wrap(wit.SettingsFault(fault.path, fault.message)))
        except Exception as error:
            raise Err(wrap(wit.SettingsFault("", f"{error.__class__.__name__}: {error}")))


def _judge(plugin, batch):
    columns = _Columns(batch)
    reading, answer, history = Reading(columns), _Answer(), _History(columns, plugin.previous)
    entity, observed_at, rows = batch.entity, batch.observed_at, len(batch.bits)
    for row in range(rows):
        if row == reading.end:
            end = row + 1
            while end < rows and entity[end] == entity[row] and observed_at[end] == observed_at[row]:
                end += 1
            reading.first, reading.end = row, end
        reading.row = row
        history.find(reading)
        verdict = plugin.validate(reading)
        if verdict is not None:
            answer.add(row, columns.attribute(row).type, verdict)
        history.remember(reading, verdict)
    return answer.finish()
