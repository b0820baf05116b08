-- How far a consumer of logical decoding is behind, in seconds: where the log was at which time.
set local role eaves_owner;

-- All that was committed before `at` is in the log before `lsn`. Written with the heartbeat, once a
-- second, and only while there is a logical slot. Those of the last ten minutes are kept, before that one
-- a minute, for a week.
create table wal_positions (
  at  timestamptz primary key,
  lsn pg_lsn not null
);
create index wal_positions_lsn on wal_positions (lsn);
grant select, insert, delete on wal_positions to eaves_pipeline;

grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

create function wal_position_note() returns trigger
language plpgsql security definer
set search_path = public, pg_temp
as $$
declare
  -- The time first: what is committed between the two is in the log before the position.
  v_at   timestamptz := clock_timestamp();
  v_lsn  pg_lsn;
  v_last timestamptz;
begin
  select max(at) into v_last from wal_positions;
  if v_last > v_at - interval '1 second' then
    return null;
  end if;
  if not exists (select from pg_replication_slots s
                 where s.slot_type = 'logical' and s.database = current_database()) then
    return null;
  end if;
  begin
    v_lsn := pg_current_wal_insert_lsn();
  exception
    -- Where a server does not tell (Aurora without logical decoding), the heartbeat goes on without it.
    when others then return null;
  end;
  insert into wal_positions values (v_at, v_lsn) on conflict do nothing;
  -- Thinned once a minute: of each minute that is over the first one stays.
  if v_last < date_trunc('minute', v_at) then
    delete from wal_positions p
    where p.at < v_at - interval '7 days'
       or p.at < v_at - interval '10 minutes'
          and exists (select from wal_positions q where q.at >= date_trunc('minute', p.at) and q.at < p.at);
  end if;
  return null;
end
$$;

-- See V57; a slot's lag is known in seconds, too: nothing that was committed longer ago than that waits
-- for its consumer to confirm it. Null where it is behind all that is remembered.
create or replace function lag_points()
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
           case when s.confirmed_flush_lsn >= pg_current_wal_insert_lsn() then 0
                else (select greatest(0, extract(epoch from v_now - p.at)) from wal_positions p
                      where p.lsn <= s.confirmed_flush_lsn order by p.at desc limit 1) end::float8,
           pg_wal_lsn_diff(pg_current_wal_lsn(), s.confirmed_flush_lsn)::int8, null::int8,
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

-- Who makes a trigger must be allowed to call its function.
grant execute on function wal_position_note() to eaves_owner;
set local role eaves_owner;
create trigger wal_position after update on replication_heartbeat
  for each statement execute function wal_position_note();
revoke create on schema public from eaves_pipeline;
