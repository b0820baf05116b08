-- The way of history to object storage: how far it is, which files there are. docs/olap.md.
set local role eaves_owner;

-- One row for each slot there has been. A slot that is lost cannot be followed any more: another
-- epoch begins, with a copy of all history, and its files take the place of the earlier one's.
create table olap_epochs (
  -- Names slot and files; begins with the time, and is never given twice, also by a server that
  -- was promoted and does not know of an epoch that its predecessor began.
  epoch       text primary key check (epoch ~ '^[a-z0-9_]{1,40}$'),
  -- The timeline the slot was made on: positions of another one are not comparable.
  timeline    text not null,
  -- Where the slot begins. Rows that are copied count as older than every change after it.
  start_at    pg_lsn not null,
  -- The watermark: every transaction whose commit is before it is in the files.
  loaded_to   pg_lsn not null,
  -- The end of a file that is being written: a retry writes the same file, not a longer one.
  planned_to  pg_lsn,
  -- History is complete in the files up to this time.
  complete_to timestamptz,
  -- The copy goes by the key; these are the last one's.
  copied_tenant      int4 not null default 0,
  copied_entity      int8 not null default 0,
  copied_attribute   int4 not null default 0,
  copied_observed_at timestamptz not null default '-infinity',
  copied_rows        int8 not null default 0,
  -- Where the log was when the copy ended: with the changes up to there the files are history.
  copied_at   pg_lsn,
  complete_at timestamptz,
  -- Sums of olap_files.
  file_count  int8 not null default 0,
  file_rows   int8 not null default 0,
  file_bytes  int8 not null default 0,
  began_at    timestamptz not null default now(),
  ended_at    timestamptz,
  end_reason  text
);
create unique index olap_epochs_current on olap_epochs ((true)) where ended_at is null;

create table olap_files (
  epoch   text not null references olap_epochs (epoch),
  -- Its key in the bucket.
  name    text not null,
  -- Changes from here and before there; a copy's file has the epoch's start as both.
  from_at pg_lsn not null,
  to_at   pg_lsn not null,
  rows    int8 not null check (rows > 0),
  bytes   int8 not null,
  made_at timestamptz not null default now(),
  primary key (epoch, name)
);
-- Serves "files since this watermark" of who loads them elsewhere.
create index olap_files_to on olap_files (epoch, to_at);

-- The partitions that were there when somebody last looked.
create table olap_partitions (
  partition oid primary key,
  from_at   timestamptz not null,
  to_at     timestamptz not null
);

grant select, insert, update on olap_epochs to eaves_pipeline;
grant select, insert on olap_files to eaves_pipeline;
grant select, insert, delete on olap_partitions to eaves_pipeline;
grant select on olap_epochs to eaves_replication;
grant select on olap_epochs, olap_files to eaves_admin;

grant create on schema public to eaves_pipeline, eaves_replication;
set local role eaves_replication;

-- Makes the slot of an epoch; those of earlier ones keep log that nobody will read. In a transaction
-- of its own: a slot cannot be made in one that has written. Returns where it begins.
create function olap_slot_create(p_epoch text) returns pg_lsn
language plpgsql security definer
set search_path = public, pg_temp
as $$
declare
  v_old name;
  v_lsn pg_lsn;
begin
  if p_epoch !~ '^[a-z0-9_]{1,40}$' then
    raise exception 'olap_slot_create(%): an epoch has letters, digits and underscores, at most 40', p_epoch
      using errcode = 'invalid_parameter_value';
  end if;
  for v_old in
    select slot_name from pg_replication_slots
    where slot_name ~ '^eaves_olap_' and database = current_database() and not active
  loop
    perform pg_drop_replication_slot(v_old);
  end loop;
  select c.lsn into v_lsn from pg_create_logical_replication_slot('eaves_olap_' || p_epoch, 'pgoutput') c;
  return v_lsn;
end
$$;

-- The messages of the transactions after the slot's position, whole transactions until there are
-- p_changes messages or the log is read up to p_upto. Looks, and takes nothing.
create function olap_peek(p_epoch text, p_upto pg_lsn, p_changes int4) returns setof bytea
language sql security definer
set search_path = public, pg_temp
as $$
  select data from pg_logical_slot_peek_binary_changes('eaves_olap_' || p_epoch, p_upto, p_changes,
    'proto_version', '1', 'publication_names', 'eaves_olap', 'messages', 'true', 'binary', 'true')
