//! Runs the scenarios, and prints what was said beside what is true.

use std::{collections::BTreeMap, process::ExitCode};

use serde_json::json;

use crate::{
    attribution::{self, Attributed},
    doctor::{self, Said},
    picture, runbook,
    score::{Score, score},
    set::{self, Scenario},
    stage::Side,
};

/// What was asked for.
#[derive(Debug, Default)]
pub(crate) struct Options {
    pub(crate) quick: bool,
    pub(crate) json: bool,
    pub(crate) why: bool,
    pub(crate) table: bool,
    pub(crate) picture: bool,
    pub(crate) names: Vec<String>,
}

/// What came of one.
struct Outcome {
    scenario: &'static Scenario,
    doctor: Score,
    runbook: Score,
    exit: bool,
    sick: Said,
    well: Said,
    said_runbook: [Option<&'static str>; 2],
    logs: Attributed,
}

/// Runs them; 0 if the doctor was right about all.
pub(crate) fn run(options: &Options) -> ExitCode {
    let chosen = |it: &&Scenario| {
        let named = options.names.is_empty()
            || options
                .names
                .iter()
                .any(|name| it.name.starts_with(name.as_str()));
        named && (!options.quick || it.quick)
    };
    if options.picture {
        let Some(scenario) = set::all().into_iter().find(chosen) else {
            return none(options);
        };
        print!("{}", picture::draw(scenario));
        return ExitCode::SUCCESS;
    }
    let mut outcomes = Vec::new();
    for scenario in set::all().into_iter().filter(chosen) {
        let outcome = play(scenario);
        if options.json {
            println!("{}", line(&outcome));
        } else if !options.table {
            print(&outcome, options.why);
        }
        outcomes.push(outcome);
    }
    if outcomes.is_empty() {
        return none(options);
    }
    if options.table {
        table(&outcomes);
    } else if !options.json {
        summary(&outcomes);
    }
    let right = outcomes
        .iter()
        .all(|it| it.doctor.fault && it.doctor.twin && it.exit && it.logs.wrong.is_empty());
    ExitCode::from(u8::from(!right))
}

/// Says that no scenario is left, and which there are.
fn none(options: &Options) -> ExitCode {
    let all = set::all().into_iter();
    let known: Vec<_> = all
        .filter(|it| !options.quick || it.quick)
        .map(|it| it.name)
        .collect();
    eprintln!(
        "scenarios: no scenario's name begins with `{}`; known are {}",
        options.names.join("` or `"),
        known.join(" ")
    );
    ExitCode::from(64)
}

fn play(scenario: &'static Scenario) -> Outcome {
    let ask = |side| {
        let stage = (scenario.set_up)(side);
        let said = doctor::ask(&stage);
        let runbook = runbook::ask(&stage);
        (said, runbook, attribution::of(scenario, &stage))
    };
    let (well, runbook_well, _) = ask(Side::Well);
    let (sick, runbook_sick, logs) = ask(Side::Sick);
    // Silent is: no finding, and the exit code that says so.
    let twin = well.id.as_deref().or((well.exit != 0).then_some("(exit)"));
    Outcome {
        scenario,
        doctor: score(scenario, sick.id.as_deref(), twin),
        runbook: score(scenario, runbook_sick, runbook_well),
        exit: scenario.exit.contains(&sick.exit),
        sick,
        well,
        said_runbook: [runbook_sick, runbook_well],
        logs,
    }
}

fn line(outcome: &Outcome) -> serde_json::Value {
    json!({
        "scenario": outcome.scenario.name,
        "is": outcome.scenario.is,
        "must_say": outcome.scenario.says,
        "must_exit": outcome.scenario.exit,
        "said": outcome.sick.id,
        "confidence": outcome.sick.confidence,
        "exit": outcome.sick.exit,
        "findings": outcome.sick.findings,
        "seconds": outcome.sick.took.as_secs_f64(),
        "twin_said": outcome.well.id,
        "twin_exit": outcome.well.exit,
        "right": outcome.doctor.fault,
        "exit_right": outcome.exit,
        "twin_silent": outcome.doctor.twin,
        "runbook_said": outcome.said_runbook[0],
        "runbook_twin_said": outcome.said_runbook[1],
        "runbook_right": outcome.runbook.fault,
        "runbook_twin_silent": outcome.runbook.twin,
        "log_failed": outcome.logs.failed,
        "log_wrong": outcome.logs.wrong,
    })
}

fn print(outcome: &Outcome, why: bool) {
    let mark = |good: bool| if good { "ok" } else { "NO" };
    println!(
        "{:<30} {} {:<26} exit {:>2} {}  twin {} {:<18} {:>4.1} s   runbook {} {}",
        outcome.scenario.name,
        mark(outcome.doctor.fault),
        outcome.sick.id.as_deref().unwrap_or("-"),
        outcome.sick.exit,
        mark(outcome.exit),
        mark(outcome.doctor.twin),
        outcome.well.id.as_deref().unwrap_or("-"),
        outcome.sick.took.as_secs_f64(),
        mark(outcome.runbook.fault && outcome.runbook.twin),
        outcome.said_runbook[0].unwrap_or("-"),
    );
    for wrong in &outcome.logs.wrong {
        println!("    of its log, not true: {wrong}");
    }
    let wrong = !outcome.doctor.fault || !outcome.exit;
    if why && wrong {
        println!("{:#}", outcome.sick.report);
    }
    if why && !outcome.doctor.twin {
        println!("twin: {:#}", outcome.well.report);
    }
}

fn summary(outcomes: &[Outcome]) {
    let count = |right: &dyn Fn(&Outcome) -> bool| outcomes.iter().filter(|it| right(it)).count();
    let all = outcomes.len();
    println!();
    println!("{:<32}{:>8}{:>10}", "", "doctor", "runbook");
    println!(
        "{:<32}{:>8}{:>10}",
        "first finding right",
        format!("{}/{all}", count(&|it| it.doctor.fault)),
        format!("{}/{all}", count(&|it| it.runbook.fault))
    );
    println!(
        "{:<32}{:>8}{:>10}",
        "silent on the twin",
        format!("{}/{all}", count(&|it| it.doctor.twin)),
        format!("{}/{all}", count(&|it| it.runbook.twin))
    );
    println!(
        "{:<32}{:>8}{:>10}",
        "exit code right",
        format!("{}/{all}", count(&|it| it.exit)),
        "-"
    );
    let logged = count(&|it| it.logs.failed > 0);
    println!(
        "{:<32}{:>8}{:>10}",
        "every line of its log right",
        format!(
            "{}/{logged}",
            count(&|it| it.logs.failed > 0 && it.logs.wrong.is_empty())
        ),
        "-"
    );
    let mut confused: BTreeMap<(&str, String), usize> = BTreeMap::new();
    for outcome in outcomes.iter().filter(|it| !it.doctor.fault) {
        let truth = outcome
            .scenario
            .says
            .first()
            .copied()
            .unwrap_or("(nothing)");
        let said = outcome
            .sick
            .id
            .clone()
            .unwrap_or_else(|| "(nothing)".into());
        *confused.entry((truth, said)).or_default() += 1;
    }
    if !confused.is_empty() {
        println!("\n{:<28}said instead", "true");
        for ((truth, said), count) in confused {
            println!("{truth:<28}{said} ({count})");
        }
    }
}

/// For docs/scenarios.md.
fn table(outcomes: &[Outcome]) {
    println!(
        "| scenario | what is set up | true | the doctor said | exit | on the twin | the runbook said |"
    );
    println!("|---|---|---|---|---|---|---|");
    let wrong = |good: bool| if good { "" } else { " ✗" };
    for it in outcomes {
        let truth: Vec<String> = it
            .scenario
            .says
            .iter()
            .map(|it| format!("`{it}`"))
            .collect();
        println!(
            "| {} | {} | {} | {}{} | {}{} | {}{} | {}{} |",
            it.scenario.name,
            it.scenario.is,
            if truth.is_empty() {
                "nothing".into()
            } else {
                truth.join(" or ")
            },
            it.sick.id.as_deref().unwrap_or("nothing"),
            wrong(it.doctor.fault),
            it.sick.exit,
            wrong(it.exit),
            it.well.id.as_deref().unwrap_or("nothing"),
            wrong(it.doctor.twin),
            it.said_runbook[0].unwrap_or("nothing"),
            wrong(it.runbook.fault && it.runbook.twin),
        );
    }
    let count = |right: &dyn Fn(&Outcome) -> bool| outcomes.iter().filter(|it| right(it)).count();
    println!(
        "\nOf {}: first finding right {}, silent on the twin {}, exit code right {}; the runbook's commands {} and {}.",
        outcomes.len(),
        count(&|it| it.doctor.fault),
        count(&|it| it.doctor.twin),
        count(&|it| it.exit),
        count(&|it| it.runbook.fault),
        count(&|it| it.runbook.twin),
    );
}
