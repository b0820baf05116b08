-- What plugins cost and decide, and what happened to them: written by the instances of the
-- ingest function every few seconds, read by their tenant.
set local role eaves_owner;

create table plugin_metrics (
  tenant_id   int4 not null references tenants,
  name        text not null check (char_length(name) between 1 and 255),
  digest      text not null check (char_length(digest) between 1 and 128),
  -- active, fallback (for an active version whose breaker is open) or shadow.
  role        text not null check (role in ('active', 'fallback', 'shadow')),
  hour        timestamptz not null,
  version     text not null,
  calls       int8 not null,
  "values"    int8 not null,
  -- Failed calls by kind: {"trapped": 2}.
  failures    jsonb not null,
  -- Batches that a shadow did not see because there was no time for it.
  skipped     int8 not null,
  memory_peak int8 not null,
  -- Time per 1,000 values: {"<bucket>": calls}. See eaves_telemetry::Histogram.
  times       jsonb not null,
  -- {"accepted": 12, "rejected:above_range": 3}
  verdicts    jsonb not null,
  -- A shadow's verdicts that differ from the active version's: {"accepted>rejected": 3}
  changes     jsonb not null,
  -- Some of those values, the newest last.
  samples     jsonb not null,
  updated_at  timestamptz not null default now(),
  -- Serves the addition, and the tenant's read of one plugin.
  primary key (tenant_id, name, digest, role, hour)
) with (fillfactor = 70);

alter table plugin_metrics enable row level security;
alter table plugin_metrics force row level security;
create policy tenant_isolation on plugin_metrics for select to eaves_query
  using (tenant_id = (select nullif(current_setting('app.current_tenant_id', true), '')::int4));
create policy pipeline on plugin_metrics to eaves_pipeline using (true) with check (true);
create policy operator on plugin_metrics for select to eaves_admin using (true);
grant select on plugin_metrics to eaves_query, eaves_admin;
grant select, insert, update on plugin_metrics to eaves_pipeline;

create table plugin_events (
  event_id  int8 generated always as identity primary key,
  tenant_id int4 not null references tenants,
  at        timestamptz not null default now(),
  -- breaker_opened, breaker_closed or unavailable.
  kind      text not null check (char_length(kind) between 1 and 64),
  name      text not null,
  version   text not null,
  digest    text not null,
  message   text not null check (char_length(message) <= 1000)
);

-- Serves the tenant's list, newest first; and the foreign key.
create index plugin_events_tenant on plugin_events (tenant_id, event_id);

alter table plugin_events enable row level security;
alter table plugin_events force row level security;
create policy tenant_isolation on plugin_events for select to eaves_query
  using (tenant_id = (select nullif(current_setting('app.current_tenant_id', true), '')::int4));
create policy pipeline on plugin_events to eaves_pipeline using (true) with check (true);
create policy operator on plugin_events for select to eaves_admin using (true);
grant select on plugin_events to eaves_query, eaves_admin;
grant select, insert, delete on plugin_events to eaves_pipeline;

grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

-- Adds counts by key. At most 200 keys are kept, the largest: a plugin that makes up reason
-- codes must not grow its row without end.
create function counts_add(p_a jsonb, p_b jsonb) returns jsonb
language sql immutable parallel safe
set search_path = public, pg_temp
as $$
  select coalesce(jsonb_object_agg(key, n), '{}')
  from (
    select key, sum(value::int8) as n
    from (select * from jsonb_each_text(p_a) union all select * from jsonb_each_text(p_b)) as u
    group by key order by 2 desc, 1 limit 200
  ) as s
$$;

-- The last p_most elements of both.
create function samples_add(p_a jsonb, p_b jsonb, p_most int4) returns jsonb
language sql immutable parallel safe
set search_path = public, pg_temp
as $$
  select coalesce(jsonb_agg(value order by n), '[]')
  from (
    select value, n
    from jsonb_array_elements(p_a || p_b) with ordinality as e (value, n)
    order by n desc limit p_most
  ) as s
$$;

