-- Loads one Parquet file of history. :file is its S3 path, :role the role of infra's output
-- `warehouse.load_role_arn`, :complete_to up to where history is complete with it.
--   psql -v ON_ERROR_STOP=1 -v file="'s3://…'" -v role="'arn:…'" -v complete_to="'2026-11-21T17:00Z'" -f load.sql
-- Loading a file again changes nothing: points that are there are replaced by themselves.
begin;

create temp table incoming (like eaves.entity_values);
copy incoming from :file iam_role :role format as parquet;

delete from eaves.entity_values using incoming
where eaves.entity_values.tenant_id = incoming.tenant_id
  and eaves.entity_values.entity_id = incoming.entity_id
  and eaves.entity_values.attribute_id = incoming.attribute_id
  and eaves.entity_values.observed_at = incoming.observed_at;
insert into eaves.entity_values select * from incoming;

insert into eaves.loaded_files (path, rows) select :file, count(*) from incoming;
delete from eaves.load_watermark where source = 'history';
insert into eaves.load_watermark (source, complete_to, loaded_at) values ('history', :complete_to, getdate());

commit;
