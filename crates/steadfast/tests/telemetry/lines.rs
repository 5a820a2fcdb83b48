//! A subscriber that keeps what is told.

use std::{
    fmt::Write,
    sync::{Arc, Mutex},
};

use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

/// One line: where it goes, how urgent it is, what it says, and its fields in order.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) target: &'static str,
    pub(crate) level: &'static str,
    pub(crate) says: String,
    pub(crate) fields: Vec<(&'static str, String)>,
}

impl Line {
    /// Returns a field, empty if it is not there.
    pub(crate) fn field(&self, name: &str) -> &str {
        let found = self.fields.iter().find(|(known, _)| *known == name);
        found.map_or("", |(_, value)| value)
    }
}

/// Keeps the lines of this library. Clones share.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<Line>>>);

impl Lines {
    /// Begins to keep what this thread tells.
    pub(crate) fn keep() -> (Self, tracing::subscriber::DefaultGuard) {
        let lines = Self::default();
        let guard = tracing::subscriber::set_default(lines.clone());
        (lines, guard)
    }

    pub(crate) fn all(&self) -> Vec<Line> {
        self.0.lock().expect("no panic").clone()
    }

    pub(crate) fn of(&self, target: &str) -> Vec<Line> {
        let all = self.all().into_iter();
        all.filter(|line| line.target == target).collect()
    }
}

impl Subscriber for Lines {
    fn enabled(&self, of: &Metadata<'_>) -> bool {
        of.target().starts_with("steadfast")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line {
            target: event.metadata().target(),
            level: event.metadata().level().as_str(),
            says: String::new(),
            fields: Vec::new(),
        };
        event.record(&mut line);
        self.0.lock().expect("no panic").push(line);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.says, "{value:?}");
        } else {
            self.fields.push((field.name(), format!("{value:?}")));
        }
    }

    /// As a program that writes lines shows it: as it is.
    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.push((field.name(), value.to_owned()));
    }
}
