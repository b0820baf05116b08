-- What analysts ask. Every query names the tenant first; add your own there.

-- 1. Distribution of a numeric attribute by type of entity, the last 7 days.
select v.entity_type, count(distinct v.entity_id) as entities,
       avg(v.value_float) as mean, median(v.value_float) as median, max(v.value_float) as highest
from eaves.entity_values v
where v.tenant_id = 1 and v.attribute_name = 'temperature'
  and v.observed_at >= dateadd(day, -7, getdate())
group by v.entity_type
order by entities desc;

-- 2. A day's curve of an attribute over all entities, from the hourly sums.
select h.hour, sum(h.value_sum) / nullif(sum(h.value_count), 0) as mean, min(h.value_min), max(h.value_max)
from eaves.entity_values_hourly h
join eaves.attributes a on a.tenant_id = h.tenant_id and a.attribute_id = h.attribute_id
where h.tenant_id = 1 and a.attribute_name = 'temperature' and h.hour >= dateadd(day, -1, getdate())
group by h.hour
order by h.hour;

-- 3. Entities that have fallen silent.
select e.external_id, max(l.observed_at) as last_seen
from eaves.entities e
join eaves.entity_latest l on l.tenant_id = e.tenant_id and l.entity_id = e.entity_id
where e.tenant_id = 1
group by e.external_id
having max(l.observed_at) < dateadd(day, -1, getdate())
order by last_seen;

-- 4. Share of tenants in what was stored, by day.
select date_trunc('day', ingested_at) as day, t.name, count(*) as stored,
       ratio_to_report(count(*)) over (partition by date_trunc('day', ingested_at)) as share
from eaves.entity_values v
join eaves.tenants t on t.tenant_id = v.tenant_id
where v.ingested_at >= dateadd(day, -30, getdate())
group by 1, 2
order by 1, share desc;

-- 5. How old the answers here are.
select source, complete_to, datediff(second, complete_to, getdate()) as lag_s from eaves.load_watermark;
