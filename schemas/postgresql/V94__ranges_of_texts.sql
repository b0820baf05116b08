-- Ranges of texts, and whether an attribute is there at all, over the hot projection from the indexes of V80: they
-- hold the beginning of whatever text stands under a row's k-th name, of which times were the only ones that got a place.
set local role eaves_owner;

-- Queries that an index of ranges can answer: those that compare by order, ask for a time, or ask whether there is one. An
-- equality of a number or a text is the work of another index, and gives no claim to a place.
alter table attribute_statistics add column ranges int8 not null default 0;
alter table staging_attribute_statistics add column ranges int8 not null default 0;
grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

-- What was counted by the functions of the release before, so that what has a place is not taken for unasked. (Of the owner
-- row-level security would hide every row.)
update attribute_statistics s set ranges = s.filters
from attributes a
where a.attribute_id = s.attribute_id and a.value_type in ('integer', 'float', 'decimal', 'timestamp') and s.filters > 0;

-- As in V42, with ranges.
create function statistics_add_queries(p_names text[], p_queries int8[], p_filters int8[], p_returns int8[],
                                       p_query_us int8[], p_ranges int8[])
returns void
language sql security definer
set search_path = public, pg_temp
as $$
  insert into staging_attribute_statistics (tenant_id, attribute_id, period, queries, filters, returns, query_us, ranges)
  select a.tenant_id, a.attribute_id, statistics_period(now()), s.queries, s.filters, s.returns, s.query_us,
         case a.value_type when 'timestamp' then s.filters else s.ranges end
  from unnest(p_names, p_queries, p_filters, p_returns, p_query_us, p_ranges)
    as s (name, queries, filters, returns, query_us, ranges)
  join attributes a on a.attribute_name = s.name
    and a.tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::int4
$$;
grant execute on function statistics_add_queries(text[], int8[], int8[], int8[], int8[], int8[]) to eaves_query;

-- For functions of the release before, until they are replaced: they do not say which of the filters were ranges.
create or replace function statistics_add_queries(p_names text[], p_queries int8[], p_filters int8[], p_returns int8[],
                                                  p_query_us int8[])
returns void
language sql security definer
set search_path = public, pg_temp
as $$
  select statistics_add_queries(p_names, p_queries, p_filters, p_returns, p_query_us, array(
    select case when a.value_type in ('integer', 'float', 'decimal') then s.filters else 0 end
    from unnest(p_names, p_filters) with ordinality as s (name, filters, place)
    left join attributes a on a.attribute_name = s.name
      and a.tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::int4
    order by s.place))
$$;

-- As in V42.
create or replace function statistics_fold() returns int8
language plpgsql security definer
set search_path = public, pg_temp
as $$
declare
  v_period int4 := statistics_period(now());
  v_rows   int8;
begin
  if not pg_try_advisory_xact_lock(hashtextextended('eaves.statistics_fold', 0)) then
    return 0;
  end if;
  perform set_config('synchronous_commit', 'off', true);
  with taken as (
    delete from staging_attribute_statistics returning *
  ), counted as (
    insert into attribute_statistics as s (tenant_id, attribute_id, period, "values", bytes, compared, changed,
                                           queries, filters, returns, query_us, ranges, last_written_at)
    select tenant_id, attribute_id, period, sum("values"), sum(bytes), sum(compared), sum(changed), sum(queries),
           sum(filters), sum(returns), sum(query_us), sum(ranges), max(added_at) filter (where "values" > 0)
    from taken
    group by tenant_id, attribute_id, period
    on conflict (tenant_id, attribute_id, period) do update set
      "values" = s."values" + excluded."values", bytes = s.bytes + excluded.bytes,
      compared = s.compared + excluded.compared, changed = s.changed + excluded.changed,
      queries = s.queries + excluded.queries, filters = s.filters + excluded.filters,
      returns = s.returns + excluded.returns, query_us = s.query_us + excluded.query_us,
      ranges = s.ranges + excluded.ranges,
      last_written_at = greatest(s.last_written_at, excluded.last_written_at)
  ), sketched as (
    -- Nobody else writes these rows, so what is read here still holds when it is written.
    insert into attribute_sketches as k (tenant_id, attribute_id, period, entities, distinct_values)
    select g.tenant_id, g.attribute_id, g.period, sketch_grow(o.entities, g.entities),
           sketch_grow(o.distinct_values, g.distinct_values)
    from (
      select tenant_id, attribute_id, period, string_agg(entities, '') as entities,
             string_agg(distinct_values, '') as distinct_values
      from taken where entities <> '' or distinct_values <> ''
      group by tenant_id, attribute_id, period
    ) g
    left join attribute_sketches o
      on o.tenant_id = g.tenant_id and o.attribute_id = g.attribute_id and o.period = g.period
    on conflict (tenant_id, attribute_id, period) do update set
      entities = excluded.entities, distinct_values = excluded.distinct_values
  )
  select count(*) into v_rows from taken;

  -- Once a period, when the first fold in it finds the last one to be of another.
  if statistics_period((select folded_at from attribute_statistics_state)) < v_period then
    delete from attribute_statistics where period < v_period - 1;
    delete from attribute_sketches where period < v_period - 1;
  end if;
  update attribute_statistics_state set folded_at = now();
  return v_rows;
end
$$;

