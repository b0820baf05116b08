-- Search over hot attributes.
set local role eaves_owner;
grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

-- A filter as an SQL condition over entity_jsonb h:
--   {"attribute": a, "eq": v}   {"attribute": a, "in": [v, …]}   {"attribute": a, "exists": true|false}
--   {"attribute": a, "gt"|"gte"|"lt"|"lte": v, …}
--   {"and": [f, …]}   {"or": [f, …]}   {"not": f}
-- An entity without the attribute fails every comparison, and so passes its "not".
--
-- Names and values only enter the text through quoting. Errors carry a code of class EV
-- and the attribute or keyword as detail: EV001 no such attribute, EV002 not a hot one,
-- EV003 a value of another type, EV004 not a filter, EV005 too large.
create function search_condition(p_tenant int4, p_filter jsonb, p_depth int4 default 0)
returns text
language plpgsql stable security definer
set search_path = public, pg_temp
as $$
declare
  v_name  text;
  v_type  text;
  v_hot   bool;
  v_parts text[] := '{}';
  v_item  jsonb;
  v_op    text;
  v_arg   jsonb;
  v_sql   text;
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
    select array_agg(search_condition(p_tenant, e, p_depth + 1)) into v_parts
    from jsonb_array_elements(v_item) as e;
    return '(' || array_to_string(v_parts, ' ' || v_op || ' ') || ')';
  end if;

  if p_filter ? 'not' then
    if (select count(*) from jsonb_object_keys(p_filter)) <> 1 then
      raise exception 'not a filter' using errcode = 'EV004', detail = 'not';
    end if;
    return '(not ' || search_condition(p_tenant, p_filter -> 'not', p_depth + 1) || ')';
  end if;

  v_name := p_filter ->> 'attribute';
  select a.value_type, a.is_hot into v_type, v_hot from attributes a
  where a.tenant_id = p_tenant and a.attribute_name = v_name;
  if v_name is null then
    raise exception 'not a filter' using errcode = 'EV004', detail = 'attribute';
  elsif v_type is null then
    raise exception 'no such attribute' using errcode = 'EV001', detail = v_name;
  elsif not v_hot then
    raise exception 'not a hot attribute' using errcode = 'EV002', detail = v_name;
  end if;

  for v_op, v_arg in select key, value from jsonb_each(p_filter) where key <> 'attribute' loop
    if v_op = 'exists' and jsonb_typeof(v_arg) = 'boolean' then
      v_sql := case when v_arg::bool then '' else 'not ' end || format('h.hot_attrs ? %L', v_name);
    elsif v_op = 'in' and jsonb_typeof(v_arg) = 'array' and jsonb_array_length(v_arg) between 1 and 1000 then
      select '(' || string_agg(search_comparison(v_name, v_type, 'eq', e), ' or ') || ')' into v_sql
      from jsonb_array_elements(v_arg) as e;
    elsif v_op in ('eq', 'gt', 'gte', 'lt', 'lte') then
      v_sql := search_comparison(v_name, v_type, v_op, v_arg);
    else
      raise exception 'not a filter' using errcode = 'EV004', detail = v_op;
    end if;
    v_parts := v_parts || v_sql;
  end loop;
  if cardinality(v_parts) = 0 then
    raise exception 'not a filter' using errcode = 'EV004', detail = v_name;
  end if;
  return '(' || array_to_string(v_parts, ' and ') || ')';
end
$$;

-- One comparison. Equality is containment, which the GIN index serves. The tenant is
-- asked again inside CASE, because a hash partition holds other tenants too, whose
-- attribute of this name may have a type that the cast would fail on.
create function search_comparison(p_name text, p_type text, p_op text, p_arg jsonb)
returns text
language plpgsql immutable
set search_path = public, pg_temp
as $$
declare
  v_sign text := case p_op when 'eq' then '=' when 'gt' then '>' when 'gte' then '>=' when 'lt' then '<'
                           when 'lte' then '<=' end;
  v_fits bool := jsonb_typeof(p_arg) = case
    when p_type in ('integer', 'float', 'decimal') then 'number'
    when p_type = 'boolean' then 'boolean'
    else 'string' end;
