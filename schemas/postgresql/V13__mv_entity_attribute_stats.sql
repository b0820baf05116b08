-- Statistics per attribute over the last 24 hours, refreshed by the maintain function.
set local role eaves_owner;
grant create on schema public to eaves_pipeline;

-- Owned by eaves_pipeline: a refresh runs as the owner and must see all tenants.
set local role eaves_pipeline;
create materialized view mv_entity_attribute_stats as
select
  v.tenant_id,
  v.attribute_id,
  a.attribute_name,
  a.value_type,
  a.unit,
  count(*)                                                              as value_count,
  count(distinct v.entity_id)                                           as entity_count,
  min(coalesce(v.value_float, v.value_int::float8, v.value_decimal::float8)) as min_value,
  max(coalesce(v.value_float, v.value_int::float8, v.value_decimal::float8)) as max_value,
  avg(coalesce(v.value_float, v.value_int::float8, v.value_decimal::float8)) as avg_value,
  min(v.observed_at)                                                    as first_observed_at,
  max(v.observed_at)                                                    as last_observed_at,
  now()                                                                 as refreshed_at
from entity_values_ts v
join attributes a on a.tenant_id = v.tenant_id and a.attribute_id = v.attribute_id
where v.observed_at >= now() - interval '24 hours'
group by v.tenant_id, v.attribute_id, a.attribute_name, a.value_type, a.unit;

-- Required by REFRESH … CONCURRENTLY; serves a tenant's statistics.
create unique index mv_entity_attribute_stats_key on mv_entity_attribute_stats (tenant_id, attribute_id);

-- A materialized view knows no row-level security, so nobody reads it but through
-- this view, which asks for the tenant.
create view entity_attribute_stats with (security_barrier) as
select * from mv_entity_attribute_stats
where tenant_id = (select nullif(current_setting('app.current_tenant_id', true), '')::int4);
grant select on entity_attribute_stats to eaves_query;

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
