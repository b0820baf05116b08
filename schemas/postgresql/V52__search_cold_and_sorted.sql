-- Search beyond V18: attributes that are not hot, by their latest value in history; "at least k
-- of these conditions"; an order, and pages that keep to it.
set local role eaves_owner;
grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

-- As search_comparison (V18), over the latest value of an attribute in history: row c of
-- entity_values_ts. A float is compared by its shortest digits, as jsonb holds it, so that an
-- attribute means the same hot and cold.
create function search_cold_comparison(p_name text, p_type text, p_op text, p_arg jsonb)
returns text
language plpgsql immutable
set search_path = public, pg_temp
as $$
declare
  v_sign text := case p_op when 'eq' then '=' when 'gt' then '>' when 'gte' then '>=' when 'lt' then '<'
                           when 'lte' then '<=' end;
  v_text text := p_arg #>> '{}';
begin
  -- Says what is wrong with the argument.
  perform search_comparison(p_name, p_type, p_op, p_arg);
  return case p_type
    when 'string' then format('c.value collate "C" %s %L', v_sign, v_text)
    when 'boolean' then format('c.value_bool = %L::bool', v_text)
    when 'timestamp' then format('c.value_timestamp %s %L::timestamptz', v_sign, v_text)
    when 'float' then format('(c.value_float::text)::numeric %s %L::numeric', v_sign, v_text)
    when 'integer' then format('c.value_int %s %L::numeric', v_sign, v_text)
    else format('c.value_decimal %s %L::numeric', v_sign, v_text)
  end;
end
$$;

-- Whether GIN narrows the condition down: an equality of a hot attribute must hold. Of n
-- conditions of which k hold, any n - k + 1 have one that holds.
create function search_narrows(p_tenant int4, p_filter jsonb)
returns bool
language plpgsql stable security definer
set search_path = public, pg_temp
as $$
begin
  return case
    when p_filter ? 'and' then
      (select bool_or(search_narrows(p_tenant, e)) from jsonb_array_elements(p_filter -> 'and') as e)
    when p_filter ? 'or' then
      (select bool_and(search_narrows(p_tenant, e)) from jsonb_array_elements(p_filter -> 'or') as e)
    when p_filter ? 'at_least' then
      (select count(*) filter (where search_narrows(p_tenant, e))
              > count(*) - (p_filter #>> '{at_least,k}')::numeric
       from jsonb_array_elements(p_filter #> '{at_least,of}') as e)
    else p_filter ?| array['eq', 'in'] and exists (
      select from attributes a
      where a.tenant_id = p_tenant and a.attribute_name = p_filter ->> 'attribute' and a.is_hot
        and a.value_type <> 'timestamp')
  end;
end
$$;

drop function search_condition(int4, jsonb, int4);

-- A filter as an SQL condition over entity_jsonb h, as in V18, and
--   {"at_least": {"k": n, "of": [f, …]}}
-- An attribute that is not hot is compared by its latest value in history that was observed since
-- p_cold_from; without that it is refused. The planner puts such a look-up behind the conditions
-- that cost less, so it is made for what the hot ones leave.
create function search_condition(p_tenant int4, p_filter jsonb, p_cold_from timestamptz default null,
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

-- The current tenant's entities that match, in an order: p_sort is 'registered', 'external_id' or
-- 'attribute' (the hot attribute p_attribute; entities without it come last). Of equal ones the
-- one registered first comes first. A page begins after entity p_after (0: the first page), whose
-- sort_key was p_after_key. The tenant comes from app.current_tenant_id and from nowhere else; no
-- tenant set, no rows. Errors are those of search_condition; a key that cannot be one is EV004.
create function search_entities(p_filter jsonb, p_entity_type text, p_cold_from timestamptz, p_sort text,
                                p_attribute text, p_descending bool, p_after int8, p_after_key text,
                                p_limit int4)
returns table (entity_id int8, external_id text, entity_type text, version int8, hot_attrs text,
               hot_times text, sort_key text)
language plpgsql stable security definer
set search_path = public, pg_temp
as $$
declare
  v_tenant int4 := nullif(current_setting('app.current_tenant_id', true), '')::int4;
  v_where  text;
  v_key    text := 'null::text';
  v_type   text := 'text';
  v_kind   text;
  v_hot    bool;
  v_order  text;
  v_page   text;
  v_start  text := 'true';
  v_sign   text := case when p_descending then '<' else '>' end;
  v_dir    text := case when p_descending then 'desc' else 'asc' end;
begin
  if v_tenant is null then
    return;
  end if;
  v_where := case when p_filter is null or p_filter = '{}' then 'true'
                  else search_condition(v_tenant, p_filter, p_cold_from) end;
  if p_sort = 'attribute' then
    select a.value_type, a.is_hot into v_kind, v_hot from attributes a
    where a.tenant_id = v_tenant and a.attribute_name = p_attribute;
    if v_kind is null then
      raise exception 'no such attribute' using errcode = 'EV001', detail = p_attribute;
    elsif not v_hot then
      raise exception 'not a hot attribute' using errcode = 'EV002', detail = p_attribute;
    end if;
    v_type := case v_kind when 'string' then 'text' when 'boolean' then 'bool' when 'timestamp' then 'timestamptz'
                          else 'numeric' end;
    v_key := format('case when h.tenant_id = $1 then (h.hot_attrs ->> %L)::%s end', p_attribute, v_type)
             || case when v_type = 'text' then ' collate "C"' else '' end;
    begin
      execute format('select $1::%s', v_type) using p_after_key;
    exception when data_exception then
      raise exception 'not a sort key' using errcode = 'EV004', detail = 'cursor';
    end;
  end if;
  v_order := case p_sort when 'attribute' then format('m.k %s nulls last, m.entity_id', v_dir)
                         when 'external_id' then format('e.external_id %s', v_dir)
                         else format('m.entity_id %s', v_dir) end;
  if p_after > 0 and p_sort not in ('attribute', 'external_id') then
    v_start := format('h.entity_id %s $2', v_sign);
  end if;
  v_page := case
    when p_after = 0 or p_sort not in ('attribute', 'external_id') then 'true'
    when p_sort = 'external_id' then format('e.external_id %s $5', v_sign)
    when p_after_key is null then 'm.k is null and m.entity_id > $2'
    else format('(m.k %1$s $5::%2$s or (m.k = $5::%2$s and m.entity_id > $2) or m.k is null)', v_sign, v_type)
  end;
  -- Where an equality narrows the search, matches are collected first: the planner knows
  -- too little of jsonb to be trusted not to walk all of the tenant's entities in order.
  return query execute format($sql$
    with matches as %s (
      select h.entity_id, h.hot_attrs, h.hot_times, h.version, %s as k
      from entity_jsonb h
      where h.tenant_id = $1 and %s and %s
    )
    select m.entity_id, e.external_id, e.entity_type, m.version, m.hot_attrs::text, m.hot_times::text,
           m.k::text
    from matches m
    join entities e on e.tenant_id = $1 and e.entity_id = m.entity_id
    where ($3 is null or e.entity_type = $3) and %s
    order by %s
    limit $4
  $sql$, case when search_narrows(v_tenant, p_filter) then 'materialized' else 'not materialized' end,
         v_key, v_start, v_where, v_page, v_order)
  using v_tenant, p_after, p_entity_type, least(greatest(p_limit, 1), 1000), p_after_key;
end
$$;

grant execute on function search_entities(jsonb, text, timestamptz, text, text, bool, int8, text, int4)
  to eaves_query;

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
