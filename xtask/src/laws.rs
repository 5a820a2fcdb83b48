//! The laws of ARCHITECTURE.md that a look at the source can keep.
//!
//! A lint sees one crate and one function; these rules see which crate a file belongs to.
//! Each rule is a row in a table or a small function, and each has a test that shows it
//! fail. A rule that turns out to be wrong is amended here, in the open, not worked round.

mod arrows;
mod files;
mod manifests;
mod source;
mod words;

use std::fmt;

pub(crate) use source::{Source, read as sources};

use crate::{
    step::{Failure, Step},
    workspace::Workspace,
};

/// One place where a law is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The file, and the line if there is one.
    place: String,
    /// What was found.
    found: String,
    /// What is allowed instead.
    rule: &'static str,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}\n    {}", self.place, self.found, self.rule)
    }
}

/// The laws as one step of a longer run.
pub(crate) fn step(workspace: &Workspace) -> Step<'_> {
    Step::new("laws", || report(workspace))
}

/// The laws as a command of their own.
pub(crate) fn report(workspace: &Workspace) -> Result<(), Failure> {
    tell(&check(workspace)?)
}

fn check(workspace: &Workspace) -> Result<Vec<Finding>, Failure> {
    let sources = source::read(workspace)?;
    let mut findings = manifests::check(workspace)?;
    for source in &sources {
        findings.extend(words::check(source));
        findings.extend(files::check(source));
    }
    findings.extend(arrows::check(&sources));
    println!(
        "{} files and {} packages read",
        sources.len(),
        workspace.packages.len()
    );
    Ok(findings)
}

fn tell(findings: &[Finding]) -> Result<(), Failure> {
    for finding in findings {
        println!("{finding}");
    }
    if findings.is_empty() {
        println!("every law holds");
        return Ok(());
    }
    Err(Failure::check(format!(
        "the laws are broken in {} place(s), named above\nfailed: cargo xtask laws",
        findings.len()
    )))
}
