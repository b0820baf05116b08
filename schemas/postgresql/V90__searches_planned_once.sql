-- Searches by equalities, or by a range of numbers that few entities are in, are planned once for a connection.
set local role eaves_owner;
grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

-- What a filter of nothing but equalities of hot attributes asks of a row, as one object that the row contains:
-- `and` of them, or one. Null for every other filter, and for one that is wrong in any way: search_condition() says
-- how. Times are compared by something else, and so is an attribute that is named twice.
create function search_equal(p_tenant int4, p_filter jsonb)
returns jsonb
language plpgsql stable
as $$
declare
  v_all   jsonb := p_filter -> 'and';
  v_equal jsonb;
begin
  if v_all is null then
    v_all := jsonb_build_array(p_filter);
  elsif jsonb_typeof(v_all) <> 'array' or p_filter - 'and' <> '{}' then
    return null;
  end if;
  if jsonb_array_length(v_all) not between 1 and 100 or pg_column_size(p_filter) > 65536 then
    return null;
  end if;
  select jsonb_object_agg(coalesce(e ->> 'attribute', ''), e -> 'eq') into v_equal
  from jsonb_array_elements(v_all) as e
  left join attributes a on a.tenant_id = p_tenant and a.attribute_name = e ->> 'attribute'
  having count(*) = count(distinct a.attribute_id) and bool_and(coalesce(
    case when jsonb_typeof(e) = 'object' and a.is_hot then
      e - array['attribute', 'eq'] = '{}'
      and jsonb_typeof(e -> 'eq') = case a.value_type when 'string' then 'string' when 'boolean' then 'boolean'
                                                      when 'timestamp' then null else 'number' end
    end, false));
  return v_equal;
end
$$;

-- The first rows in a range of numbers by the index of V80: one function for each of a row's four ranges, because
-- each has an index of its own. The doubles are for the index, the numbers for what they are rounded from.
do $$
begin
  for k in 1..4 loop
    execute format($function$
      create function search_between_%1$s(p_tenant int4, p_name text, p_low float8, p_high float8,
                                          p_numbers numrange, p_most int4)
      returns entity_jsonb[]
      language plpgsql stable
      as $body$
      begin
        return array(
          select h from entity_jsonb h
          where h.tenant_id = p_tenant and h.range_names[%1$s] is not null
            and case when jsonb_typeof(h.hot_attrs -> h.range_names[%1$s]) = 'number'
                     then (h.hot_attrs -> h.range_names[%1$s])::float8 end >= p_low
            and case when jsonb_typeof(h.hot_attrs -> h.range_names[%1$s]) = 'number'
                     then (h.hot_attrs -> h.range_names[%1$s])::float8 end <= p_high
            and coalesce(case when h.tenant_id = p_tenant then (h.hot_attrs -> p_name)::numeric <@ p_numbers end, false)
          limit p_most);
      end
      $body$
    $function$, k);
  end loop;
end
$$;

-- All rows that match a range of one hot attribute of numbers, if they are no more than p_most. Null if there are
-- more, and for every other filter.
create function search_few(p_tenant int4, p_filter jsonb, p_most int4)
returns entity_jsonb[]
language plpgsql stable
as $$
declare
  v_name  text := p_filter ->> 'attribute';
  v_place int4;
  v_from  text := coalesce(p_filter ->> 'gt', p_filter ->> 'gte');
  v_to    text := coalesce(p_filter ->> 'lt', p_filter ->> 'lte');
  v_rows  entity_jsonb[];
begin
  if v_name is null or coalesce(v_from, v_to) is null or p_filter ?& array['gt', 'gte'] or p_filter ?& array['lt', 'lte']
     or p_filter - array['attribute', 'gt', 'gte', 'lt', 'lte'] <> '{}'
     or exists (select from jsonb_each(p_filter) where key <> 'attribute' and jsonb_typeof(value) <> 'number') then
    return null;
  end if;
  select array_position(r.names, v_name) into v_place
  from hot_ranges r
  join attributes a on a.tenant_id = p_tenant and a.attribute_name = v_name
  where r.tenant_id = p_tenant and r.ready[array_position(r.names, v_name)]
    and a.is_hot and a.value_type in ('integer', 'float', 'decimal');
  if v_place is null then
    return null;
  elsif v_from::numeric > v_to::numeric then
    return '{}';
  end if;
  execute format('select search_between_%s($1, $2, $3, $4, $5, $6)', v_place) into v_rows
  using p_tenant, v_name, coalesce(search_range_bound(v_from), '-Infinity'), coalesce(search_range_bound(v_to), 'Infinity'),
        numrange(v_from::numeric, v_to::numeric, case when p_filter ? 'gte' then '[' else '(' end ||
                                                 case when p_filter ? 'lte' then ']' else ')' end),
        p_most + 1;
  return case when cardinality(v_rows) <= p_most then v_rows end;
