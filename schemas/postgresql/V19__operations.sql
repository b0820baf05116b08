-- What operators and the maintain function call.
set local role eaves_owner;
grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

-- On the primary: every replica as the primary sees it. On a replica: its own age by
-- heartbeat and by the last transaction replayed.
create function check_replication_lag()
returns table (source text, replica text, state text, lag_seconds float8, lag_bytes int8, measured_at timestamptz)
language plpgsql stable security definer
set search_path = public, pg_temp
as $$
begin
  if pg_is_in_recovery() then
    return query
    select 'replica'::text, coalesce(current_setting('cluster_name', true), ''), 'heartbeat'::text,
           greatest(0, extract(epoch from clock_timestamp() - h.beat_at))::float8,
           pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())::int8, clock_timestamp()
    from replication_heartbeat h;
  else
    return query
    select 'primary'::text, r.application_name, r.state,
           coalesce(extract(epoch from r.replay_lag), 0)::float8,
           pg_wal_lsn_diff(pg_current_wal_lsn(), r.replay_lsn)::int8, clock_timestamp()
    from pg_stat_replication r;
  end if;
end
$$;

-- What is staged and how far the flush is. On a replica, where staging does not exist,
-- only the last flush.
create function pipeline_status() returns jsonb
language plpgsql stable security definer
set search_path = public, pg_temp
as $$
declare
  v_status jsonb;
begin
  select jsonb_build_object(
    'last_flush_at', s.last_flush_at, 'last_flush_rows', s.last_rows, 'last_flush_ms', s.last_ms,
    'flushes', s.flushes, 'rows_flushed', s.rows_total)
  into v_status from flush_state s;
  if pg_is_in_recovery() then
    return v_status;
  end if;
  return v_status || (
    select jsonb_build_object(
      'staged_rows', coalesce(sum(b.row_count), 0),
      'staged_batches', count(*),
      'oldest_staged_seconds', coalesce(extract(epoch from clock_timestamp() - min(b.ingested_at)), 0))
    from staging_batches b
  ) || jsonb_build_object('shards', (
    select coalesce(jsonb_agg(jsonb_build_object(
      'stream', c.stream, 'shard', c.shard, 'consumer', c.consumer,
      'sequence', c.sequence::text, 'sub', c.sub,
      'flushed_sequence', f.sequence::text, 'flushed_sub', f.sub,
      'updated_at', c.updated_at,
      'staging_lost', not exists (select from staging_epoch e where e.epoch = c.epoch)
    ) order by c.stream, c.shard), '[]')
    from ingest_checkpoints c
    left join flush_checkpoints f using (stream, shard, consumer)
  ));
end
$$;

-- Counts since a time, what is still staged included. Tenant 0 = none that exists.
create function ledger_totals(p_since timestamptz default '-infinity')
returns table (tenant_id int4, tenant text, outcome text, reason text, count int8)
language sql stable security definer
set search_path = public, pg_temp
as $$
  select l.tenant_id, coalesce(t.name, ''), l.outcome, l.reason, sum(l.count)::int8
  from (
    select tenant_id, outcome, reason, count from ingest_ledger where minute >= p_since
    union all
    select tenant_id, outcome, reason, count from staging_ledger where minute >= p_since
  ) l
  left join tenants t on t.tenant_id = l.tenant_id
  group by l.tenant_id, t.name, l.outcome, l.reason
  order by l.tenant_id, l.outcome, l.reason
$$;

create function health_check() returns jsonb
language plpgsql stable security definer
set search_path = public, pg_temp
as $$
declare
  v_pipeline jsonb := pipeline_status();
  v_lag      jsonb;
  v_problems text[] := '{}';
begin
  select coalesce(jsonb_agg(to_jsonb(r)), '[]') into v_lag from check_replication_lag() r;
  -- The seeds' alarm thresholds.
  if (v_pipeline ->> 'staged_rows')::int8 > 1000000 then
    v_problems := v_problems || 'staging_backlog'::text;
  end if;
  if (v_pipeline ->> 'oldest_staged_seconds')::float8 > 60 then
    v_problems := v_problems || 'flush_stalled'::text;
  end if;
  if exists (select from jsonb_array_elements(v_lag) as r where (r ->> 'lag_seconds')::float8 > 3) then
    v_problems := v_problems || 'replica_lag'::text;
  end if;
  if exists (select from jsonb_array_elements(v_pipeline -> 'shards') as s where (s ->> 'staging_lost')::bool) then
    v_problems := v_problems || 'staging_lost'::text;
  end if;
  return jsonb_build_object(
    'status', case when cardinality(v_problems) = 0 then 'ok' else 'degraded' end,
    'problems', to_jsonb(v_problems),
    'role', case when pg_is_in_recovery() then 'replica' else 'primary' end,
    'checked_at', clock_timestamp(),
    'pipeline', v_pipeline,
    'replication', v_lag,
    'heartbeat_at', (select beat_at from replication_heartbeat),
    'history_partitions', (select count(*) from pg_inherits where inhparent = 'entity_values_ts'::regclass),
    'database_bytes', pg_database_size(current_database()),
    'connections', (select count(*) from pg_stat_activity where datname = current_database()));
end
$$;

create function refresh_statistics() returns void
language plpgsql security definer
set search_path = public, pg_temp
as $$
begin
  refresh materialized view concurrently mv_entity_attribute_stats;
end
$$;

grant execute on function check_replication_lag() to eaves_admin, eaves_query, eaves_flush;
grant execute on function pipeline_status() to eaves_admin, eaves_query, eaves_flush;
grant execute on function ledger_totals(timestamptz) to eaves_admin;
grant execute on function health_check() to eaves_admin, eaves_query, eaves_flush;
grant execute on function refresh_statistics() to eaves_flush;

set local role eaves_owner;

-- Runs as the owner, who alone may add partitions. Returns how many there are.
create function maintain_partitions() returns int4
language plpgsql security definer
set search_path = public, pg_temp
as $$
begin
  perform partman.run_maintenance('public.entity_values_ts', p_analyze := false, p_jobmon := false);
  perform secure_partitions();
  return (select count(*) from pg_inherits where inhparent = 'entity_values_ts'::regclass);
end
$$;
grant execute on function maintain_partitions() to eaves_flush;

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
