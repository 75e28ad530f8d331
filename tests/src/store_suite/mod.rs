//! What every store must do, as one async function per property, and a macro that makes tests of them.
//!
//! A property is given a [`Subject`]: a store that is empty at first and can be closed and opened again. The stores
//! and the in-memory [model](crate::store_model) are judged by the same text.

pub mod accepting;
pub mod aging;
pub mod auditing;
pub mod cluster;
pub mod configuration;
pub mod fixture;
pub mod keeping;
pub mod listing;
pub mod scheduling;
pub mod settling;
pub mod words;

use async_trait::async_trait;
use waxseal_sender::store::Store;

/// A store under test.
#[async_trait]
pub trait Subject: Send + Sync {
    /// The store as it is now.
    fn store(&self) -> &dyn Store;

    /// Closes it and opens what it kept.
    async fn reopen(&mut self);
}

/// Makes one test of each property: `store_suite!(subject)` where `subject()` is a future of a new [`Subject`].
#[macro_export]
macro_rules! store_suite {
    ($subject:path) => {
        $crate::store_suite!(@ $subject: accepting {
            what_is_accepted_can_be_read
            an_event_without_deliveries_is_kept
            payloads_that_are_not_there_are_left_out
            a_repetition_is_answered_with_the_first_event
            other_content_under_the_same_key_is_a_conflict
            a_key_is_forgotten_when_it_expires
            a_stored_event_can_be_redelivered
            an_unknown_event_cannot_be_redelivered
            redeliveries_and_their_changes_are_one_write
        });
        $crate::store_suite!(@ $subject: scheduling {
            due_deliveries_come_in_order_and_in_pages
            what_is_due_later_is_not_due
            deliveries_come_in_the_order_of_their_ids_too
            endpoints_with_work_are_found_with_their_next_due_time
            a_long_backlog_is_one_endpoint_with_work
            the_backlog_is_counted
            what_has_run_out_is_found_and_nothing_else
            work_and_what_has_run_out_are_found_by_shards
            what_a_clock_dated_that_was_set_back_is_dated_anew
        });
        $crate::store_suite!(@ $subject: settling {
            a_final_settlement_ends_the_delivery
            a_delivery_is_tried_again_when_it_was_said
            a_stale_settlement_writes_nothing
            only_one_of_two_equal_settlements_is_recorded
            changes_are_written_with_their_settlement
            a_delivery_can_end_without_an_attempt
            a_delivery_can_be_moved_without_an_attempt
            nonsense_is_refused
            cancelling_ends_what_is_live_and_nothing_else
            failures_are_counted_by_window
        });
        $crate::store_suite!(@ $subject: listing {
            every_filter_finds_what_matches
            every_filter_can_be_paged
            attempts_come_back_as_recorded
            what_is_unknown_is_not_found
        });
        $crate::store_suite!(@ $subject: aging {
            old_contents_go_and_the_rest_stays
            what_a_live_delivery_needs_stays_whatever_its_age
            records_go_as_a_whole_when_all_of_it_is_old
            a_walk_in_small_slices_finds_all
            whose_an_endpoint_was_is_forgotten_with_its_last_record
            nothing_is_delivered_again_without_content
            a_repetition_is_known_after_the_content_has_gone
        });
        $crate::store_suite!(@ $subject: auditing {
            entries_are_found_by_what_they_say
            an_entry_is_written_with_its_change_or_not_at_all
            the_oldest_entries_are_forgotten
        });
        $crate::store_suite!(@ $subject: keeping {
            records_are_written_over_and_removed
            the_ring_is_kept_by_compare_and_set
            of_two_savers_of_the_ring_one_wins
            the_first_data_key_stays
            a_data_key_is_destroyed_alone
            keys_are_rewrapped_together
            everything_is_there_after_reopening
        });
    };
    (@ $subject:path: $module:ident { $($property:ident)* }) => {
        mod $module {
            $(
                #[tokio::test]
                async fn $property() {
                    $crate::store_suite::$module::$property($subject().await).await;
                }
            )*
        }
    };
}
