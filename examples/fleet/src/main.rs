//! Starts the fleet, makes trouble, and shows what Prometheus answers.

use std::{env, process::ExitCode};

use fleet::{Answers, Fleet, Story, Trouble};

/// What is asked: panels of the dashboard.
const ASKED: [&str; 4] = [
    "Refusing now",
    "One or all, by cause",
    "Down now",
    "Out of rotation",
];

const USAGE: &str = "\
usage: fleet         start three shops and who watches them, make trouble, show the answers
       fleet stay    start them, and stay until Ctrl-C";

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let stays = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => false,
        ["stay"] => true,
        ["-h" | "--help" | "help"] => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        ref wrong => {
            eprintln!("fleet: no such command: {}\n\n{USAGE}", wrong.join(" "));
            return ExitCode::from(64);
        }
    };
    if let Some(missing) = Fleet::missing() {
        eprintln!("fleet: {missing}");
        return ExitCode::FAILURE;
    }
    let Some(shop) = shop() else {
        eprintln!("fleet: the shop is not there; build it: cargo build -p shop");
        return ExitCode::FAILURE;
    };
    println!("starting PostgreSQL, three shops, HAProxy and Prometheus");
    let story = Story::begin(Fleet::start(&shop).await);
    let fleet = story.fleet();
    for instance in fleet.instances() {
        println!("  an instance     {}", instance.page());
    }
    println!("  Prometheus      {}", fleet.prometheus_url());
    if stays {
        println!("end with Ctrl-C");
        let _ = tokio::signal::ctrl_c().await;
        return ExitCode::SUCCESS;
    }
    tokio::select! {
        () = tell(story) => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    ExitCode::SUCCESS
}

async fn tell(mut story: Story) {
    for (trouble, says) in [
        (Trouble::None, "all is well".to_owned()),
        (
            Trouble::PausedDatabase,
            format!(
                "the database of {} is paused",
                story.victim(Trouble::PausedDatabase)
            ),
        ),
        (Trouble::Overload, "all have too much to do".to_owned()),
        (
            Trouble::Drain,
            format!("{} is drained", story.victim(Trouble::Drain)),
        ),
    ] {
        println!("\n{says}");
        let _ = story.make(trouble).await;
        for panel in ASKED {
            println!("  {panel}: {}", told(&story.panel(panel).await));
        }
        story.end(trouble).await;
    }
}

/// Answers in one line.
fn told(answers: &Answers) -> String {
    let mut lines: Vec<_> = answers
        .iter()
        .map(|sample| {
            let labels =
                ["instance", "cause", "dependency", "class", "phase"].map(|it| sample.label(it));
            let labels: Vec<_> = labels.into_iter().filter(|it| !it.is_empty()).collect();
            match sample.moment() {
                Some(moment) => format!("{} since {moment}", labels.join(" ")),
                None => format!("{} = {}", labels.join(" "), sample.rounded()),
            }
        })
        .collect();
    lines.sort();
    match lines.is_empty() {
        true => "nothing".to_owned(),
        false => lines.join("; "),
    }
}

/// The program of the shop, which lies beside this one; cargo builds it if it runs this.
fn shop() -> Option<String> {
    if let Some(cargo) = env::var_os("CARGO") {
        let mut build = std::process::Command::new(cargo);
        let _ = build
            .args(["build", "--quiet", "--package", "shop"])
            .status();
    }
    let program = env::current_exe().ok()?.with_file_name("shop");
    program
        .is_file()
        .then(|| program.to_str().map(str::to_owned))?
}
