//! Steadfast and its peers, side by side in one run: [`overhead`] is what a request costs,
//! [`traps`] in which situations a circuit breaker misbehaves, [`rollouts::command`] what restarts
//! under load lose, [`overload`] what a limiter makes of too much of it, [`harm`] what the guard of a
//! pool makes worse than the bare pool, [`pool`] what it costs, [`truth`] what it says of a dependency that fails, [`serve`] what
//! serving costs beside `axum::serve`, [`page`] whether the operator's page is there when it is needed,
//! [`soak`] what a million requests and peers that mean harm leave behind.

mod answering;
mod callgrind;
mod child;
mod clock;
mod congestion;
mod harm;
mod overhead;
mod overload;
mod page;
mod pool;
mod rows;
mod serve;
mod soak;
mod stack;
mod timing;
mod traps;
mod truth;
mod usage;

use std::process::ExitCode;

use rows::Row;
use usage::usage;

fn main() -> ExitCode {
    let all: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = all.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [name, options @ ..] if usage::is_asked_for(name, options) => {
            println!("{}", usage(Some(name)));
            ExitCode::SUCCESS
        }
        ["overhead", options @ ..] => only_json("overhead", options, overhead::command),
        ["traps", options @ ..] => only_json("traps", options, traps::command),
        ["rollouts", options @ ..] => {
            rollouts::command::run(options).unwrap_or_else(|fault| wrong(&fault))
        }
        ["overload", options @ ..] => overload::main(options),
        ["overload-server", peer, backend, place] => overload::server(peer, backend, place),
        ["overload-client", address, act] => overload::client(address, act),
        ["harm", options @ ..] => harm::main(options),
        ["harm-server", side, address, url] => harm::serve(side, address, url),
        ["truth", options @ ..] => truth::main(options),
        ["page", options @ ..] => quick_and_json("page", options, page::main),
        ["page-server", what @ ..] => page::serve(what),
        ["pool", options @ ..] => quick_and_json("pool", options, pool::main),
        ["pool-asks", way, side, url, calls] => pool::child(way, side, url, calls),
        ["serve", options @ ..] => serve::main(options),
        ["serve-server", subject, workers, cores, machine] => {
            serve::server(subject, workers, cores, machine)
        }
        ["soak", options @ ..] => soak::main(options),
        ["soak-server"] => soak::server(),
        // What callgrind runs: one row, a fixed number of calls.
        ["row", name, calls] => match (Row::named(name), calls.parse()) {
            (Some(row), Ok(calls)) => {
                timing::run(row, calls);
                ExitCode::SUCCESS
            }
            _ => wrong(&format!("no row `{name}`, or no number of calls `{calls}`")),
        },
        // What `rollouts` starts: one server.
        [rollouts::command::SUBJECT, ..] => rollouts::subject::main(&all[1..]),
        ["-h" | "--help" | "help"] => {
            println!("{}", usage(None));
            ExitCode::SUCCESS
        }
        [] => wrong(&format!("no benchmark is named\n{}", usage(None))),
        [name, ..] => wrong(&format!("no benchmark is called `{name}`\n{}", usage(None))),
    }
}

/// Runs a benchmark that may be told one thing: whether to write JSON.
fn only_json(name: &str, options: &[&str], command: fn(bool) -> ExitCode) -> ExitCode {
    match options.iter().find(|it| **it != "--json") {
        None => command(!options.is_empty()),
        Some(other) => wrong(&format!("unknown option `{other}`\n{}", usage(Some(name)))),
    }
}

/// Runs a benchmark that may be told two things: whether to be quick, and whether to write JSON.
fn quick_and_json(name: &str, options: &[&str], command: fn(bool, bool) -> ExitCode) -> ExitCode {
    match usage::quick_and_json(name, options) {
        Ok((is_quick, as_json)) => command(is_quick, as_json),
        Err(fault) => wrong(&fault),
    }
}

fn wrong(fault: &str) -> ExitCode {
    eprintln!("{fault}");
    ExitCode::from(64)
}
