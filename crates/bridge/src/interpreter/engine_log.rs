//! What the engine has to say, as records of the Python logger `headgate.engine`.

use std::fmt::{Debug, Write as _};

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Sends the engine's messages to Python from now on. Once is enough.
pub(crate) fn attach() {
    // a second call changes nothing, which is what is wanted of it
    let _ = tracing::subscriber::set_global_default(PythonLog);
}

struct PythonLog;

impl Subscriber for PythonLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && metadata.target().starts_with("headgate") && *metadata.level() <= Level::DEBUG
    }

    fn event(&self, event: &Event<'_>) {
        Python::attach(|py| {
            let mut fields = Fields {
                message: String::new(),
                others: PyDict::new(py),
            };
            event.record(&mut fields);
            if let Err(error) = log(py, *event.metadata().level(), &fields) {
                error.write_unraisable(py, None);
            }
        });
    }

    // spans are not used
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

fn log(py: Python<'_>, level: Level, fields: &Fields<'_>) -> PyResult<()> {
    let level = match level {
        Level::ERROR => 40,
        Level::WARN => 30,
        Level::INFO => 20,
        _ => 10,
    };
    let logger = py
        .import(intern!(py, "logging"))?
        .call_method1(intern!(py, "getLogger"), ("headgate.engine",))?;
    let options = PyDict::new(py);
    options.set_item("extra", &fields.others)?;
    // `%s`: what peers send must not be read as a format
    logger.call_method("log", (level, "%s", &fields.message), Some(&options))?;
    Ok(())
}

struct Fields<'py> {
    message: String,
    others: Bound<'py, PyDict>,
}

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message.push_str(value);
        } else {
            let _ = self.others.set_item(field.name(), value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            let _ = write!(self.message, "{value:?}");
        } else {
            let _ = self.others.set_item(field.name(), format!("{value:?}"));
        }
    }
}