begin
  if v_fits and p_type = 'timestamp' then
    begin
      perform (p_arg #>> '{}')::timestamptz;
    exception when others then
      v_fits := false;
    end;
  end if;
  if not v_fits then
    raise exception 'value of another type' using errcode = 'EV003', detail = p_name;
  end if;
  if p_type = 'timestamp' then
    return format('coalesce(case when h.tenant_id = $1 then (h.hot_attrs ->> %L)::timestamptz %s %L::timestamptz end, false)',
                  p_name, v_sign, p_arg #>> '{}');
  elsif p_op = 'eq' then
    return format('h.hot_attrs @> %L::jsonb', jsonb_build_object(p_name, p_arg));
  elsif p_type = 'string' then
    return format('coalesce((h.hot_attrs ->> %L) collate "C" %s %L, false)', p_name, v_sign, p_arg #>> '{}');
  elsif p_type = 'boolean' then
    raise exception 'value of another type' using errcode = 'EV003', detail = p_name;
  end if;
  return format('coalesce(case when h.tenant_id = $1 then (h.hot_attrs -> %L)::numeric %s %s::numeric end, false)',
                p_name, v_sign, quote_literal(p_arg #>> '{}'));
end
$$;

-- Whether the condition's outermost level has an equality, so that GIN narrows it down.
create function search_is_selective(p_filter jsonb)
returns bool
language plpgsql immutable
set search_path = public, pg_temp
as $$
begin
  return case
    when p_filter ? 'and' then
      (select bool_or(search_is_selective(e)) from jsonb_array_elements(p_filter -> 'and') as e)
    when p_filter ? 'or' then
      (select bool_and(search_is_selective(e)) from jsonb_array_elements(p_filter -> 'or') as e)
    else p_filter ?| array['eq', 'in']
  end;
end
$$;

-- The current tenant's entities that match, in order of entity_id: pages of p_limit
-- after p_after. The tenant comes from app.current_tenant_id and from nowhere else; no
-- tenant set, no rows. Definer rights are what lets `@>` use its index.
create function find_entities_by_attributes(p_filter jsonb, p_entity_type text default null,
                                            p_after int8 default 0, p_limit int4 default 100)
returns table (entity_id int8, external_id text, entity_type text, hot_attrs jsonb, hot_times jsonb,
               observed_at timestamptz, version int8, updated_at timestamptz)
language plpgsql stable security definer
set search_path = public, pg_temp
as $$
declare
  v_tenant int4 := nullif(current_setting('app.current_tenant_id', true), '')::int4;
  v_where  text;
begin
  if v_tenant is null then
    return;
  end if;
  v_where := case when p_filter is null or p_filter = '{}' then 'true'
                  else search_condition(v_tenant, p_filter) end;
  -- Where an equality narrows the search, matches are collected first: the planner knows
  -- too little of jsonb to be trusted not to walk all of the tenant's entities in order.
  return query execute format($sql$
    with matches as %s (
      select h.entity_id, h.hot_attrs, h.hot_times, h.observed_at, h.version, h.updated_at
      from entity_jsonb h
      where h.tenant_id = $1 and h.entity_id > $2 and %s
    )
    select m.entity_id, e.external_id, e.entity_type, m.hot_attrs, m.hot_times, m.observed_at,
           m.version, m.updated_at
    from matches m
    join entities e on e.tenant_id = $1 and e.entity_id = m.entity_id
    where $3 is null or e.entity_type = $3
    order by m.entity_id
    limit $4
  $sql$, case when search_is_selective(p_filter) then 'materialized' else 'not materialized' end, v_where)
  using v_tenant, p_after, p_entity_type, least(greatest(p_limit, 1), 1000);
end
$$;

grant execute on function find_entities_by_attributes(jsonb, text, int8, int4) to eaves_query;

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
