-- What becomes hot is filled in without being compared first, and attributes of a tenant that become hot together are
-- filled in together: an entity's row was written once for each of them, and that is most of the work.
set local role eaves_owner;
grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

-- What history and staging have of some attributes of so many entities after p_after goes into the projection, where it
-- is as new as what is there. As hot_verify() repairs, without telling what was different: the upsert sees to that.
create function hot_fill(p_tenant int4, p_after int8, p_entities int4, p_attributes int4[])
returns jsonb
language plpgsql
set search_path = public, pg_temp
as $$
#variable_conflict use_column
declare
  v_ids     int8[];
  v_values  int8;
  v_rows    int8;
  v_changed jsonb;
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'hot_fill needs READ COMMITTED' using errcode = 'invalid_transaction_state';
  end if;
  select array_agg(e.entity_id order by e.entity_id) into v_ids
  from (
    select entity_id from entities where tenant_id = p_tenant and entity_id > p_after
    order by entity_id limit least(greatest(p_entities, 1), 1000)
  ) e;
  if v_ids is null then
    return '{"entities": 0, "values": 0, "last": null, "rows": 0, "changed": []}';
  end if;
  -- See hot_verify() (V43) for both locks.
  lock table entity_values_ingest_0, entity_values_ingest_1 in access share mode;
  perform from entity_jsonb h where h.tenant_id = p_tenant and h.entity_id = any (v_ids)
  order by h.entity_id for no key update;

  with looked_at as materialized (
    select a.attribute_id, a.attribute_name from attributes a
    where a.tenant_id = p_tenant and a.attribute_id = any (p_attributes)
  ), points as materialized (
    select distinct on (s.entity_id, s.attribute_id) s.*
    from entity_values_ingest s
    where s.tenant_id = p_tenant and s.entity_id = any (v_ids) and s.attribute_id = any (p_attributes)
    order by s.entity_id, s.attribute_id, s.observed_at desc, s.ingested_at desc, s.ctid desc
  ), fold as (
    select i.entity_id, a.attribute_name as name, f.observed_at,
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
  ), found as (
    select f.entity_id, count(*) as values, min(f.observed_at) as oldest, max(f.observed_at) as newest,
           jsonb_object_agg(f.name, f.value) as attrs, jsonb_object_agg(f.name, f.micros) as times
    from fold f
    group by f.entity_id
  ), a as (
    select sum(r.values)::int8 as values, array_agg(p_tenant) as tenants, array_agg(r.entity_id) as entities,
           array_agg(r.oldest) as oldest, array_agg(r.newest) as newest, array_agg(r.attrs) as attrs,
           array_agg(r.times) as times
    from found r
  )
  select coalesce(max(a.values), 0), count(u.entity_id),
         coalesce(jsonb_agg(jsonb_build_array(u.entity_id, u.version, u.hot_attrs, u.hot_times))
                  filter (where u.entity_id is not null), '[]')
  into v_values, v_rows, v_changed
  from a
  left join lateral upsert_hot_batch(a.tenants, a.entities, a.oldest, a.newest, a.attrs, a.times) u on true
  where a.entities is not null;

  return jsonb_build_object('entities', cardinality(v_ids), 'values', v_values, 'last', v_ids[cardinality(v_ids)],
                            'rows', v_rows, 'changed', v_changed);
end
$$;
revoke execute on function hot_fill(int4, int8, int4, int4[]) from public;

-- As in V54, but all that is filled in and is as far is filled in together. How many rows were changed is told of them
-- together.
create or replace function hot_step(p_entities int4, p_settle interval default '100 seconds') returns jsonb
language plpgsql security definer
set search_path = public, pg_temp
as $$
declare
  v_change hot_changes;
  v_changes int8[];
  v_attributes int4[];
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
  v_changes := array[v_change.change_id];
  v_attributes := array[v_change.attribute_id];
  if v_change.change = 'promote' then
    -- All of the tenant that are as far: whatever is filled in, an entity's row is written once.
    select v_changes || array_agg(c.change_id), v_attributes || array_agg(c.attribute_id) into v_changes, v_attributes
    from (
      select c.change_id, c.attribute_id from hot_changes c
      where c.tenant_id = v_change.tenant_id and c.change = 'promote' and c.position = v_change.position
        and c.change_id <> v_change.change_id
        and c.finished_at is null and c.cancelled_at is null and c.requested_at + p_settle <= clock_timestamp()
      order by c.change_id
      for update skip locked
    ) c;
  end if;
  if exists (select from hot_changes c where c.tenant_id = v_change.tenant_id and c.change_id = any (v_changes)
                                         and c.started_at is null) then
    -- Once a change, and by the key alone: how far it is could not be told without.
    v_change.of_entities := (select count(*) from entities e where e.tenant_id = v_change.tenant_id);
  end if;

  if v_change.change = 'promote' then
    v_part := hot_fill(v_change.tenant_id, v_change.position, p_entities, v_attributes);
    v_last := (v_part ->> 'last')::int8;
    v_rows := (v_part ->> 'rows')::int8;
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
    rows_changed = c.rows_changed + v_rows,
    of_entities = case when c.started_at is null then v_change.of_entities else c.of_entities end,
    started_at = coalesce(c.started_at, now()), finished_at = case when v_done then now() end
  where c.tenant_id = v_change.tenant_id and c.change_id = any (v_changes)
    and c.cancelled_at is null;
  if v_done and v_change.change = 'promote' then
    update attributes set is_hot = true, hot_filling = false
    where attribute_id = any (v_attributes) and hot_filling;
  end if;
  return jsonb_build_object('tenant', v_change.tenant_id, 'attribute', v_name, 'change', v_change.change, 'attributes', (
                              select jsonb_agg(a.attribute_name order by n.ord)
                              from unnest(v_attributes) with ordinality as n (id, ord)
                              join attributes a on a.attribute_id = n.id),
                            'entities', v_part -> 'entities', 'rows', v_rows, 'done', v_done,
                            'changed', coalesce(v_changed, '[]'));
end
$$;

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
