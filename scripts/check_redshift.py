#!/usr/bin/env python3
"""Parses schemas/redshift as Redshift's SQL, and checks that its tables begin with the tenant."""
import pathlib
import re
import sys

import sqlglot

folder = pathlib.Path(__file__).resolve().parent.parent / "schemas/redshift"
errors, statements = [], 0
for path in sorted(folder.glob("*.sql")):
    # psql's variables stand for literals.
    text = re.sub(r"(?<![:\w]):(\w+)", "'value'", path.read_text())
    try:
        statements += len([s for s in sqlglot.parse(text, dialect="redshift") if s])
    except sqlglot.errors.ParseError as e:
        errors.append(f"{path.name}: {str(e).splitlines()[0]}")
for name, columns, rest in re.findall(
    r"create table if not exists eaves\.(\w+) \((.*?)\n\)([^;]*);", (folder / "schema.sql").read_text(), re.S
):
    if "tenant_id" in columns and "sortkey (tenant_id" not in rest:
        errors.append(f"schema.sql: the sort key of {name} does not begin with the tenant")
    if "tenant_id" in columns and not re.search(r"tenant_id\s+int4 not null", columns):
        errors.append(f"schema.sql: {name}.tenant_id may be null")
for error in errors:
    print(f"check_redshift: {error}", file=sys.stderr)
if not errors:
    print(f"{statements} statements of schemas/redshift")
sys.exit(bool(errors))