$$;

-- Lets go of the log before the epoch's watermark. After a crash the slot may stand further back than
-- it was: what it shows again is before the watermark, and is passed over.
create function olap_advance(p_epoch text) returns void
language plpgsql security definer
set search_path = public, pg_temp
as $$
declare
  v_to  pg_lsn;
  v_old name;
begin
  -- Two at once would be refused: a slot is in the hands of one.
  perform pg_advisory_xact_lock(hashtextextended('eaves.olap_advance', 0));
  select e.loaded_to into v_to from olap_epochs e
  join pg_replication_slots s on s.slot_name = 'eaves_olap_' || e.epoch
  where e.epoch = p_epoch and e.ended_at is null and s.confirmed_flush_lsn < e.loaded_to;
  if found then
    perform pg_replication_slot_advance('eaves_olap_' || p_epoch, v_to);
    -- An earlier epoch's slot that somebody was still looking into when this one was made.
    for v_old in
      select slot_name from pg_replication_slots
      where slot_name ~ '^eaves_olap_' and slot_name < 'eaves_olap_' || p_epoch
        and database = current_database() and not active
    loop
      perform pg_drop_replication_slot(v_old);
    end loop;
  end if;
end
$$;

grant execute on function olap_slot_create(text), olap_peek(text, pg_lsn, int4), olap_advance(text) to eaves_olap;

set local role eaves_pipeline;

-- How it stands: the current epoch, its slot, the log. Positions are numbers of bytes.
create function olap_state() returns jsonb
language sql volatile security definer
set search_path = public, pg_temp
as $$
  select jsonb_build_object(
    'timeline', left(pg_walfile_name(pg_current_wal_insert_lsn()), 8),
    'flushed_to', pg_current_wal_flush_lsn() - '0/0',
    'inserted_to', pg_current_wal_insert_lsn() - '0/0',
    -- What is committed before this is before flushed_to: the log is written in that order.
    'now_us', (extract(epoch from clock_timestamp()) * 1000000)::int8,
    'next_xid', (pg_snapshot_xmax(pg_current_snapshot())::text)::int8,
    'epoch', (
      select jsonb_build_object(
        'epoch', e.epoch, 'timeline', e.timeline, 'start_at', e.start_at - '0/0',
        'loaded_to', e.loaded_to - '0/0', 'planned_to', e.planned_to - '0/0',
        'copied_rows', e.copied_rows, 'copied_at', e.copied_at - '0/0', 'complete', e.complete_at is not null)
      from olap_epochs e where e.ended_at is null),
    'slot', (
      select jsonb_build_object(
        'confirmed_to', s.confirmed_flush_lsn - '0/0', 'wal_status', s.wal_status, 'active', s.active,
        'kept_bytes', pg_current_wal_insert_lsn() - s.restart_lsn)
      from olap_epochs e join pg_replication_slots s on s.slot_name = 'eaves_olap_' || e.epoch
      where e.ended_at is null and s.database = current_database() and s.plugin = 'pgoutput'))
$$;

-- Begins an epoch whose slot is made; the current one, if there is one, ends for this reason.
create function olap_begin(p_epoch text, p_start pg_lsn, p_timeline text, p_reason text) returns void
language plpgsql security definer
set search_path = public, pg_temp
as $$
begin
  update olap_epochs set ended_at = now(), end_reason = p_reason, planned_to = null where ended_at is null;
  insert into olap_epochs (epoch, timeline, start_at, loaded_to) values (p_epoch, p_timeline, p_start, p_start);
end
$$;

-- Says which file is about to be written. False if the watermark has moved: somebody else wrote it.
create function olap_plan(p_epoch text, p_from pg_lsn, p_to pg_lsn) returns bool
language plpgsql security definer
set search_path = public, pg_temp
as $$
begin
  update olap_epochs set planned_to = p_to
  where epoch = p_epoch and loaded_to = p_from and ended_at is null and coalesce(planned_to, p_to) = p_to;
  return found;
end
$$;

