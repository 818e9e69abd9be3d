//! Every fuzz target on stable: with the committed corpus, and with random bytes from a printed seed.

use std::path::Path;

use mpt_fuzz::rng::{Rng, test_seed};
use mpt_fuzz::target::{self, Target};

#[test]
fn every_file_of_the_corpus_passes_its_target() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for Target { name, run } in target::ALL {
        let mut files = 0;
        for entry in std::fs::read_dir(corpus.join(name)).expect("each target has a corpus") {
            let file = entry.unwrap().path();
            println!("{}", file.display());
            run(&std::fs::read(&file).unwrap());
            files += 1;
        }
        assert!(files >= 2, "the corpus of {name} is all but empty");
    }
}

/// Runs a target with random bytes.
fn run_at_random(name: &str, runs: usize, longest: usize) {
    let Target { run, .. } =
        target::ALL.into_iter().find(|target| target.name == name).expect("a target of this name");
    let mut rng = Rng::new(test_seed(80));
    for _ in 0..runs {
        let len = rng.index(longest);
        run(&rng.bytes(len));
    }
}

#[test]
fn codecs_parse_anything_and_emit_what_they_parse() {
    for name in ["gre", "control", "fragment", "ip", "extension"] {
        run_at_random(name, 20_000, 80);
    }
}

#[test]
fn the_weighted_schedule_is_the_drafts_vector_whatever_the_weights_and_sets() {
    run_at_random("weighted", 300, 300);
}

#[test]
fn the_reorder_buffer_does_what_its_oracle_does() {
    run_at_random("reorder", 1500, 1000);
}

#[test]
fn reassembly_does_what_its_oracle_does() {
    run_at_random("reassembly", 2000, 1000);
}

#[test]
fn a_connection_bears_whatever_the_network_and_its_caller_do() {
    run_at_random("connection", 500, 2000);
}

#[test]
fn many_connections_in_an_endpoint_do_what_sorted_sets_do() {
    run_at_random("endpoint", 400, 4000);
}

#[test]
fn a_large_packet_is_cut_as_by_definition_and_one_that_lies_does_no_harm() {
    run_at_random("split", 500, 300);
}

#[test]
fn what_is_joined_is_what_came_when_it_is_cut_again() {
    run_at_random("coalesce", 250, 400);
}

#[test]
fn what_is_sliced_comes_together_again_but_for_what_is_lost() {
    run_at_random("slice", 150, 300);
}

#[test]
fn an_adaptive_connection_bears_whatever_the_network_its_peer_and_its_caller_do() {
    run_at_random("adaptive", 300, 2000);
}

#[test]
fn what_is_restored_does_what_the_original_does_under_every_policy() {
    let seed = test_seed(81);
    for policy in mpt_proto::Policy::ALL {
        let compared = target::compare(*policy, seed, 8000);
        assert!(compared.calls > 20_000, "{policy:?}: {compared:?}");
    }
}

#[test]
fn a_state_that_was_damaged_or_made_up_is_refused_or_borne() {
    run_at_random("state", 300, 60);
}

#[test]
fn a_handshake_datagram_that_is_not_authentic_changes_nothing() {
    run_at_random("handshake_datagram", 150, 400);
}

#[test]
fn what_is_sealed_comes_out_once_and_nothing_else_does() {
    run_at_random("sealed_datagram", 500, 300);
}

#[test]
fn two_sealers_bear_whatever_the_network_and_their_callers_do() {
    run_at_random("sealer", 300, 600);
}
