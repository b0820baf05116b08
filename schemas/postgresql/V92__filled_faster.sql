-- Filling in what becomes hot took most of its time for what it does not need: months of history that have nothing of the
-- tenant, an attempt to write each text as a time, and escaping rows of JSON as text within JSON, twice.
set local role eaves_owner;
grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

-- As in V91, but history is looked for only from the first to the last time of these attributes, so that the partitions
-- outside of them are not opened for each value. Where these entities have little history it is read from one end to the
-- other, which takes half as long as to look each value up. What has changed is text: [[entity, version, attrs, times], …].
drop function hot_fill(int4, int8, int4, int4[]);
create function hot_fill(p_tenant int4, p_after int8, p_entities int4, p_attributes int4[],
                         out entities int8, out last int8, out rows int8, out changed text)
language plpgsql
set search_path = public, pg_temp
-- As in V79: planning anew took a third of the time of a part. Plans are made anew when a partition is analyzed.
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_ids   int8[];
  v_few   int8;
  v_short bool;
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'hot_fill needs READ COMMITTED' using errcode = 'invalid_transaction_state';
  end if;
  select array_agg(e.entity_id order by e.entity_id) into v_ids
  from (
    select entity_id from entities where tenant_id = p_tenant and entity_id > p_after
    order by entity_id limit least(greatest(p_entities, 1), 1000)
  ) e;
  entities := coalesce(cardinality(v_ids), 0);
  last := v_ids[cardinality(v_ids)];
  rows := 0;
  changed := '[]';
  if v_ids is null then
    return;
  end if;
  v_few := 4 * entities * cardinality(p_attributes);
  v_short := v_few >= (
    select count(*)
    from (
      select from entity_values_ts v
      where v.tenant_id = p_tenant and v.entity_id >= v_ids[1] and v.entity_id <= last
        and v.attribute_id = any (p_attributes)
      limit v_few + 1
    ) v
  );
  -- See hot_verify() (V43) for both locks.
  lock table entity_values_ingest_0, entity_values_ingest_1 in access share mode;
  perform from entity_jsonb h where h.tenant_id = p_tenant and h.entity_id = any (v_ids)
  order by h.entity_id for no key update;

  with looked_at as materialized (
    select a.attribute_id, a.attribute_name from attributes a
    where a.tenant_id = p_tenant and a.attribute_id = any (p_attributes)
  ), span as materialized (
    -- Of one snapshot with what is looked up in it: a flush moves rows from staging to wherever they belong.
    select min(t.oldest) as oldest, max(t.newest) as newest
    from looked_at a
    cross join lateral (
      select (select v.observed_at from entity_values_ts v
              where v.tenant_id = p_tenant and v.attribute_id = a.attribute_id
              order by v.observed_at limit 1) as oldest,
             (select v.observed_at from entity_values_ts v
              where v.tenant_id = p_tenant and v.attribute_id = a.attribute_id
              order by v.observed_at desc limit 1) as newest
    ) t
  ), points as materialized (
    select distinct on (s.entity_id, s.attribute_id) s.*
    from entity_values_ingest s
    where s.tenant_id = p_tenant and s.entity_id = any (v_ids) and s.attribute_id = any (p_attributes)
    order by s.entity_id, s.attribute_id, s.observed_at desc, s.ingested_at desc, s.ctid desc
  ), latest as (
    select distinct on (u.entity_id, u.attribute_id) u.*
    from (
      (select distinct on (v.entity_id, v.attribute_id) v.entity_id, v.attribute_id, v.observed_at, v.ingested_at,
              v.value_bool, v.value_int, v.value_float, v.value_decimal, v.value_timestamp, v.value
       from entity_values_ts v
       where v_short and v.tenant_id = p_tenant and v.entity_id >= v_ids[1] and v.entity_id <= last
         and v.attribute_id = any (p_attributes)
         and v.observed_at >= (select s.oldest from span s) and v.observed_at <= (select s.newest from span s)
       order by v.entity_id desc, v.attribute_id desc, v.observed_at desc)
      union all
      select i.entity_id, a.attribute_id, v.*
      from unnest(v_ids) as i (entity_id)
      cross join looked_at a
      cross join lateral (
        select v.observed_at, v.ingested_at, v.value_bool, v.value_int, v.value_float, v.value_decimal,
               v.value_timestamp, v.value
        from entity_values_ts v
        where v.tenant_id = p_tenant and v.entity_id = i.entity_id and v.attribute_id = a.attribute_id
          and v.observed_at >= (select s.oldest from span s) and v.observed_at <= (select s.newest from span s)
        order by v.observed_at desc limit 1
      ) v
      where not v_short
      union all
      select p.entity_id, p.attribute_id, p.observed_at, p.ingested_at, p.value_bool, p.value_int, p.value_float,
             p.value_decimal, p.value_timestamp, p.value
      from points p
    ) u
    order by u.entity_id, u.attribute_id, u.observed_at desc, u.ingested_at desc
  ), fold as (
    select l.entity_id, a.attribute_name as name, l.observed_at,
           (extract(epoch from l.observed_at) * 1000000)::int8 as micros,
           coalesce(to_jsonb(l.value_bool), to_jsonb(l.value_int), to_jsonb(l.value_float),
                    to_jsonb(l.value_decimal), to_jsonb(l.value),
                    -- The last one: it takes longer than all the others.
                    hot_timestamp(l.value_timestamp)) as value
    from latest l
    join looked_at a on a.attribute_id = l.attribute_id
  ), found as (
    select f.entity_id, min(f.observed_at) as oldest, max(f.observed_at) as newest,
           jsonb_object_agg(f.name, f.value) as attrs, jsonb_object_agg(f.name, f.micros) as times
    from fold f
    group by f.entity_id
  ), a as (
    select array_agg(p_tenant) as tenants, array_agg(r.entity_id) as entities,
           array_agg(r.oldest) as oldest, array_agg(r.newest) as newest, array_agg(r.attrs) as attrs,
           array_agg(r.times) as times
    from found r
  )
  select count(*),
         coalesce('[' || string_agg(format('[%s,%s,%s,%s]', u.entity_id, u.version, u.hot_attrs, u.hot_times), ',') || ']', '[]')
  into rows, changed
  from a
  cross join lateral upsert_hot_batch(a.tenants, a.entities, a.oldest, a.newest, a.attrs, a.times) u
  where a.entities is not null;
