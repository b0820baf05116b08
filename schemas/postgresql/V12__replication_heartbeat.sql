-- Written by the flush loop every 200 ms; its age on a replica is the replica's lag.
set local role eaves_owner;

create table replication_heartbeat (
  id       int2 primary key check (id = 1),
  beat_at  timestamptz not null,
  sequence int8 not null
) with (fillfactor = 50);
insert into replication_heartbeat values (1, now(), 0);

grant select, update on replication_heartbeat to eaves_pipeline;
grant select on replication_heartbeat to eaves_query, eaves_admin;
