#!/usr/bin/env bash
# Moves a month of history that is past its retention to the archive bucket, whose rules move it on
# to colder storage: detaches the partition, copies it as compressed CSV, reads the copy back, and
# only then drops the table. Run again after a failure, it goes on where it was.
#
#   scripts/archive-partition.sh prod entity_values_ts_p2024_01
#
# Needs the PG… variables of ops/runbooks/README.md (as the owner), psql, gzip and the AWS CLI.
set -euo pipefail
env=${1:?which environment: dev, staging or prod} partition=${2:?which partition: query 9 of ops/monitoring.sql lists them}
die() { echo "archive-partition: $*" >&2; exit 1; }
[[ $partition =~ ^entity_values_ts_p[0-9_]+$ ]] || die "$partition is no month of history: entity_values_ts_p2024_01 would be one"
ask() { psql -XAtq -v ON_ERROR_STOP=1 -c "$1"; }
bucket=${EAVES_ARCHIVE_BUCKET:-eaves-$env-archive-$(aws sts get-caller-identity --query Account --output text)}
object="s3://$bucket/partitions/$partition.csv.gz"

# Attached ones say up to when they go: not before a whole month has passed since.
state=$(ask "select case when c.relpartbound is null then 'detached'
    when (regexp_match(pg_get_expr(c.relpartbound, c.oid), 'TO \\(''([^'']+)''\\)'))[1]::timestamptz
         < now() - interval '1 month' then 'attached' else 'recent' end
  from pg_class c where c.oid = '$partition'::regclass")
[ "$state" != recent ] || die "$partition takes values of the last month"
if [ "$state" = attached ]; then
  # Waits no longer than this for readers; values of that month go to the default partition from now on.
  ask "set lock_timeout = '10s'; alter table entity_values_ts detach partition $partition"
fi
rows=$(ask "select count(*) from $partition")
size=$(ask "select pg_table_size('$partition')")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "$partition: $rows rows, $size bytes, to $object"
ask "copy $partition to stdout (format csv, header)" | tee >(sha256sum >"$work/sent") | gzip |
  aws s3 cp - "$object" --expected-size "$size" --only-show-errors
aws s3 cp "$object" - --only-show-errors | gunzip | sha256sum >"$work/kept"
# The first digest is written by a process of its own, which may be a moment behind.
for _ in $(seq 100); do [ -s "$work/sent" ] && break; sleep 0.1; done
cmp -s "$work/sent" "$work/kept" || die "what came back from $object is not what was sent; $partition is detached and complete: run this again"
ask "drop table $partition"
echo "$partition: archived and dropped"
