-- What `eaves audit` asks. docs/audit.md says what is compared with what.
set local role eaves_owner;
grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

-- One statement, hence one moment: how far each shard is, what the ledger has of the
-- minutes from p_since up to p_until, and the pieces that quarantine holds of them. After a
-- crash a shard is as far as its history; what was staged beyond comes back with the replay.
create function audit_snapshot(p_stream text, p_consumer text, p_since timestamptz, p_until timestamptz)
returns jsonb
language sql stable security definer
set search_path = public, pg_temp
as $$
  with shards as (
    select c.shard,
           case when e.epoch is null then f.sequence else c.sequence end as sequence,
           case when e.epoch is null then f.sub else c.sub end as sub,
           e.epoch is null or c.replay_sequence is not null as replaying
    from ingest_checkpoints c
    left join flush_checkpoints f using (stream, shard, consumer)
    left join staging_epoch e on e.epoch = c.epoch
    where c.stream = p_stream and c.consumer = p_consumer
  ), lines as (
    select l.shard, l.tenant_id, l.outcome, sum(l.count)::int8 as count
    from (
      select shard, tenant_id, outcome, count from ingest_ledger
      where stream = p_stream and minute >= p_since and minute < p_until
      union all
      select shard, tenant_id, outcome, count from staging_ledger
      where stream = p_stream and minute >= p_since and minute < p_until
    ) l
    group by l.shard, l.tenant_id, l.outcome
  ), held as (
    select q.shard, coalesce(q.tenant_id, 0) as tenant_id, sum(q.pieces)::int8 as pieces
    from quarantine q
    join shards s on s.shard = q.shard
    where q.stream = p_stream and q.arrived_at >= p_since and q.arrived_at < p_until
      and (q.sequence, q.sub) <= (s.sequence, s.sub)
    group by q.shard, coalesce(q.tenant_id, 0)
  )
  select jsonb_build_object(
    'shards', (select coalesce(jsonb_agg(jsonb_build_object(
      'shard', shard, 'sequence', sequence::text, 'sub', sub, 'replaying', replaying)), '[]') from shards),
    'ledger', (select coalesce(jsonb_agg(to_jsonb(l)), '[]') from lines l),
    'held', (select coalesce(jsonb_agg(to_jsonb(h)), '[]') from held h),
    'tenants', (select coalesce(jsonb_object_agg(t.name, t.tenant_id), '{}') from tenants t))
$$;

-- Of these records: the pieces in quarantine, and under which tenant they were counted.
create function audit_quarantined(p_stream text, p_shard text, p_sequences text[])
returns table (sequence text, tenant_id int4, named_tenant text, pieces int8)
language sql stable security definer
set search_path = public, pg_temp
as $$
  select q.sequence::text, coalesce(q.tenant_id, 0), q.named_tenant, sum(q.pieces)::int8
  from quarantine q
  where q.stream = p_stream and q.shard = p_shard
    and q.sequence = any (select s::numeric from unnest(p_sequences) s)
  group by q.sequence, q.tenant_id, q.named_tenant
$$;

-- Of these redriven records: those whose effect is elsewhere (`duplicate`) and those that
-- the platform did not make (`forged`).
create function audit_redrives(p_stream text, p_shard text, p_ids int8[], p_tokens bytea[], p_sequences text[])
returns table (ord int4, verdict text, tenant_id int4, attempts int4)
language sql stable security definer
set search_path = public, pg_temp
as $$
  select * from redrive_check(p_stream, p_shard, p_ids, p_tokens, p_sequences)
$$;

-- Which of these points (counted from 1) are neither staged nor in history. Staging is
-- looked at first and in a statement of its own: what a flush moves meanwhile is seen at
-- least once (see V20).
create function audit_missing(p_tenants int4[], p_entities text[], p_attributes text[], p_times timestamptz[])
returns table (ord int4)
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
declare
  v_staged int8[];
begin
  select coalesce(array_agg(k.ord), '{}') into v_staged
  from unnest(p_tenants, p_entities, p_attributes, p_times) with ordinality
    as k (tenant_id, entity, attribute, observed_at, ord)
  join entities e on e.tenant_id = k.tenant_id and e.external_id = k.entity
  join attributes a on a.tenant_id = k.tenant_id and a.attribute_name = k.attribute
  where (k.tenant_id, e.entity_id, a.attribute_id, k.observed_at) in (
    select s.tenant_id, s.entity_id, s.attribute_id, s.observed_at from entity_values_ingest s
  );
  return query
  select k.ord::int4
  from unnest(p_tenants, p_entities, p_attributes, p_times) with ordinality
    as k (tenant_id, entity, attribute, observed_at, ord)
  left join entities e on e.tenant_id = k.tenant_id and e.external_id = k.entity
  left join attributes a on a.tenant_id = k.tenant_id and a.attribute_name = k.attribute
  left join entity_values_ts h on h.tenant_id = k.tenant_id and h.entity_id = e.entity_id
    and h.attribute_id = a.attribute_id and h.observed_at = k.observed_at
  where h.tenant_id is null and not k.ord = any (v_staged);
end
$$;

-- Points of a tenant, and the values that the ledger says were added, both since the
-- beginning: there can be fewer points, since one sent twice is one, never more.
create function audit_history(p_tenant int4)
returns table (points int8, counted int8)
language sql volatile security definer
set search_path = public, pg_temp
as $$
  select (select count(*) from entity_values_ts h where h.tenant_id = p_tenant),
         (select coalesce(sum(l.count), 0)::int8 from (
            select tenant_id, outcome, count from ingest_ledger
            union all
            select tenant_id, outcome, count from staging_ledger
          ) l
          where l.tenant_id = p_tenant and l.outcome in ('accepted', 'derived'))
$$;

grant execute on function audit_snapshot(text, text, timestamptz, timestamptz) to eaves_admin;
grant execute on function audit_quarantined(text, text, text[]) to eaves_admin;
grant execute on function audit_redrives(text, text, int8[], bytea[], text[]) to eaves_admin;
grant execute on function audit_missing(int4[], text[], text[], timestamptz[]) to eaves_admin;
grant execute on function audit_history(int4) to eaves_admin;

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
