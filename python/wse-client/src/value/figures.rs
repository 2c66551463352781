//! Figures of the engine as a `dict`, by the names that stand in the engine.

use pyo3::{
    IntoPyObjectExt,
    prelude::*,
    types::{PyDict, PyList},
};
use wse_client_core::client::{Figure, Figures};

/// Every figure under its name; groups as `dict`, absent ones as `None`.
pub(crate) fn from_figures<'py>(py: Python<'py>, figures: &dyn Figures) -> PyResult<Bound<'py, PyDict>> {
    let all = PyDict::new(py);
    let mut outcome = Ok(());
    figures.each(&mut |name, _, figure| {
        if outcome.is_ok() {
            outcome = value(py, figure).and_then(|value| all.set_item(name, value));
        }
    });
    outcome.map(|()| all)
}

fn value<'py>(py: Python<'py>, figure: Figure<'_>) -> PyResult<Bound<'py, PyAny>> {
    match figure {
        Figure::Absent => Ok(py.None().into_bound(py)),
        Figure::Flag(flag) => flag.into_bound_py_any(py),
        Figure::Count(count) => count.into_bound_py_any(py),
        Figure::Number(number) => number.into_bound_py_any(py),
        Figure::Text(text) => text.into_bound_py_any(py),
        Figure::Texts(texts) => texts.into_bound_py_any(py),
        Figure::Group(group) => Ok(from_figures(py, group)?.into_any()),
        Figure::Groups(groups) => {
            let list = PyList::empty(py);
            for group in groups {
                list.append(from_figures(py, group)?)?;
            }
            Ok(list.into_any())
        }
    }
}
