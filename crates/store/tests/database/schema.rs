//! Rules over the whole schema, so that a table or function added later cannot miss them.

use crate::support::{Server, Suite, connect, refused, text};
use std::sync::Arc;

pub fn add(suite: &mut Suite) {
    suite.test("schema::tenant_tables_have_row_security", tenant_tables_have_row_security);
    suite.test("schema::foreign_keys_have_an_index", foreign_keys_have_an_index);
    suite.test("schema::tenant_keys_contain_the_tenant", tenant_keys_contain_the_tenant);
    suite.test("schema::definer_functions_are_pinned", definer_functions_are_pinned);
    suite.test("schema::public_has_no_rights", public_has_no_rights);
    suite.test("schema::roles_have_their_rights_and_no_more", roles_have_their_rights_and_no_more);
    suite.test("schema::partitions_cannot_be_read", partitions_cannot_be_read);
}

async fn tenant_tables_have_row_security(server: Arc<Server>) {
    let db = server.database().await;
    // Partitions are covered by the next query; the leaves of staging have no policy,
    // since COPY is refused under one, and are closed by rights (see below).
    let open = db
        .one(
            "select c.relname from pg_class c
             join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped
             where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
               and c.relname !~ '^entity_values_ingest_[01]$'
               and not (c.relrowsecurity and c.relforcerowsecurity)",
        )
        .await;
    assert_eq!(open, "");
    let open = db
        .one(
            "select c.relname from pg_class c where c.relispartition and c.relkind in ('r', 'p')
             and c.relnamespace = 'public'::regnamespace and not c.relrowsecurity",
        )
        .await;
    assert_eq!(open, "");
    // After a transaction that had set it, the setting is '' and not null.
    let careless = db
        .one("select tablename from pg_policies where qual ~ 'current_setting' and qual !~* 'nullif'")
        .await;
    assert_eq!(careless, "");
}

async fn foreign_keys_have_an_index(server: Arc<Server>) {
    let db = server.database().await;
    let missing = db
        .one(
            "select k.conrelid::regclass || ' ' || k.conname from pg_constraint k
             where k.contype = 'f' and k.connamespace = 'public'::regnamespace and not exists (
               select from pg_index i where i.indrelid = k.conrelid
               and (i.indkey::int2[])[0:cardinality(k.conkey) - 1] @> k.conkey)",
        )
        .await;
    assert_eq!(missing, "");
}

/// A unique index without the tenant would tell one tenant what another has.
async fn tenant_keys_contain_the_tenant(server: Arc<Server>) {
    let db = server.database().await;
    let leaking = db
        .one(
            "select i.indexrelid::regclass from pg_index i
             join pg_class c on c.oid = i.indrelid and c.relnamespace = 'public'::regnamespace
             join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id'
             where i.indisunique and not a.attnum = any (i.indkey::int2[])
               -- Keys made by the database itself tell nothing; quarantine's other key is
               -- the position in the stream; tenants' names are not secret.
               and i.indexrelid::regclass::text not in
                 ('tenants_name_key', 'admin_reads_pkey', 'attributes_pkey', 'plugin_versions_pkey', 'plugin_events_pkey', 'quarantine_pkey',
                  'quarantine_stream_shard_sequence_sub_item_key')",
        )
        .await;
    assert_eq!(leaking, "");
}

async fn definer_functions_are_pinned(server: Arc<Server>) {
    let db = server.database().await;
    let loose = db
        .one(
            "select p.oid::regprocedure from pg_proc p
             where p.pronamespace = 'public'::regnamespace and p.prosecdef
               and not coalesce('search_path=public, pg_temp' = any (p.proconfig), false)",
        )
        .await;
    assert_eq!(loose, "");
    // A definer function runs with its owner's rights: never a superuser's.
    let owners = db
        .one(
            "select distinct pg_get_userbyid(p.proowner) from pg_proc p
             where p.pronamespace = 'public'::regnamespace and p.prosecdef order by 1",
        )
        .await;
    assert_eq!(owners, "eaves_owner\neaves_pipeline\neaves_replication");
    let power = db
        .one("select rolname from pg_roles where rolname ~ '^eaves_' and (rolsuper or rolbypassrls or rolcreaterole or rolcreatedb)")
        .await;
    assert_eq!(power, "");
    // Whoever may replicate could copy the whole server: nobody logs in as that.
    let replicating = db
        .one("select rolname, rolcanlogin from pg_roles where rolname ~ '^eaves_' and rolreplication")
        .await;
    assert_eq!(replicating, "eaves_replication|f");
}

async fn public_has_no_rights(server: Arc<Server>) {
    let db = server.database().await;
    let granted = db
        .one(
            "select 'relation ' || c.oid::regclass from pg_class c, aclexplode(c.relacl) g
             where g.grantee = 0 and c.relnamespace in ('public'::regnamespace, 'partman'::regnamespace)
             union all
             select 'function ' || p.oid::regprocedure from pg_proc p,
               aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) g
             where g.grantee = 0 and p.pronamespace = 'public'::regnamespace
             union all
             select 'schema ' || n.nspname from pg_namespace n, aclexplode(n.nspacl) g
             where g.grantee = 0 and n.nspname in ('public', 'partman', 'monitoring')",
        )
        .await;
    assert_eq!(granted, "");
    // A copy of a database does not inherit its rights, so the original is asked.
    let of_database = "select has_database_privilege('eaves_query', d.oid, 'temporary'), count(*)
                       from pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) g
                       where d.datname = 'template_eaves' and g.grantee = 0 group by d.oid";
    assert_eq!(db.one(of_database).await, "");
}

