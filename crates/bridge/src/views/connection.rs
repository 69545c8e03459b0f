//! A connection as its hooks see it.

use std::rc::Rc;

use headgate_engine::{cipher_name, is_server_address, Chosen, ClientCertificateMode, ConnectionState};
use headgate_wire::{ProxyHeader, ProxySsl};
use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::interpreter::gil::ThreadBound;
use crate::interpreter::text;

/// One connection of a client.
#[pyclass(frozen, module = "headgate._core")]
pub(crate) struct Connection {
    state: ThreadBound<Rc<ConnectionState>>,
    /// Values that the hooks of this connection share.
    namespace: Py<PyAny>,
}

impl Connection {
    pub(crate) fn new(py: Python<'_>, state: &Rc<ConnectionState>) -> PyResult<Self> {
        let namespace = py
            .import(intern!(py, "types"))?
            .call_method0(intern!(py, "SimpleNamespace"))?;
        Ok(Self {
            state: ThreadBound::new(Rc::clone(state)),
            namespace: namespace.unbind(),
        })
    }
}

#[pymethods]
impl Connection {
    /// The client's address without port, as a PROXY header says where there is one.
    #[getter]
    fn address(&self) -> PyResult<&str> {
        Ok(&self.state.get()?.address)
    }

    /// The client's port, 0 for a Unix socket.
    #[getter]
    fn port(&self) -> PyResult<u16> {
        Ok(self.state.get()?.port)
    }

    /// The address at the other end of the socket: the client's, or that of a proxy before this gateway.
    #[getter]
    fn peer(&self) -> PyResult<&str> {
        Ok(&self.state.get()?.peer)
    }

    /// The address and port that the client connected to, if known.
    #[getter]
    fn destination(&self) -> PyResult<Option<(String, u16)>> {
        let destination = self.state.get()?.destination;
        Ok(destination.map(|address| (address.ip().to_string(), address.port())))
    }

    /// The listener's name.
    #[getter]
    fn listener(&self) -> PyResult<&str> {
        Ok(&self.state.get()?.listener)
    }

