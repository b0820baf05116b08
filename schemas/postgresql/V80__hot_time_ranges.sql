-- Ranges of times over the hot projection, from the indexes that ranges of numbers have (V77). A time
-- stands there as text, in UTC, so its first 19 characters (to the second) have the order of the times.
set local role eaves_owner;

-- Whatever stands under a row's k-th name is in one of the two columns: a number, or the beginning of a text.
do $$
declare
  v_number text;
  v_second text;
begin
  for k in 1..4 loop
    v_number := format('(case when jsonb_typeof(hot_attrs -> range_names[%1$s]) = ''number''
                              then (hot_attrs -> range_names[%1$s])::float8 end)', k);
    v_second := format('(case when jsonb_typeof(hot_attrs -> range_names[%1$s]) = ''string''
                              then left(hot_attrs ->> range_names[%1$s], 19) end)', k);
    execute format('drop index entity_jsonb_range_%s', k);
    execute format('create index entity_jsonb_range_%1$s on entity_jsonb (tenant_id, %2$s, %3$s collate "C")
                    where range_names[%1$s] is not null', k, v_number, v_second);
    -- See V77.
    for i in 0..15 loop
      execute format('create statistics entity_jsonb_p%2$s_times_%1$s on (%3$s collate "C") from entity_jsonb_p%2$s',
                     k, i, v_second);
    end loop;
  end loop;
end
$$;

grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

-- As in V77, and attributes that are times get a place, too.
create or replace function hot_ranges_choose() returns int4
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
    where a.is_hot and a.value_type in ('integer', 'float', 'decimal', 'timestamp')
      and (s.filters > 0 or exists (
        select from hot_ranges r where r.tenant_id = a.tenant_id and a.attribute_name = any (r.names)))
    group by a.tenant_id
    union all
    -- Nothing of theirs is hot and has an order any more.
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

-- As in V77; a time is compared by its second. Years of which text has not the order (before 1, after
-- 9999) are compared by nothing.
create or replace function search_range(p_tenant int4, p_name text, p_op text, p_arg jsonb) returns text
language plpgsql stable security definer
set search_path = public, pg_temp
as $$
declare
  v_place int4;
  v_signs text[] := case p_op when 'eq' then array['>=', '<='] when 'gt' then array['>='] when 'gte' then array['>=']
                              else array['<='] end;
  v_time  timestamp;
begin
  -- An equality of a number is the work of another index.
  if not (p_op in ('gt', 'gte', 'lt', 'lte') and jsonb_typeof(p_arg) in ('number', 'string')
          or p_op = 'eq' and jsonb_typeof(p_arg) = 'string') then
    return null;
  end if;
  select array_position(r.names, p_name) into v_place from hot_ranges r
  where r.tenant_id = p_tenant and r.ready[array_position(r.names, p_name)];
  if v_place is null then
    return null;
  end if;
  if jsonb_typeof(p_arg) = 'string' then
    v_time := (p_arg #>> '{}')::timestamptz at time zone 'UTC';
    if v_time not between '0001-01-01' and '9999-12-31 23:59:59' then
      return null;
    end if;
    return format(
      '(h.range_names[%1$s] is not null and
        case when jsonb_typeof(h.hot_attrs -> h.range_names[%1$s]) = ''number''
             then (h.hot_attrs -> h.range_names[%1$s])::float8 end is null and %2$s)',
      v_place, (
        select string_agg(format(
          'case when jsonb_typeof(h.hot_attrs -> h.range_names[%1$s]) = ''string''
                then left(h.hot_attrs ->> h.range_names[%1$s], 19) end collate "C" %2$s %3$L',
          v_place, sign, to_char(v_time, 'YYYY-MM-DD"T"HH24:MI:SS')), ' and ')
        from unnest(v_signs) as sign));
  end if;
  return format(
    '(h.range_names[%1$s] is not null and
      case when jsonb_typeof(h.hot_attrs -> h.range_names[%1$s]) = ''number''
           then (h.hot_attrs -> h.range_names[%1$s])::float8 end %2$s %3$L::float8)',
    v_place, v_signs[1], search_range_bound(p_arg #>> '{}'));
end
$$;

-- As in V77; one of several times is looked up in its index, too.
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
        select '(' || string_agg('(' || concat_ws(' and ', search_comparison(v_name, v_type, 'eq', e),
                                                  search_range(p_tenant, v_name, 'eq', e)) || ')', ' or ') || ')'
        into v_sql from jsonb_array_elements(v_arg) as e;
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

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
