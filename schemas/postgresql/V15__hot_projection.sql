-- The hot projection's upsert: the value with the latest observed_at wins, attribute by
-- attribute; at the same time the one that arrives later.
set local role eaves_owner;
grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

-- Of p_new, the attributes that are not older than what p_times knows.
create function hot_winners(p_times jsonb, p_new_times jsonb, p_new jsonb)
returns jsonb
language sql immutable parallel safe
set search_path = public, pg_temp
as $$
  select coalesce(jsonb_object_agg(n.key, p_new -> n.key), '{}')
  from jsonb_each(p_new_times) as n
  where not p_times ? n.key or n.value::int8 >= (p_times -> n.key)::int8
$$;

-- One row per entity: arrays of the same length, without duplicates. p_oldest and
-- p_newest span the entity's p_times. Returns the rows that changed.
--
-- The guard is inside ON CONFLICT, since a join against the current rows turned the
-- plan ten times slower once their number grew. Where the whole row is at least as new
-- as the stored one, which is nearly always, plain concatenation does; only late
-- values are compared one by one.
create function upsert_hot_batch(p_tenants int4[], p_entities int8[], p_oldest timestamptz[],
                                 p_newest timestamptz[], p_attrs jsonb[], p_times jsonb[])
returns table (tenant_id int4, entity_id int8, version int8, hot_attrs text, hot_times text)
language plpgsql security definer
set search_path = public, pg_temp
as $$
#variable_conflict use_column
begin
  return query
  insert into entity_jsonb as h (tenant_id, entity_id, oldest_at, observed_at, hot_attrs, hot_times)
  select n.tenant, n.entity, n.oldest, n.newest, n.attrs, n.times
  from unnest(p_tenants, p_entities, p_oldest, p_newest, p_attrs, p_times)
    as n (tenant, entity, oldest, newest, attrs, times)
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
    version = h.version + 1,
    updated_at = now()
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

-- One entity, all values of one time. Returns the row's version, or null if nothing of
-- it was new.
create function upsert_hot_attrs(p_tenant int4, p_entity int8, p_attrs jsonb,
                                 p_observed_at timestamptz default now())
returns int8
language sql security definer
set search_path = public, pg_temp
as $$
  select u.version
  from upsert_hot_batch(
    array[p_tenant], array[p_entity], array[p_observed_at], array[p_observed_at], array[p_attrs],
    array[(
      select coalesce(jsonb_object_agg(k, (extract(epoch from p_observed_at) * 1000000)::int8), '{}')
      from jsonb_object_keys(p_attrs) as k
    )]
  ) as u
$$;

grant execute on function upsert_hot_batch(int4[], int8[], timestamptz[], timestamptz[], jsonb[], jsonb[])
  to eaves_ingest;
grant execute on function upsert_hot_attrs(int4, int8, jsonb, timestamptz) to eaves_ingest;

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
