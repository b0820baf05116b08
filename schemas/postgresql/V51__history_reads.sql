-- What reads of several attributes of an entity need beyond entity_values_ts: the values that
-- are acknowledged but not in history yet, and history in buckets of time. The tenant comes from
-- app.current_tenant_id and from nowhere else; no tenant set, no rows.
set local role eaves_owner;
grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

-- As staged_points (V20), for several attributes of one entity, each with a window of its own;
-- in order of observed_at and attribute. Call it in a statement BEFORE the one that reads
-- history: see there.
create function staged_series(p_entity int8, p_attributes int4[], p_from timestamptz[], p_to timestamptz[],
                              p_descending bool, p_limit int4)
returns table (attribute_id int4, observed_at timestamptz, ingested_at timestamptz, value_bool bool,
               value_int int8, value_float float8, value_decimal numeric, value_timestamp timestamptz,
               value text)
language sql stable security definer
set search_path = public, pg_temp
as $$
  select p.attribute_id, p.observed_at, p.ingested_at, p.value_bool, p.value_int, p.value_float,
         p.value_decimal, p.value_timestamp, p.value
  from (
    select distinct on (s.attribute_id, s.observed_at) s.*
    from unnest(p_attributes, p_from, p_to) as a (id, starts, ends)
    join entity_values_ingest s
      on s.attribute_id = a.id and s.observed_at >= a.starts and s.observed_at < a.ends
    where s.tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::int4
      and s.entity_id = p_entity
    order by s.attribute_id, s.observed_at, s.ingested_at desc, s.ctid desc
  ) p
  order by case when p_descending then p.observed_at end desc,
           case when not p_descending then p.observed_at end,
           p.attribute_id
  limit p_limit
$$;

-- The latest staged value of each attribute of each entity, observed from p_from to p_until, both
-- included. Call it before the statement that reads history.
create function staged_latest(p_entities int8[], p_attributes int4[], p_from timestamptz, p_until timestamptz)
returns table (entity_id int8, attribute_id int4, observed_at timestamptz, ingested_at timestamptz,
               value_bool bool, value_int int8, value_float float8, value_decimal numeric,
               value_timestamp timestamptz, value text)
language sql stable security definer
set search_path = public, pg_temp
as $$
  select distinct on (s.entity_id, s.attribute_id)
         s.entity_id, s.attribute_id, s.observed_at, s.ingested_at, s.value_bool, s.value_int, s.value_float,
         s.value_decimal, s.value_timestamp, s.value
  from entity_values_ingest s
  where s.tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::int4
    and s.entity_id = any (p_entities) and s.attribute_id = any (p_attributes)
    and s.observed_at >= p_from and s.observed_at <= p_until
  order by s.entity_id, s.attribute_id, s.observed_at desc, s.ingested_at desc, s.ctid desc
$$;

-- Numbers of one type (integer, float or decimal) of one entity in buckets of time, which are
-- aligned with 2000-01-03T00:00:00Z, a Monday; p_bucket is their length in microseconds. Figures
-- are text, so that they keep their digits.
--
-- With p_staged (on the primary; a replica has no staging) also what is not in history yet. It is
-- read first, and history by a later statement of this volatile function, whose snapshot is a
-- newer one: what a flush moves meanwhile is seen, and once.
create function history_buckets(p_entity int8, p_attributes int4[], p_type text, p_from timestamptz,
                                p_to timestamptz, p_bucket int8, p_staged bool)
returns table (attribute_id int4, starts_at timestamptz, n int8, least_value text, greatest_value text,
               mean_value text, first_value text, last_value text)
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
#variable_conflict use_column
declare
  v_tenant     int4 := nullif(current_setting('app.current_tenant_id', true), '')::int4;
  v_column     text := case p_type when 'integer' then 'value_int' when 'float' then 'value_float'
                                   when 'decimal' then 'value_decimal' end;
  v_mean       text := case p_type when 'float' then 'avg(p.v)'
                                   -- With 16 decimal places: avg() leaves large numbers none.
                                   else 'trim_scale(sum(p.v) * 1.0000000000000000 / count(*))' end;
  v_attributes int4[] := '{}';
  v_observed   timestamptz[] := '{}';
  v_ingested   timestamptz[] := '{}';
  v_ints       int8[] := '{}';
  v_floats     float8[] := '{}';
  v_decimals   numeric[] := '{}';
begin
  if v_tenant is null or v_column is null then
    return;
  end if;
  if p_staged then
    select coalesce(array_agg(p.attribute_id), '{}'), coalesce(array_agg(p.observed_at), '{}'),
           coalesce(array_agg(p.ingested_at), '{}'), coalesce(array_agg(p.value_int), '{}'),
           coalesce(array_agg(p.value_float), '{}'), coalesce(array_agg(p.value_decimal), '{}')
    into v_attributes, v_observed, v_ingested, v_ints, v_floats, v_decimals
    from (
      select distinct on (s.attribute_id, s.observed_at) s.*
      from entity_values_ingest s
      where s.tenant_id = v_tenant and s.entity_id = p_entity and s.attribute_id = any (p_attributes)
        and s.observed_at >= p_from and s.observed_at < p_to
      order by s.attribute_id, s.observed_at, s.ingested_at desc, s.ctid desc
    ) p;
  end if;
  return query execute format($sql$
    with staged as materialized (
      select s.attribute_id, s.observed_at, s.ingested_at, s.%1$I as v
      from unnest($7::int4[], $8::timestamptz[], $9::timestamptz[], $10::int8[], $11::float8[], $12::numeric[])
        as s (attribute_id, observed_at, ingested_at, value_int, value_float, value_decimal)
    ), points as (
      -- One value a point, the one that was taken last: what the flush will make of them.
      select h.attribute_id, h.observed_at, h.%1$I as v
      from entity_values_ts h
      where h.tenant_id = $1 and h.entity_id = $2 and h.attribute_id = any ($3)
        and h.observed_at >= $4 and h.observed_at < $5
        and not exists (
          select from staged s
          where s.attribute_id = h.attribute_id and s.observed_at = h.observed_at
            and s.ingested_at >= h.ingested_at
        )
      union all
      select s.attribute_id, s.observed_at, s.v
      from staged s
      where not exists (
        select from entity_values_ts h
        where h.tenant_id = $1 and h.entity_id = $2 and h.attribute_id = s.attribute_id
          and h.observed_at = s.observed_at and h.ingested_at > s.ingested_at
      )
    )
    select p.attribute_id,
           date_bin($6 * interval '1 microsecond', p.observed_at, timestamptz '2000-01-03 00:00:00+00') as starts_at,
           count(*), min(p.v)::text, max(p.v)::text, (%2$s)::text,
           ((array_agg(p.v order by p.observed_at))[1])::text,
           ((array_agg(p.v order by p.observed_at desc))[1])::text
    from points p
    group by 1, 2
    order by 1, 2
  $sql$, v_column, v_mean)
  using v_tenant, p_entity, p_attributes, p_from, p_to, p_bucket,
        v_attributes, v_observed, v_ingested, v_ints, v_floats, v_decimals;
end
$$;

grant execute on function staged_series(int8, int4[], timestamptz[], timestamptz[], bool, int4) to eaves_query;
grant execute on function staged_latest(int8[], int4[], timestamptz, timestamptz) to eaves_query;
grant execute on function history_buckets(int8, int4[], text, timestamptz, timestamptz, int8, bool)
  to eaves_query;

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
