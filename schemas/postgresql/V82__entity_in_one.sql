-- One entity in one statement. What every other read does in four (begin, read_begins(), the statement, commit)
-- costs more than the entity's row: each is answered by itself, and wakes both sides.
set local role eaves_owner;
grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

-- read_begins() and entity_by_name() (V79) together: a row in any case, whose entity_id is null if the tenant
-- calls nothing so. Runs as its caller, under row-level security, for the tenant that it is told, and leaves that
-- to no later statement: outside BEGIN and COMMIT the statement is a transaction of its own. It waits p_limit_ms
-- for each lock: a statement's timeout is read when it begins, and looking up a name and a row takes long only
-- where somebody else has the table.
create function read_entity(p_tenant int4, p_external_id text, p_limit_ms int4,
                            out hot_age_us int8, out history_age_us int8, out at_us int8,
                            out in_recovery bool, out recovering bool,
                            out entity_id int8, out external_id text, out entity_type text, out version int8,
                            out hot_attrs text, out hot_times text)
-- Volatile: each of its statements sees what was committed before it, how far the server is first.
language plpgsql volatile parallel restricted
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_tenant   text := set_config('app.current_tenant_id', p_tenant::text, true);
  v_limit    text := set_config('lock_timeout', p_limit_ms::text, true);
  v_complete timestamptz;
  v_history  timestamptz;
  v_now      timestamptz;
begin
  in_recovery := pg_is_in_recovery();
  recovering := not in_recovery and staging_recovering();
  select h.complete_at into v_complete from replication_heartbeat h;
  select f.history_as_of into v_history from flush_state f;
  v_now := clock_timestamp();
  at_us := extract(epoch from v_now) * 1000000;
  hot_age_us := extract(epoch from v_now - v_complete) * 1000000;
  history_age_us := case when v_history = '-infinity' then 9000000000000000
                         else extract(epoch from v_now - v_history) * 1000000 end;

  select e.entity_id, e.external_id, e.entity_type, coalesce(j.version, 0),
         coalesce(j.hot_attrs::text, '{}'), coalesce(j.hot_times::text, '{}')
  into read_entity.entity_id, read_entity.external_id, read_entity.entity_type, read_entity.version,
       read_entity.hot_attrs, read_entity.hot_times
  from entities e
  left join entity_jsonb j on j.tenant_id = e.tenant_id and j.entity_id = e.entity_id
  where e.tenant_id = p_tenant and e.external_id = p_external_id;
end
$$;
grant execute on function read_entity(int4, text, int4) to eaves_query;

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
