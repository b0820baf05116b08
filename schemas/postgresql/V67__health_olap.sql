-- The way of history to object storage, told by health_check().
set local role eaves_owner;
grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

-- See V48; with the slot that object storage is loaded from.
create or replace function health_check() returns jsonb
language plpgsql stable security definer
set search_path = public, pg_temp
as $$
declare
  v_pipeline jsonb := pipeline_status();
  v_lag      jsonb;
  v_losses   jsonb;
  v_changes  jsonb;
  v_olap     jsonb := olap_status();
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
  -- Until somebody has looked at it (`eaves losses acknowledge`).
  select coalesce(jsonb_agg(jsonb_build_object(
    'loss_id', l.loss_id, 'stream', l.stream, 'shard', l.shard, 'after', l.after_sequence::text,
    'before', l.before_sequence::text, 'kind', l.kind, 'reason', l.reason, 'found_at', l.found_at
  ) order by l.loss_id), '[]')
  into v_losses from stream_losses l where l.acknowledged_at is null;
  if jsonb_array_length(v_losses) > 0 then
    v_problems := v_problems || 'stream_loss'::text;
  end if;
  select jsonb_build_object(
    'waiting', count(*) filter (where c.started_at is null),
    'running', count(*) filter (where c.started_at is not null),
    'oldest_requested_at', min(c.requested_at),
    'under_way', coalesce(jsonb_agg(jsonb_build_object(
      'tenant', c.tenant, 'attribute', c.attribute_name, 'change', c.change, 'requested_at', c.requested_at,
      'entities', c.entities, 'of_entities', c.of_entities,
      -- By the pace since it began, pauses included.
      'seconds_left', case when c.entities > 0 then round(
        extract(epoch from clock_timestamp() - c.started_at) * greatest(c.of_entities - c.entities, 0) / c.entities) end
    ) order by c.nth) filter (where c.nth <= 20), '[]'))
  into v_changes
  from (
    select c.*, t.name as tenant, a.attribute_name,
           row_number() over (order by c.started_at nulls last, c.change_id) as nth
    from hot_changes c
    join attributes a on a.attribute_id = c.attribute_id
    join tenants t on t.tenant_id = c.tenant_id
    where c.finished_at is null and c.cancelled_at is null
  ) c;
  if v_olap ->> 'state' = 'lost' then
    v_problems := v_problems || 'olap_slot_lost'::text;
  end if;
  -- A slot was lost, and the copy of history that follows from it is not complete.
  if v_olap ->> 'state' = 'copying' and (v_olap ->> 'lost_slots')::int8 > 0 then
    v_problems := v_problems || 'olap_resync'::text;
  end if;
  -- The seeds' longest; the first copy of a long history may take as long as it takes.
  if v_olap ->> 'state' = 'following' and (v_olap ->> 'lag_seconds')::float8 > 900 then
    v_problems := v_problems || 'olap_lag'::text;
  end if;
  -- As the alarm slot-lag: the log is kept for the slot, and fills the disk.
  if (v_olap ->> 'kept_bytes')::int8 > 1073741824 then
    v_problems := v_problems || 'olap_slot_keeps_log'::text;
  end if;
  return jsonb_build_object(
    'status', case when cardinality(v_problems) = 0 then 'ok' else 'degraded' end,
    'problems', to_jsonb(v_problems),
    'role', case when pg_is_in_recovery() then 'replica' else 'primary' end,
    'checked_at', clock_timestamp(),
    'pipeline', v_pipeline,
    'losses', v_losses,
    'hot_changes', v_changes,
    'olap', v_olap,
    'replication', v_lag,
    'heartbeat_at', (select beat_at from replication_heartbeat),
    'history_partitions', (select count(*) from pg_inherits where inhparent = 'entity_values_ts'::regclass),
    'database_bytes', pg_database_size(current_database()),
    'connections', (select count(*) from pg_stat_activity where datname = current_database()));
end
$$;

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
