//! The API in process, against real databases (a primary and its replica) and a real
//! Redis, each on a free port of the loopback interface.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop at what it does not expect")]

mod attributes;
mod auth;
mod away;
mod budgets;
mod checker;
mod coherence;
mod described;
mod doubles;
mod entities;
mod entity;
mod export;
mod figures;
mod ground;
mod guards;
mod history;
mod hot;
mod hot_decided;
mod misses;
mod operators;
mod pipeline;
mod quarantine;
mod search;
mod series;
mod settings;
mod storms;
mod telemetry;
mod tokens;
mod world;

use ground::Ground;
use libtest_mimic::{Arguments, Trial};
use std::sync::Arc;
use tokio::sync::OnceCell;
use world::World;

macro_rules! cases {
    ($world:expr, $runtime:expr, $($module:ident :: $case:ident),* $(,)?) => {
        vec![$({
            let (world, runtime) = (Arc::clone(&$world), $runtime.handle().clone());
            Trial::test(concat!(stringify!($module), "::", stringify!($case)), move || {
                runtime.block_on($module::$case(&world));
                Ok(())
            })
        }),*]
    };
}

fn main() {
    let mut args = Arguments::from_args();
    // The last cases take servers away from all.
    args.test_threads = Some(1);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let world = Arc::new(runtime.block_on(World::start()));
    let mut cases = cases![
        world,
        runtime,
        auth::a_request_without_verified_claims_is_401,
        auth::the_tenant_comes_from_the_claims_alone,
        auth::scopes_are_kept_apart,
        auth::each_endpoint_wants_the_scope_that_its_description_names,
        auth::no_endpoint_shows_what_another_tenant_has,
        auth::unknown_routes_methods_and_names_are_problems,
        entity::values_come_back_with_all_their_digits,
        entity::the_headers_say_what_the_metadata_says,
        entity::an_eventual_read_fills_the_cache_and_is_answered_from_it,
        entity::two_tenants_with_the_same_names_never_mix,
        entities::a_list_is_stable_under_writes,
        entities::fields_are_selected_hot_or_not,
        entities::a_batch_answers_each_name,
        series::pages_of_several_attributes_cover_all_once,
        series::pages_keep_to_their_window_while_values_come,
        series::buckets_are_what_their_points_make,
        series::the_latest_values_before_a_time,
        figures::aggregates_are_what_the_values_make,
        figures::a_distribution_counts_every_value,
        figures::figures_keep_to_their_guards,
        history::a_strong_read_sees_what_is_not_flushed_yet,
        history::pages_cover_the_window_once,
        history::pages_keep_to_their_window_while_values_come,
        history::windows_are_checked,
        search::filters_find_what_they_describe,
        search::pages_and_fields,
        search::pages_move_nothing_while_values_come,
        search::what_cannot_be_searched_is_named,
        search::the_seeds_patterns,
        search::sorted_pages_keep_their_order,
        attributes::usage_is_told_by_attribute,
        attributes::a_list_has_pages_and_one_tenant,
        export::history_as_lines_and_tables,
        export::entities_as_lines_and_tables,
        export::figures_attributes_and_batches_as_lines_and_tables,
        export::large_answers_are_compressed_and_bounded,
        export::what_the_caller_has_is_not_sent_again,
        settings::an_attribute_is_described,
        settings::an_attribute_is_made_before_its_first_value,
        settings::a_tenant_sees_and_changes_its_own_settings,
        guards::windows_are_the_tenants_own,
        guards::what_would_cost_too_much_is_refused_before_it_is_run,
        guards::a_noisy_tenant_is_held_back_and_the_others_are_not,
        guards::values_sent_are_counted,
        guards::a_quota_of_the_day_holds_for_its_tenant_and_kind,
        guards::values_sent_are_counted_in_the_days_quota,
        operators::reads_across_tenants_are_noted_first,
        operators::who_is_no_operator_reads_nothing,
        operators::advice_names_what_is_worth_doing,
        hot::a_simulation_says_what_would_change_and_changes_nothing,
        hot::settings_out_of_range_are_refused,
        hot_decided::what_is_filling_is_hidden_until_it_is_filled,
        hot_decided::a_pin_is_set_kept_and_taken_away,
        hot_decided::who_may_not_and_what_is_wrong_is_told,
        telemetry::readings_go_to_the_stream_with_the_callers_tenant,
        telemetry::bad_readings_are_listed_with_their_place,
        telemetry::bad_bodies_are_refused,
        telemetry::what_the_stream_refuses_is_told,
        misses::ten_thousand_misses_on_one_key_are_one_read,
        misses::who_asks_for_more_shares_no_read,
        misses::what_is_asked_for_most_is_warmed,
        misses::an_entry_that_ages_is_read_anew_by_one_while_the_others_have_it,
        misses::what_the_cache_did_not_take_is_not_held,
        tokens::a_read_waits_for_what_its_token_names,
        tokens::a_source_that_lacks_it_is_not_asked,
        tokens::what_is_only_in_history_waits_for_the_flush,
        tokens::tokens_that_are_none_are_named,
        tokens::a_token_goes_on_with_the_next_write,
        quarantine::rows_are_listed_in_pages_and_shown,
        quarantine::a_redrive_puts_the_payload_with_its_frame,
        quarantine::many_are_redriven_by_a_filter,
        quarantine::a_dropped_row_keeps_its_trace_and_not_its_payload,
        quarantine::nobody_sees_or_moves_anothers_rows,
        described::the_description_is_complete,
        described::answers_are_as_described,
        described::freshness_shows_every_part,
        budgets::a_purpose_brings_its_budget_wherever_something_is_read,
        budgets::contradictions_are_refused_with_both_names,
        budgets::headers_for_caches_and_clocks,
        budgets::lag_moves_while_nothing_is_written,
        away::a_paused_replica_is_left_for_the_primary,
        away::a_stopped_replica_is_left_alone_until_it_answers,
        away::servers_that_say_nothing_cost_a_bounded_time,
        away::a_table_that_somebody_holds_is_a_504,
        coherence::no_interleaving_makes_the_cache_lie,
        misses::an_entry_that_ages_is_the_answer_where_nothing_fresher_is,
        away::redis_away_costs_nothing_but_time,
        away::with_the_primary_away_strong_is_503_and_eventual_tells_the_truth,
    ];
    // Servers of their own, which these cases make lag, fill up and promote: in this order.
    let ground: Arc<OnceCell<Arc<Ground>>> = Arc::default();
    macro_rules! on_ground {
        ($($module:ident :: $case:ident),* $(,)?) => {
            vec![$({
                let (ground, runtime) = (Arc::clone(&ground), runtime.handle().clone());
                Trial::test(concat!(stringify!($module), "::", stringify!($case)), move || {
                    runtime.block_on(async {
                        let ground = ground.get_or_init(async || Arc::new(Ground::start().await)).await;
                        $module::$case(ground).await;
                    });
                    Ok(())
                })
            }),*]
        };
    }
    cases.extend(on_ground![
        storms::replicas_a_minute_behind_are_left_told_and_taken_back,
        storms::what_is_too_much_is_told_to_come_back,
        storms::with_all_connections_in_use_replicas_answer_and_strong_reads_wait,
        checker::no_answer_is_older_than_it_says,
    ]);
    let conclusion = libtest_mimic::run(&args, cases);
    if let Some(ground) = Arc::into_inner(ground).and_then(OnceCell::into_inner).and_then(Arc::into_inner) {
        runtime.block_on(ground.stop());
    }
    match Arc::try_unwrap(world) {
        Ok(world) => runtime.block_on(world.stop()),
        // A case that panicked keeps its share; the servers still end with this process.
        Err(_) => eprintln!("a failed case holds on to the servers"),
    }
    conclusion.exit();
}
