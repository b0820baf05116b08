-- Reads across tenants, for support and investigations. Row-level security stays on: the role
-- eaves_superadmin has rights to views and functions only, and each read needs a ticket.
--
-- A ticket is a row of admin_reads: who reads what of which tenant, and why. It must have been
-- committed before it is used, so that no rollback takes back the note of a read that was made;
-- and where it cannot be written, nothing can be read. It is good for one kind of read and for
-- five minutes.
set local role eaves_owner;

create table admin_reads (
  read_id    uuid primary key default gen_random_uuid(),
  opened_at  timestamptz not null default clock_timestamp(),
  opened_by  xid8 not null default pg_current_xact_id(),
  -- The person, as the token or the command line names them, and the database's role.
  who        text not null check (char_length(who) between 1 and 200),
  role_name  text not null default session_user,
  what       text not null check (what in ('entities', 'attributes', 'advice')),
  -- Null: of all tenants.
  tenant_id  int4 references tenants,
  reason     text not null check (char_length(btrim(reason)) between 8 and 500)
);
-- Serves the foreign key and "who looked at this tenant's data?".
create index admin_reads_tenant on admin_reads (tenant_id, opened_at);

alter table admin_reads enable row level security;
alter table admin_reads force row level security;
create policy pipeline on admin_reads to eaves_pipeline using (true) with check (true);
create policy operator on admin_reads for select to eaves_admin using (true);
-- A tenant sees who looked at its data, and why.
create policy tenant_isolation on admin_reads for select to eaves_query
  using (tenant_id = (select nullif(current_setting('app.current_tenant_id', true), '')::int4));
-- Nobody can change or delete a note.
grant select, insert on admin_reads to eaves_pipeline;
grant select on admin_reads to eaves_admin, eaves_query;

grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

-- Notes a read that is about to be made; returns its ticket. Commit before you use it. An unknown
-- tenant is an error (EV007), since it would leave a note of nothing.
create function superadmin_open(p_who text, p_what text, p_tenant text, p_reason text) returns uuid
language plpgsql security definer
set search_path = public, pg_temp
as $$
declare
  v_tenant int4;
  v_read   uuid;
begin
  if p_tenant is not null then
    select t.tenant_id into v_tenant from tenants t where t.name = p_tenant;
    if v_tenant is null then
      raise exception 'no such tenant' using errcode = 'EV007', detail = left(p_tenant, 80);
    end if;
  end if;
  insert into admin_reads (who, what, tenant_id, reason)
  values (p_who, p_what, v_tenant, p_reason)
  returning read_id into v_read;
  return v_read;
end
$$;

-- The tenants that the ticket in app.superadmin_ticket is for. Without a good one: EV008.
create function superadmin_scope(p_what text) returns setof int4
language plpgsql stable security definer
set search_path = public, pg_temp
as $$
declare
  v_ticket text := nullif(current_setting('app.superadmin_ticket', true), '');
  v_read   admin_reads%rowtype;
begin
  begin
    select * into v_read from admin_reads r where r.read_id = v_ticket::uuid;
  exception when invalid_text_representation then null;
  end;
  if v_read.read_id is null or v_read.what <> p_what or v_read.role_name <> session_user
     or v_read.opened_at < clock_timestamp() - interval '5 minutes' then
    raise exception 'a read across tenants needs a ticket: superadmin_open()'
      using errcode = 'EV008', detail = 'ticket';
  end if;
  -- Its note has to outlive this transaction.
  if pg_current_xact_id_if_assigned() is not distinct from v_read.opened_by then
    raise exception 'the ticket is not committed yet' using errcode = 'EV008', detail = 'ticket';
  end if;
  return query select t.tenant_id from tenants t where v_read.tenant_id is null or t.tenant_id = v_read.tenant_id;
end
$$;

-- Views run with their owner's rights, whom row policies let pass; the scope decides what they show.
create view superadmin_entities with (security_barrier) as
select t.name as tenant, e.tenant_id, e.entity_id, e.external_id, e.entity_type, e.created_at,
       coalesce(h.version, 0) as version, coalesce(h.hot_attrs, '{}') as hot_attrs,
       coalesce(h.hot_times, '{}') as hot_times
from superadmin_scope('entities') s (tenant_id)
join tenants t on t.tenant_id = s.tenant_id
join entities e on e.tenant_id = s.tenant_id
left join entity_jsonb h on h.tenant_id = e.tenant_id and h.entity_id = e.entity_id;

create view superadmin_attributes with (security_barrier) as
select t.name as tenant, a.tenant_id, a.attribute_id, a.attribute_name, a.value_type, a.unit, a.description,
       a.is_hot, a.created_at
from superadmin_scope('attributes') s (tenant_id)
join tenants t on t.tenant_id = s.tenant_id
join attributes a on a.tenant_id = s.tenant_id;

revoke all on superadmin_entities, superadmin_attributes from public;
grant select on superadmin_entities, superadmin_attributes to eaves_superadmin;
grant execute on function superadmin_open(text, text, text, text) to eaves_superadmin, eaves_admin;
grant execute on function superadmin_scope(text) to eaves_superadmin;

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
