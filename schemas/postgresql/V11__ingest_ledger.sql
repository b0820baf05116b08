-- What became of everything that was sent: sent = accepted + rejected + quarantined
-- (+ duplicate deliveries). Counts values for accepted and rejected, records for
-- quarantined and duplicate.
set local role eaves_owner;

create table ingest_ledger (
  minute    timestamptz not null,
  -- 0 = no tenant that exists.
  tenant_id int4 not null,
  stream    text not null,
  shard     text not null,
  outcome   text not null check (outcome in ('accepted', 'rejected', 'quarantined', 'duplicate')),
  reason    text not null,
  count     int8 not null,
  primary key (minute, tenant_id, stream, shard, outcome, reason)
) with (fillfactor = 50);

-- Serves a tenant's own counts over time.
create index ingest_ledger_tenant on ingest_ledger (tenant_id, minute);

alter table ingest_ledger enable row level security;
alter table ingest_ledger force row level security;
create policy tenant_isolation on ingest_ledger for select to eaves_query
  using (tenant_id = (select nullif(current_setting('app.current_tenant_id', true), '')::int4));
create policy pipeline on ingest_ledger to eaves_pipeline using (true) with check (true);
create policy operator on ingest_ledger for select to eaves_admin using (true);

grant select on ingest_ledger to eaves_query, eaves_admin;
grant select, insert, update on ingest_ledger to eaves_pipeline;
