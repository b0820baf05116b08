-- Attributes that are being filled: searched with the help of history, and told by health_check().
set local role eaves_owner;
grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

-- Whether a search by an attribute that is being filled can be answered: a change that old is known to
-- every instance of ingest (see hot_step), and what was taken before is in history. From then on
-- the newer one of projection and history is the latest value.
create function hot_filling_searchable(p_attribute attributes) returns bool
language sql stable security definer
set search_path = public, pg_temp
as $$
  select p_attribute.hot_filling and exists (
    select from hot_changes c, flush_state f
    where c.tenant_id = p_attribute.tenant_id and c.attribute_id = p_attribute.attribute_id
      and c.finished_at is null and c.cancelled_at is null
      and c.requested_at + interval '100 seconds' <= f.history_as_of
  )
$$;

-- As in V18; an attribute that is being filled can be searched, too.
create or replace function search_condition(p_tenant int4, p_filter jsonb, p_depth int4 default 0)
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
  select a.value_type, a.is_hot or hot_filling_searchable(a) into v_type, v_hot from attributes a
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

-- As in V18; of attributes that are being filled, the filter sees what history has if that is newer
-- than the projection: entity by entity, in their order, so that a page that is full ends the search.
create or replace function find_entities_by_attributes(p_filter jsonb, p_entity_type text default null,
                                            p_after int8 default 0, p_limit int4 default 100)
returns table (entity_id int8, external_id text, entity_type text, hot_attrs jsonb, hot_times jsonb,
               observed_at timestamptz, version int8, updated_at timestamptz)
language plpgsql stable security definer
set search_path = public, pg_temp
as $$
declare
  v_tenant int4 := nullif(current_setting('app.current_tenant_id', true), '')::int4;
  v_where  text;
  v_filling int4[];
