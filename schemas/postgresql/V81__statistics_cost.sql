-- The day's statistics are counted in history: of 20 million values that takes seconds, of a day at
-- 10,000 values a second minutes. So they are counted less often the longer it takes.
set local role eaves_owner;

-- When the day's statistics were counted last, and how long that took: one row.
create table statistics_refresh (
  one         bool primary key default true check (one),
  refreshed_at timestamptz not null default '-infinity',
  took        interval not null default '0'
);
insert into statistics_refresh default values;
alter table statistics_refresh enable row level security;
alter table statistics_refresh force row level security;
create policy pipeline on statistics_refresh to eaves_pipeline using (true) with check (true);
grant select, update on statistics_refresh to eaves_pipeline;

grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

-- As in V19, but at most a twentieth of the time: where the last count took 15 s, the next one is five
-- minutes later. entity_attribute_stats.refreshed_at tells how old the figures are.
create or replace function refresh_statistics() returns void
language plpgsql security definer
set search_path = public, pg_temp
as $$
declare
  v_began timestamptz := clock_timestamp();
begin
  -- Whoever comes second waits, and finds it done.
  perform from statistics_refresh s where s.refreshed_at + 20 * s.took <= v_began for update;
  if not found then
    return;
  end if;
  refresh materialized view concurrently mv_entity_attribute_stats;
  update statistics_refresh set refreshed_at = clock_timestamp(), took = clock_timestamp() - v_began;
end
$$;

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
