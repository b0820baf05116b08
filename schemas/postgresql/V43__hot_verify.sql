-- Compares the hot projection with the fold of history, and repairs it.
set local role eaves_owner;
grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

-- A timestamp as ingest writes it into the projection.
create function hot_timestamp(p_at timestamptz) returns jsonb
language sql immutable parallel safe
set search_path = public, pg_temp
as $$
  select to_jsonb(regexp_replace(to_char(p_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '\.?0+Z$', 'Z'))
$$;

-- Compares p_entities of the tenant's entities, those after p_after: each hot attribute, or the one
-- given, with the latest value of history and staging. Answers
--   {"entities": 100, "values": 960, "last": 4711, "repaired": 0, "found": 1, "differences": [
--     {"entity": "pump-7", "attribute": "a", "kind": "stale", "projected": 1, "projected_at": …, "folded": 2,
--      "folded_at": …}]}
-- with the times in microseconds since 1970, at most 100 differences, and "last" null behind the
-- last entity. The kinds: missing and stale (history is newer), value (another one of the same
-- time), ahead (the projection is newer, or history has none: its partition may have been
-- dropped). What is ahead is only told, and not while a shard is being read again: then history
-- is what is behind. The others are repaired if p_repair, through the upsert, so that a newer
-- value always wins.
create function hot_verify(p_tenant int4, p_after int8, p_entities int4, p_repair bool,
                           p_attribute int4 default null)
returns jsonb
language plpgsql security definer
set search_path = public, pg_temp
as $$
#variable_conflict use_column
declare
  v_ids         int8[];
  v_recovering  bool;
  v_values      int8;
  v_differences jsonb;
  v_repaired    int8 := 0;
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'hot_verify needs READ COMMITTED' using errcode = 'invalid_transaction_state';
  end if;
  select array_agg(e.entity_id order by e.entity_id) into v_ids
  from (
    select entity_id from entities where tenant_id = p_tenant and entity_id > p_after
    order by entity_id limit least(greatest(p_entities, 1), 1000)
  ) e;
  if v_ids is null then
    return '{"entities": 0, "values": 0, "last": null, "repaired": 0, "found": 0, "differences": []}';
  end if;
  -- A flush that finds a leaf locked deletes its rows instead of truncating it, and then the
  -- snapshot of the statement below shows a row either staged or in history.
  lock table entity_values_ingest_0, entity_values_ingest_1 in access share mode;
  if p_repair then
    -- In the order of the upsert. Nothing is added to these rows until this is over.
    perform from entity_jsonb h where h.tenant_id = p_tenant and h.entity_id = any (v_ids)
    order by h.entity_id for no key update;
  end if;
  v_recovering := exists (
    select from ingest_checkpoints c
    where c.replay_sequence is not null or not exists (select from staging_epoch e where e.epoch = c.epoch)
  );

  with looked_at as materialized (
    select a.attribute_id, a.attribute_name, a.value_type from attributes a
    where a.tenant_id = p_tenant and case when p_attribute is null then a.is_hot else a.attribute_id = p_attribute end
  ), points as materialized (
    select distinct on (s.entity_id, s.attribute_id) s.*
    from entity_values_ingest s
    where s.tenant_id = p_tenant and s.entity_id = any (v_ids)
    order by s.entity_id, s.attribute_id, s.observed_at desc, s.ingested_at desc, s.ctid desc
  ), fold as (
    select i.entity_id, a.attribute_name as name, a.value_type, f.observed_at,
           (extract(epoch from f.observed_at) * 1000000)::int8 as micros,
           coalesce(to_jsonb(f.value_bool), to_jsonb(f.value_int), to_jsonb(f.value_float),
                    to_jsonb(f.value_decimal), hot_timestamp(f.value_timestamp), to_jsonb(f.value)) as value
    from unnest(v_ids) as i (entity_id)
    cross join looked_at a
    cross join lateral (
      select u.*
      from (
        (select v.observed_at, v.ingested_at, v.value_bool, v.value_int, v.value_float, v.value_decimal,
                v.value_timestamp, v.value
         from entity_values_ts v
         where v.tenant_id = p_tenant and v.entity_id = i.entity_id and v.attribute_id = a.attribute_id
         order by v.observed_at desc limit 1)
        union all
        select p.observed_at, p.ingested_at, p.value_bool, p.value_int, p.value_float, p.value_decimal,
               p.value_timestamp, p.value
        from points p where p.entity_id = i.entity_id and p.attribute_id = a.attribute_id
      ) u
      order by u.observed_at desc, u.ingested_at desc limit 1
    ) f
  ), hot as (
    select h.entity_id, t.key as name, h.hot_attrs -> t.key as value, t.value::int8 as micros
    from entity_jsonb h
    cross join lateral jsonb_each(h.hot_times) as t
    join looked_at a on a.attribute_name = t.key
    where h.tenant_id = p_tenant and h.entity_id = any (v_ids)
  ), compared as (
    select coalesce(f.entity_id, h.entity_id) as entity_id, coalesce(f.name, h.name) as name, f.observed_at,
           f.micros as folded_at, f.value as folded, h.micros as projected_at, h.value as projected,
           case
             when h.micros is null then 'missing'
             when f.micros is null or h.micros > f.micros then case when not v_recovering then 'ahead' end
             when h.micros < f.micros then 'stale'
             when h.value is null then 'value'
             when f.value_type = 'timestamp' then
               case when hot_timestamp((h.value #>> '{}')::timestamptz) <> f.value then 'value' end
             when h.value <> f.value then 'value'
           end as kind
    from fold f
    full join hot h on h.entity_id = f.entity_id and h.name = f.name
  )
  select count(*), coalesce(jsonb_agg(to_jsonb(c) order by c.entity_id, c.name) filter (where c.kind is not null), '[]')
  into v_values, v_differences
  from compared c;

  if p_repair then
    select count(u.*) into v_repaired
    from (
      select array_agg(p_tenant) as tenants, array_agg(r.entity_id) as entities, array_agg(r.oldest) as oldest,
             array_agg(r.newest) as newest, array_agg(r.attrs) as attrs, array_agg(r.times) as times
      from (
        select d.entity_id, min(d.observed_at) as oldest, max(d.observed_at) as newest,
               jsonb_object_agg(d.name, d.folded) as attrs, jsonb_object_agg(d.name, d.folded_at) as times
        from jsonb_to_recordset(v_differences)
          as d (entity_id int8, name text, observed_at timestamptz, folded_at int8, folded jsonb, kind text)
        where d.kind <> 'ahead'
        group by d.entity_id
      ) r
    ) a
    cross join lateral upsert_hot_batch(a.tenants, a.entities, a.oldest, a.newest, a.attrs, a.times) u
    where a.entities is not null;
  end if;

  return jsonb_build_object(
    'entities', cardinality(v_ids), 'values', v_values, 'last', v_ids[cardinality(v_ids)],
    'repaired', v_repaired, 'found', jsonb_array_length(v_differences),
    'differences', (
      select coalesce(jsonb_agg(jsonb_build_object(
        'entity', e.external_id, 'attribute', d.value -> 'name', 'kind', d.value -> 'kind',
        'projected', d.value -> 'projected', 'projected_at', d.value -> 'projected_at',
        'folded', d.value -> 'folded', 'folded_at', d.value -> 'folded_at') order by d.ord), '[]')
      from jsonb_array_elements(v_differences) with ordinality as d (value, ord)
      join entities e on e.tenant_id = p_tenant and e.entity_id = (d.value ->> 'entity_id')::int8
      where d.ord <= 100));
end
$$;

-- Does so for entities from a place chosen at random; null: of a tenant chosen at random.
create function hot_verify_some(p_tenant int4, p_entities int4, p_repair bool) returns jsonb
language plpgsql security definer
set search_path = public, pg_temp
as $$
declare
  v_tenant int4 := p_tenant;
  v_first  int8;
  v_last   int8;
begin
  if v_tenant is null then
    select t.tenant_id into v_tenant from tenants t order by random() limit 1;
  end if;
  select e.entity_id into v_first from entities e where e.tenant_id = v_tenant order by e.entity_id limit 1;
  select e.entity_id into v_last from entities e where e.tenant_id = v_tenant order by e.entity_id desc limit 1;
  if v_first is null then
    return '{"entities": 0, "values": 0, "last": null, "repaired": 0, "found": 0, "differences": []}';
  end if;
  return hot_verify(v_tenant, v_first - 1 + floor(random() * (v_last - v_first + 1))::int8, p_entities, p_repair);
end
$$;

grant execute on function hot_verify(int4, int8, int4, bool, int4) to eaves_admin, eaves_flush;
grant execute on function hot_verify_some(int4, int4, bool) to eaves_admin, eaves_flush;

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
