//! Which listener takes over a bound socket.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use tokio::task::spawn_local;

use super::listener::Listener;
use crate::http::edge::{Http3Listener, HTTP3_PREFIX};
use crate::state::Shared;
use crate::streams::udp::UdpListener;

/// Serves a socket by its name and kind. Must be called within the runtime's local set.
pub(crate) fn serve(socket: OwnedFd, name: &str, shared: &Rc<Shared>) -> io::Result<()> {
    shared.open_listener(name);
    if name.starts_with(HTTP3_PREFIX) {
        let listener = Http3Listener::adopt(socket, name, Rc::clone(shared))?;
        spawn_local(listener.run());
    } else if socket2::SockRef::from(&socket).r#type()? == socket2::Type::DGRAM {
        let listener = UdpListener::adopt(socket, name)?;
        spawn_local(listener.run(Rc::clone(shared)));
    } else {
        let listener = Listener::adopt(socket, name)?;
        spawn_local(listener.run(Rc::clone(shared)));
    }
    Ok(())
}