async fn roles_have_their_rights_and_no_more(server: Arc<Server>) {
    let db = server.database().await;
    let rights = db
        .one(
            "select g.grantee::regrole || ' ' || string_agg(distinct lower(g.privilege_type) || ' ' ||
               regexp_replace(c.relname, '_[01]$', '_N'), ', ' order by lower(g.privilege_type) || ' ' ||
               regexp_replace(c.relname, '_[01]$', '_N'))
             from pg_class c, aclexplode(c.relacl) g
             where c.relnamespace = 'public'::regnamespace and g.grantee <> c.relowner
               and g.grantee::regrole::text <> 'eaves_pipeline' and g.grantee <> 0
             group by g.grantee::regrole::text, g.grantee order by g.grantee::regrole::text",
        )
        .await;
    let expected = "eaves_admin select admin_reads, select flush_checkpoints, select flush_state, select ingest_checkpoints, \
         select ingest_ledger, select olap_epochs, select olap_files, select outages, select plugin_events, select plugin_metrics, select quarantine, select replays, \
         select replication_heartbeat, select stream_losses, select tenants\n\
         eaves_flush insert entity_values_ingest_N, select staging_slot\n\
         eaves_ingest insert entity_values_ingest_N, select staging_slot\n\
         eaves_query select admin_reads, select attribute_sketches, select attribute_statistics, select attribute_statistics_state, \
         select attributes, select entities, select entity_attribute_stats, select entity_jsonb, \
         select entity_value_corrections, select entity_values_ts, select flush_state, select hot_changes, select hot_decisions, select hot_runs, select ingest_ledger, select plugin_events, select plugin_metrics, select plugin_versions, \
         select quarantine, select replication_heartbeat, select tenants\n\
         eaves_replication select olap_epochs\n\
         eaves_superadmin select superadmin_attributes, select superadmin_entities";
    assert_eq!(rights, expected);

    // Who may call what. The pipeline's own helpers are nobody's.
    let calls = db
        .one(
            "select g.grantee::regrole || ' ' || string_agg(p.proname, ', ' order by p.proname)
             from pg_proc p, aclexplode(p.proacl) g
             where p.pronamespace = 'public'::regnamespace and g.grantee <> p.proowner
               and g.grantee::regrole::text not in ('eaves_owner', 'eaves_pipeline')
             group by g.grantee::regrole::text, g.grantee order by g.grantee::regrole::text",
        )
        .await;
    let of = |role: &str| calls.lines().find(|l| l.starts_with(role)).unwrap_or_default().to_owned();
    assert_eq!(
        of("eaves_ingest"),
        "eaves_ingest corrections_add, held_points, hot_previous, ingest_begin, ingest_begun, ingest_end_replay, \
         ingest_finish, ingest_rewind, ingest_tenants, longest_outage, loss_note, plugin_event_add, \
         plugin_metrics_add, points_forget, \
         quarantine_add, quarantine_replayed, redrive_check, redrive_settle, register_attributes, \
         register_entities, register_plugin, register_plugin_version, stale_shards, statistics_add_writes, \
         tenants_by_name, upsert_hot_attrs, \
         upsert_hot_batch"
    );
    assert_eq!(
        of("eaves_olap"),
        "eaves_olap olap_advance, olap_begin, olap_copied, olap_copy, olap_loaded, olap_note_partitions, olap_peek, \
         olap_plan, olap_slot_create, olap_state, olap_status"
    );
    for forbidden in [
        "register_",
        "upsert_",
        "ingest_",
        "stage_flush",
        "ledger_totals",
        "tenant_create",
        "tenant_set",
        "maintain",
    ] {
        assert!(!of("eaves_query").contains(forbidden), "{}", of("eaves_query"));
    }
    assert!(of("eaves_flush").contains("stage_flush") && !of("eaves_flush").contains("tenant_create"));
}

async fn partitions_cannot_be_read(server: Arc<Server>) {
    let db = server.database().await;
    // One that maintenance adds later is as closed as those of the first day.
    db.sql
        .batch_execute(
            "update partman.part_config set premake = premake + 2 where parent_table = 'public.entity_values_ts'",
        )
        .await
        .unwrap();
    let before: u32 = db
        .one("select count(*) from pg_inherits where inhparent = 'entity_values_ts'::regclass")
        .await
        .parse()
        .unwrap();
    let after = db.flusher().await.maintain_partitions().await.unwrap();
    assert!(after > before + 1, "{before} {after}");
    let names = db
        .one(
            "select inhrelid::regclass from pg_inherits where inhparent in
             ('entity_values_ts'::regclass, 'entity_jsonb'::regclass, 'entity_values_ingest'::regclass)",
        )
        .await;
    for login in
        ["eaves_query", "eaves_ingest", "eaves_flush", "eaves_olap", "eaves_admin", "eaves_superadmin"]
    {
        let client = connect(&db.role(login)).await;
        for name in names.lines() {
            assert_eq!(refused(&client, &format!("select from {name}")).await, "42501", "{login} {name}");
        }
    }
    let newest = text(&db.sql, "select c.relrowsecurity, c.reloptions from pg_class c where c.relname = (
        select max(inhrelid::regclass::text) from pg_inherits where inhparent = 'entity_values_ts'::regclass)").await;
    assert!(newest.starts_with("t|") && newest.contains("autovacuum_vacuum_scale_factor=0.1"), "{newest}");
}