-- Moves the watermark, with the file that holds what is between (none if nothing is). False if
-- it has moved already. On disk when it returns: the slot is let go after it.
create function olap_loaded(
  p_epoch text, p_from pg_lsn, p_to pg_lsn, p_complete_to timestamptz, p_name text, p_rows int8, p_bytes int8
) returns bool
language plpgsql security definer
set search_path = public, pg_temp
as $$
begin
  perform set_config('synchronous_commit', 'on', true);
  update olap_epochs set
    loaded_to = p_to, planned_to = null, complete_to = greatest(complete_to, p_complete_to),
    complete_at = case when p_to >= copied_at then coalesce(complete_at, now()) end,
    file_count = file_count + (p_name is not null)::int4, file_rows = file_rows + coalesce(p_rows, 0),
    file_bytes = file_bytes + coalesce(p_bytes, 0)
  where epoch = p_epoch and loaded_to = p_from and ended_at is null and p_to >= p_from;
  if not found then
    return false;
  end if;
  if p_name is not null then
    insert into olap_files (epoch, name, from_at, to_at, rows, bytes)
    values (p_epoch, p_name, p_from, p_to, p_rows, p_bytes);
  end if;
  return true;
end
$$;

-- The next rows of history for the copy, as they are now.
create function olap_copy(p_epoch text, p_rows int4) returns setof entity_values_ts
language plpgsql stable security definer
set search_path = public, pg_temp
rows 10000
as $$
declare
  v_after olap_epochs;
begin
  select * into v_after from olap_epochs where epoch = p_epoch and ended_at is null;
  -- One index scan a partition, merged: compared with values, not with a query, for the index's sake.
  return query
    select h.* from entity_values_ts h
    where (h.tenant_id, h.entity_id, h.attribute_id, h.observed_at) >
          (v_after.copied_tenant, v_after.copied_entity, v_after.copied_attribute, v_after.copied_observed_at)
    order by h.tenant_id, h.entity_id, h.attribute_id, h.observed_at
    limit p_rows;
end
$$;

-- Notes a file of the copy, which ended with this key; without a key the copy is at its end. False
-- if somebody else has copied these rows.
create function olap_copied(
  p_epoch text, p_before int8, p_tenant int4, p_entity int8, p_attribute int4, p_observed_at timestamptz,
  p_name text, p_rows int8, p_bytes int8
) returns bool
language plpgsql security definer
set search_path = public, pg_temp
as $$
declare
  v_start pg_lsn;
begin
  perform set_config('synchronous_commit', 'on', true);
  update olap_epochs set
    copied_tenant = coalesce(p_tenant, copied_tenant), copied_entity = coalesce(p_entity, copied_entity),
    copied_attribute = coalesce(p_attribute, copied_attribute),
    copied_observed_at = coalesce(p_observed_at, copied_observed_at),
    copied_rows = copied_rows + coalesce(p_rows, 0),
    copied_at = case when p_name is null then pg_current_wal_insert_lsn() end,
    file_count = file_count + (p_name is not null)::int4, file_rows = file_rows + coalesce(p_rows, 0),
    file_bytes = file_bytes + coalesce(p_bytes, 0)
  where epoch = p_epoch and ended_at is null and copied_rows = p_before and copied_at is null
  returning start_at into v_start;
  if not found then
    return false;
  end if;
  if p_name is not null then
    insert into olap_files (epoch, name, from_at, to_at, rows, bytes)
    values (p_epoch, p_name, v_start, v_start, p_rows, p_bytes);
  end if;
  return true;
end
$$;

-- Dropping a partition is in no change stream: it is put into it here, in the transaction that drops
-- (maintain_partitions), or at the next look where it was done by hand. Returns how many were dropped.
create function olap_note_partitions() returns int4
language plpgsql security definer
set search_path = public, pg_temp
as $$
declare
  v_gone    record;
  v_dropped int4 := 0;
begin
  for v_gone in
    delete from olap_partitions p
    where not exists (select from pg_inherits i
                      where i.inhparent = 'entity_values_ts'::regclass and i.inhrelid = p.partition)
    returning (extract(epoch from from_at) * 1000000)::int8 as from_us,
              (extract(epoch from to_at) * 1000000)::int8 as to_us
  loop
    perform pg_logical_emit_message(true, 'eaves.olap', format('drop %s %s', v_gone.from_us, v_gone.to_us));
    v_dropped := v_dropped + 1;
  end loop;
  insert into olap_partitions (partition, from_at, to_at)
  select b.inhrelid, b.bounds[1]::timestamptz, b.bounds[2]::timestamptz
  from (
    select i.inhrelid, regexp_match(pg_get_expr(c.relpartbound, c.oid),
                                    'FROM \(''([^'']+)''\) TO \(''([^'']+)''\)') as bounds
    from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'entity_values_ts'::regclass
  ) b
  where b.bounds is not null
  on conflict (partition) do nothing;
  return v_dropped;
