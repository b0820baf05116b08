-- What is kept for a time only: figures of plugins, and what was put aside. The maintain
-- function forgets it, with the days that its settings name (docs/configuration.md).
set local role eaves_owner;

grant delete on plugin_metrics to eaves_pipeline;

-- Rows come in the order of time, so that little is enough to find the oldest.
create index quarantine_created on quarantine using brin (created_at) with (pages_per_range = 32);
create index plugin_metrics_hour on plugin_metrics using brin (hour) with (pages_per_range = 32);

grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

-- Forgets at most p_most rows of each kind that are older than so many days. A row that is under
-- way to be taken again stays: its record has to find it. Fewer than p_most of a kind were all.
create function forget_old(p_metrics_days int4, p_quarantine_days int4, p_most int4)
returns table (metrics int8, quarantined int8)
language plpgsql security definer
set search_path = public, pg_temp
as $$
begin
  if p_metrics_days < 1 or p_quarantine_days < 1 or p_most < 1 then
    raise exception 'forget_old(%, %, %): each must be at least 1', p_metrics_days, p_quarantine_days, p_most
      using errcode = 'invalid_parameter_value';
  end if;
  delete from plugin_metrics m
  where m.ctid = any (array(
    select o.ctid from plugin_metrics o where o.hour < now() - make_interval(days => p_metrics_days)
    limit p_most for update skip locked));
  get diagnostics metrics = row_count;
  delete from quarantine q
  where q.ctid = any (array(
    select o.ctid from quarantine o
    where o.created_at < now() - make_interval(days => p_quarantine_days) and o.state <> 'redriving'
    limit p_most for update skip locked));
  get diagnostics quarantined = row_count;
  return next;
end
$$;

grant execute on function forget_old(int4, int4, int4) to eaves_flush;

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