    /// `http`, `tcp` or `udp`.
    #[getter]
    fn protocol(&self) -> PyResult<&'static str> {
        Ok(self.state.get()?.protocol)
    }

    /// The contents of the PROXY header, if there was one.
    #[getter]
    fn proxy(&self, py: Python<'_>) -> PyResult<Option<ProxyInfo>> {
        let header = self.state.get()?.proxy.as_ref();
        header.map(|header| ProxyInfo::new(py, header)).transpose()
    }

    /// The server name of a TLS client (SNI), in lower case, once the `ClientHello` has arrived: from `client_hello` on.
    #[getter]
    fn server_name(&self) -> PyResult<Option<String>> {
        let hello = self.state.get()?.hello.borrow();
        Ok(hello.as_ref().and_then(|hello| hello.server_name.clone()))
    }

    /// The application protocols a TLS client offers.
    #[getter]
    fn alpn(&self) -> PyResult<Vec<String>> {
        let hello = self.state.get()?.hello.borrow();
        let offered = hello
            .as_ref()
            .map(|hello| hello.alpn.as_slice())
            .unwrap_or_default();
        Ok(offered
            .iter()
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect())
    }

    /// The versions a TLS client offers, as `TLSv1.3`; what no version is (RFC 8701) is left out.
    #[getter]
    fn tls_versions(&self) -> PyResult<Vec<&'static str>> {
        let hello = self.state.get()?.hello.borrow();
        let offered = hello.iter().flat_map(|hello| &hello.versions);
        Ok(offered.filter_map(|version| version_name(*version)).collect())
    }

    /// The cipher suites a TLS client offers, by name, or number in hex.
    #[getter]
    fn ciphers(&self) -> PyResult<Vec<String>> {
        let hello = self.state.get()?.hello.borrow();
        let offered = hello.iter().flat_map(|hello| &hello.cipher_suites);
        Ok(offered.map(|suite| cipher_name(*suite)).collect())
    }

    /// What the client is asked for: `none`, `optional`, `required` or `routes`; `None` where TLS does not end here.
    #[getter]
    fn client_certificates(&self) -> PyResult<Option<&'static str>> {
        let mode = self.state.get()?.client_certificates();
        let name = |mode| MODES.iter().find(|(_, known)| *known == mode);
        Ok(mode.and_then(name).map(|(name, _)| *name))
    }

    #[setter]
    fn set_client_certificates(&self, mode: &str) -> PyResult<()> {
        let known = MODES.iter().find(|(name, _)| *name == mode);
        let (_, mode) = known.ok_or_else(|| {
            PyValueError::new_err(format!(
                "`{mode}` is not a valid mode; hint: `none`, `optional`, `required` or `routes`"
            ))
        })?;
        self.state
            .get()?
            .request_client_certificate(*mode)
            .map_err(PyValueError::new_err)
    }

    /// The upstream, or the server's address, that the connection goes to as it is; `None`: as configured.
    #[getter]
    fn upstream(&self) -> PyResult<Option<String>> {
        let state = self.state.get()?;
        let chosen = state.chosen.borrow();
        Ok(chosen.as_ref().map(|chosen| match chosen {
            Chosen::Upstream(index) => state
                .tables()
                .map_or_else(String::new, |tables| tables.upstreams[*index].name.clone()),
            Chosen::Address(address) => address.clone(),
        }))
    }

    #[setter]
    fn set_upstream(&self, name: Option<&str>) -> PyResult<()> {
        let state = self.state.get()?;
        let chosen = match name {
            None => None,
            Some(name) => Some(match state.tables().and_then(|tables| tables.upstream_index(name)) {
                Some(index) => Chosen::Upstream(index),
                None if is_server_address(name) => Chosen::Address(name.to_owned()),
                None => {
                    return Err(PyValueError::new_err(format!(
                        "there is no upstream `{name}`; hint: name one, or write an address such as `10.0.0.1:443`"
                    )))
                }
            }),
        };
        state.chosen.replace(chosen);
        Ok(())
    }

    /// Values that the hooks of this connection share.
    #[getter]
    fn state(&self, py: Python<'_>) -> Py<PyAny> {
        self.namespace.clone_ref(py)
    }

    /// Closes the connection without serving it; the reason is logged.
    #[pyo3(signature = (reason = "", /))]
    fn refuse(&self, reason: &str) -> PyResult<()> {
        self.state.get()?.refusal.replace(Some(reason.to_owned()));
        Ok(())
    }

    /// The longest silence in seconds: between two requests, or on a TCP connection. `None`: as configured.
    #[getter]
    fn idle(&self) -> PyResult<Option<f64>> {
        self.state.get().map(|state| state.idle_ms.get().map(seconds))
    }

    #[setter]
    fn set_idle(&self, seconds: Option<f64>) -> PyResult<()> {
        self.state.get()?.idle_ms.set(milliseconds(seconds)?);
        Ok(())
    }

    /// The longest life of a TCP connection in seconds. `None`: as configured.
    #[getter]
    fn lifetime(&self) -> PyResult<Option<f64>> {
        self.state.get().map(|state| state.lifetime_ms.get().map(seconds))
    }

    #[setter]
    fn set_lifetime(&self, seconds: Option<f64>) -> PyResult<()> {
        self.state.get()?.lifetime_ms.set(milliseconds(seconds)?);
        Ok(())
    }

    /// The most requests on the connection. `None`: as configured.
    #[getter]
    fn max_requests(&self) -> PyResult<Option<u64>> {
        self.state.get().map(|state| state.max_requests.get())
    }

    #[setter]
    fn set_max_requests(&self, most: Option<u64>) -> PyResult<()> {
        self.state.get()?.max_requests.set(most);
        Ok(())
    }

    fn __repr__(&self) -> PyResult<String> {
        let state = self.state.get()?;
        Ok(format!(
            "<Connection {} from {} on {}>",
            state.protocol, state.address, state.listener
        ))
    }
}