-- p_rows: [{"tenant": 1, "name": …, "version": …, "digest": …, "role": …, "calls": …, "values": …,
-- "failures": {…}, "skipped": …, "memory_peak": …, "times": {…}, "verdicts": {…}, "changes": {…},
-- "samples": […]}]
create function plugin_metrics_add(p_rows jsonb) returns void
language sql security definer
set search_path = public, pg_temp
as $$
  insert into plugin_metrics as m (tenant_id, name, digest, role, hour, version, calls, "values", failures,
                                   skipped, memory_peak, times, verdicts, changes, samples)
  select (r ->> 'tenant')::int4, r ->> 'name', r ->> 'digest', r ->> 'role', date_trunc('hour', now()),
         r ->> 'version', (r ->> 'calls')::int8, (r ->> 'values')::int8, r -> 'failures',
         (r ->> 'skipped')::int8, (r ->> 'memory_peak')::int8, r -> 'times', r -> 'verdicts', r -> 'changes',
         r -> 'samples'
  from jsonb_array_elements(p_rows) as r
  -- One order for all, so that two instances never lock each other out.
  order by 1, 2, 3, 4
  on conflict (tenant_id, name, digest, role, hour) do update set
    version = excluded.version, calls = m.calls + excluded.calls, "values" = m."values" + excluded."values",
    failures = counts_add(m.failures, excluded.failures), skipped = m.skipped + excluded.skipped,
    memory_peak = greatest(m.memory_peak, excluded.memory_peak),
    times = counts_add(m.times, excluded.times), verdicts = counts_add(m.verdicts, excluded.verdicts),
    changes = counts_add(m.changes, excluded.changes),
    samples = samples_add(m.samples, excluded.samples, 20), updated_at = now()
$$;

-- Adds an event, and forgets those of the tenant beyond the last 1,000.
create function plugin_event_add(p_tenant int4, p_kind text, p_name text, p_version text, p_digest text,
                                 p_message text)
returns void
language plpgsql security definer
set search_path = public, pg_temp
as $$
begin
  insert into plugin_events (tenant_id, kind, name, version, digest, message)
  values (p_tenant, p_kind, p_name, p_version, p_digest, left(p_message, 1000));
  delete from plugin_events
  where tenant_id = p_tenant
    and event_id <= (select e.event_id from plugin_events e where e.tenant_id = p_tenant
                     order by e.event_id desc offset 1000 limit 1);
end
$$;

-- The hot values of these entities, of these attributes, where there are any: one row each.
create function hot_previous(p_tenant int4, p_entities int8[], p_names text[])
returns table (entity_id int8, name text, value text, observed_at int8)
language sql stable security definer
set search_path = public, pg_temp
as $$
  select h.entity_id, n.name, (h.hot_attrs -> n.name)::text, (h.hot_times -> n.name)::int8
  from unnest(p_entities) as e (id)
  join entity_jsonb h on h.tenant_id = p_tenant and h.entity_id = e.id
  join unnest(p_names) as n (name) on h.hot_attrs ? n.name and h.hot_times ? n.name
$$;

-- Whether the version judged what names it. Not, where its tenant takes values that the
-- plugin failed on: those name a row of their own, whose settings_digest begins with
-- `unvalidated/`.
set local role eaves_owner;
alter table plugin_versions
  add column validated bool not null default true,
  add column version text not null default '';
set local role eaves_pipeline;

create function register_plugin_version(p_tenant int4, p_name text, p_digest text, p_settings_digest text,
                                        p_version text, p_validated bool)
returns int4
language plpgsql security definer
set search_path = public, pg_temp
as $$
declare
  v_id       int4;
  v_settings text := case when p_validated then '' else 'unvalidated/' end || p_settings_digest;
begin
  loop
    select plugin_id into v_id from plugin_versions
    where tenant_id = p_tenant and name = p_name and digest = p_digest and settings_digest = v_settings;
    exit when found;
    insert into plugin_versions (tenant_id, name, digest, settings_digest, version, validated)
    values (p_tenant, p_name, p_digest, v_settings, p_version, p_validated)
    on conflict (tenant_id, name, digest, settings_digest) do nothing
    returning plugin_id into v_id;
    exit when found;
  end loop;
  return v_id;
end
$$;

grant execute on function plugin_metrics_add(jsonb) to eaves_ingest, eaves_flush;
grant execute on function plugin_event_add(int4, text, text, text, text, text) to eaves_ingest, eaves_flush;
grant execute on function hot_previous(int4, int8[], text[]) to eaves_ingest, eaves_flush;
grant execute on function register_plugin_version(int4, text, text, text, text, bool) to eaves_ingest, eaves_flush;

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
