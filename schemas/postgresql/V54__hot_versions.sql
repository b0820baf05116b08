-- Versions of the hot projection that are never used twice, and what repairs and changes of what is hot
-- made of the rows, for the cache.
set local role eaves_owner;

-- Commits are asynchronous: a crash may undo the last ones, after the cache was told. Counting up from
-- what is left would give the same numbers again to other contents, and the cache would keep what
-- never was.
comment on column entity_jsonb.version is
  'Microseconds since 1970 when it was written, and more than before: never used twice, also where a crash undid a commit. The cache never replaces a higher one.';

grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

-- As in V15, but for the version. If the clock stands behind the row's version (another server took over), it
-- counts up from there.
create or replace function upsert_hot_batch(p_tenants int4[], p_entities int8[], p_oldest timestamptz[],
                                 p_newest timestamptz[], p_attrs jsonb[], p_times jsonb[])
returns table (tenant_id int4, entity_id int8, version int8, hot_attrs text, hot_times text)
language plpgsql security definer
set search_path = public, pg_temp
as $$
#variable_conflict use_column
begin
  return query
  insert into entity_jsonb as h (tenant_id, entity_id, oldest_at, observed_at, hot_attrs, hot_times, version)
  select n.tenant, n.entity, n.oldest, n.newest, n.attrs, n.times,
         (extract(epoch from clock_timestamp()) * 1000000)::int8
  from unnest(p_tenants, p_entities, p_oldest, p_newest, p_attrs, p_times)
    as n (tenant, entity, oldest, newest, attrs, times)
  -- One order for all, so that two batches never lock each other out.
  order by n.tenant, n.entity
  on conflict (tenant_id, entity_id) do update set
    hot_attrs = h.hot_attrs || case
      when excluded.oldest_at >= h.observed_at then excluded.hot_attrs
      else hot_winners(h.hot_times, excluded.hot_times, excluded.hot_attrs) end,
    hot_times = h.hot_times || case
      when excluded.oldest_at >= h.observed_at then excluded.hot_times
      else hot_winners(h.hot_times, excluded.hot_times, excluded.hot_times) end,
    observed_at = greatest(h.observed_at, excluded.observed_at),
    oldest_at = least(h.oldest_at, excluded.oldest_at),
    version = greatest(h.version + 1, excluded.version),
    updated_at = now()
  where case
    when excluded.oldest_at > h.observed_at then true
    when excluded.oldest_at = h.observed_at then
      not (h.hot_attrs @> excluded.hot_attrs and h.hot_times @> excluded.hot_times)
    else
      not (h.hot_attrs @> hot_winners(h.hot_times, excluded.hot_times, excluded.hot_attrs)
           and h.hot_times @> hot_winners(h.hot_times, excluded.hot_times, excluded.hot_times))
    end
  returning h.tenant_id, h.entity_id, h.version, h.hot_attrs::text, h.hot_times::text;
end
$$;

-- As in V43; says which tenant's, and what became of the rows that it repaired:
-- "changed": [[entity, version, "hot_attrs", "hot_times"], …].
create or replace function hot_verify(p_tenant int4, p_after int8, p_entities int4, p_repair bool,
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
  v_changed     jsonb := '[]';
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
    select count(u.*), coalesce(jsonb_agg(jsonb_build_array(u.entity_id, u.version, u.hot_attrs, u.hot_times)), '[]')
    into v_repaired, v_changed
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
    'repaired', v_repaired, 'tenant', p_tenant, 'changed', v_changed, 'found', jsonb_array_length(v_differences),
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

-- As in V44; with what became of the rows, likewise.
create or replace function hot_step(p_entities int4, p_settle interval default '100 seconds') returns jsonb
language plpgsql security definer
set search_path = public, pg_temp
as $$
declare
  v_change hot_changes;
  v_name   text;
  v_part   jsonb;
  v_last   int8;
  v_rows   int8;
  v_done   bool;
  v_changed jsonb;
begin
  select c.* into v_change from hot_changes c
  where c.finished_at is null and c.cancelled_at is null and c.requested_at + p_settle <= clock_timestamp()
  order by c.requested_at, c.change_id
  limit 1
  for update skip locked;
  if not found then
    return null;
  end if;
  select a.attribute_name into v_name from attributes a where a.attribute_id = v_change.attribute_id;
  if v_change.started_at is null then
    -- Once a change, and by the key alone: how far it is could not be told without.
    v_change.of_entities := (select count(*) from entities e where e.tenant_id = v_change.tenant_id);
  end if;

  if v_change.change = 'promote' then
    v_part := hot_verify(v_change.tenant_id, v_change.position, p_entities, true, v_change.attribute_id);
    v_last := (v_part ->> 'last')::int8;
    v_rows := (v_part ->> 'repaired')::int8;
    v_changed := v_part -> 'changed';
  else
    with part as (
      select h.entity_id, h.hot_times ? v_name or h.hot_attrs ? v_name as has
      from entity_jsonb h
      where h.tenant_id = v_change.tenant_id and h.entity_id > v_change.position
      order by h.entity_id limit least(greatest(p_entities, 1), 1000)
      for no key update
    ), taken_out as (
      update entity_jsonb h set
        hot_attrs = h.hot_attrs - v_name, hot_times = h.hot_times - v_name,
        version = greatest(h.version + 1, (extract(epoch from clock_timestamp()) * 1000000)::int8),
        updated_at = now()
      from part p
      where p.has and h.tenant_id = v_change.tenant_id and h.entity_id = p.entity_id
      returning h.entity_id, h.version, h.hot_attrs::text, h.hot_times::text
    )
    select jsonb_build_object('entities', count(*)), max(p.entity_id), (select count(*) from taken_out),
           (select coalesce(jsonb_agg(jsonb_build_array(t.entity_id, t.version, t.hot_attrs, t.hot_times)), '[]')
            from taken_out t)
    into v_part, v_last, v_rows, v_changed
    from part p;
  end if;
  v_done := v_last is null;

  update hot_changes c set
    position = coalesce(v_last, c.position), entities = c.entities + (v_part ->> 'entities')::int8,
    rows_changed = c.rows_changed + v_rows, of_entities = v_change.of_entities,
    started_at = coalesce(c.started_at, now()), finished_at = case when v_done then now() end
  where c.tenant_id = v_change.tenant_id and c.change_id = v_change.change_id
    and c.cancelled_at is null;
  if v_done and v_change.change = 'promote' then
    update attributes set is_hot = true, hot_filling = false
    where attribute_id = v_change.attribute_id and hot_filling;
  end if;
  return jsonb_build_object('tenant', v_change.tenant_id, 'attribute', v_name, 'change', v_change.change,
                            'entities', v_part -> 'entities', 'rows', v_rows, 'done', v_done,
                            'changed', coalesce(v_changed, '[]'));
end
$$;

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
