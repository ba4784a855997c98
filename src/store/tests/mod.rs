//! Claims about every engine. An engine's tests say how to start it, and run them all.

pub(in crate::store) mod counts;
pub(in crate::store) mod feed;
pub(in crate::store) mod keeping;
pub(in crate::store) mod lists;
pub(in crate::store) mod records;

use jiff::{SignedDuration, Timestamp};

use super::TokenStore;
use crate::token::TokenId;

/// An engine under test: empty when it starts, gone when it is dropped.
pub(in crate::store) trait Engine: Sized {
    /// What it is a store of.
    type Store: TokenStore;

    fn start() -> Self;

    /// The gate that most claims are about.
    fn store(&self) -> &Self::Store;

    /// Another gate on the same data, with connections of its own.
    fn another_gate(&self) -> Self::Store;

    /// Makes the policy of a stored record something that no version writes.
    fn damage_policy(&self, id: TokenId);
}

/// The moment at which the claims play.
pub(in crate::store) fn now() -> Timestamp {
    at_ms(1_800_000_000_000)
}

pub(in crate::store) fn at_ms(milliseconds: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_millis(milliseconds)
}

/// Runs the named claims against an engine.
macro_rules! claims {
    ($engine:ty: $($family:ident { $($claim:ident),* $(,)? })*) => {
        $($(
            #[tokio::test]
            async fn $claim() {
                $crate::store::tests::$family::$claim(&<$engine>::start()).await;
            }
        )*)*
    };
}

/// Runs every claim there is. A claim is added here and is then owed by every engine.
macro_rules! whole_contract {
    ($engine:ty) => {
        $crate::store::tests::claims! { $engine:
            keeping {
                record_comes_back_as_it_went_in,
                times_come_back_to_the_millisecond,
                created_record_is_seen_by_another_gate_at_once,
                unknown_token_is_none,
                expired_record_is_there_until_it_is_swept,
                taken_id_is_refused_and_the_record_stays,
                deleted_record_is_gone_everywhere,
                deletion_is_seen_by_another_gate_at_once,
                deleting_again_is_already_gone,
                deleting_anothers_is_not_yours_and_changes_nothing,
                deleting_anothers_deleted_token_is_not_yours,
                deleting_what_was_swept_is_already_gone,
                one_of_many_deleters_deletes,
                unreadable_record_is_an_error_and_not_none,
                unreadable_record_can_be_deleted_and_swept,
                host_is_bound_while_a_token_lives,
                host_is_bound_by_any_of_the_three,
                sweep_takes_what_has_expired_and_nothing_else,
                sweep_goes_in_small_steps,
                sweep_takes_agents_along,
            }
            lists {
                list_is_newest_first,
                pages_before_an_id_join_into_the_whole_list,
                pages_join_into_the_whole_list,
                page_past_the_end_is_empty,
                empty_page_tells_whether_something_follows,
                list_names_only_the_accounts_own,
                list_names_only_live_tokens,
                list_names_only_tokens_of_the_agent,
                list_names_only_tokens_of_the_keys,
                filtered_pages_join_into_the_whole_list,
                new_token_leaves_the_pages_behind_it_in_order,
            }
            feed {
                end_of_an_empty_feed_can_be_asked_from,
                end_of_the_feed_skips_what_was_before,
                deletion_is_in_the_feed_of_every_gate,
                failed_deletions_are_not_in_the_feed,
                same_cursor_gives_the_same_deletions,
                feed_misses_nothing_of_concurrent_deleters,
                long_feed_comes_in_bounded_pages,
                cursor_of_another_history_is_a_gap,
                deletion_outlives_its_token_in_the_feed,
                pruned_feed_never_goes_backwards,
                cursor_older_than_what_was_pruned_misses_nothing_that_matters,
                feed_is_pruned_in_small_steps,
            }
            counts {
                unused_token_has_no_counts,
                counts_of_all_gates_add_up,
                last_use_never_goes_back,
                counts_of_what_does_not_exist_are_dropped,
                deletion_takes_counts_along,
                sweep_takes_counts_along,
                many_counts_at_once_are_each_kept,
            }
        }
    };
}

pub(in crate::store) use {claims, whole_contract};