end
$$;

-- History as a list of counts: rows and the sum of their hashes by tenant and day of observed_at
-- (days since 1970, UTC). crates/olap folds the files to the same list.
create function olap_fingerprint(p_tenant int4) returns table (tenant_id int4, day int4, points int8, checksum text)
language sql stable security definer
set search_path = public, pg_temp
as $$
  select h.tenant_id, (h.observed_at at time zone 'UTC')::date - date '1970-01-01', count(*),
    sum(('x' || left(md5(concat_ws('|',
      h.entity_id, h.attribute_id, encode(timestamptz_send(h.observed_at), 'hex'),
      encode(timestamptz_send(h.ingested_at), 'hex'), coalesce(h.plugin_id::text, ''),
      coalesce(h.value_bool::int4::text, ''), coalesce(h.value_int::text, ''),
      coalesce(encode(float8send(h.value_float), 'hex'), ''), coalesce(h.value_decimal::text, ''),
      coalesce(encode(timestamptz_send(h.value_timestamp), 'hex'), ''),
      case when h.value is null then 'n' else 'v' || h.value end)), 15))::bit(60)::int8)::text
  from entity_values_ts h
  where p_tenant is null or h.tenant_id = p_tenant
  group by 1, 2
$$;

-- For health_check(), metrics and `eaves olap status`. A replica knows nothing of slots.
create function olap_status() returns jsonb
language sql volatile security definer
set search_path = public, pg_temp
as $$
  select coalesce((
    select jsonb_build_object(
      'state', case
        when pg_is_in_recovery() then 'unknown'
        when s.slot_name is null or s.wal_status = 'lost' then 'lost'
        when e.complete_at is null then 'copying' else 'following' end,
      'epoch', e.epoch, 'began_at', e.began_at, 'complete_at', e.complete_at,
      'loaded_to', e.loaded_to, 'complete_to', e.complete_to,
      'lag_seconds', round(extract(epoch from clock_timestamp() - coalesce(e.complete_to, e.began_at))::numeric, 3),
      'lag_bytes', l.at - e.loaded_to, 'kept_bytes', l.at - s.restart_lsn, 'wal_status', s.wal_status,
      'copied_rows', e.copied_rows,
      'lost_slots', (select count(*) from olap_epochs where ended_at is not null),
      'last_lost', (select jsonb_build_object('at', o.ended_at, 'reason', o.end_reason) from olap_epochs o
                    where o.ended_at is not null order by o.ended_at desc limit 1),
      'files', jsonb_build_object('count', e.file_count, 'rows', e.file_rows, 'bytes', e.file_bytes))
    from olap_epochs e
    cross join (select case when pg_is_in_recovery() then pg_last_wal_replay_lsn()
                            else pg_current_wal_insert_lsn() end as at) l
    left join pg_replication_slots s
      on s.slot_name = 'eaves_olap_' || e.epoch and s.database = current_database()
    where e.ended_at is null
  ), '{"state": "off"}')
$$;

grant execute on function olap_state(), olap_begin(text, pg_lsn, text, text), olap_plan(text, pg_lsn, pg_lsn),
  olap_loaded(text, pg_lsn, pg_lsn, timestamptz, text, int8, int8), olap_copy(text, int4),
  olap_copied(text, int8, int4, int8, int4, timestamptz, text, int8, int8), olap_note_partitions(),
  olap_status() to eaves_olap;
grant execute on function olap_note_partitions() to eaves_owner;
grant execute on function olap_fingerprint(int4), olap_status() to eaves_admin;

set local role eaves_owner;
revoke create on schema public from eaves_pipeline, eaves_replication;

-- See V19; what retention drops is told in the same transaction.
create or replace function maintain_partitions() returns int4
language plpgsql security definer
set search_path = public, pg_temp
as $$
begin
  perform partman.run_maintenance('public.entity_values_ts', p_analyze := false, p_jobmon := false);
  perform secure_partitions();
  perform olap_note_partitions();
  return (select count(*) from pg_inherits where inhparent = 'entity_values_ts'::regclass);
end
$$;
select olap_note_partitions();
