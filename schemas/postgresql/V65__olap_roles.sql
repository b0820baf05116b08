-- Who carries history to object storage: eaves_olap logs in, and may call a few functions; what needs
-- the right to replicate is done by functions of eaves_replication, which nobody logs in as.
-- (A role with that right could copy the whole server over a replication connection.)
--
-- Like V1 it makes roles, and so needs a superuser (on RDS: rds_superuser) once.
do $$
declare
  -- RDS has no superuser to give the attribute; there a role is a member of this one instead.
  v_managed bool := exists (select from pg_roles where rolname = 'rds_replication');
begin
  if not exists (select from pg_roles where rolname = 'eaves_olap') then
    begin
      create role eaves_olap login;
    exception
      -- Another database of the same server is being migrated at the same time.
      when duplicate_object or unique_violation then null;
    end;
  end if;
  if not exists (select from pg_roles where rolname = 'eaves_replication') then
    begin
      execute 'create role eaves_replication nologin' || case when v_managed then '' else ' replication' end;
    exception
      when duplicate_object or unique_violation then null;
    end;
  end if;
  if v_managed and not pg_has_role('eaves_replication', 'rds_replication', 'member') then
    execute 'grant rds_replication to eaves_replication';
  end if;
exception
  when insufficient_privilege then
    raise exception 'the roles eaves_olap and eaves_replication cannot be made by %', current_user
      using hint = 'Run this migration once as a superuser (on RDS: a member of rds_superuser).';
end
$$;

do $$
declare
  v_member text;
begin
  foreach v_member in array array['eaves_migrate', current_user::text] loop
    if not exists (select from pg_auth_members
                   where roleid = 'eaves_replication'::regrole and member = v_member::regrole) then
      begin
        execute format('grant eaves_replication to %I', v_member);
      exception
        when unique_violation or internal_error then null;
      end;
    end if;
  end loop;
  execute format('grant connect on database %I to eaves_olap', current_database());
  -- Making a publication needs it; taken back below.
  execute format('grant create on database %I to eaves_owner', current_database());
end
$$;

grant usage on schema public to eaves_olap, eaves_replication;
alter default privileges for role eaves_replication revoke execute on functions from public;

-- What is decoded: history and nothing else, its partitions as one table. Staging is UNLOGGED and
-- never in the log. Dropped partitions are told by olap_note_partitions (V66).
set local role eaves_owner;
create publication eaves_olap for table entity_values_ts
  with (publish = 'insert, update, delete', publish_via_partition_root = true);

set local role none;
do $$
begin
  execute format('revoke create on database %I from eaves_owner', current_database());
end
$$;
