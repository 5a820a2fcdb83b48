//! Every race of a shutdown, for ours: nothing that was sent is lost, every process ends by
//! itself, and its report names what it had to cut.

use std::path::PathBuf;

use rollouts::{
    backend::Program,
    races::{Race, Seen},
    subject::Kind,
};

fn drive(race: Race) -> Seen {
    let program = Program {
        path: PathBuf::from(env!("CARGO_BIN_EXE_rollouts")),
        arguments: Vec::new(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("a process may have threads");
    let seen = runtime.block_on(race.drive(Kind::Ours, &program, true));
    assert!(seen.passes(), "{}: {seen:?}", race.name());
    seen
}

/// Everything is served and the process is content.
fn loses_nothing(race: Race) {
    let seen = drive(race);
    assert_eq!(seen.ended.status, Some(0), "{seen:?}");
    assert_eq!(seen.ended.report["cut_total"], 0, "{seen:?}");
}

/// What never ends is cut, counted under its reason, and told by the exit status.
fn cuts(race: Race, reason: &str) {
    let seen = drive(race);
    assert_eq!(seen.ended.report["cut"][reason], 1, "{seen:?}");
    assert_eq!(seen.ended.report["stuck"][0], reason, "{seen:?}");
    // A half-sent head is nobody's work.
    let status = if reason == "handshake" { 0 } else { 75 };
    assert_eq!(seen.ended.status, Some(status), "{seen:?}");
}

#[test]
fn who_connects_in_the_lame_duck_is_served() {
    loses_nothing(Race::ConnectAfter);
}

#[test]
fn who_waits_in_the_accept_queue_is_served() {
    loses_nothing(Race::AcceptQueue);
}

#[test]
fn a_kept_connection_is_served_in_the_lame_duck() {
    loses_nothing(Race::IdleReuse);
}

#[test]
fn a_request_in_the_kernel_s_buffer_is_served() {
    loses_nothing(Race::InKernelBuffer);
}

#[test]
fn a_fresh_connection_has_time_for_its_first_request() {
    loses_nothing(Race::Fresh);
}

#[test]
fn an_http2_connection_in_its_handshake_is_served() {
    loses_nothing(Race::Http2Handshake);
}

#[test]
fn an_answer_survives_bytes_that_are_never_read() {
    drive(Race::Pipelined);
}

#[test]
fn an_answer_before_the_end_of_an_upload_arrives() {
    loses_nothing(Race::EarlyAnswer);
}

#[test]
fn half_a_head_is_cut() {
    cuts(Race::HalfHeader, "handshake");
}

#[test]
fn half_a_body_is_cut() {
    cuts(Race::HalfBody, "request-body");
}

#[test]
fn an_endless_stream_of_events_is_ended_properly() {
    loses_nothing(Race::Events);
}

#[test]
fn a_web_socket_is_closed_with_1001() {
    loses_nothing(Race::WebSocket);
}

#[test]
fn half_a_preface_does_not_keep_the_process() {
    drive(Race::SilentPreface);
}

#[test]
fn a_ping_without_an_answer_does_not_keep_the_process() {
    loses_nothing(Race::NoPingAck);
}

#[test]
fn a_client_that_never_reads_is_cut() {
    cuts(Race::NeverReads, "body");
}

#[test]
fn an_idle_connection_is_closed_in_order() {
    loses_nothing(Race::Idle);
}

#[test]
fn ten_thousand_idle_connections_are_closed_in_order() {
    loses_nothing(Race::IdleMany);
}

#[test]
fn an_endless_handler_is_cut() {
    cuts(Race::EndlessHandler, "handler");
}
