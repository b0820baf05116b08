-- Advice on statements that read history without a condition on its time: one that only selects or sorts by it
-- leaves no partition out either.
set local role eaves_owner;
grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

-- As in V63 (V72 gave it its name) but for what a condition on the time is: a comparison beside the column's name.
-- kind: slow_statement, no_time_filter, promote_attribute, unused_index. `subject` is a statement's
-- text, an attribute or an index; `figures` are what the advice follows from. Where
-- pg_stat_statements is not loaded there are no statements (kind statements_off says so).
create or replace function query_advice_found(p_slow_ms float8 default 200, p_least_filters int8 default 20)
returns table (kind text, tenant text, subject text, weight float8, figures jsonb)
language plpgsql stable security definer
set search_path = public, pg_temp
as $$
begin
  -- Through the API it is a read across tenants like any other: noted first (V61).
  if session_user = 'eaves_superadmin' then
    perform superadmin_scope('advice');
  end if;
  begin
    return query
    with statements as materialized (
      select s.query ~* '\mentity_values_ts\M'
               and s.query !~* '\mobserved_at\M\s*([<>=]|\mbetween\M)|[<>=]\s*(\w+\.)?observed_at\M' as no_time,
             s.query, r.rolname::text as role_name, s.calls, s.total_exec_time, s.mean_exec_time, s.max_exec_time,
             s.rows, s.shared_blks_hit + s.shared_blks_read as blocks,
             s.total_exec_time / nullif(sum(s.total_exec_time) over (), 0) as share
      from monitoring.pg_stat_statements s
      join pg_roles r on r.oid = s.userid
      where s.dbid = (select oid from pg_database where datname = current_database())
        and r.rolname in ('eaves_query', 'eaves_admin', 'eaves_superadmin')
        and s.query ~* '^\s*(select|with|insert|update|delete)\M'
    ), listed as (
      select case when s.no_time then 'no_time_filter' else 'slow_statement' end as kind, s.*
      from statements s
      where (s.calls >= 3 and s.mean_exec_time >= p_slow_ms)
         or s.no_time
    )
    select l.kind, ''::text, left(l.query, 2000), l.total_exec_time::float8,
           jsonb_build_object('role', l.role_name, 'calls', l.calls, 'mean_ms', round(l.mean_exec_time::numeric, 2),
             'max_ms', round(l.max_exec_time::numeric, 2), 'rows', l.rows, 'blocks', l.blocks,
             'share', round(coalesce(l.share, 0)::numeric, 4))
    from listed l order by l.total_exec_time desc limit 20;
  exception when object_not_in_prerequisite_state or undefined_table then
    return query select 'statements_off'::text, ''::text, 'pg_stat_statements'::text, 0::float8, '{}'::jsonb;
  end;

  -- Queries filter by it, and each has to look it up in history.
  return query
  select 'promote_attribute'::text, t.name, a.attribute_name, sum(s.query_us)::float8 / 1000,
         jsonb_build_object('filters', sum(s.filters), 'queries', sum(s.queries),
           'mean_ms', round(sum(s.query_us) / 1000.0 / greatest(sum(s.queries), 1), 2),
           'writes', sum(s."values"), 'pin', a.hot_pin)
  from attribute_statistics s
  join attributes a on a.tenant_id = s.tenant_id and a.attribute_id = s.attribute_id
  join tenants t on t.tenant_id = s.tenant_id
  where s.period >= floor(extract(epoch from now()) / 43200) - 1 and not a.is_hot and not a.hot_filling
  group by t.name, a.attribute_name, a.hot_pin
  having sum(s.filters) >= p_least_filters
  order by 4 desc limit 50;

  -- Of a partitioned table the index of the whole: one part may well be used less than another.
  return query
  with recursive top as (
    select i.indexrelid, i.indexrelid as root from pg_index i
    where not exists (select from pg_inherits h where h.inhrelid = i.indexrelid)
    union all
    select h.inhrelid, t.root from top t join pg_inherits h on h.inhparent = t.indexrelid
  )
  select 'unused_index'::text, ''::text, c.relname::text, sum(pg_relation_size(u.indexrelid))::float8 / 1048576,
         jsonb_build_object('table', x.indrelid::regclass::text, 'mib', round(sum(pg_relation_size(u.indexrelid)) / 1048576.0, 1),
           'counted_since', (select coalesce(d.stats_reset, pg_postmaster_start_time()) from pg_stat_database d
                             where d.datname = current_database()))
  from top
  join pg_stat_user_indexes u on u.indexrelid = top.indexrelid
  join pg_class c on c.oid = top.root
  join pg_index x on x.indexrelid = top.root
  where not x.indisunique and not x.indisprimary and c.relnamespace = 'public'::regnamespace
  group by c.relname, x.indrelid
  having sum(u.idx_scan) = 0 and sum(pg_relation_size(u.indexrelid)) >= 8 * 1048576
  order by 4 desc limit 20;
end
$$;

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