end
$$;
revoke execute on function hot_fill(int4, int8, int4, int4[]) from public;

-- As hot_step() in V91, but answers with text, in which the rows that have changed are JSON as they stand.
create function hot_advance(p_entities int4, p_settle interval default '100 seconds') returns text
language plpgsql security definer
set search_path = public, pg_temp
as $$
declare
  v_change hot_changes;
  v_changes int8[];
  v_attributes int4[];
  v_name   text;
  v_part   record;
  v_done   bool;
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
    select count(*) as entities, max(p.entity_id) as last, (select count(*) from taken_out) as rows,
           (select coalesce('[' || string_agg(format('[%s,%s,%s,%s]', t.entity_id, t.version, t.hot_attrs, t.hot_times), ',')
                            || ']', '[]')
            from taken_out t) as changed
    into v_part
    from part p;
  end if;
  v_done := v_part.last is null;

  update hot_changes c set
    position = coalesce(v_part.last, c.position), entities = c.entities + v_part.entities,
    rows_changed = c.rows_changed + v_part.rows,
    of_entities = case when c.started_at is null then v_change.of_entities else c.of_entities end,
    started_at = coalesce(c.started_at, now()), finished_at = case when v_done then now() end
  where c.tenant_id = v_change.tenant_id and c.change_id = any (v_changes)
    and c.cancelled_at is null;
  if v_done and v_change.change = 'promote' then
    update attributes set is_hot = true, hot_filling = false
    where attribute_id = any (v_attributes) and hot_filling;
  end if;
  return format('{"tenant":%s,"attribute":%s,"change":%s,"attributes":%s,"entities":%s,"rows":%s,"done":%s,"changed":%s}',
                v_change.tenant_id, to_json(v_name), to_json(v_change.change), (
                  select json_agg(a.attribute_name order by n.ord)
                  from unnest(v_attributes) with ordinality as n (id, ord)
                  join attributes a on a.attribute_id = n.id),
                v_part.entities, v_part.rows, to_json(v_done), v_part.changed);
end
$$;
revoke execute on function hot_advance(int4, interval) from public;
grant execute on function hot_advance(int4, interval) to eaves_flush, eaves_admin;

-- For functions of the release before, until they are replaced.
create or replace function hot_step(p_entities int4, p_settle interval default '100 seconds') returns jsonb
language sql security definer
set search_path = public, pg_temp
as $$
  select s.step || jsonb_build_object('changed', (
           select coalesce(jsonb_agg(jsonb_build_array(c.c -> 0, c.c -> 1, (c.c -> 2)::text, (c.c -> 3)::text)), '[]')
           from jsonb_array_elements(s.step -> 'changed') as c (c)))
  from (select hot_advance(p_entities, p_settle)::jsonb as step) s
$$;

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
