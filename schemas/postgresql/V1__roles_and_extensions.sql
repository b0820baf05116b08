-- Roles, extensions and default rights. Needs a superuser (on RDS: rds_superuser);
-- every later migration also runs as eaves_migrate.
--
-- Roles belong to the whole server, so this file must do no harm where they exist.
-- Passwords are set outside the migrations.
do $$
declare
  v_role record;
begin
  for v_role in
    select * from (values
      ('eaves_owner', false),    -- owns schema and tables
      ('eaves_pipeline', false), -- owns the security definer functions; row policies let it pass
      ('eaves_migrate', true),   -- runs migrations
      ('eaves_ingest', true),    -- ingest function: INSERT into staging, functions
      ('eaves_flush', true),     -- flush and maintain functions
      ('eaves_query', true),     -- query function: reads one tenant at a time
      ('eaves_admin', true)      -- operator: tenants, health, counts across tenants
    ) as r (name, can_login)
  loop
    if not exists (select from pg_roles where rolname = v_role.name) then
      begin
        execute format('create role %I %s', v_role.name,
                       case when v_role.can_login then 'login' else 'nologin' end);
      exception
        -- Another database of the same server is being migrated at the same time.
        when duplicate_object or unique_violation then null;
      end;
    end if;
  end loop;
end
$$;

do $$
declare
  v_pair record;
begin
  for v_pair in
    select granted, member
    from (values
      ('eaves_owner', 'eaves_migrate'),
      ('eaves_pipeline', 'eaves_migrate'),
      -- A managed server has no true superuser: whoever runs this needs both.
      ('eaves_owner', current_user::text),
      ('eaves_pipeline', current_user::text),
      -- pg_stat_replication and other sessions, for health_check().
      ('pg_read_all_stats', 'eaves_pipeline')
    ) as p (granted, member)
    where not exists (
      select from pg_auth_members m
      where m.roleid = p.granted::regrole and m.member = p.member::regrole
    )
  loop
    begin
      execute format('grant %I to %I', v_pair.granted, v_pair.member);
    exception
      when unique_violation or internal_error then null;
    end;
  end loop;
end
$$;

do $$
begin
  execute format('revoke all on database %I from public', current_database());
  execute format('grant connect on database %I to eaves_migrate, eaves_ingest, eaves_flush, eaves_query, eaves_admin',
                 current_database());
  -- For pg_partman's maintenance, and for refreshing a materialized view concurrently.
  execute format('grant temporary on database %I to eaves_owner, eaves_pipeline', current_database());
end
$$;

revoke all on schema public from public;
grant usage, create on schema public to eaves_owner with grant option;
grant usage on schema public to eaves_pipeline, eaves_ingest, eaves_flush, eaves_query, eaves_admin;

-- What is created later belongs to its owner alone until it is granted: this also
-- covers the partitions that pg_partman will add.
alter default privileges for role eaves_owner revoke all on tables from public;
alter default privileges for role eaves_owner revoke execute on functions from public;
alter default privileges for role eaves_pipeline revoke execute on functions from public;

create schema if not exists partman;
revoke all on schema partman from public;
create extension if not exists pg_partman with schema partman;
grant usage, create on schema partman to eaves_owner;
grant all on all tables in schema partman to eaves_owner;
grant all on all sequences in schema partman to eaves_owner;
grant execute on all functions in schema partman to eaves_owner;
grant execute on all procedures in schema partman to eaves_owner;

create schema if not exists monitoring;
revoke all on schema monitoring from public;
create extension if not exists pg_stat_statements with schema monitoring;
grant usage on schema monitoring to eaves_admin;

-- The migrator's own list of what was applied.
alter table refinery_schema_history owner to eaves_owner;
