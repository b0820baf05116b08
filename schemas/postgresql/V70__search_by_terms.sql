-- Searches use the index of V69: search_exact is what search_condition (V52) was, search_condition adds what the
-- index has of it, and search_plan decides whether to use it.
set local role eaves_owner;
grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

-- As search_condition in V52.
create function search_exact(p_tenant int4, p_filter jsonb, p_cold_from timestamptz default null,
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
    select array_agg(search_exact(p_tenant, e, p_cold_from, p_depth + 1)) into v_parts
    from jsonb_array_elements(v_item) as e;
    return '(' || array_to_string(v_parts, ' ' || v_op || ' ') || ')';
  end if;

  if p_filter ? 'not' then
    if (select count(*) from jsonb_object_keys(p_filter)) <> 1 then
      raise exception 'not a filter' using errcode = 'EV004', detail = 'not';
    end if;
    return '(not ' || search_exact(p_tenant, p_filter -> 'not', p_cold_from, p_depth + 1) || ')';
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
      v_parts := v_parts || (search_exact(p_tenant, v_arg, p_cold_from, p_depth + 1) || '::int');
    end loop;
    return '((' || array_to_string(v_parts, ' + ') || ') >= ' || v_least || ')';
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

-- The same with what the index (V69) has of it.
create or replace function search_condition(p_tenant int4, p_filter jsonb, p_cold_from timestamptz default null,
                                            p_depth int4 default 0)
returns text
language plpgsql stable security definer
set search_path = public, pg_temp
as $$
declare
  v_exact text := search_exact(p_tenant, p_filter, p_cold_from, p_depth);
  v_terms text := search_terms(p_tenant, p_filter);
begin
  return case when v_terms is null then v_exact
    else format('(hot_terms(h.tenant_id, h.hot_attrs) @@ %L::tsquery and %s)', v_terms, v_exact) end;
end
$$;

-- How to look for what meets the filter: the condition, and whether the index narrows it down.
--
-- The planner cannot tell how many entities a condition on jsonb leaves, so some of the tenant's, from
-- places chosen at random, are tried. What many meet is found by walking through the entities in order
-- (p_in_order: that is the order wanted) until a page is full; where few do, the index names them. Of
-- conditions that all must hold, a range that many meet is left to the comparison: the index would
-- collect all of them first. Equalities it can go through together.
create function search_plan(p_tenant int4, p_filter jsonb, p_cold_from timestamptz, p_in_order bool,
                            out condition text, out narrowed bool)
language plpgsql stable security definer
set search_path = public, pg_temp
set enable_seqscan = off
as $$
declare
  c_places constant int4 := 8;
  c_rows   constant int4 := 8;
  v_parts  jsonb[];
  v_terms  text[] := '{}';
  v_exact  text[] := '{}';
  v_trial  text[] := '{}';
  v_least  int4;
  v_met    int4[];
  v_first  int8;
  v_last   int8;
  v_chosen text;
begin
  narrowed := false;
  if p_filter is null or p_filter = '{}' then
    condition := 'true';
    return;
  end if;
  if p_filter ? 'and' and pg_column_size(p_filter) <= 65536 and jsonb_typeof(p_filter -> 'and') = 'array'
     and (select count(*) from jsonb_object_keys(p_filter)) = 1
     and jsonb_array_length(p_filter -> 'and') between 1 and 100 then
    v_parts := array(select e from jsonb_array_elements(p_filter -> 'and') as e);
  else
    v_parts := array[p_filter];
  end if;
  for i in 1 .. cardinality(v_parts) loop
    v_exact := v_exact || search_exact(p_tenant, v_parts[i], p_cold_from, (p_filter ? 'and')::int4);
    v_terms := v_terms || search_terms(p_tenant, v_parts[i]);
    -- Looking into history for the trial would cost more than it saves.
    v_trial := v_trial || case
      when p_cold_from is not null and exists (
        select from jsonb_path_query(v_parts[i], 'strict $.**.attribute') as n
        join attributes a on a.tenant_id = p_tenant and a.attribute_name = n #>> '{}' and not a.is_hot
      ) then 'true' else v_exact[i] end;
  end loop;
  condition := '(' || array_to_string(v_exact, ' and ') || ')';
  if array_remove(v_terms, null) = '{}' then
    return;
  end if;

  select min(h.entity_id), max(h.entity_id) into v_first, v_last from entity_jsonb h where h.tenant_id = p_tenant;
  execute format($sql$
    select array[count(*), count(*) filter (where %1$s), count(distinct s.first) filter (where %1$s), %2$s]
    from unnest($2::int8[]) as s (first)
    cross join lateral (
      select * from entity_jsonb e where e.tenant_id = $1 and e.entity_id >= s.first
      order by e.entity_id limit $3
    ) as h
  $sql$, array_to_string(v_trial, ' and '),
         (select string_agg(format('count(*) filter (where %s)', e), ', ' order by o)
          from unnest(v_trial) with ordinality as u (e, o)))
  into v_met
  using p_tenant, array(select v_first + floor(random() * (v_last - v_first))::int8 from generate_series(1, c_places)),
        c_rows;
  -- Two in 64 for a page of a hundred are some thousand rows, if they do not all stand in one place; all of
  -- them in order is worth it from a quarter on.
  if v_met[2] >= 2 and v_met[3] >= 2 and (p_in_order or v_met[2] >= v_met[1] / 4) then
    return;
  end if;

  select min(v_met[i + 3]) into v_least from generate_subscripts(v_terms, 1) as i where v_terms[i] is not null;
  select string_agg(v_terms[i], ' & ') into v_chosen
  from generate_subscripts(v_terms, 1) as i
  where v_terms[i] is not null and (v_met[i + 3] <= greatest(v_least, 2) or position(':*' in v_terms[i]) = 0);
  condition := format('hot_terms(h.tenant_id, h.hot_attrs) @@ %L::tsquery and %s', v_chosen, condition);
  narrowed := true;
end
$$;

-- As in V52.
create or replace function search_entities(p_filter jsonb, p_entity_type text, p_cold_from timestamptz, p_sort text,
                                p_attribute text, p_descending bool, p_after int8, p_after_key text,
                                p_limit int4)
returns table (entity_id int8, external_id text, entity_type text, version int8, hot_attrs text,
               hot_times text, sort_key text)
language plpgsql stable security definer
set search_path = public, pg_temp
set enable_seqscan = off
set random_page_cost = 1.1
set max_parallel_workers_per_gather = 0
set jit = off
as $$
declare
  v_tenant int4 := nullif(current_setting('app.current_tenant_id', true), '')::int4;
  v_where  text;
  v_narrow bool;
  v_named  bool := p_entity_type is not null or p_sort = 'external_id';
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
  select p.condition, p.narrowed into v_where, v_narrow
  from search_plan(v_tenant, p_filter, p_cold_from, p_sort not in ('attribute', 'external_id')) as p;
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
  -- Where the index narrows the search, matches are collected first: the planner knows too little of
  -- them to be trusted not to walk all of the tenant's entities in order.
  return query execute format($sql$
    with matches as %s (
      select h.entity_id, h.hot_attrs, h.hot_times, h.version, %s as k
      from entity_jsonb h
      where h.tenant_id = $1 and %s and %s
    )
    select m.entity_id, e.external_id, e.entity_type, m.version, m.hot_attrs::text, m.hot_times::text,
           m.k::text
    from (select * from matches m %s) m
    join entities e on e.tenant_id = $1 and e.entity_id = m.entity_id
    where ($3 is null or e.entity_type = $3) and %s
    order by %s
    limit $4
  $sql$, case when v_narrow then 'materialized' else 'not materialized' end, v_key, v_start, v_where,
         -- Names are looked up for the page only, where they have no part in choosing it.
         case when v_named then '' else format('where %s order by %s limit $4', v_page, v_order) end,
         case when v_named then v_page else 'true' end, v_order)
  using v_tenant, p_after, p_entity_type, least(greatest(p_limit, 1), 1000), p_after_key;
end
$$;

-- As in V18.
create or replace function find_entities_by_attributes(p_filter jsonb, p_entity_type text default null,
                                            p_after int8 default 0, p_limit int4 default 100)
returns table (entity_id int8, external_id text, entity_type text, hot_attrs jsonb, hot_times jsonb,
               observed_at timestamptz, version int8, updated_at timestamptz)
language sql stable security definer
set search_path = public, pg_temp
as $$
  select s.entity_id, s.external_id, s.entity_type, h.hot_attrs, h.hot_times, h.observed_at, h.version, h.updated_at
  from search_entities(p_filter, p_entity_type, null, 'registered', null, false, p_after, null, p_limit) as s
  join entity_jsonb h
    on h.tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::int4 and h.entity_id = s.entity_id
  order by s.entity_id
$$;

-- Of V18: search_terms knows better.
drop function search_is_selective(jsonb);

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
