"""Three rules to start from: a highest temperature, how fast it may rise, and which states a
device may report. A temperature near the limit is marked by a value of its own."""

from eaves_plugin import Plugin, Reading, SettingsFault, Verdict, accept, rate, reject

STATES = ("online", "offline", "fault")


def number(settings: dict, field: str, otherwise: float) -> float:
    value = settings.get(field, otherwise)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise SettingsFault(field, f"expected a number, found {value!r}")
    return value


class Limits(Plugin):
    name = "{{name}}"
    version = "0.1.0"
    attributes = ["temperature", "status"]
    previous = ["temperature"]
    settings_schema = {
        "type": "object",
        "properties": {"highest": {"type": "number"}, "max_rise_per_second": {"type": "number", "minimum": 0}},
    }

    def configure(self, settings: dict) -> None:
        self.highest = number(settings, "highest", 90)
        self.max_rise = number(settings, "max_rise_per_second", 0)
        if self.max_rise < 0:
            raise SettingsFault("max_rise_per_second", "must not be below 0")

    def validate(self, reading: Reading) -> Verdict | None:
        value = reading.value
        if reading.attribute.name == "temperature":
            return self.temperature(reading, value)
        if isinstance(value, str) and value not in STATES:
            return reject("unknown_state", f"{value} is none of {', '.join(STATES)}")
        return None

    def temperature(self, reading: Reading, degrees: float) -> Verdict | None:
        if degrees > self.highest:
            return reject("too_hot", f"{degrees:g} is over {self.highest:g}")
        rise = rate(reading) if self.max_rise > 0 else None
        if rise is not None and rise > self.max_rise:
            return reject("too_fast", f"rose by {rise:g} a second, at most {self.max_rise:g} is plausible")
        return accept().derive("near_limit", True) if degrees > self.highest - 5 else None
