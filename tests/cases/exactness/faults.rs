//! The checker finds wrong answers: of each fault that a build of the server can have
//! (`weir_core::fault`), and of the same build without a fault none.

use super::plan::Plan;
use super::run::{run, search};
use crate::harness::Program;

const ONE: &[&str] = &["docs"];
const TWO: &[&str] = &["alpha", "beta"];

/// Asserts that the fault is caught, under load on these collections.
async fn caught(fault: &'static str, collections: &[&str]) {
    let found = search(Program::Faulty(Some(fault)), collections).await;
    let after = found.unwrap_or_else(|| panic!("the fault {fault} was not caught"));
    println!("the fault {fault} was caught after {after:?} of load");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes and a build of its own: cargo xtask soak faults"]
async fn without_a_fault_nothing_is_wrong() {
    run(Program::Faulty(None), TWO, Plan::short()).await.assert_none();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes and a build of its own: cargo xtask soak faults"]
async fn a_page_that_reads_the_newest_version_is_caught() {
    caught("page-reads-newest", ONE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes and a build of its own: cargo xtask soak faults"]
async fn a_roll_by_batch_is_caught() {
    caught("roll-by-batch", ONE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes and a build of its own: cargo xtask soak faults"]
async fn a_tag_that_moves_late_is_caught() {
    caught("tag-moved-late", ONE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes and a build of its own: cargo xtask soak faults"]
async fn a_snapshot_after_its_position_is_caught() {
    caught("snapshot-after-position", ONE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes and a build of its own: cargo xtask soak faults"]
async fn the_text_of_another_version_in_a_hit_is_caught() {
    caught("hit-text-of-another-version", TWO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes and a build of its own: cargo xtask soak faults"]
async fn trimming_too_early_is_caught() {
    caught("trimmed-too-early", ONE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes and a build of its own: cargo xtask soak faults"]
async fn a_hit_that_states_the_head_is_caught() {
    caught("hit-states-head", TWO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes and a build of its own: cargo xtask soak faults"]
async fn a_promotion_that_nobody_checks_is_caught() {
    caught("promotion-unchecked", ONE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes and a build of its own: cargo xtask soak faults"]
async fn a_run_that_is_never_done_again_is_caught() {
    caught("never-restarts", TWO).await;
}
