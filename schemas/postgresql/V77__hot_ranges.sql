-- Ranges of numbers over the hot projection, from an index.
--
-- A tenant has up to four numeric hot attributes whose ranges are indexed: those that its searches
-- filter by most. Their names stand in each of its rows (range_names), and four indexes hold, for
-- the k-th name of a row, the number that the row has under it. So an index follows from the row,
-- whoever writes, fills, takes out or repairs values; and a row of a tenant without ranges is in
-- none of the four. The numbers are float8, whose order is that of the exact values but for
-- neighbours that become equal: a search asks the index for "not less" and then the exact value.
set local role eaves_owner;

alter table entity_jsonb add column range_names text[];
comment on column entity_jsonb.range_names is
  'The tenant''s attributes whose ranges are indexed, as hot_ranges.names was when the row was written.';

do $$
declare
  v_number text;
begin
  for k in 1..4 loop
    v_number := format('(case when jsonb_typeof(hot_attrs -> range_names[%1$s]) = ''number''
                              then (hot_attrs -> range_names[%1$s])::float8 end)', k);
    execute format('create index entity_jsonb_range_%1$s on entity_jsonb (tenant_id, %2$s)
                    where range_names[%1$s] is not null', k, v_number);
    -- The planner takes nothing from the statistics of an index that leaves rows out.
    for i in 0..15 loop
      execute format('create statistics entity_jsonb_p%2$s_range_%1$s on %3$s from entity_jsonb_p%2$s',
                     k, i, v_number);
    end loop;
  end loop;
end
$$;

-- What a tenant's rows are to have as range_names, and whether they all have it.
create table hot_ranges (
  tenant_id  int4 primary key references tenants,
  -- By place; a place without an attribute is null.
  names      text[] not null check (cardinality(names) = 4),
  -- By place: every row of the tenant has this name there, so that the index has all.
  ready      bool[] not null default '{f,f,f,f}' check (cardinality(ready) = 4),
  changed_at timestamptz not null default now(),
  -- The last entity that is through; null when all are.
  position   int8 default 0
) with (fillfactor = 70);

-- Serves the search for the next step.
create index hot_ranges_open on hot_ranges (changed_at) where position is not null;

alter table hot_ranges enable row level security;
alter table hot_ranges force row level security;
create policy pipeline on hot_ranges to eaves_pipeline using (true) with check (true);
grant select, insert, update on hot_ranges to eaves_pipeline;

grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

-- As in V54; a row gets the names whose ranges are indexed, as they are now.
create or replace function upsert_hot_batch(p_tenants int4[], p_entities int8[], p_oldest timestamptz[],
                                 p_newest timestamptz[], p_attrs jsonb[], p_times jsonb[])
returns table (tenant_id int4, entity_id int8, version int8, hot_attrs text, hot_times text)
language plpgsql security definer
set search_path = public, pg_temp
as $$
#variable_conflict use_column
begin
  return query
  insert into entity_jsonb as h (tenant_id, entity_id, oldest_at, observed_at, hot_attrs, hot_times, version,
                                 range_names)
  select n.tenant, n.entity, n.oldest, n.newest, n.attrs, n.times,
         (extract(epoch from clock_timestamp()) * 1000000)::int8, r.names
  from unnest(p_tenants, p_entities, p_oldest, p_newest, p_attrs, p_times)
    as n (tenant, entity, oldest, newest, attrs, times)
  left join hot_ranges r on r.tenant_id = n.tenant
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
    updated_at = now(),
    range_names = excluded.range_names
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

-- Gives the places to what searches filter by most, in the last two periods of the statistics: numeric
-- attributes that are hot. One that has a place keeps it, since a change goes through all of the
-- tenant's rows; until it is not hot any more, or another one is asked for three times as often.
-- Returns how many tenants' places changed.
create function hot_ranges_choose() returns int4
language plpgsql security definer
set search_path = public, pg_temp
as $$
declare
  v_tenant  int4;
  v_wanted  jsonb;
  v_old     text[];
  v_new     text[];
  v_ready   bool[];
  v_place   int4;
  v_name    text;
  v_asked   int8;
  v_changed int4 := 0;
begin
  for v_tenant, v_wanted in
    select a.tenant_id, jsonb_object_agg(a.attribute_name, s.filters)
    from attributes a
    cross join lateral (
      select coalesce(sum(s.filters), 0) as filters from attribute_statistics s
      where s.tenant_id = a.tenant_id and s.attribute_id = a.attribute_id
    ) s
    where a.is_hot and a.value_type in ('integer', 'float', 'decimal')
      and (s.filters > 0 or exists (
        select from hot_ranges r where r.tenant_id = a.tenant_id and a.attribute_name = any (r.names)))
    group by a.tenant_id
    union all
    -- Nothing of theirs is hot and numeric any more.
    select r.tenant_id, '{}' from hot_ranges r
    where r.names <> array[null, null, null, null]::text[] and not exists (
      select from attributes a
      where a.tenant_id = r.tenant_id and a.is_hot and a.attribute_name = any (r.names))
  loop
    -- Nobody else changes them meanwhile.
    select r.names, r.ready into v_old, v_ready from hot_ranges r where r.tenant_id = v_tenant for update;
    v_old := coalesce(v_old, array[null, null, null, null]::text[]);
    v_ready := coalesce(v_ready, '{f,f,f,f}');
    select array_agg(case when v_wanted ? n then n end order by place) into v_new
    from unnest(v_old) with ordinality as o (n, place);
    for v_name, v_asked in
      select key, value::int8 from jsonb_each_text(v_wanted)
      where not key = any (array_remove(v_new, null)) and value::int8 > 0
      order by value::int8 desc, key
    loop
      -- A free place, else that of who is asked for least.
      select place into v_place from unnest(v_new) with ordinality as o (n, place)
      where n is null or (v_wanted ->> n)::int8 * 3 <= v_asked
      order by n is not null, (v_wanted ->> n)::int8, place limit 1;
      exit when v_place is null;
      v_new[v_place] := v_name;
    end loop;
    continue when v_new is not distinct from v_old;
    for k in 1..4 loop
      v_ready[k] := v_ready[k] and v_new[k] is not distinct from v_old[k];
    end loop;
    insert into hot_ranges as r (tenant_id, names, ready) values (v_tenant, v_new, v_ready)
    on conflict (tenant_id) do update
      set names = excluded.names, ready = excluded.ready, changed_at = clock_timestamp(), position = 0;
    v_changed := v_changed + 1;
  end loop;
  return v_changed;
end
$$;

-- One part of the oldest change of names that is due: the next p_entities rows of its tenant get them.
-- Returns null if none is due.
--
-- A change is due p_settle after it was made: by then every transaction that may have read the names of before
-- has ended (hot_step, V44, has the same wait), and whoever writes a row since writes the new ones.
create function hot_ranges_step(p_entities int4, p_settle interval default '100 seconds') returns jsonb
language plpgsql security definer
set search_path = public, pg_temp
as $$
declare
  v_range hot_ranges;
  v_last  int8;
  v_seen  int8;
  v_rows  int8;
begin
  select r.* into v_range from hot_ranges r
  where r.position is not null and r.changed_at + p_settle <= clock_timestamp()
  order by r.changed_at, r.tenant_id
  limit 1
  for update skip locked;
  if not found then
    return null;
  end if;
  with part as (
    select h.entity_id, h.range_names is distinct from v_range.names as differs
    from entity_jsonb h
    where h.tenant_id = v_range.tenant_id and h.entity_id > v_range.position
    order by h.entity_id limit least(greatest(p_entities, 1), 1000)
    for no key update
  ), named as (
    -- Values stay as they are, so their version does, too.
    update entity_jsonb h set range_names = v_range.names
    from part p
    where p.differs and h.tenant_id = v_range.tenant_id and h.entity_id = p.entity_id
    returning h.entity_id
  )
  select max(p.entity_id), count(*), (select count(*) from named) into v_last, v_seen, v_rows from part p;
  update hot_ranges r set
    position = v_last,
    ready = case when v_last is null then (
      select array_agg(n is not null order by place) from unnest(r.names) with ordinality as o (n, place))
      else r.ready end
  where r.tenant_id = v_range.tenant_id;
  return jsonb_build_object('tenant', v_range.tenant_id, 'entities', v_seen, 'rows', v_rows, 'done', v_last is null);
end
$$;

-- The bound of a range as the indexes have numbers: what float8 cannot hold is beyond all of them.
create function search_range_bound(p_value text) returns float8
language plpgsql immutable
set search_path = public, pg_temp
as $$
begin
  return p_value::numeric::float8;
exception when numeric_value_out_of_range then
  return case
    when abs(p_value::numeric) < 1 then 0
    when p_value::numeric > 0 then 'Infinity'::float8
    else '-Infinity'::float8
  end;
end
$$;

-- A condition that holds wherever the comparison does, and that an index serves; null if none does. It may
-- hold elsewhere, too: it goes with the comparison, not in its place.
create function search_range(p_tenant int4, p_name text, p_op text, p_arg jsonb) returns text
language plpgsql stable security definer
set search_path = public, pg_temp
as $$
declare
  v_place int4;
begin
  if p_op not in ('gt', 'gte', 'lt', 'lte') or jsonb_typeof(p_arg) <> 'number' then
    return null;
  end if;
  select array_position(r.names, p_name) into v_place from hot_ranges r
  where r.tenant_id = p_tenant and r.ready[array_position(r.names, p_name)];
  if v_place is null then
    return null;
  end if;
  return format(
    '(h.range_names[%1$s] is not null and
      case when jsonb_typeof(h.hot_attrs -> h.range_names[%1$s]) = ''number''
           then (h.hot_attrs -> h.range_names[%1$s])::float8 end %2$s %3$L::float8)',
    v_place, case when p_op in ('gt', 'gte') then '>=' else '<=' end, search_range_bound(p_arg #>> '{}'));
end
$$;

-- As in V52; a range of a number is looked up in its index, where it has one. A filter as an SQL
-- condition over entity_jsonb h, as in V18, and
--   {"at_least": {"k": n, "of": [f, …]}}
-- An attribute that is not hot is compared by its latest value in history that was observed since
-- p_cold_from; without that it is refused. The planner puts such a look-up behind the conditions
-- that cost less, so it is made for what the hot ones leave.
create or replace function search_condition(p_tenant int4, p_filter jsonb, p_cold_from timestamptz default null,
                                 p_depth int4 default 0)
returns text
language plpgsql stable security definer
set search_path = public, pg_temp
as $$
declare
  v_name  text;
  v_id    int4;
  v_type  text;
  v_hot   bool;
  v_parts text[] := '{}';
  v_latest text[] := '{}';
  v_narrow text[] := '{}';
  v_item  jsonb;
  v_op    text;
  v_arg   jsonb;
  v_sql   text;
  v_look  text;
  v_least int4;
begin
  if p_depth > 8 or pg_column_size(p_filter) > 65536 then
    raise exception 'filter too large' using errcode = 'EV005';
  end if;
  if jsonb_typeof(p_filter) is distinct from 'object' then
    raise exception 'not a filter' using errcode = 'EV004', detail = left(coalesce(p_filter::text, 'null'), 80);
  end if;

  if p_filter ?| array['and', 'or'] then
    select key, value into v_op, v_item from jsonb_each(p_filter) limit 1;
    if (select count(*) from jsonb_object_keys(p_filter)) <> 1 or jsonb_typeof(v_item) <> 'array'
       or jsonb_array_length(v_item) not between 1 and 100 then
      raise exception 'not a filter' using errcode = 'EV004', detail = v_op;
    end if;
    select array_agg(search_condition(p_tenant, e, p_cold_from, p_depth + 1)) into v_parts
    from jsonb_array_elements(v_item) as e;
    return '(' || array_to_string(v_parts, ' ' || v_op || ' ') || ')';
  end if;

  if p_filter ? 'not' then
    if (select count(*) from jsonb_object_keys(p_filter)) <> 1 then
      raise exception 'not a filter' using errcode = 'EV004', detail = 'not';
    end if;
    return '(not ' || search_condition(p_tenant, p_filter -> 'not', p_cold_from, p_depth + 1) || ')';
  end if;

  if p_filter ? 'at_least' then
    v_item := p_filter #> '{at_least,of}';
    if (select count(*) from jsonb_object_keys(p_filter)) <> 1
       or jsonb_typeof(p_filter -> 'at_least') <> 'object'
       or (select count(*) from jsonb_object_keys(p_filter -> 'at_least')) <> 2
       or jsonb_typeof(v_item) is distinct from 'array' or jsonb_array_length(v_item) not between 1 and 100
       or jsonb_typeof(p_filter #> '{at_least,k}') is distinct from 'number'
       or (p_filter #>> '{at_least,k}')::numeric not in (
            select n from generate_series(1, jsonb_array_length(v_item)) as n) then
      raise exception 'not a filter' using errcode = 'EV004', detail = 'at_least';
    end if;
    v_least := (p_filter #>> '{at_least,k}')::numeric;
    for v_arg in select e from jsonb_array_elements(v_item) as e loop
      v_sql := search_condition(p_tenant, v_arg, p_cold_from, p_depth + 1);
      v_parts := v_parts || (v_sql || '::int');
      if search_narrows(p_tenant, v_arg) then
        v_narrow := v_narrow || v_sql;
      end if;
    end loop;
    v_sql := '((' || array_to_string(v_parts, ' + ') || ') >= ' || v_least || ')';
    -- True anyway, and what an index can be used for.
    if cardinality(v_narrow) > cardinality(v_parts) - v_least then
      v_sql := '((' || array_to_string(v_narrow, ' or ') || ') and ' || v_sql || ')';
    end if;
    return v_sql;
  end if;

  v_name := p_filter ->> 'attribute';
  select a.attribute_id, a.value_type, a.is_hot into v_id, v_type, v_hot from attributes a
  where a.tenant_id = p_tenant and a.attribute_name = v_name;
  if v_name is null then
    raise exception 'not a filter' using errcode = 'EV004', detail = 'attribute';
  elsif v_type is null then
    raise exception 'no such attribute' using errcode = 'EV001', detail = v_name;
  elsif not v_hot and p_cold_from is null then
    raise exception 'not a hot attribute' using errcode = 'EV002', detail = v_name;
  end if;

  v_look := format('coalesce((select %%s from entity_values_ts c
    where c.tenant_id = $1 and c.entity_id = h.entity_id and c.attribute_id = %s
      and c.observed_at >= %L::timestamptz order by c.observed_at desc limit 1), false)', v_id, p_cold_from);
  for v_op, v_arg in select key, value from jsonb_each(p_filter) where key <> 'attribute' loop
    if v_op = 'exists' and jsonb_typeof(v_arg) = 'boolean' then
      v_sql := case when v_hot then format('h.hot_attrs ? %L', v_name) else replace(v_look, '%s', 'true') end;
      v_parts := v_parts || (case when v_arg::bool then '' else 'not ' end || v_sql);
    elsif v_op = 'in' and jsonb_typeof(v_arg) = 'array' and jsonb_array_length(v_arg) between 1 and 1000 then
      if v_hot then
        select '(' || string_agg(search_comparison(v_name, v_type, 'eq', e), ' or ') || ')' into v_sql
        from jsonb_array_elements(v_arg) as e;
        v_parts := v_parts || v_sql;
      else
        select '(' || string_agg(search_cold_comparison(v_name, v_type, 'eq', e), ' or ') || ')' into v_sql
        from jsonb_array_elements(v_arg) as e;
        v_latest := v_latest || v_sql;
      end if;
    elsif v_op in ('eq', 'gt', 'gte', 'lt', 'lte') and v_hot then
      v_parts := v_parts || search_comparison(v_name, v_type, v_op, v_arg);
      v_parts := v_parts || search_range(p_tenant, v_name, v_op, v_arg);
    elsif v_op in ('eq', 'gt', 'gte', 'lt', 'lte') then
      v_latest := v_latest || search_cold_comparison(v_name, v_type, v_op, v_arg);
    else
      raise exception 'not a filter' using errcode = 'EV004', detail = v_op;
    end if;
  end loop;
  if cardinality(v_latest) > 0 then
    -- One look-up for all comparisons. What stands in them is quoted and no format any more.
    v_parts := v_parts || replace(v_look, '%s', array_to_string(v_latest, ' and '));
  end if;
  if cardinality(v_parts) = 0 then
    raise exception 'not a filter' using errcode = 'EV004', detail = v_name;
  end if;
  return '(' || array_to_string(v_parts, ' and ') || ')';
end
$$;

grant execute on function hot_ranges_choose() to eaves_flush, eaves_admin;
grant execute on function hot_ranges_step(int4, interval) to eaves_flush, eaves_admin;

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
