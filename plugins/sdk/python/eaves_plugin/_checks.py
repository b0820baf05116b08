"""Checks that many plugins need."""

from ._values import Reading, Timestamp, Value, Verdict, is_number, reject


def _shown(value: Value) -> str:
    text = str(value.micros if isinstance(value, Timestamp) else value)
    return text if len(text) <= 40 else text[:40] + "…"


def range_(reading: Reading, minimum=None, maximum=None) -> Verdict | None:
    """Rejects what is outside; bounds are inside. Exact: Python compares numbers by their values."""
    value = reading.value
    if not is_number(value):
        return reject("not_a_number", f"{_shown(value)} is not a number, and there is a range")
    if minimum is not None and value < minimum:
        return reject("below_range", f"{_shown(value)} is below {minimum}")
    if maximum is not None and value > maximum:
        return reject("above_range", f"{_shown(value)} is above {maximum}")
    return None


def one_of(reading: Reading, allowed) -> Verdict | None:
    """Rejects what is none of these."""
    value = reading.value
    if value in allowed:
        return None
    return reject("not_allowed", f"{_shown(value)} is none of {', '.join(map(str, allowed))}")


_CLASSES = {"#": str.isdecimal, "@": str.isalpha, "?": lambda _: True}


def _fits(text: str, shape: str) -> bool:
    t = s = mark = 0
    star = -1
    while t < len(text):
        escaped = s < len(shape) and shape[s] == "\\"
        wanted = shape[s + 1 : s + 2] if escaped else shape[s : s + 1]
        if wanted == "*" and not escaped:
            star, mark, s = s, t, s + 1
        elif wanted and (wanted == text[t] if escaped else _CLASSES.get(wanted, wanted.__eq__)(text[t])):
            s += 2 if escaped else 1
            t += 1
        elif star >= 0:
            mark += 1
            s, t = star + 1, mark
        else:
            return False
    return not shape[s:].strip("*")


def pattern(reading: Reading, shape: str) -> Verdict | None:
    """Rejects texts of another shape: `#` is a digit, `@` a letter, `?` any character, `*` any
    number of them, `\\` takes the next as it is."""
    value = reading.value
    if isinstance(value, str) and _fits(value, shape):
        return None
    return reject("wrong_pattern", f"{_shown(value)} does not look like {shape}")


def rate(reading: Reading) -> float | None:
    """Change per second since the previous value, if there is an earlier one."""
    previous = reading.previous
    if previous is None or previous.observed_at >= reading.observed_at:
        return None
    if not (is_number(reading.value) and is_number(previous.value)):
        return None
    seconds = (reading.observed_at - previous.observed_at) / 1e6
    return (float(reading.value) - float(previous.value)) / seconds