-- As in V80, by how often an index of ranges could have answered; and texts get a place, too.
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
    select a.tenant_id, jsonb_object_agg(a.attribute_name, s.ranges)
    from attributes a
    cross join lateral (
      select coalesce(sum(s.ranges), 0) as ranges from attribute_statistics s
      where s.tenant_id = a.tenant_id and s.attribute_id = a.attribute_id
    ) s
    where a.is_hot and a.value_type <> 'boolean'
      and (s.ranges > 0 or exists (
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

-- What a row has under its k-th name, as the indexes of V80 have it.
create function search_range_number(p_place int4) returns text
language sql immutable
as $$
  select format('case when jsonb_typeof(h.hot_attrs -> h.range_names[%1$s]) = ''number''
                      then (h.hot_attrs -> h.range_names[%1$s])::float8 end', p_place)
$$;
create function search_range_text(p_place int4) returns text
language sql immutable
as $$
  select format('case when jsonb_typeof(h.hot_attrs -> h.range_names[%1$s]) = ''string''
                      then left(h.hot_attrs ->> h.range_names[%1$s], 19) end collate "C"', p_place)
$$;

-- A hot attribute's place among the tenant's ranges, if every row has it there.
create function search_range_place(p_tenant int4, p_name text) returns int4
language sql stable
as $$
  select array_position(r.names, p_name) from hot_ranges r
  where r.tenant_id = p_tenant and r.ready[array_position(r.names, p_name)]
$$;

-- As in V80. A text is compared by its beginning, in the order that ranges of texts have (V18): what is greater has no
-- smaller beginning.
drop function search_range(int4, text, text, jsonb);
create function search_range(p_tenant int4, p_name text, p_type text, p_op text, p_arg jsonb) returns text
language plpgsql stable
as $$
declare
  v_place int4;
  v_text  text;
  v_time  timestamp;
  v_signs text[] := case p_op when 'eq' then array['>=', '<='] when 'gt' then array['>='] when 'gte' then array['>=']
                              when 'lt' then array['<='] when 'lte' then array['<='] end;
begin
  -- An equality that is not of a time is the work of another index.
  if v_signs is null or p_op = 'eq' and p_type <> 'timestamp' then
    return null;
  end if;
  v_place := search_range_place(p_tenant, p_name);
  if v_place is null then
    return null;
  elsif p_type in ('integer', 'float', 'decimal') then
    return format('(h.range_names[%s] is not null and %s %s %L::float8)',
                  v_place, search_range_number(v_place), v_signs[1], search_range_bound(p_arg #>> '{}'));
  elsif p_type = 'string' then
    v_text := left(p_arg #>> '{}', 19);
  elsif p_type = 'timestamp' then
    v_time := (p_arg #>> '{}')::timestamptz at time zone 'UTC';
    -- Text has the order of no other years.
    if v_time between '0001-01-01' and '9999-12-31 23:59:59' then
      v_text := to_char(v_time, 'YYYY-MM-DD"T"HH24:MI:SS');
    end if;
  end if;
  if v_text is null then
    return null;
  end if;
  return format('(h.range_names[%s] is not null and %s is null and %s)', v_place, search_range_number(v_place), (
    select string_agg(format('%s %s %L', search_range_text(v_place), sign, v_text), ' and ') from unnest(v_signs) as sign));
end
$$;

-- A condition that holds wherever a hot attribute is there, and that an index serves; null if none does.
create function search_present(p_tenant int4, p_name text, p_type text) returns text
language plpgsql stable
as $$
declare
  v_place int4;
begin
  if p_type = 'boolean' then
    return format('(h.hot_attrs @> %L::jsonb or h.hot_attrs @> %L::jsonb)',
                  jsonb_build_object(p_name, true), jsonb_build_object(p_name, false));
  end if;
  v_place := search_range_place(p_tenant, p_name);
  if v_place is null then
    return null;
  elsif p_type in ('integer', 'float', 'decimal') then
    return format('(h.range_names[%s] is not null and (%s) is not null)', v_place, search_range_number(v_place));
  end if;
  return format('(h.range_names[%s] is not null and (%s) is null and (%s) is not null)',
                v_place, search_range_number(v_place), search_range_text(v_place));
end
$$;

-- As in V80, and what is looked for because it is there is looked up, too.
create or replace function search_condition(p_tenant int4, p_filter jsonb, p_cold_from timestamptz default null,
                                 p_depth int4 default 0)
returns text
language plpgsql stable
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
      if v_hot and v_arg::bool then
        v_parts := v_parts || search_present(p_tenant, v_name, v_type);
      end if;
    elsif v_op = 'in' and jsonb_typeof(v_arg) = 'array' and jsonb_array_length(v_arg) between 1 and 1000 then
      if v_hot then
        select '(' || string_agg('(' || concat_ws(' and ', search_comparison(v_name, v_type, 'eq', e),
                                                  search_range(p_tenant, v_name, v_type, 'eq', e)) || ')', ' or ') || ')'
        into v_sql from jsonb_array_elements(v_arg) as e;
        v_parts := v_parts || v_sql;
      else
        select '(' || string_agg(search_cold_comparison(v_name, v_type, 'eq', e), ' or ') || ')' into v_sql
        from jsonb_array_elements(v_arg) as e;
        v_latest := v_latest || v_sql;
      end if;
    elsif v_op in ('eq', 'gt', 'gte', 'lt', 'lte') and v_hot then
      v_parts := v_parts || search_comparison(v_name, v_type, v_op, v_arg);
      v_parts := v_parts || search_range(p_tenant, v_name, v_type, v_op, v_arg);
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
