//! HTML that hooks change while it streams: rules made once, a rewriter for each page.

use std::sync::{Mutex, PoisonError};

use headgate_html::{Failure, Options, Rewriter, Rule, Rules};
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::interpreter::text;

/// What becomes of which elements of pages.
#[pyclass(frozen, module = "headgate._core")]
pub(crate) struct HtmlRules {
    rules: Rules,
}

#[pymethods]
impl HtmlRules {
    #[new]
    #[pyo3(signature = (rules, /))]
    fn new(rules: &Bound<'_, PyAny>) -> PyResult<Self> {
        let rules: PyResult<Vec<Rule>> = rules.try_iter()?.map(|rule| read_rule(&rule?)).collect();
        let rules = Rules::new(rules?).map_err(text::refused)?;
        Ok(Self { rules })
    }

    /// A rewriter for one page; `None` if pages of its charset cannot be changed.
    #[pyo3(signature = (*, charset = None, max_memory_bytes = 1_048_576, passes = false))]
    fn rewriter(&self, charset: Option<&str>, max_memory_bytes: usize, passes: bool) -> Option<HtmlRewriter> {
        let options = Options {
            charset,
            max_memory_bytes,
            passes,
        };
        let rewriter = Mutex::new(Rewriter::new(&self.rules, options)?);
        Some(HtmlRewriter { rewriter })
    }
}

/// Changes one page as its chunks come.
// its own lock, and not the thread's mark that views have: a page may as well be changed in another thread
#[pyclass(frozen, module = "headgate._core")]
pub(crate) struct HtmlRewriter {
    rewriter: Mutex<Rewriter>,
}

#[pymethods]
impl HtmlRewriter {
    /// What is ready after a chunk: the same object where nothing was changed or held back.
    #[pyo3(signature = (chunk, /))]
    fn write<'py>(&self, py: Python<'py>, chunk: &Bound<'py, PyBytes>) -> PyResult<Bound<'py, PyBytes>> {
        let made = self.with(|rewriter| rewriter.write(chunk.as_bytes()))?;
        if made == chunk.as_bytes() {
            return Ok(chunk.clone());
        }
        Ok(PyBytes::new(py, &made))
    }

    /// What is left at the end of the page.
    fn end<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.with(Rewriter::end)?))
    }

    /// Why the page is not changed from some place on; `None` while it is.
    #[getter]
    fn failure(&self) -> Option<String> {
        let rewriter = self.rewriter.lock().unwrap_or_else(PoisonError::into_inner);
        rewriter.failure().map(ToString::to_string)
    }
}

impl HtmlRewriter {
    fn with(&self, act: impl FnOnce(&mut Rewriter) -> Result<Vec<u8>, Failure>) -> PyResult<Vec<u8>> {
        // poisoned by a panic of the library, after which its state is unknown
        let Ok(mut rewriter) = self.rewriter.lock() else {
            return Err(PyRuntimeError::new_err("the rewriter has failed before"));
        };
        act(&mut rewriter).map_err(text::refused)
    }
}

fn read_rule(rule: &Bound<'_, PyAny>) -> PyResult<Rule> {
    let mut read = Rule::default();
    let fields = rule.cast::<PyDict>().map_err(|_| {
        PyTypeError::new_err("a rule is no dictionary; hint: write `{\"select\": \"a\", \"remove\": True}`")
    })?;
    for (name, value) in fields {
        let name: String = name.extract()?;
        match name.as_str() {
            "select" => read.select = value.extract()?,
            "once" => read.once = value.extract()?,
            "set" => read.set = pairs(&value)?,
            "replace" => read.replace = value.extract()?,
            "remove_attributes" => read.remove_attributes = value.extract()?,
            "add_classes" => read.add_classes = value.extract()?,
            "remove_classes" => read.remove_classes = value.extract()?,
            "text" => read.text = value.extract()?,
            "html" => read.html = value.extract()?,
            "prepend" => read.prepend = value.extract()?,
            "append" => read.append = value.extract()?,
            "before" => read.before = value.extract()?,
            "after" => read.after = value.extract()?,
            "unwrap" => read.unwrap = value.extract()?,
            "remove" => read.remove = value.extract()?,
            _ => {
                let text = format!("`{name}` is no part of a rule; hint: {KNOWN}");
                return Err(PyValueError::new_err(text));
            }
        }
    }
    Ok(read)
}

const KNOWN: &str =
    "select, once, set, replace, remove_attributes, add_classes, remove_classes, text, html, prepend, \
                     append, before, after, unwrap, remove";

/// The items of a dictionary, in order.
fn pairs(value: &Bound<'_, PyAny>) -> PyResult<Vec<(String, String)>> {
    value
        .cast::<PyDict>()?
        .iter()
        .map(|(name, value)| Ok((name.extract()?, value.extract()?)))
        .collect()
}
