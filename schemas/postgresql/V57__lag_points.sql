-- Lag at each point between a write and its readers, in one list: for GET /v1/freshness, for
-- operators, and for check_replication_lag(), which keeps its columns.
set local role eaves_owner;
grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

-- One row a point (the numbers are those of the seeds' diagram, docs/freshness.md):
--   heartbeat  (1) since the primary last confirmed a write, the heartbeat's
--   slot       (2) a consumer of logical decoding
--   replica    (3) a streaming replica: as the primary sees it, or on the replica itself
--   staging    (4) acknowledged values that are not in history yet
--   flush      (5) how far back history may lack something
-- Ages are by this server's clock at the time of the call, so they grow while nothing is
-- written. Null where a point has no such measure, or nobody knows.
create function lag_points()
returns table (point text, name text, state text, lag_seconds float8, lag_bytes int8, lag_rows int8,
               "position" text, measured_at timestamptz)
language plpgsql stable security definer
set search_path = public, pg_temp
as $$
declare
  v_now      timestamptz := clock_timestamp();
  v_received pg_lsn;
  v_replayed pg_lsn;
  v_state    text := 'heartbeat';
begin
  if pg_is_in_recovery() then
    begin
      v_received := pg_last_wal_receive_lsn();
      v_replayed := pg_last_wal_replay_lsn();
      v_state := case pg_get_wal_replay_pause_state() when 'not paused' then 'replaying' else 'paused' end;
    exception
      -- Aurora's readers share the primary's storage and have no positions; the heartbeat remains.
      when others then null;
    end;
    return query
    select 'replica'::text, coalesce(current_setting('cluster_name', true), ''), v_state,
           greatest(0, extract(epoch from v_now - h.beat_at))::float8,
           pg_wal_lsn_diff(v_received, v_replayed)::int8, null::int8, v_replayed::text, v_now
    from replication_heartbeat h;
  else
    return query
    select 'heartbeat'::text, ''::text, 'written'::text,
           greatest(0, extract(epoch from v_now - h.beat_at))::float8,
           null::int8, h.sequence, pg_current_wal_lsn()::text, v_now
    from replication_heartbeat h;
    return query
    select 'replica'::text, r.application_name, r.state,
           -- Null once a replica has replayed all there is.
           coalesce(extract(epoch from r.replay_lag), 0)::float8,
           pg_wal_lsn_diff(pg_current_wal_lsn(), r.replay_lsn)::int8, null::int8, r.replay_lsn::text, v_now
    from pg_stat_replication r
    order by r.application_name;
    return query
    select 'slot'::text, s.slot_name::text, case when s.active then 'active' else 'inactive' end,
           null::float8, pg_wal_lsn_diff(pg_current_wal_lsn(), s.confirmed_flush_lsn)::int8, null::int8,
           s.confirmed_flush_lsn::text, v_now
    from pg_replication_slots s
    where s.slot_type = 'logical' and s.database = current_database()
    order by s.slot_name;
    return query
    select 'staging'::text, ''::text, case when count(*) = 0 then 'empty' else 'waiting' end,
           greatest(0, coalesce(extract(epoch from v_now - min(b.ingested_at)), 0))::float8,
           null::int8, coalesce(sum(b.row_count), 0)::int8, null::text, v_now
    from staging_batches b;
  end if;
  return query
  select 'flush'::text, ''::text, case when f.history_as_of = '-infinity' then 'never' else 'flushed' end,
         case when f.history_as_of > '-infinity'
              then greatest(0, extract(epoch from v_now - f.history_as_of)) end::float8,
         null::int8, f.last_rows::int8, null::text, v_now
  from flush_state f;
end
$$;

-- See V19; now with the logical slots, whose lag is known in bytes only.
create or replace function check_replication_lag()
returns table (source text, replica text, state text, lag_seconds float8, lag_bytes int8, measured_at timestamptz)
language sql stable security definer
set search_path = public, pg_temp
as $$
  select case when p.point = 'slot' then 'slot' when pg_is_in_recovery() then 'replica' else 'primary' end,
         p.name, p.state, p.lag_seconds, p.lag_bytes, p.measured_at
  from lag_points() p
  where p.point in ('replica', 'slot')
$$;

grant execute on function lag_points() to eaves_admin, eaves_query, eaves_flush;

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
