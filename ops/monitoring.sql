-- What to look at. Each query stands alone; run them as a member of pg_monitor with
-- eaves_admin's rights (or as the superuser on a local platform).

-- 1. One answer for all: status, problems, backlog, lag.
select jsonb_pretty(health_check());

-- 2. Write throughput: values and records per minute by outcome, the last hour.
select minute, outcome, sum(count) as count
from ingest_ledger
where minute > now() - interval '1 hour'
group by minute, outcome
order by minute desc, outcome;

-- 3. Why values are refused, the last day.
select tenant, outcome, reason, count
from ledger_totals(now() - interval '1 day')
where outcome in ('rejected', 'quarantined')
order by count desc
limit 50;

-- 4. Staging backlog. Alarm above 1,000,000 rows or 60 seconds.
select coalesce(sum(row_count), 0) as staged_rows, count(*) as batches,
       coalesce(now() - min(ingested_at), interval '0') as oldest
from staging_batches;

-- 5. The flush: when, how many rows, how long; and what history surely holds.
select last_flush_at, last_rows, last_ms, flushes, rows_total, history_as_of from flush_state;

-- 6. Each shard: read up to, in history up to, and whether staging was lost since.
select c.stream, c.shard, c.sequence, f.sequence as flushed, c.updated_at,
       c.replay_sequence is not null as replaying,
       not exists (select from staging_epoch e where e.epoch = c.epoch) as staging_lost
from ingest_checkpoints c
left join flush_checkpoints f using (stream, shard, consumer)
order by c.updated_at desc;

-- 7. Replication lag as the primary sees it. Alarm above 3 seconds.
select * from check_replication_lag();

-- 8. Replication slots that keep WAL. Alarm above 10 GB.
select slot_name, slot_type, active,
       pg_size_pretty(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)) as kept
from pg_replication_slots;

-- 9. Partitions of history: rows (estimated) and size. The default partition should be small.
select c.relname, c.reltuples::int8 as rows, pg_size_pretty(pg_total_relation_size(c.oid)) as size,
       pg_get_expr(c.relpartbound, c.oid) as bounds
from pg_inherits i join pg_class c on c.oid = i.inhrelid
where i.inhparent = 'entity_values_ts'::regclass
order by c.relname desc;

-- 10. Dead rows and vacuum: the hot projection is vacuumed at 1 %, history at 10 %.
select relname, n_live_tup, n_dead_tup,
       round(100.0 * n_dead_tup / greatest(n_live_tup + n_dead_tup, 1), 1) as dead_percent,
       last_autovacuum
from pg_stat_user_tables
order by n_dead_tup desc
limit 20;

-- 11. Index size and use. GIN indexes that grow without end want a REINDEX CONCURRENTLY.
select relname, indexrelname, idx_scan, pg_size_pretty(pg_relation_size(indexrelid)) as size
from pg_stat_user_indexes
order by pg_relation_size(indexrelid) desc
limit 20;

-- 12. The statements that take the most time.
select calls, round(total_exec_time) as total_ms, round(mean_exec_time::numeric, 2) as mean_ms,
       left(regexp_replace(query, '\s+', ' ', 'g'), 120) as query
from monitoring.pg_stat_statements
where dbid = (select oid from pg_database where datname = current_database())
order by total_exec_time desc
limit 20;

-- 13. Connections by role and state, against the limit.
select usename, state, count(*), current_setting('max_connections') as allowed
from pg_stat_activity
where backend_type = 'client backend'
group by usename, state
order by count(*) desc;

-- 14. Who waits for whom.
select w.pid, w.usename, now() - w.query_start as waiting, pg_blocking_pids(w.pid) as blocked_by,
       left(w.query, 80) as query
from pg_stat_activity w
where cardinality(pg_blocking_pids(w.pid)) > 0;

-- 15. Tenants by share of what was accepted, the last day.
select tenant, sum(count) as accepted_values,
       round(100.0 * sum(count) / sum(sum(count)) over (), 1) as percent
from ledger_totals(now() - interval '1 day')
where outcome = 'accepted'
group by tenant
order by accepted_values desc
limit 20;

-- 16. Attributes a tenant: many at once are a sign of names made by mistake.
select t.name, count(*) as attributes, count(*) filter (where a.is_hot) as hot, t.hot_limit,
       max(a.created_at) as newest
from tenants t join attributes a using (tenant_id)
group by t.tenant_id
order by attributes desc
limit 20;

-- 17. Cache hits of the database. Below 99 % the working set does not fit.
select round(100.0 * sum(blks_hit) / greatest(sum(blks_hit + blks_read), 1), 2) as hit_percent
from pg_stat_database
where datname = current_database();

-- 18. Capacity: the database's size, and a day's growth from the newest partition.
select pg_size_pretty(pg_database_size(current_database())) as size,
       (select pg_size_pretty(sum(pg_total_relation_size(inhrelid))) from pg_inherits
        where inhparent = 'entity_values_ts'::regclass) as history;