begin
  if v_tenant is null then
    return;
  end if;
  v_where := case when p_filter is null or p_filter = '{}' then 'true'
                  else search_condition(v_tenant, p_filter) end;
  select array_agg(a.attribute_id) into v_filling
  from attributes a
  where a.tenant_id = v_tenant and a.hot_filling
    and a.attribute_name in (select f.name #>> '{}' from jsonb_path_query(p_filter, '$.**.attribute') as f (name));
  if v_filling is not null then
    return query execute format($sql$
      select h.entity_id, h.external_id, h.entity_type, h.hot_attrs, h.hot_times, h.observed_at, h.version, h.updated_at
      from (
        select e.tenant_id, e.entity_id, e.external_id, e.entity_type,
               coalesce(j.hot_attrs, '{}') || coalesce(o.attrs, '{}') as hot_attrs,
               coalesce(j.hot_times, '{}') as hot_times, j.observed_at, coalesce(j.version, 0) as version, j.updated_at
        from entities e
        left join entity_jsonb j on j.tenant_id = e.tenant_id and j.entity_id = e.entity_id
        cross join lateral (
          -- What history knows better.
          select jsonb_object_agg(a.attribute_name,
                                  coalesce(to_jsonb(v.value_bool), to_jsonb(v.value_int), to_jsonb(v.value_float),
                                           to_jsonb(v.value_decimal), hot_timestamp(v.value_timestamp),
                                           to_jsonb(v.value))) as attrs
          from attributes a
          cross join lateral (
            select v.* from entity_values_ts v
            where v.tenant_id = e.tenant_id and v.entity_id = e.entity_id and v.attribute_id = a.attribute_id
            order by v.observed_at desc limit 1
          ) v
          where a.attribute_id = any ($5)
            and coalesce((j.hot_times ->> a.attribute_name)::int8 < (extract(epoch from v.observed_at) * 1000000)::int8,
                         true)
        ) o
        where e.tenant_id = $1 and e.entity_id > $2 and ($3 is null or e.entity_type = $3)
          and (j.entity_id is not null or o.attrs is not null)
      ) h
      where %s
      order by h.entity_id
      limit $4
    $sql$, v_where)
    using v_tenant, p_after, p_entity_type, least(greatest(p_limit, 1), 1000), v_filling;
    return;
  end if;
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

-- See V27; with changes of what is hot that are under way, at most twenty of them one by one.
create or replace function health_check() returns jsonb
language plpgsql stable security definer
set search_path = public, pg_temp
as $$
declare
  v_pipeline jsonb := pipeline_status();
  v_lag      jsonb;
  v_losses   jsonb;
  v_changes  jsonb;
  v_problems text[] := '{}';
begin
  select coalesce(jsonb_agg(to_jsonb(r)), '[]') into v_lag from check_replication_lag() r;
  -- The seeds' alarm thresholds.
  if (v_pipeline ->> 'staged_rows')::int8 > 1000000 then
    v_problems := v_problems || 'staging_backlog'::text;
  end if;
  if (v_pipeline ->> 'oldest_staged_seconds')::float8 > 60 then
    v_problems := v_problems || 'flush_stalled'::text;
  end if;
  if exists (select from jsonb_array_elements(v_lag) as r where (r ->> 'lag_seconds')::float8 > 3) then
    v_problems := v_problems || 'replica_lag'::text;
  end if;
  if exists (select from jsonb_array_elements(v_pipeline -> 'shards') as s where (s ->> 'staging_lost')::bool) then
    v_problems := v_problems || 'staging_lost'::text;
  end if;
  -- Until somebody has looked at it (`eaves losses acknowledge`).
  select coalesce(jsonb_agg(jsonb_build_object(
    'loss_id', l.loss_id, 'stream', l.stream, 'shard', l.shard, 'after', l.after_sequence::text,
    'before', l.before_sequence::text, 'kind', l.kind, 'reason', l.reason, 'found_at', l.found_at
  ) order by l.loss_id), '[]')
  into v_losses from stream_losses l where l.acknowledged_at is null;
  if jsonb_array_length(v_losses) > 0 then
    v_problems := v_problems || 'stream_loss'::text;
  end if;
  select jsonb_build_object(
    'waiting', count(*) filter (where c.started_at is null),
    'running', count(*) filter (where c.started_at is not null),
    'oldest_requested_at', min(c.requested_at),
    'under_way', coalesce(jsonb_agg(jsonb_build_object(
      'tenant', c.tenant, 'attribute', c.attribute_name, 'change', c.change, 'requested_at', c.requested_at,
      'entities', c.entities, 'of_entities', c.of_entities,
      -- By the pace since it began, pauses included.
      'seconds_left', case when c.entities > 0 then round(
        extract(epoch from clock_timestamp() - c.started_at) * greatest(c.of_entities - c.entities, 0) / c.entities) end
    ) order by c.nth) filter (where c.nth <= 20), '[]'))
  into v_changes
  from (
    select c.*, t.name as tenant, a.attribute_name,
           row_number() over (order by c.started_at nulls last, c.change_id) as nth
    from hot_changes c
    join attributes a on a.attribute_id = c.attribute_id
    join tenants t on t.tenant_id = c.tenant_id
    where c.finished_at is null and c.cancelled_at is null
  ) c;
  return jsonb_build_object(
    'status', case when cardinality(v_problems) = 0 then 'ok' else 'degraded' end,
    'problems', to_jsonb(v_problems),
    'role', case when pg_is_in_recovery() then 'replica' else 'primary' end,
    'checked_at', clock_timestamp(),
    'pipeline', v_pipeline,
    'losses', v_losses,
    'hot_changes', v_changes,
    'replication', v_lag,
    'heartbeat_at', (select beat_at from replication_heartbeat),
    'history_partitions', (select count(*) from pg_inherits where inhparent = 'entity_values_ts'::regclass),
    'database_bytes', pg_database_size(current_database()),
    'connections', (select count(*) from pg_stat_activity where datname = current_database()));
end
$$;

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
