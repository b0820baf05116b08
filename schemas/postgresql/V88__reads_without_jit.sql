-- Reads are not compiled: PostgreSQL does so beyond an estimated cost that figures over a day are above, which took 11
-- to 50 ms of 60 to 80 and saved none of them.
set local role eaves_owner;
grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

-- As in V79, with jit off for the transaction.
create or replace function read_begins(p_tenant int4, p_limit_ms int4,
                            out hot_age_us int8, out history_age_us int8, out at_us int8,
                            out in_recovery bool, out recovering bool)
language plpgsql volatile parallel restricted
as $$
declare
  v_tenant   text := set_config('app.current_tenant_id', coalesce(p_tenant::text, ''), true);
  v_limit    text := set_config('statement_timeout', p_limit_ms::text, true);
  v_jit      text := set_config('jit', 'off', true);
  v_complete timestamptz;
  v_history  timestamptz;
  v_now      timestamptz;
begin
  in_recovery := pg_is_in_recovery();
  recovering := not in_recovery and staging_recovering();
  -- Two statements: a join of two tables of one row costs more than both.
  select h.complete_at into v_complete from replication_heartbeat h;
  select f.history_as_of into v_history from flush_state f;
  v_now := clock_timestamp();
  at_us := extract(epoch from v_now) * 1000000;
  hot_age_us := extract(epoch from v_now - v_complete) * 1000000;
  -- Nothing was flushed yet: three centuries, more than any bound.
  history_age_us := case when v_history = '-infinity' then 9000000000000000
                         else extract(epoch from v_now - v_history) * 1000000 end;
end
$$;

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
