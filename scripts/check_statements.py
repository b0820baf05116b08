#!/usr/bin/env python3
"""Checks that what functions ask of the database is tested through a pooler: every public
operation of crates/store that a function uses is called by a test that also runs through
PgBouncer in transaction mode (crates/store/tests/database/main.rs, `also_pooled`), and no
statement in the sources keeps state in its session."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
STORE = ROOT / "crates/store"
errors = []

# What the command line and the migrations do, not functions.
NOT_FUNCTIONS = {"admin.rs", "migrate.rs"}
sources = [
    p for p in (STORE / "src").rglob("*.rs") if p.name not in NOT_FUNCTIONS and "admin" not in p.parent.name
]

main = (STORE / "tests/database/main.rs").read_text()
pooled = re.findall(r"(\w+)::add", main[main.index("also_pooled(true)"):])
tests = "".join((STORE / "tests/database" / f"{name}.rs").read_text() for name in pooled)
tests += "".join(p.read_text() for p in (STORE / "tests/database").rglob("pooler*.rs"))
tests += (STORE / "tests/support/mod.rs").read_text()
# The loader itself is what tests/database/olap.rs runs.
tests += (ROOT / "crates/olap/src/load.rs").read_text()

operations = set()
for path in sources:
    for name in re.findall(r"pub async fn (\w+)", path.read_text()):
        operations.add(name)
        if not re.search(rf"\b{name}\(", tests):
            errors.append(f"{path.relative_to(ROOT)}: {name} is not called by a test that runs through PgBouncer")

# What pins a session in RDS Proxy ("Avoiding pinning an RDS Proxy", RDS user guide).
PINS = {
    r"\bset\s+(?!local\b)(session\s+)?[a-z_.]+\s*(=|\bto\b)": "SET outside a transaction",
    r"\bprepare\b(?!\()": "PREPARE", r"\bdeclare\b": "DECLARE CURSOR", r"\bcreate\s+(temp|temporary)\b": "a temporary table",
    r"\blisten\b": "LISTEN", r"\bdiscard\b": "DISCARD", r"\bpg_advisory_lock\(": "an advisory lock of the session",
    r"\bload\s+'": "LOAD", r"\b(nextval|setval|currval|lastval)\(": "a sequence function",
}
for path in sources:
    # Statements are string literals.
    for literal in re.findall(r'"((?:\\.|[^"\\])*)"', path.read_text(), re.S):
        text = literal.lower()
        if not re.search(r"\b(select|insert|update|delete|copy|set|begin|with)\b", text) or " set " in text and "update" in text:
            continue
        for pattern, what in PINS.items():
            if re.search(pattern, text) and "set_config" not in text:
                errors.append(f"{path.relative_to(ROOT)}: {what} would pin a session: {literal[:60]!r}")
    for method in re.findall(r"\bclient\s*\.(prepare\w*|query|query_one|query_opt|execute)\(", path.read_text()):
        errors.append(f"{path.relative_to(ROOT)}: {method}() makes a named statement; use query_typed")

for error in errors:
    print(f"check_statements: {error}", file=sys.stderr)
if not errors:
    print(f"{len(operations)} operations of the store, each through PgBouncer; no statement that pins")
sys.exit(bool(errors))