end
$$;

-- As in V87, but equalities are one statement, whose plan is kept, and so are few rows of a
-- range: to write a statement and to plan it took as long as to find fifty entities.
create or replace function search_entities(p_filter jsonb, p_entity_type text, p_cold_from timestamptz, p_sort text,
                                p_attribute text, p_descending bool, p_after int8, p_after_key text,
                                p_limit int4)
returns table (entity_id int8, external_id text, entity_type text, version int8, hot_attrs text,
               hot_times text, sort_key text)
language plpgsql stable security definer
set search_path = public, pg_temp
set plan_cache_mode = force_generic_plan
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
  v_narrows bool;
  v_equal  jsonb;
  v_few    entity_jsonb[];
  v_limit  int4 := least(greatest(p_limit, 1), 1000);
begin
  if v_tenant is null then
    return;
  end if;
  if p_sort not in ('attribute', 'external_id') and not p_descending and p_entity_type is null then
    v_equal := search_equal(v_tenant, p_filter);
    if v_equal is null then
      v_few := search_few(v_tenant, p_filter, 300);
    end if;
  end if;
  if v_equal is not null then
    return query
    with page as materialized (
      select m.*
      from (
        select h.entity_id, h.version, h.hot_attrs, h.hot_times
        from entity_jsonb h
        where h.tenant_id = v_tenant and h.hot_attrs @> v_equal
        offset 0
      ) m
      where m.entity_id > p_after
      order by m.entity_id
      limit v_limit
    )
    select m.entity_id, e.external_id, e.entity_type, m.version, m.hot_attrs::text, m.hot_times::text, null::text
    from page m
    join entities e on e.tenant_id = v_tenant and e.entity_id = m.entity_id
    order by m.entity_id;
    return;
  elsif v_few is not null then
    return query
    select m.entity_id, e.external_id, e.entity_type, m.version, m.hot_attrs::text, m.hot_times::text, null::text
    from (
      select r.entity_id, r.version, r.hot_attrs, r.hot_times from unnest(v_few) as r
      where r.entity_id > p_after
      order by r.entity_id
      limit v_limit
    ) m
    join entities e on e.tenant_id = v_tenant and e.entity_id = m.entity_id
    order by m.entity_id;
    return;
  end if;
  v_where := case when p_filter is null or p_filter = '{}' then 'true'
                  else search_condition(v_tenant, p_filter, p_cold_from) end;
  v_narrows := search_narrows(v_tenant, p_filter);
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
  -- Where an equality narrows the search, matches are collected first (offset 0): the planner knows
  -- too little of jsonb to be trusted not to walk all of the tenant's entities in order. What the page
  -- shows of them goes along: their rows were read to compare them.
  return query execute format($sql$
    with page as materialized (
      select m.*
      from (
        select h.entity_id, h.version, h.hot_attrs, h.hot_times, %s as k
        from %s h
        where h.tenant_id = $1 and %s and %s
        %s
      ) m %s
      where %s
      order by %s
      limit $4
    )
    select m.entity_id, e.external_id, e.entity_type, m.version, m.hot_attrs::text, m.hot_times::text, m.k::text
    from page m
    join entities e on e.tenant_id = $1 and e.entity_id = m.entity_id
    order by %s
  $sql$, v_key,
         case when v_narrows then 'entity_jsonb' else search_source(v_tenant, p_filter) end,
         v_start, v_where,
         case when v_narrows then 'offset 0' else '' end,
         case when p_entity_type is null and p_sort <> 'external_id' then ''
              else 'join entities e on e.tenant_id = $1 and e.entity_id = m.entity_id' end,
         concat_ws(' and ', case when p_entity_type is not null then 'e.entity_type = $3' end, v_page),
         v_order, v_order)
  using v_tenant, p_after, p_entity_type, v_limit, p_after_key;
end
$$;

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
