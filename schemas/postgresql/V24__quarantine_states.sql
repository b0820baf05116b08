-- What becomes of a quarantine row: it is sent again, or dropped. docs/quarantine.md has
-- the states and the reasons.
set local role eaves_owner;

alter table quarantine
  drop constraint quarantine_kind_check,
  add constraint quarantine_kind_check check (kind in ('record', 'value', 'derived')),
  -- Gone once the row is dropped.
  alter column payload drop not null,
  -- In the ledger's unit: the values in it, 1 for what could not be decoded, 0 for a value
  -- that a plugin derived, which nobody sent.
  add column pieces int4 not null default 1 check (pieces >= 0),
  -- The tenant as the record gave it, where there was none of that name.
  add column named_tenant text,
  -- When the stream took the record: by this the ledger counts.
  add column arrived_at timestamptz,
  add column state text not null default 'open'
    check (state in ('open', 'redriving', 'redriven', 'refused', 'dropped')),
  -- Times it was sent again, those of the row it comes from included.
  add column attempts int4 not null default 0,
  -- The row whose redrive was refused and became this one.
  add column redrive_of int8,
  -- In the frame of the record that sends it again: proof that the platform made it.
  add column redrive_token uuid not null default gen_random_uuid(),
  add column changed_at timestamptz,
  add column changed_by text,
  add column changed_why text,
  -- The record of the redrive that took effect, and what became of its values.
  add column settled_stream text,
  add column settled_shard text,
  add column settled_sequence numeric,
  add column settled_at timestamptz,
  add column taken_again int4,
  add column refused_again int4;

-- Serves the list of a tenant, newest first, and its next page.
create index quarantine_listed on quarantine (tenant_id, quarantine_id);

grant delete on quarantine to eaves_pipeline;
grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

-- Rows of the tenant (of any, for an operator) that are now under way, with what is to be
-- sent. A row that was under way already is sent once more: its records have the same
-- token, and only one of them takes effect.
create function quarantine_claim(p_any bool, p_tenant int4, p_ids int8[], p_by text)
returns table (quarantine_id int8, token bytea, payload bytea)
language sql security definer
set search_path = public, pg_temp
as $$
  with claimed as (
    select q.quarantine_id from quarantine q
    where q.quarantine_id = any (p_ids) and (p_any or q.tenant_id = p_tenant)
      and q.state in ('open', 'redriving')
    order by q.quarantine_id
    for update
  )
  update quarantine q
  set state = 'redriving', attempts = q.attempts + 1, changed_at = now(), changed_by = p_by, changed_why = null
  from claimed c
  where q.quarantine_id = c.quarantine_id
  returning q.quarantine_id, uuid_send(q.redrive_token), q.payload
$$;

create function quarantine_discard(p_any bool, p_tenant int4, p_ids int8[], p_by text, p_why text)
returns setof int8
language sql security definer
set search_path = public, pg_temp
as $$
  with found as (
    select q.quarantine_id from quarantine q
    where q.quarantine_id = any (p_ids) and (p_any or q.tenant_id = p_tenant)
      and q.state in ('open', 'redriving')
    order by q.quarantine_id
    for update
  )
  update quarantine q
  set state = 'dropped', payload = null, changed_at = now(), changed_by = p_by, changed_why = p_why
  from found f
  where q.quarantine_id = f.quarantine_id
  returning q.quarantine_id
$$;

-- For the query function: the tenant comes from app.current_tenant_id and nowhere else.
create function quarantine_redrive(p_ids int8[], p_by text)
returns table (quarantine_id int8, token bytea, payload bytea)
language sql security definer
set search_path = public, pg_temp
as $$
  select c.quarantine_id, c.token, c.payload
  from quarantine_claim(false, nullif(current_setting('app.current_tenant_id', true), '')::int4, p_ids, p_by) c
$$;

create function quarantine_drop(p_ids int8[], p_by text, p_why text) returns setof int8
language sql security definer
set search_path = public, pg_temp
as $$
  select quarantine_discard(false, nullif(current_setting('app.current_tenant_id', true), '')::int4, p_ids, p_by, p_why)
$$;

-- For operators: rows of any tenant, and of none.
create function quarantine_redrive_any(p_ids int8[], p_by text)
returns table (quarantine_id int8, token bytea, payload bytea)
language sql security definer
set search_path = public, pg_temp
as $$
  select c.quarantine_id, c.token, c.payload from quarantine_claim(true, null, p_ids, p_by) c
$$;

create function quarantine_drop_any(p_ids int8[], p_by text, p_why text) returns setof int8
language sql security definer
set search_path = public, pg_temp
as $$
  select quarantine_discard(true, null, p_ids, p_by, p_why)
$$;

-- Whether a row may be settled by the record at this position. Not yet settled, or settled
-- by this very record: after a crash it is read again, its values were lost with staging,
-- and its effect must come back. (Open with a known token: a failover took the claim.)
create function redrive_takes(p_row quarantine, p_stream text, p_shard text, p_sequence numeric) returns bool
language sql immutable security definer
set search_path = public, pg_temp
as $$
  select p_row.state in ('open', 'redriving')
    or (p_row.state in ('redriven', 'refused') and p_row.settled_stream = p_stream
        and p_row.settled_shard = p_shard and p_row.settled_sequence = p_sequence)
$$;

