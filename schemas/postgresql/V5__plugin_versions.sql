-- Plugin versions as history rows name them: which code with which settings let a
-- value pass. The code itself is in the registry.
set local role eaves_owner;

create table plugin_versions (
  plugin_id       int4 generated always as identity primary key,
  tenant_id       int4 not null references tenants,
  name            text not null check (char_length(name) between 1 and 255),
  digest          text not null check (char_length(digest) between 1 and 128),
  settings_digest text not null check (char_length(settings_digest) <= 128),
  created_at      timestamptz not null default now(),
  -- Serves registration when ingest first uses a version.
  unique (tenant_id, name, digest, settings_digest)
);

alter table plugin_versions enable row level security;
alter table plugin_versions force row level security;
create policy tenant_isolation on plugin_versions for select to eaves_query
  using (tenant_id = (select nullif(current_setting('app.current_tenant_id', true), '')::int4));
create policy pipeline on plugin_versions to eaves_pipeline using (true) with check (true);

grant select on plugin_versions to eaves_query;
grant select, insert on plugin_versions to eaves_pipeline;
