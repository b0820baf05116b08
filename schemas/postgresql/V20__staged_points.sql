-- Values of one attribute of one entity that are acknowledged but not in history yet,
-- for strong reads on the primary. The tenant comes from app.current_tenant_id and from
-- nowhere else.
set local role eaves_owner;
grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

-- Of a point staged twice the later one, as stage_flush keeps it.
--
-- Call it in a statement of its own BEFORE the one that reads history, in one READ
-- COMMITTED transaction: what a flush moves meanwhile is then seen at least once. The
-- other way round, or in one statement, TRUNCATE could take away rows that the older
-- snapshot of history does not show.
create function staged_points(p_entity int8, p_attribute int4, p_from timestamptz, p_to timestamptz,
                              p_descending bool default true, p_limit int4 default 1000)
returns table (observed_at timestamptz, ingested_at timestamptz, value_bool bool, value_int int8,
               value_float float8, value_decimal numeric, value_timestamp timestamptz, value text)
language sql stable security definer
set search_path = public, pg_temp
as $$
  select p.observed_at, p.ingested_at, p.value_bool, p.value_int, p.value_float, p.value_decimal,
         p.value_timestamp, p.value
  from (
    select distinct on (s.observed_at) s.*
    from entity_values_ingest s
    where s.tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::int4
      and s.entity_id = p_entity and s.attribute_id = p_attribute
      and s.observed_at >= p_from and s.observed_at < p_to
    order by s.observed_at, s.ingested_at desc, s.ctid desc
  ) p
  order by case when p_descending then p.observed_at end desc,
           case when not p_descending then p.observed_at end
  limit p_limit
$$;

grant execute on function staged_points(int8, int4, timestamptz, timestamptz, bool, int4) to eaves_query;

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