-- What the ingest is to make of redriven records: `take`, `duplicate`, or `forged` where no
-- row has this id and token.
create function redrive_check(p_stream text, p_shard text, p_ids int8[], p_tokens bytea[], p_sequences text[])
returns table (ord int4, verdict text, tenant_id int4, attempts int4)
language sql stable security definer
set search_path = public, pg_temp
as $$
  select m.ord::int4,
         case when q.quarantine_id is null then 'forged'
              when redrive_takes(q, p_stream, p_shard, m.sequence::numeric) then 'take'
              else 'duplicate' end,
         q.tenant_id, q.attempts
  from unnest(p_ids, p_tokens, p_sequences) with ordinality as m (id, token, sequence, ord)
  left join quarantine q on q.quarantine_id = m.id and uuid_send(q.redrive_token) = m.token
  order by m.ord
$$;

-- In the transaction that takes redriven records: settles their rows. Returns how many
-- could be; fewer than given means that another record was faster, and the caller gives up
-- and looks again.
create function redrive_settle(p_stream text, p_shard text, p_ids int8[], p_sequences text[],
                               p_taken int4[], p_refused int4[])
returns int4
language plpgsql security definer
set search_path = public, pg_temp
as $$
declare
  v_settled int4;
begin
  perform from quarantine where quarantine_id = any (p_ids) order by quarantine_id for update;
  update quarantine q
  set state = case when m.taken > 0 or m.refused = 0 then 'redriven' else 'refused' end,
      settled_stream = p_stream, settled_shard = p_shard, settled_sequence = m.sequence::numeric,
      settled_at = now(), taken_again = m.taken, refused_again = m.refused
  from unnest(p_ids, p_sequences, p_taken, p_refused) as m (id, sequence, taken, refused)
  where q.quarantine_id = m.id and redrive_takes(q, p_stream, p_shard, m.sequence::numeric);
  get diagnostics v_settled = row_count;
  return v_settled;
end
$$;

-- As in V16, with what V24 adds. `item` is now the place of the piece in its sub-record,
-- so that a piece keeps its row when its neighbours are decided anew.
drop function quarantine_add(text, text, int4[], text[], text[], text[], text[], bytea[], text[], int8[], int4[], text[]);

create function quarantine_add(
  p_stream text, p_shard text, p_tenants int4[], p_kinds text[], p_reasons text[], p_fields text[],
  p_messages text[], p_payloads bytea[], p_sequences text[], p_subs int8[], p_items int4[],
  p_plugin_digests text[], p_pieces int4[] default null, p_named text[] default null,
  p_arrived timestamptz[] default null, p_redrive_of int8[] default null, p_attempts int4[] default null)
returns void
language sql security definer
set search_path = public, pg_temp
as $$
  insert into quarantine (stream, shard, tenant_id, kind, reason, field, message, payload, sequence,
                          sub, item, plugin_digest, pieces, named_tenant, arrived_at, redrive_of, attempts)
  select p_stream, p_shard, q.tenant, q.kind, q.reason, q.field, q.message, q.payload,
         q.sequence::numeric, q.sub, q.item, q.plugin_digest, coalesce(q.pieces, 1), q.named, q.arrived,
         q.redrive_of, coalesce(q.attempts, 0)
  from unnest(p_tenants, p_kinds, p_reasons, p_fields, p_messages, p_payloads, p_sequences, p_subs,
              p_items, p_plugin_digests, p_pieces, p_named, p_arrived, p_redrive_of, p_attempts)
    as q (tenant, kind, reason, field, message, payload, sequence, sub, item, plugin_digest, pieces, named,
          arrived, redrive_of, attempts)
  -- Read again after a crash: what was decided last is what holds, unless somebody has
  -- decided about the row meanwhile.
  on conflict (stream, shard, sequence, sub, item) do update set
    tenant_id = excluded.tenant_id, kind = excluded.kind, reason = excluded.reason,
    field = excluded.field, message = excluded.message, payload = excluded.payload,
    plugin_digest = excluded.plugin_digest, pieces = excluded.pieces,
    named_tenant = excluded.named_tenant, arrived_at = excluded.arrived_at
  where quarantine.state = 'open'
$$;

-- After records were read again: forgets open rows of theirs that were not refused this
-- time. Without it a value could be both in history and in quarantine.
create function quarantine_replayed(
  p_stream text, p_shard text, p_after_sequence text, p_after_sub int8, p_sequence text, p_sub int8,
  p_sequences text[], p_subs int8[], p_items int4[])
returns void
language sql security definer
set search_path = public, pg_temp
as $$
  delete from quarantine q
  where q.stream = p_stream and q.shard = p_shard and q.state = 'open'
    and (p_after_sequence is null or (q.sequence, q.sub) > (p_after_sequence::numeric, p_after_sub))
    and (q.sequence, q.sub) <= (p_sequence::numeric, p_sub)
    and not exists (
      select from unnest(p_sequences, p_subs, p_items) as k (sequence, sub, item)
      where (k.sequence::numeric, k.sub, k.item) = (q.sequence, q.sub, q.item)
    )
$$;

grant execute on function quarantine_redrive(int8[], text) to eaves_query;
grant execute on function quarantine_drop(int8[], text, text) to eaves_query;
grant execute on function quarantine_redrive_any(int8[], text) to eaves_admin;
grant execute on function quarantine_drop_any(int8[], text, text) to eaves_admin;
grant execute on function redrive_check(text, text, int8[], bytea[], text[]) to eaves_ingest;
grant execute on function redrive_settle(text, text, int8[], text[], int4[], int4[]) to eaves_ingest;
grant execute on function quarantine_add(text, text, int4[], text[], text[], text[], text[], bytea[], text[],
  int8[], int4[], text[], int4[], text[], timestamptz[], int8[], int4[]) to eaves_ingest;
grant execute on function quarantine_replayed(text, text, text, int8, text, int8, text[], int8[], int4[])
  to eaves_ingest;

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
