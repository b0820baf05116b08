//! The platform's scenarios: real binaries, real PostgreSQL, Redis and Kinesis protocol.
//!
//! One platform serves all of them, each with entities of its own. It is stopped at the
//! end whatever happens, and what it left running is looked for.

mod authoring;
mod authorizer;
mod cli;
mod events;
mod hot;
mod ingest;
mod instance;
mod large;
mod plugin_backtest;
mod plugin_bomb;
mod plugin_engine;
mod plugin_faults;
mod plugin_files;
mod plugin_life;
mod plugin_limits;
mod plugin_many;
mod plugin_policy;
mod plugin_process;
mod plugin_shadow;
mod plugin_sweep;
mod plugin_upload;
mod plugins;
mod points;
mod quarantine;
mod query;
mod recovery;
mod tokens;
mod traces;
mod world;

use libtest_mimic::{Arguments, Conclusion, Failed, Trial};
use std::process::ExitCode;
use std::sync::Arc;
use tokio::runtime::Runtime;
use world::World;

macro_rules! scenarios {
    ($runtime:ident, $world:ident: $($module:ident::$name:ident),* $(,)?) => {
        vec![$({
            let (runtime, world) = ($runtime.clone(), $world.clone());
            Trial::test(concat!(stringify!($module), "::", stringify!($name)), move || {
                runtime.block_on($module::$name(&world)).map_err(|e| Failed::from(format!("{e:?}")))
            })
        }),*]
    };
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    if arguments.list {
        // Listing must not start a platform; names only.
        return ExitCode::SUCCESS;
    }
    // Two cores run the platform itself; more scenarios at once only wait for each other.
    arguments.test_threads.get_or_insert(4);
    match run(&arguments) {
        Ok(conclusion) => conclusion.exit_code(),
        Err(e) => {
            eprintln!("the platform did not start or stop: {e:?}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<Conclusion> {
    let runtime = Arc::new(Runtime::new()?);
    let world = Arc::new(runtime.block_on(World::start())?);
    let shared = scenarios!(runtime, world:
        events::every_recorded_event_is_answered,
        authorizer::keys_of_each_kind_come_and_go,
        authorizer::made_up_keys_do_not_flood_the_issuer,
        authorizer::an_issuer_that_is_away_locks_nobody_out_at_once,
        authorizer::keys_come_over_tls_from_a_server_that_is_trusted,
        authorizer::a_request_with_an_es256_token_reaches_query,
        ingest::records_come_back_to_their_tenant_only,
        ingest::values_keep_their_type_and_digits,
        ingest::every_wrapping_is_taken_apart,
        ingest::rubbish_is_put_aside_with_a_reason_and_the_shard_goes_on,
        ingest::a_point_sent_twice_is_one_point,
        ingest::a_late_value_does_not_overwrite_a_newer_one,
        ingest::a_strict_tenant_takes_only_what_is_registered,
        hot::what_is_asked_for_becomes_hot,
        hot::a_tenants_plugin_decides_and_a_pin_holds,
        hot::a_plugin_that_fails_costs_its_own_tenant_only,
        plugins::rules_reject_and_convert_for_their_tenant_only,
        plugins::a_derived_attribute_is_hot_and_in_history,
        plugin_life::from_upload_to_rollback,
        plugin_life::a_change_holds_everywhere_after_two_seconds,
        plugin_life::two_tenants_have_plugins_of_one_name,
        plugin_life::a_poisoned_reading_is_treated_by_policy,
        plugin_life::a_failing_version_gives_way_to_the_last_good_one,
        plugin_life::a_previous_value_is_seen,
        plugin_life::a_plugin_without_end_costs_its_own_tenant_only,
        plugin_engine::an_artefact_of_another_engine_is_compiled_anew,
        plugin_limits::the_operator_sets_them,
        plugin_limits::memory_over_a_tenants_limit_costs_that_tenant,
        plugin_limits::time_over_a_tenants_limit_is_not_given,
        plugin_policy::only_what_a_publisher_signed_is_taken,
        plugin_policy::earlier_settings_come_back_by_their_number,
        plugin_upload::a_form_and_base64_are_taken,
        plugin_upload::a_large_component_goes_through_the_bucket,
        plugin_upload::requests_are_counted_with_all_others,
        plugin_upload::a_quota_is_one_for_all_functions,
        plugin_sweep::another_tenants_names_and_ids_find_nothing,
        plugin_backtest::a_cancelled_one_stops,
        plugin_backtest::a_tenant_has_two_at_once_over_all_its_plugins,
        plugin_backtest::the_rate_is_kept,
        plugin_backtest::previous_values_come_from_history,
        plugin_backtest::a_reading_refused_in_part_is_judged_whole,
        authoring::a_plugin_in_rust_goes_all_the_way,
        authoring::a_plugin_in_c_goes_all_the_way,
        authoring::a_plugin_in_assemblyscript_goes_all_the_way,
        authoring::a_plugin_in_typescript_goes_all_the_way,
        authoring::the_standard_plugin_needs_no_code,
        points::a_rejecting_tenant_keeps_the_first_value,
        points::a_correcting_tenant_shows_both_values,
        points::late_and_future_values_get_their_action,
        query::an_answer_tells_how_fresh_it_is,
        query::a_search_finds_what_it_should,
        query::readings_can_be_written_over_http,
        query::bad_requests_are_problems_that_name_the_field,
        query::nobody_reads_without_a_token,
        tokens::a_read_has_what_was_just_written,
        tokens::the_command_line_hands_it_on,
        quarantine::an_unknown_tenants_readings_come_back_once_it_exists,
        quarantine::a_made_up_redrive_is_put_aside,
        cli::a_file_is_sent_and_asked_for,
        cli::an_export_is_whole,
        cli::bad_lines_are_told_by_line_and_field,
        cli::a_csv_with_mapped_columns_is_sent,
        cli::who_asks_for_advice_is_noted,
    );
    let mut conclusion = libtest_mimic::run(arguments, shared);
    // These change what others rely on: a plugin's settings, the ledger.
    let last = scenarios!(runtime, world:
        // They hold up ingest, and the cache.
        tokens::what_is_not_there_yet_is_told,
        tokens::a_silent_redis_only_costs_time,
        large::a_record_of_many_values_is_taken_in_parts,
        quarantine::a_tenant_redrives_its_own_over_http,
        quarantine::the_audit_adds_up_and_tells_when_it_does_not,
        // What they hand to an instance of their own is in no stream.
        traces::a_reading_is_followed_from_the_request_to_the_row,
        traces::a_collector_that_is_away_stops_nothing,
        plugin_faults::each_kind_of_harm_is_treated_by_each_policy,
        plugin_faults::without_a_last_good_version_the_policy_decides,
        plugin_files::a_changed_artefact_is_not_executed,
        plugin_files::a_changed_shadow_only_does_not_look_on,
        plugin_process::the_process_for_plugins_holds_nothing,
        plugin_process::without_a_filter_ingest_says_so_and_goes_on,
        plugin_shadow::a_hostile_shadow_costs_a_few_batches_and_nobody_else,
        plugin_shadow::what_is_derived_is_compared,
        // It has a processor for itself.
        plugin_bomb::a_bomb_is_refused_and_ingest_goes_on,
        plugin_many::two_hundred_plugins_fit_into_one_instance,
    );
    arguments.clone_into_one_thread(|a| add(&mut conclusion, libtest_mimic::run(a, last)));
    // These crash the database or a function: nobody else may be under way.
    let alone = scenarios!(runtime, world:
        plugin_backtest::a_killed_worker_is_replaced_and_the_figures_are_the_same,
        plugin_life::a_replay_names_the_version_that_decided,
        recovery::a_killed_backend_loses_nothing_and_doubles_nothing,
        recovery::an_idle_shard_is_replayed_without_a_delivery,
        recovery::a_range_can_be_read_again_by_hand,
        recovery::records_that_are_gone_for_good_are_told,
    );
    arguments.clone_into_one_thread(|a| add(&mut conclusion, libtest_mimic::run(a, alone)));
    let world =
        Arc::into_inner(world).ok_or_else(|| anyhow::anyhow!("a scenario still holds the platform"))?;
    runtime.block_on(world.stop())?;
    Ok(conclusion)
}

fn add(sum: &mut Conclusion, other: Conclusion) {
    sum.num_passed += other.num_passed;
    sum.num_failed += other.num_failed;
    sum.num_ignored += other.num_ignored;
    sum.num_filtered_out += other.num_filtered_out;
}

trait OneThread {
    fn clone_into_one_thread(&self, run: impl FnOnce(&Arguments));
}

impl OneThread for Arguments {
    fn clone_into_one_thread(&self, run: impl FnOnce(&Arguments)) {
        let mut one = self.clone();
        one.test_threads = Some(1);
        run(&one);
    }
}
