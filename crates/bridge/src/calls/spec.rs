//! The table of hooks that travels beside a snapshot.

use std::rc::Rc;
use std::sync::Arc;

use headgate_engine::snapshot::{Flag, Phase, PhaseSpec, PHASES};
use headgate_engine::{Native, Objects};
use headgate_shared::series::Registry;
use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;

use crate::calls::hook_times::HookTimes;
use crate::event_loop::heartbeat::Beat;
use crate::memory::dictionary::Dictionary;
use crate::memory::passed::Passed;
use crate::memory::period::Period;
use crate::memory::tally::Tally;

/// One hook as Python describes it; any object with these attributes will do.
#[pyclass(frozen, get_all, module = "headgate._core")]
pub(crate) struct HookSpec {
    phase: String,
    function: Py<PyAny>,
    is_async: bool,
    deadline_ms: u64,
    on_error: String,
    name: String,
}

#[pymethods]
impl HookSpec {
    #[new]
    #[pyo3(signature = (*, phase, function, is_async, deadline_ms, on_error, name))]
    fn new(
        phase: String,
        function: Py<PyAny>,
        is_async: bool,
        deadline_ms: u64,
        on_error: String,
        name: String,
    ) -> PyResult<Self> {
        phase_named(&phase)?;
        OnError::from_name(&on_error)?;
        Ok(Self {
            phase,
            function,
            is_async,
            deadline_ms,
            on_error,
            name,
        })
    }

    fn __repr__(&self) -> String {
        format!("HookSpec(phase='{}', name='{}')", self.phase, self.name)
    }
}

/// What [`HookSpec`] says, read once.
///
/// Whether a hook is async is not asked for: a `def` that returns an awaitable is one too, so the result decides.
pub(crate) struct Hook {
    pub(crate) phase: Phase,
    pub(crate) function: Py<PyAny>,
    pub(crate) deadline_ms: u64,
    pub(crate) on_error: OnError,
    pub(crate) name: Rc<str>,
    pub(crate) times: HookTimes,
    pub(crate) beat: Arc<Beat>,
    /// What it does, where that can be done without calling it.
    pub(crate) native: Option<Native>,
}

impl Hook {
    pub(crate) fn read(
        spec: &Bound<'_, PyAny>,
        beat: &Arc<Beat>,
        registry: Option<&Registry>,
    ) -> PyResult<Self> {
        let function = spec.getattr("function")?;
        if !function.is_callable() {
            return Err(PyValueError::new_err(format!(
                "a hook's function is `{function}`, which cannot be called"
            )));
        }
        let phase = phase_named(&spec.getattr("phase")?.extract::<PyBackedStr>()?)?;
        let name = spec.getattr("name")?.extract::<PyBackedStr>()?;
        let times = HookTimes::default();
        if let Some(registry) = registry {
            let plugin = spec.getattr("plugin")?.extract::<Option<PyBackedStr>>()?;
            times.count_in(
                registry,
                phase.name(),
                &name,
                plugin.as_deref().unwrap_or_default(),
            );
        }
        let native = native_of(spec, phase)?;
        Ok(Self {
            phase,
            native,
            function: function.unbind(),
            deadline_ms: spec.getattr("deadline_ms")?.extract()?,
            on_error: OnError::from_name(&spec.getattr("on_error")?.extract::<PyBackedStr>()?)?,
            name: Rc::from(&*name),
            times,
            beat: Arc::clone(beat),
        })
    }
}

/// Native actions as Python tells them: JSON, and the dictionaries, memories of values, periods and tallies that it names
/// by position.
type Told<'py> = (
    PyBackedStr,
    Vec<Bound<'py, Dictionary>>,
    Vec<Bound<'py, Passed>>,
    Vec<Bound<'py, Period>>,
    Vec<Bound<'py, Tally>>,
);

/// Refuses native actions that are not valid, with `ValueError`.
#[pyfunction]
#[pyo3(signature = (phase, told, /))]
pub(crate) fn check_native(phase: &str, told: Told<'_>) -> PyResult<()> {
    read_native(phase_named(phase)?, told).map(drop)
}

fn native_of(spec: &Bound<'_, PyAny>, phase: Phase) -> PyResult<Option<Native>> {
    let Some(told) = spec.getattr_opt(intern!(spec.py(), "native"))? else {
        return Ok(None);
    };
    let told: Option<Told<'_>> = told.extract()?;
    told.map(|told| read_native(phase, told)).transpose()
}

fn read_native(phase: Phase, (text, dictionaries, passed, periods, tallies): Told<'_>) -> PyResult<Native> {
    let objects = Objects {
        dictionaries: dictionaries.iter().map(|one| one.get().memory()).collect(),
        passed: passed.iter().map(|one| one.get().values()).collect(),
        periods: periods.iter().map(|one| one.get().span()).collect(),
        tallies: tallies.iter().map(|one| one.get().counts()).collect(),
    };
    Native::read(&text, phase, &objects).map_err(|error| PyValueError::new_err(error.to_string()))
}

/// The engine's table of phases, in the order of a request's life: name, scope, and the names of the flags that are set.
#[pyfunction]
pub(crate) fn phases() -> Vec<(&'static str, &'static str, Vec<&'static str>)> {
    const FLAGS: [(Flag, &str); 4] = [
        (Flag::CanRespond, "can_respond"),
        (Flag::HasBody, "has_body"),
        (Flag::WithoutRoute, "without_route"),
        (Flag::Repeats, "repeats"),
    ];
    let flags = |spec: &PhaseSpec| {
        FLAGS
            .iter()
            .filter(|(flag, _)| spec.has(*flag))
            .map(|(_, name)| *name)
            .collect()
    };
    PHASES
        .iter()
        .map(|spec| (spec.name, spec.scope.name(), flags(spec)))
        .collect()
}

fn phase_named(name: &str) -> PyResult<Phase> {
    Phase::from_name(name).ok_or_else(|| {
        let known = PHASES.map(|spec| spec.name).join(", ");
        PyValueError::new_err(format!(
            "`{name}` is not a phase of a request; hint: one of {known}"
        ))
    })
}

/// What becomes of a request whose hook fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OnError {
    /// The client gets 500.
    Closed,
    /// It goes on as if the hook were not there.
    Open,
}

impl OnError {
    fn from_name(name: &str) -> PyResult<Self> {
        match name {
            "closed" => Ok(Self::Closed),
            "open" => Ok(Self::Open),
            _ => Err(PyValueError::new_err(format!(
                "`{name}` is not a valid value of `on_error`; hint: `closed` or `open`"
            ))),
        }
    }
}