const MODES: [(&str, ClientCertificateMode); 4] = [
    ("none", ClientCertificateMode::None),
    ("optional", ClientCertificateMode::Optional),
    ("required", ClientCertificateMode::Required),
    ("routes", ClientCertificateMode::Routes),
];

fn version_name(version: u16) -> Option<&'static str> {
    match version {
        0x0300 => Some("SSLv3"),
        0x0301 => Some("TLSv1.0"),
        0x0302 => Some("TLSv1.1"),
        0x0303 => Some("TLSv1.2"),
        0x0304 => Some("TLSv1.3"),
        _ => None,
    }
}

#[allow(clippy::cast_precision_loss)] // durations are far below 2^52 ms
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

fn milliseconds(seconds: Option<f64>) -> PyResult<Option<u64>> {
    let Some(seconds) = seconds else { return Ok(None) };
    let duration = std::time::Duration::try_from_secs_f64(seconds)
        .map_err(|_| PyValueError::new_err(format!("`{seconds}` is not a valid number of seconds")))?;
    Ok(Some(
        u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1),
    ))
}

/// What a PROXY header said beyond addresses.
#[pyclass(frozen, get_all, module = "headgate._core")]
pub(crate) struct ProxyInfo {
    /// 1 or 2.
    version: u8,
    /// Whether the proxy connected on its own behalf (LOCAL), as health checks do.
    is_local: bool,
    /// The application protocol, for instance `h2`.
    alpn: Option<Py<PyAny>>,
    /// The host name the client asked for.
    authority: Option<Py<PyAny>>,
    /// An id of the connection.
    unique_id: Option<Py<PyBytes>>,
    /// The client's TLS connection: `version`, `common_name`, `cipher`, `verified` and so on.
    tls: Option<Py<PyAny>>,
    /// All other values: types and bytes.
    other: Vec<(u8, Py<PyBytes>)>,
}

impl ProxyInfo {
    fn new(py: Python<'_>, header: &ProxyHeader) -> PyResult<Self> {
        let tlvs = &header.tlvs;
        let shown = |value: &Option<Vec<u8>>| -> PyResult<Option<Py<PyAny>>> {
            let text = value.as_ref().map(|value| text::decode(py, value)).transpose()?;
            Ok(text.map(|text| text.into_any().unbind()))
        };
        Ok(Self {
            version: header.version,
            is_local: header.is_local,
            alpn: shown(&tlvs.alpn)?,
            authority: shown(&tlvs.authority)?,
            unique_id: tlvs.unique_id.as_ref().map(|id| PyBytes::new(py, id).unbind()),
            tls: tlvs.ssl.as_ref().map(|ssl| tls(py, ssl)).transpose()?,
            other: tlvs
                .other
                .iter()
                .map(|(kind, value)| (*kind, PyBytes::new(py, value).unbind()))
                .collect(),
        })
    }
}

fn tls(py: Python<'_>, ssl: &ProxySsl) -> PyResult<Py<PyAny>> {
    let info = pyo3::types::PyDict::new(py);
    info.set_item("is_tls", ssl.is_tls)?;
    info.set_item("has_certificate", ssl.has_certificate_in_session)?;
    info.set_item("verified", ssl.verify == 0)?;
    let parts = [
        ("version", &ssl.version),
        ("common_name", &ssl.common_name),
        ("cipher", &ssl.cipher),
        ("signature_algorithm", &ssl.signature_algorithm),
        ("key_algorithm", &ssl.key_algorithm),
    ];
    for (name, part) in parts {
        let part = part.as_ref().map(|part| text::decode(py, part)).transpose()?;
        info.set_item(name, part)?;
    }
    Ok(info.into_any().unbind())
}
